//! The alert on the wire: the CloudEvent that a generic webhook receives, and that
//! `syncbell deliveries show` prints.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Detail, SyncTask, TaskId};

/// How grave a condition is; ordered, `Critical` is the gravest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it in working hours.
    Warning,
    /// Something failed.
    Error,
    /// Syncbell cannot see.
    Critical,
}

impl Severity {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Whether a condition begins or ends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// It is so.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertStatus {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One condition in an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertItem {
    /// 32 hex of rule and route: the same for each time this route breaks this rule.
    pub incident: String,
    /// The rule: `failed`, `issue`, `stuck`, `vanished`, `unknown_status`, `canceled`, `slow` of a task;
    /// `blind`, `silent` of an instance; or the name of one that the configuration adds.
    pub rule: String,
    /// How grave it is.
    pub severity: Severity,
    /// Begins or ends.
    pub status: AlertStatus,
    /// The task's issue, else its status. Of `blind` the class of the failure: `denied`, `throttled`, ... as
    /// the poller says, or `silent_poller`, `never_heard`, `log_lost`. Of `silent`: `nothing_ran`.
    pub reason: String,
    /// The task's modified time, else when it was observed. Of `blind`, since when the instance cannot be
    /// seen; of `silent`, since when nothing ran.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// One line for people.
    pub summary: String,
    /// Without a task: the ACR instance that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Without a task: the instance's region, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Of `silent`: the sync rule of which nothing ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_rule_id: Option<String>,
    /// Of `silent`: the repository of which nothing ran, `namespace/repo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The failed task, also when resolved. `blind` and `silent` have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<SyncTask>,
    /// When resolved: the task that went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<TaskId>,
    /// What else the poller found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// What the rule gives for machines: routes match it as `labels.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the rule gives for people: a runbook, a hint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// That an alert tells again what was told before: somebody asked what the rules of now make of the events of
/// before. Nothing happened anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The events since this time were replayed.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// When it would have been decided.
    #[schemars(with = "String")]
    pub of: Timestamp,
    /// When the replay was asked for.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// What an alert carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertData {
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// The labels that the alerts have in common, as grouped by.
    pub group: BTreeMap<String, String>,
    /// The conditions told.
    pub alerts: Vec<AlertItem>,
    /// How many were left out for size.
    pub more: u64,
    /// It is a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// The receiver that did not take it, where this one is its fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// A CloudEvent of type `dev.syncbell.alert.{firing,resolved}.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Always `1.0`.
    pub specversion: String,
    /// The delivery's stable id, also the `webhook-id` header.
    pub id: String,
    /// Always `/syncbell`.
    pub source: String,
    /// `dev.syncbell.alert.firing.v1` or `dev.syncbell.alert.resolved.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the notification was decided.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What is told.
    pub data: AlertData,
}

impl Alert {
    /// Wraps `data`. It is `firing` if anything in it fires.
    pub fn new(id: String, time: Timestamp, data: AlertData) -> Self {
        let fires = data
            .alerts
            .iter()
            .any(|item| item.status == AlertStatus::Firing);
        let status = if fires {
            AlertStatus::Firing
        } else {
            AlertStatus::Resolved
        };
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: "/syncbell".to_owned(),
            kind: format!("dev.syncbell.alert.{}.v1", status.as_str()),
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }
}
