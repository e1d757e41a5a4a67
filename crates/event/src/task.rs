//! One image synchronization task, in our words.
//!
//! Comes from a row of `ListRepoSyncTask` (see `syncbell-acr`), goes into change events, the ledger
//! and alerts. Everything the vendor may leave out is an `Option`; nothing is invented.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TaskId;

/// One synchronization task as the vendor last showed it.
///
/// Absent fields were absent, null or empty in the answer. Times are RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncTask {
    /// The vendor's `SyncTaskId`; any text.
    pub task_id: TaskId,
    /// `SyncBatchTaskId`: the tasks of one image that met several rules share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// `SyncRuleId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_rule_id: Option<String>,
    /// `TaskStatus`, unknown values as they came.
    pub status: Status,
    /// `TaskIssue`; an empty text is no issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// `TaskTrigger`: PASSIVE (by a rule) or INITIATIVE (by hand).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// `Priority`, 1 to 5, larger first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// `CreateTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created_at: Option<Timestamp>,
    /// The later of `ModifedTime` (the vendor's spelling) and `ModifiedTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub modified_at: Option<Timestamp>,
    /// `ImageFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Image>,
    /// `ImageTo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Image>,
    /// `CrossUser`: the target belongs to another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_user: Option<bool>,
    /// `CustomLink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_link: Option<bool>,
    /// `LinkId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_id: Option<String>,
    /// `SyncTransAccelerate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerated: Option<bool>,
    /// Vendor fields that this version does not know, as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Value>,
}

impl SyncTask {
    /// A task of which only the id and the status are known.
    pub fn new(task_id: impl Into<TaskId>, status: Status) -> Self {
        Self {
            task_id: task_id.into(),
            batch_id: None,
            sync_rule_id: None,
            status,
            issue: None,
            trigger: None,
            priority: None,
            created_at: None,
            modified_at: None,
            from: None,
            to: None,
            cross_user: None,
            custom_link: None,
            link_id: None,
            accelerated: None,
            extra: BTreeMap::new(),
        }
    }

    /// Whether it went well: SUCCESS and no issue. Only this ends an incident's cause.
    pub fn is_well(&self) -> bool {
        self.status == Status::Success && self.issue.is_none()
    }

    /// The later of created and modified: when this state came to be, as far as the vendor says.
    pub fn touched_at(&self) -> Option<Timestamp> {
        self.created_at.max(self.modified_at)
    }

    /// The image route, if every part of it is known.
    pub fn route(&self) -> Option<Route> {
        Route::of(self.from.as_ref()?, self.to.as_ref()?)
    }
}

/// The vendor's `TaskStatus`. JSON: the vendor's own word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Status {
    /// Waiting to start.
    Pending,
    /// Copying.
    Synchronizing,
    /// Done; may still carry an issue.
    Success,
    /// Failed.
    Error,
    /// Called off by a person.
    Canceled,
    /// A value this version does not know, as it came.
    Unknown(String),
}

/// Whether a task can still change by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// PENDING, SYNCHRONIZING and unknown values.
    Open,
    /// SUCCESS, ERROR, CANCELED.
    Final,
}

impl Status {
    /// Open or final, by the design's letter.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Pending | Self::Synchronizing | Self::Unknown(_) => Phase::Open,
            Self::Success | Self::Error | Self::Canceled => Phase::Final,
        }
    }

    /// The vendor's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Synchronizing => "SYNCHRONIZING",
            Self::Success => "SUCCESS",
            Self::Error => "ERROR",
            Self::Canceled => "CANCELED",
            Self::Unknown(other) => other,
        }
    }
}

impl From<String> for Status {
    fn from(word: String) -> Self {
        match word.as_str() {
            "PENDING" => Self::Pending,
            "SYNCHRONIZING" => Self::Synchronizing,
            "SUCCESS" => Self::Success,
            "ERROR" => Self::Error,
            "CANCELED" => Self::Canceled,
            _ => Self::Unknown(word),
        }
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        match status {
            Status::Unknown(other) => other,
            known => known.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One end of a synchronization: an image in an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// `RegionId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// `InstanceId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `RepoNamespaceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `RepoName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// `ImageTag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl Image {
    /// `namespace/repo:tag`, with `?` for what is not known.
    pub fn name(&self) -> String {
        let part = |p: &Option<String>| p.clone().unwrap_or_else(|| "?".to_owned());
        format!(
            "{}/{}:{}",
            part(&self.namespace),
            part(&self.repo),
            part(&self.tag)
        )
    }

    /// `instance` or `region/instance`, with `?` for what is not known.
    pub fn place(&self) -> String {
        let instance = self.instance_id.as_deref().unwrap_or("?");
        match &self.region_id {
            Some(region) => format!("{region}/{instance}"),
            None => instance.to_owned(),
        }
    }
}

/// From which image to which image: what an incident is about, beside its rule.
///
/// Complete by construction: instance, namespace, repo and tag of the source; region, instance,
/// namespace, repo and tag of the target. A task with a part missing has no route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route(Vec<String>);

impl Route {
    fn of(from: &Image, to: &Image) -> Option<Self> {
        [
            &from.instance_id,
            &from.namespace,
            &from.repo,
            &from.tag,
            &to.region_id,
            &to.instance_id,
            &to.namespace,
            &to.repo,
            &to.tag,
        ]
        .into_iter()
        .cloned()
        .collect::<Option<Vec<_>>>()
        .map(Self)
    }

    /// The nine parts in order, for hashing.
    pub fn parts(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_statuses_are_kept_and_open() {
        let status: Status = serde_json::from_str("\"PAUSED\"").unwrap();
        assert_eq!(status, Status::Unknown("PAUSED".to_owned()));
        assert_eq!(status.phase(), Phase::Open);
        assert_eq!(serde_json::to_string(&status).unwrap(), "\"PAUSED\"");
    }

    #[test]
    fn a_missing_part_means_no_route() {
        let full = Image {
            region_id: Some("cn-shanghai".into()),
            instance_id: Some("cri-a".into()),
            namespace: Some("ns".into()),
            repo: Some("r".into()),
            tag: Some("1".into()),
        };
        let mut task = SyncTask::new("rst-1", Status::Error);
        assert_eq!(task.route(), None);
        task.from = Some(full.clone());
        task.to = Some(full.clone());
        let route = task.route().unwrap();
        assert_eq!(route.parts().len(), 9);
        // The source's region is not part of a route, by the design.
        task.from = Some(Image {
            region_id: None,
            ..full.clone()
        });
        assert_eq!(task.route(), Some(route));
        task.to = Some(Image {
            region_id: None,
            ..full
        });
        assert_eq!(task.route(), None);
    }
}
