//! One page of one instance's list.
//!
//! In: what a call asks for and the faults it meets. Out: the rows in JSON, and what they show.
//! Newest first by CreateTime. Must never happen: a snapshot over pages; rows move between calls,
//! as they do at the vendor's.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use syncbell_event::Status;

use crate::fault::Fault;
use crate::task::{Filters, NewTask, RowForm, Shown, Task, row, row_without_id};
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
    if !state.lists.contains_key(&ask.instance_id) {
        return None;
    }
    if ask.page_no >= 2 {
        move_rows(state, &ask.instance_id);
    }
    let ignored = faults.iter().find_map(|fault| {
        if let Fault::PageNoIgnored { echo_asked } = fault {
            Some(*echo_asked)
        } else {
            None
        }
    });
    let read_page_no = if ignored.is_some() { 1 } else { ask.page_no };
    let page_no = if ignored == Some(false) {
        1
    } else {
        ask.page_no
    };
    let page_size = ask.page_size.clamp(1, state.max_page_size);
    let form = RowForm {
        modified: state.modified_time,
        nulls: faults.contains(&Fault::NullFields),
        unknown: faults.contains(&Fault::UnknownValues),
    };
    let list = state.lists.get(&ask.instance_id)?;
    let newest_first = || {
        list.iter()
            .rev()
            .filter_map(|(_, seq)| state.tasks.get(seq))
    };
    let matching = || newest_first().filter(|task| task.matches(&ask.filters));
    let mut total = if ask.filters.is_empty() {
        list.len()
    } else {
        matching().count()
    };
    let skip = usize::try_from(read_page_no - 1)
        .unwrap_or(usize::MAX)
        .saturating_mul(page_size);
    let page: Vec<&Task> = matching().skip(skip).take(page_size).collect();
    let (mut rows, shown): (Vec<_>, Vec<_>) = page.into_iter().map(|task| row(task, form)).unzip();
    if faults.contains(&Fault::TaskWithoutId) && read_page_no == 1 {
        rows.insert(0, row_without_id(server_now));
        total += 1;
    }
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
        let mut task = NewTask::of("paging/inserted", &tag).listed_by(&[instance_id]);
        if let Some(from) = &mut task.from {
            from.instance_id = Some(instance_id.to_owned());
        }
        task.status = if state.inserts_left.is_multiple_of(3) {
            Status::Error
        } else {
            Status::Success
        };
        state.add(task);
    }
    if state.removals_left > 0 {
        let is_healthy =
            |task: &&Task| task.shown.status == Status::Success && task.shown.issue.is_none();
        let list = state.lists.get(instance_id).into_iter().flatten().rev();
        let newest = list
            .filter_map(|(_, seq)| state.tasks.get(seq))
            .find(is_healthy);
        if let Some(task_id) = newest.map(|task| task.shown.task_id.clone()) {
            state.removals_left -= 1;
            let removed = state.remove(&task_id);
            debug_assert!(removed.is_ok(), "it was just found in the list");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::DEMO_INSTANCE;
    use crate::{Options, World};

    fn world(n: usize) -> World {
        let world = World::new(&Options::default());
        for n in 0..n {
            world.add_task(
                NewTask::of("team/app", &format!("{n}"))
                    .id(&format!("t{n}"))
                    .status(Status::Success),
            );
        }
        world
    }

    fn page(world: &World, page_no: u64, page_size: usize, faults: &[Fault]) -> Listing {
        let ask = Ask {
            instance_id: DEMO_INSTANCE.to_owned(),
            filters: Filters::default(),
            page_no,
            page_size,
        };
        world
            .change(|state| list(state, &ask, faults, Timestamp::UNIX_EPOCH))
            .unwrap()
    }

    fn ids(listing: &Listing) -> Vec<&str> {
        listing
            .shown
            .iter()
            .map(|shown| shown.task_id.as_str())
            .collect()
    }

    #[test]
    fn pages_are_newest_first_and_end() {
        let world = world(5);
        let first = page(&world, 1, 2, &[]);
        assert_eq!(ids(&first), ["t4", "t3"]);
        assert_eq!((first.page_no, first.page_size, first.total), (1, 2, 5));
        assert_eq!(ids(&page(&world, 3, 2, &[])), ["t0"]);
        assert_eq!(page(&world, 4, 2, &[]).rows.len(), 0);
        assert_eq!(page(&world, u64::MAX, 100, &[]).rows.len(), 0);
    }

    #[test]
    fn the_page_size_is_capped() {
        let world = world(120);
        assert_eq!(page(&world, 1, 5000, &[]).rows.len(), 100);
        assert_eq!(page(&world, 1, 5000, &[]).page_size, 100);
    }

    #[test]
    fn filters_count_too() {
        let world = world(5);
        let mut task = NewTask::of("other/app", "1").id("x");
        task.batch_id = Some("batch".to_owned());
        world.add_task(task);
        let filtered = |filters: Filters| {
            let ask = Ask {
                instance_id: DEMO_INSTANCE.to_owned(),
                filters,
                page_no: 1,
                page_size: 30,
            };
            let listing = world
                .change(|state| list(state, &ask, &[], Timestamp::UNIX_EPOCH))
                .unwrap();
            (listing.total, ids(&listing).join(" "))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            filtered(Filters {
                namespace: some("other"),
                ..Filters::default()
            }),
            (1, "x".into())
        );
        assert_eq!(
            filtered(Filters {
                repo: some("app"),
                ..Filters::default()
            })
            .0,
            6
        );
        assert_eq!(
            filtered(Filters {
                tag: some("3"),
                ..Filters::default()
            }),
            (1, "t3".into())
        );
        assert_eq!(
            filtered(Filters {
                batch_id: some("batch"),
                ..Filters::default()
            }),
            (1, "x".into())
        );
        assert_eq!(
            filtered(Filters {
                batch_id: some("none"),
                ..Filters::default()
            })
            .0,
            0
        );
    }

    #[test]
    fn rows_shift_while_they_are_read() {
        let world = world(6);
        world.insert_while_paging(2);
        let first = page(&world, 1, 2, &[]);
        let second = page(&world, 2, 2, &[]);
        let third = page(&world, 3, 2, &[]);
        assert_eq!(
            (ids(&first), ids(&second), ids(&third)),
            (vec!["t5", "t4"], vec!["t4", "t3"], vec!["t3", "t2"])
        );
        assert_eq!(page(&world, 4, 2, &[]).total, 8);
        world.remove_while_paging(1);
        assert_eq!(page(&world, 2, 2, &[]).total, 7);
    }

    #[test]
    fn an_ignored_page_number_repeats_page_one() {
        let world = world(4);
        for (echo_asked, claimed) in [(true, 2), (false, 1)] {
            let listing = page(&world, 2, 2, &[Fault::PageNoIgnored { echo_asked }]);
            assert_eq!(ids(&listing), ["t3", "t2"]);
            assert_eq!(listing.page_no, claimed);
        }
    }

    #[test]
    fn a_row_without_id_comes_beside_the_others() {
        let world = world(2);
        let listing = page(&world, 1, 2, &[Fault::TaskWithoutId]);
        assert_eq!(listing.rows.len(), 3);
        assert!(listing.rows[0].get("SyncTaskId").is_none());
        assert_eq!(ids(&listing), ["t1", "t0"]);
    }
}
