//! The JSON Schema of the events and of the alert, made from the types.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::{Alert, Failing, Recovered, Swept, TaskData};

/// What `data` may be, by `type`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum EventData {
    /// `dev.syncbell.sync-task.{snapshot,created,updated,vanished}.v1`
    Task(Box<TaskData>),
    /// `dev.syncbell.watch.swept.v1`
    Swept(Swept),
    /// `dev.syncbell.watch.failing.v1`
    Failing(Failing),
    /// `dev.syncbell.watch.recovered.v1`
    Recovered(Recovered),
}

/// A CloudEvents 1.0 event of the log.
#[derive(JsonSchema)]
#[schemars(title = "Syncbell change event v1")]
#[expect(dead_code, reason = "only its schema is used")]
struct EventV1 {
    /// Always `1.0`.
    specversion: String,
    /// 32 hex; the same for the same transition.
    id: String,
    /// `/acr/{region}/{instance-id}`
    source: String,
    /// `dev.syncbell.…v1`
    #[schemars(rename = "type")]
    kind: String,
    /// The SyncTaskId; of watch events, the instance id.
    subject: String,
    /// RFC 3339: when it was observed.
    time: String,
    /// Always `application/json`.
    datacontenttype: String,
    /// The poll that found it, as W3C Trace Context writes it.
    traceparent: Option<String>,
    /// By type.
    data: EventData,
}

/// The schema of the events on the log.
pub fn event() -> Value {
    schema_for!(EventV1).to_value()
}

/// The schema of the alert that a webhook receives.
pub fn alert() -> Value {
    schema_for!(Alert).to_value()
}
