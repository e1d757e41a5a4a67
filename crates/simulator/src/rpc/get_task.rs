//! `GetRepoSyncTask`.

use super::parameters::Bad;
use super::{Asked, whole_seconds};
use crate::answer::Reply;
use crate::fault::Fault;
use crate::ledger::Served;
use crate::task::{RowForm, report};

/// Of an id that is not known. Assumed: no document names the code, nor that it is no HTTP 404.
const NOT_THERE: (u16, &str, &str) = (
    400,
    "SYNC_TASK_NOT_EXIST",
    "The specified synchronization task does not exist.",
);

pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    match ask(asked) {
        Ok((instance_id, task_id)) => report_of(asked, instance_id, &task_id),
        Err(bad) => asked.bad(&bad),
    }
}

fn ask(asked: &Asked<'_>) -> Result<(String, String), Bad> {
    Ok((asked.required("InstanceId")?, asked.required("SyncTaskId")?))
}

fn report_of(asked: &Asked<'_>, instance_id: String, task_id: &str) -> Reply {
    let found = {
        let state = asked.world.state();
        if !state.has_instance(&instance_id) {
            return asked.context.not_successful("INSTANCE_NOT_EXIST");
        }
        let form = RowForm {
            modified: state.modified_time,
            nulls: asked.faults.contains(&Fault::NullFields),
            unknown: asked.faults.contains(&Fault::UnknownValues),
        };
        state
            .task(task_id)
            .filter(|task| task.new.listed_by.contains(&instance_id))
            .map(|task| report(&task, form, asked.service.task_in_full))
    };
    let Some((body, shown)) = found else {
        let (status, code, message) = NOT_THERE;
        return asked.context.error(status, code, message);
    };
    let mut reply = asked.context.success(body);
    let rows = if shown.is_bulk { vec![] } else { vec![shown] };
    reply.served = Some(Served {
        instance_id,
        date: whole_seconds(asked.server_now),
        is_list: false,
        rows,
    });
    reply
}
