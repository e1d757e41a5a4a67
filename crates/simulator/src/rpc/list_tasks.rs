//! `ListRepoSyncTask`.

use serde_json::{Value, json};

use super::parameters::Bad;
use super::{Asked, whole_seconds};
use crate::answer::Reply;
use crate::fault::{Fault, TotalCount};
use crate::ledger::Served;
use crate::list::{Ask, list};
use crate::task::Filters;

pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    let ask = match ask(asked) {
        Ok(ask) => ask,
        Err(bad) => return asked.bad(&bad),
    };
    let (faults, server_now) = (asked.faults, asked.server_now);
    let listing = asked
        .world
        .change(|state| list(state, &ask, faults, server_now));
    let Some(mut listing) = listing else {
        return asked.context.not_successful("INSTANCE_NOT_EXIST");
    };
    let mut rows = std::mem::take(&mut listing.shown);
    rows.retain(|shown| !shown.is_bulk);
    let unknown = faults.contains(&Fault::UnknownValues);
    let as_number = asked.service.total_as_number;
    let total = total(faults, listing.total, as_number);
    let mut reply = asked.context.page(&listing, total, unknown);
    reply.served = Some(Served {
        instance_id: ask.instance_id,
        date: whole_seconds(server_now),
        is_list: true,
        rows,
    });
    reply
}

fn ask(asked: &Asked<'_>) -> Result<Ask, Bad> {
    let call = asked.call;
    let instance_id = asked.required("InstanceId")?;
    let page = asked.page()?;
    Ok(Ask {
        instance_id,
        filters: Filters {
            namespace: call.parameter("RepoNamespaceName"),
            repo: call.parameter("RepoName"),
            tag: call.parameter("Tag"),
            batch_id: call.parameter("SyncRecordId"),
        },
        page_no: page.no,
        page_size: page.size,
    })
}

/// TotalCount as it is written, if it is.
fn total(faults: &[Fault], total: usize, as_number: bool) -> Option<Value> {
    let form = faults.iter().find_map(|fault| match fault {
        Fault::TotalCount(form) => Some(*form),
        _ => None,
    });
    let written = |total: usize, as_number: bool| {
        Some(if as_number {
            json!(total)
        } else {
            json!(total.to_string())
        })
    };
    match form {
        None => written(total, as_number),
        Some(TotalCount::Number) => written(total, true),
        Some(TotalCount::Text) => written(total, false),
        Some(TotalCount::Lagging { rows }) => written(total.saturating_sub(rows), as_number),
        Some(TotalCount::Null) => Some(Value::Null),
        Some(TotalCount::Missing) => None,
    }
}
