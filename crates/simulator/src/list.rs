//! One page of one instance's list.
//!
//! In: what a call asks for and the faults it meets. Out: the rows in JSON, and what they show.
//! Newest first by CreateTime. Must never happen: a snapshot over pages; rows move between calls,
//! as they do at the vendor's.

mod drift;
mod ways;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use syncbell_event::Status;

use self::drift::{drift, inserted};
use self::ways::Ways;
use crate::fault::Fault;
use crate::task::{Filters, RowForm, Shown, Task, row, row_without_id};
use crate::world::State;

/// What a call asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) instance_id: String,
    pub(crate) filters: Filters,
    /// From 1.
    pub(crate) page_no: u64,
    /// Not yet capped.
    pub(crate) page_size: usize,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The page that the answer claims to be.
    pub(crate) page_no: u64,
    pub(crate) page_size: usize,
    pub(crate) total: usize,
    pub(crate) rows: Vec<Value>,
    pub(crate) shown: Vec<Arc<Shown>>,
}

/// `None`: no such instance.
pub(crate) fn list(
    state: &mut State,
    ask: &Ask,
    faults: &[Fault],
    server_now: Timestamp,
) -> Option<Listing> {
    if !state.has_instance(&ask.instance_id) {
        return None;
    }
    state.age_out(&ask.instance_id);
    drift(state, &ask.instance_id, faults);
    if ask.page_no >= 2 {
        move_rows(state, &ask.instance_id);
    }
    let ways = Ways::of(faults, ask, state.max_page_size);
    let form = RowForm {
        modified: state.modified_time,
        nulls: faults.contains(&Fault::NullFields),
        unknown: faults.contains(&Fault::UnknownValues),
    };
    let (mut total, page) = state
        .tasks
        .slice(&ask.instance_id, &ask.filters, ways.slice)?;
    let rows = page.iter().map(|task| row(task, form));
    let (mut rows, shown): (Vec<_>, Vec<_>) = rows.unzip();
    if faults.contains(&Fault::TaskWithoutId) && ways.read_page_no == 1 {
        rows.insert(0, row_without_id(server_now));
        total += 1;
    }
    let Ways {
        page_no, page_size, ..
    } = ways;
    Some(Listing {
        page_no,
        page_size,
        total,
        rows,
        shown,
    })
}

/// What happens at the service between two pages of one reader.
fn move_rows(state: &mut State, instance_id: &str) {
    if state.inserts_left > 0 {
        state.inserts_left -= 1;
        let tag = format!("n{}", state.inserts_left);
        let mut task = inserted(instance_id, "paging/inserted", &tag);
        task.status = if state.inserts_left.is_multiple_of(3) {
            Status::Error
        } else {
            Status::Success
        };
        state.add(task);
    }
    if state.removals_left > 0 {
        let newest = state.tasks.find(instance_id, 0, usize::MAX, is_healthy);
        if let Some(task_id) = newest {
            state.removals_left -= 1;
            let removed = state.tasks.remove(&task_id);
            debug_assert!(removed.is_ok(), "it was just found in the list");
        }
    }
}

fn is_healthy(task: &Task) -> bool {
    task.shown.status == Status::Success && task.shown.issue.is_none()
}

#[cfg(test)]
mod tests;
