//! A task as the vendor writes it: a row of the list, or the body of `GetRepoSyncTask`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use syncbell_event::{Image, Status};

use super::{Progress, Shown, Task};

/// Which spelling of the modified time the rows have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModifiedTime {
    /// `ModifedTime`, which is what the vendor's page has.
    #[default]
    Misspelt,
    /// `ModifiedTime`, which newer SDKs declare too.
    Correct,
    /// Both, the correct one later by nothing.
    Both,
    /// Neither.
    Absent,
}

/// How a row is written in one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowForm {
    pub(crate) modified: ModifiedTime,
    /// What the service did not set is null instead of absent.
    pub(crate) nulls: bool,
    /// Fields and values that no documentation names.
    pub(crate) unknown: bool,
}

/// The row in the vendor's JSON, and what it shows.
pub(crate) fn row(task: &Task, form: RowForm) -> (Value, Arc<Shown>) {
    let mut shown = Arc::clone(&task.shown);
    let open = matches!(shown.status, Status::Pending | Status::Synchronizing);
    if form.unknown && open {
        // Only of an open task: an unknown status is open too, so that no rule breaks by it.
        shown = Arc::new(Shown {
            status: Status::Unknown("WAITING_FOR_QUOTA".to_owned()),
            ..Shown::clone(&shown)
        });
    }
    let new = &task.new;
    let mut row = Row {
        map: Map::new(),
        nulls: form.nulls,
    };
    row.put("SyncTaskId", Some(json!(shown.task_id)));
    row.put("SyncBatchTaskId", new.batch_id.as_ref().map(|v| json!(v)));
    row.put("SyncRuleId", new.sync_rule_id.as_ref().map(|v| json!(v)));
    row.put("TaskStatus", Some(json!(shown.status.as_str())));
    let trigger = if form.unknown {
        Some("SCHEDULED")
    } else {
        new.trigger.as_deref()
    };
    row.put("TaskTrigger", trigger.map(|v| json!(v)));
    row.put("TaskIssue", new.issue.as_ref().map(|v| json!(v)));
    row.put("CreateTime", Some(json!(shown.created_ms)));
    let modified = Some(json!(shown.modified_ms));
    if matches!(form.modified, ModifiedTime::Misspelt | ModifiedTime::Both) {
        row.put("ModifedTime", modified.clone());
    }
    if matches!(form.modified, ModifiedTime::Correct | ModifiedTime::Both) {
        row.put("ModifiedTime", modified);
    }
    row.put("CrossUser", new.cross_user.map(Value::from));
    row.put("CustomLink", new.custom_link.map(Value::from));
    row.put("LinkId", new.link_id.as_ref().map(|v| json!(v)));
    row.put("SyncTransAccelerate", new.accelerated.map(Value::from));
    row.put("Priority", new.priority.map(Value::from));
    row.put(
        "ImageFrom",
        new.from.as_ref().map(|image| end(image, form.nulls)),
    );
    row.put(
        "ImageTo",
        new.to.as_ref().map(|image| end(image, form.nulls)),
    );
    for (name, value) in &new.extra {
        row.map.insert(name.clone(), value.clone());
    }
    if form.unknown {
        row.map.insert(
            "QuotaClass".to_owned(),
            json!({"Name": "gold", "Weights": [1, 2]}),
        );
    }
    (Value::Object(row.map), shown)
}

/// Fields of a row that the vendor's SDKs do not declare in the answer to `GetRepoSyncTask`.
const NOT_IN_REPORT: [&str; 6] = [
    "CreateTime",
    "ModifedTime",
    "ModifiedTime",
    "CustomLink",
    "LinkId",
    "Priority",
];

/// The task as `GetRepoSyncTask` tells it, apart from what every answer has. `in_full`: with all fields
/// of a row.
pub(crate) fn report(
    task: &Task,
    form: RowForm,
    in_full: bool,
) -> (Map<String, Value>, Arc<Shown>) {
    let (row, shown) = row(task, form);
    let mut body = match row {
        Value::Object(body) => body,
        _ => Map::new(),
    };
    if !in_full {
        for name in NOT_IN_REPORT {
            body.remove(name);
        }
    }
    let progress = task.progress();
    let done = progress.progress;
    // The SDKs declare an integer: what is whole is written as one.
    let done = if done.fract() == 0.0 {
        json!(i32::from(done >= 1.0))
    } else {
        json!(done)
    };
    body.insert("Progress".to_owned(), done);
    body.insert("SyncedSize".to_owned(), json!(progress.synced_size_bytes));
    body.insert(
        "LayerTasks".to_owned(),
        layer_rows(&progress, &shown.task_id),
    );
    (body, shown)
}

fn layer_rows(progress: &Progress, task_id: &str) -> Value {
    let layers = progress.layers.iter().enumerate().map(|(n, layer)| {
        json!({
            "SyncLayerTaskId": format!("rslt-{}-{n}", task_id.trim_start_matches("rst-")),
            "TaskStatus": layer.status.as_str(),
            "Digest": layer.digest,
            "ArtifactDigest": layer.artifact_digest,
            "Size": layer.size_bytes,
            "SyncedSize": layer.synced_size_bytes,
        })
    });
    layers.collect()
}

/// A row without an id, as the fault of that name puts it among the others.
pub(crate) fn row_without_id(server_now: Timestamp) -> Value {
    json!({"TaskStatus": "ERROR", "CreateTime": server_now.as_millisecond(), "TaskTrigger": "PASSIVE"})
}

struct Row {
    map: Map<String, Value>,
    nulls: bool,
}

impl Row {
    fn put(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => self.map.insert(name.to_owned(), value),
            None if self.nulls => self.map.insert(name.to_owned(), Value::Null),
            None => None,
        };
    }
}

fn end(image: &Image, nulls: bool) -> Value {
    let mut row = Row {
        map: Map::new(),
        nulls,
    };
    row.put("RegionId", image.region_id.as_ref().map(|v| json!(v)));
    row.put("InstanceId", image.instance_id.as_ref().map(|v| json!(v)));
    row.put(
        "RepoNamespaceName",
        image.namespace.as_ref().map(|v| json!(v)),
    );
    row.put("RepoName", image.repo.as_ref().map(|v| json!(v)));
    row.put("ImageTag", image.tag.as_ref().map(|v| json!(v)));
    Value::Object(row.map)
}
