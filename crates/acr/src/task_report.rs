//! `GetRepoSyncTask`: one task by its id, and how far it came.
//!
//! In: the answer, whose top level is the task. Out: a [`TaskReport`]. Must never happen: another task's
//! report, or the envelope's own fields among the task's.

use jiff::Timestamp;
use syncbell_event::{Status, SyncTask};

use crate::decode;
use crate::envelope::{Envelope, row};
use crate::error::Error;
use crate::fault::malformed;
use crate::fields::{fraction, string, text, whole};
use crate::head::Head;

/// What the answer has beside the task's own fields.
const ENVELOPE: [&str; 6] = [
    "RequestId",
    "Code",
    "IsSuccess",
    "Progress",
    "SyncedSize",
    "LayerTasks",
];

/// A task, and how far it came.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskReport {
    /// The task. The vendor's SDKs declare no times, links or priority in this answer (cr-20181201 for
    /// Go), so take from it only what can change: status, issue, and a modified time if there is one.
    pub task: SyncTask,
    /// 0 for just begun (or failed) to 1 for done.
    pub progress: Option<f64>,
    /// Copied so far.
    pub synced_size_bytes: Option<u64>,
    /// Its layers.
    pub layers: Vec<LayerTask>,
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// The answer's Date header: the server's clock.
    pub date: Option<Timestamp>,
}

/// One layer of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTask {
    /// `SyncLayerTaskId`
    pub id: Option<String>,
    /// The words of a task's status.
    pub status: Status,
    /// Of the layer.
    pub digest: Option<String>,
    /// Of the artifact that the layer belongs to.
    pub artifact_digest: Option<String>,
    /// In all.
    pub size_bytes: Option<u64>,
    /// Copied so far.
    pub synced_size_bytes: Option<u64>,
}

pub(crate) fn query(instance_id: &str, task_id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("InstanceId", instance_id.to_owned()),
        ("SyncTaskId", task_id.to_owned()),
    ]
}

/// Reads the answer about the task `asked`; `None` if the server does not know it.
pub(crate) fn report(
    head: &Head,
    body: &[u8],
    asked: &str,
    now: Timestamp,
) -> Result<Option<TaskReport>, Error> {
    let envelope = match Envelope::open(head, body, now) {
        Ok(envelope) => envelope,
        Err(Error::Rejected { code, .. }) if is_no_such_task(&code) => return Ok(None),
        Err(error) => return Err(error),
    };
    let task = decode::raw(0, &envelope.without(&ENVELOPE)?).map_err(|refused| {
        malformed(head, &format!("with a malformed task: {}", refused.reason))
    })?;
    if task.task_id.as_str() != asked {
        return Err(malformed(head, "about another task than the one asked for"));
    }
    let layers = envelope.rows_if_any("LayerTasks");
    let fields = &envelope.fields;
    Ok(Some(TaskReport {
        task,
        progress: fraction(fields, "Progress"),
        synced_size_bytes: whole(fields, "SyncedSize"),
        layers: layers.into_iter().filter_map(layer).collect(),
        request_id: string(fields, "RequestId"),
        date: head.date,
    }))
}

/// Nothing is required of a layer, but it must be an object.
fn layer(raw: &serde_json::value::RawValue) -> Option<LayerTask> {
    let fields = row(raw)?;
    Some(LayerTask {
        id: text(&fields, "SyncLayerTaskId"),
        status: Status::from(text(&fields, "TaskStatus").unwrap_or_default()),
        digest: text(&fields, "Digest"),
        artifact_digest: text(&fields, "ArtifactDigest"),
        size_bytes: whole(&fields, "Size"),
        synced_size_bytes: whole(&fields, "SyncedSize"),
    })
}

/// Whether a code names the task as what does not exist: `SYNC_TASK_NOT_EXIST`, `SyncTaskNotExist`,
/// `InvalidSyncTaskId.NotFound`. The vendor documents none for this operation; these are the forms that
/// its codes for other things have.
fn is_no_such_task(code: &str) -> bool {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    let code: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    code.match_indices("TASK").any(|(at, found)| {
        let rest = &code[at + found.len()..];
        let rest = rest.strip_prefix("ID").unwrap_or(rest);
        let missing = ["NOTEXIST", "NOTFOUND", "DOESNOTEXIST", "ISNOTEXIST"];
        missing.iter().any(|missing| rest.starts_with(missing))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_that_names_the_task_means_that_there_is_none() {
        for code in [
            "SYNC_TASK_NOT_EXIST",
            "REPO_SYNC_TASK_NOT_EXIST",
            "SyncTaskNotExist",
            "Task.NotFound",
            "InvalidSyncTaskId.NotFound",
            "TASK_ID_NOT_EXISTS",
        ] {
            assert!(is_no_such_task(code), "{code}");
        }
        for code in [
            "INSTANCE_NOT_EXIST",
            "REPO_NOT_EXIST",
            "InvalidAction.NotFound",
            "InvalidApi.NotFound",
            "TASK_INSTANCE_NOT_EXIST",
            "NOT_EXIST_TASK",
            "",
        ] {
            assert!(!is_no_such_task(code), "{code}");
        }
    }
}
