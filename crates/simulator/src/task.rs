//! One synchronization task as the simulated service keeps it.
//!
//! In: what a script or a test says ([`NewTask`]). Out: the vendor's JSON row, and what of it a
//! monitor can see ([`Shown`]). Must never happen: a row that says something else than the
//! [`Shown`] that is noted for it, because the ledger is made from that.

mod layers;
mod row;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use syncbell_event::{Image, Status};

pub use self::layers::{Layer, Progress};
pub use self::row::ModifiedTime;
pub(crate) use self::row::{RowForm, report, row, row_without_id};

/// The instance of [`Options::default`](crate::Options), which [`NewTask::of`] copies from.
pub const DEMO_INSTANCE: &str = "cri-demo00000000001";
/// Its region.
pub const DEMO_REGION: &str = "cn-shanghai";
/// The instance that [`NewTask::of`] copies to.
pub const DEMO_TARGET_INSTANCE: &str = "cri-demo00000000002";
/// Its region.
pub const DEMO_TARGET_REGION: &str = "cn-shenzhen";

/// A task to be added at the front of the list. All fields are public; the methods are for chains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewTask {
    /// `SyncTaskId`; absent: made up, unique.
    pub id: Option<String>,
    /// `SyncBatchTaskId`.
    pub batch_id: Option<String>,
    /// `SyncRuleId`.
    pub sync_rule_id: Option<String>,
    /// `TaskStatus`.
    pub status: Status,
    /// `TaskIssue`.
    pub issue: Option<String>,
    /// `TaskTrigger`.
    pub trigger: Option<String>,
    /// `Priority`.
    pub priority: Option<i64>,
    /// `ImageFrom`.
    pub from: Option<Image>,
    /// `ImageTo`.
    pub to: Option<Image>,
    /// `CrossUser`.
    pub cross_user: Option<bool>,
    /// `CustomLink`.
    pub custom_link: Option<bool>,
    /// `LinkId`.
    pub link_id: Option<String>,
    /// `SyncTransAccelerate`.
    pub accelerated: Option<bool>,
    /// Further fields of the row, by the vendor's names.
    pub extra: BTreeMap<String, Value>,
    /// Instances whose lists hold it; empty: the one that it copies from.
    pub listed_by: Vec<String>,
    /// How long ago it was created, on the server's clock.
    pub age_ms: u64,
    /// How long after its creation it was last modified; never later than now.
    pub took_ms: u64,
}

impl Default for NewTask {
    fn default() -> Self {
        Self {
            id: None,
            batch_id: None,
            sync_rule_id: None,
            status: Status::Pending,
            issue: None,
            trigger: Some("PASSIVE".to_owned()),
            priority: Some(3),
            from: None,
            to: None,
            cross_user: Some(false),
            custom_link: Some(false),
            link_id: None,
            accelerated: Some(true),
            extra: BTreeMap::new(),
            listed_by: Vec::new(),
            age_ms: 0,
            took_ms: 0,
        }
    }
}

impl NewTask {
    /// A PENDING task that copies `namespace/repo` with `tag` between the two demo instances.
    pub fn of(repository: &str, tag: &str) -> Self {
        let (namespace, repo) = repository
            .split_once('/')
            .unwrap_or(("library", repository));
        let image = |instance: &str, region: &str| Image {
            region_id: Some(region.to_owned()),
            instance_id: Some(instance.to_owned()),
            namespace: Some(namespace.to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
        };
        Self {
            from: Some(image(DEMO_INSTANCE, DEMO_REGION)),
            to: Some(image(DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION)),
            sync_rule_id: Some(format!("crsr-{namespace}")),
            ..Self::default()
        }
    }

    /// With this `SyncTaskId`.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// With this `TaskStatus`.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// With this `TaskIssue`.
    #[must_use]
    pub fn issue(mut self, issue: &str) -> Self {
        self.issue = Some(issue.to_owned());
        self
    }

    /// Created this long ago.
    #[must_use]
    pub fn aged(mut self, age: Duration) -> Self {
        self.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Last modified this long after it was created.
    #[must_use]
    pub fn took(mut self, took: Duration) -> Self {
        self.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// In the lists of these instances.
    #[must_use]
    pub fn listed_by(mut self, instances: &[&str]) -> Self {
        self.listed_by = instances.iter().map(|&id| id.to_owned()).collect();
        self
    }
}

/// What a monitor can see of a task in one answer, as far as a decision may depend on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) task_id: String,
    pub(crate) status: Status,
    pub(crate) issue: Option<String>,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    /// The nine parts of the image route; absent where one is missing.
    pub(crate) route: Option<String>,
    /// The task's n-th state: a later one has a greater number.
    pub(crate) version: u64,
    /// When this state could first be seen, by the real clock.
    pub(crate) visible_at: Timestamp,
    /// Of a static load, and never changed: healthy, on a route of its own, nothing to tell. The ledger
    /// leaves it out, so that a million of them cost it nothing.
    pub(crate) is_bulk: bool,
}

/// A task in the simulated service.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) new: NewTask,
    pub(crate) seq: u64,
    pub(crate) shown: Arc<Shown>,
    /// How far it came, if somebody said so; else it is made from the status.
    pub(crate) progress: Option<Progress>,
}

impl Task {
    /// `server_now` is the server's clock, `visible_at` the real one.
    pub(crate) fn new(
        new: NewTask,
        task_id: String,
        seq: u64,
        server_now: Timestamp,
        visible_at: Timestamp,
    ) -> Self {
        let now_ms = server_now.as_millisecond();
        let created_ms = now_ms.saturating_sub_unsigned(new.age_ms);
        let modified_ms = created_ms.saturating_add_unsigned(new.took_ms).min(now_ms);
        let shown = Arc::new(Shown {
            task_id,
            status: new.status.clone(),
            issue: new.issue.clone().filter(|issue| !issue.is_empty()),
            created_ms,
            modified_ms: modified_ms.max(created_ms),
            route: route(new.from.as_ref(), new.to.as_ref()),
            version: 1,
            visible_at,
            is_bulk: false,
        });
        let progress = None;
        Self {
            new,
            seq,
            shown,
            progress,
        }
    }

    /// The task goes on to another state.
    pub(crate) fn enter(
        &mut self,
        status: Status,
        issue: Option<String>,
        server_now: Timestamp,
        visible_at: Timestamp,
    ) {
        if self.new.status != status {
            self.progress = None;
        }
        self.new.status = status.clone();
        self.new.issue.clone_from(&issue);
        self.shown = Arc::new(Shown {
            status,
            issue: issue.filter(|issue| !issue.is_empty()),
            modified_ms: server_now.as_millisecond(),
            version: self.shown.version + 1,
            visible_at,
            is_bulk: false,
            ..Shown::clone(&self.shown)
        });
    }

    /// The same task, in this state from the start: no longer one of a static load that never changes.
    #[must_use]
    pub(crate) fn of_its_own(mut self, status: &Status) -> Self {
        self.new.status = status.clone();
        self.shown = Arc::new(Shown {
            status: status.clone(),
            is_bulk: false,
            ..Shown::clone(&self.shown)
        });
        self
    }

    /// Whether it passes a call's filters.
    pub(crate) fn matches(&self, filters: &Filters) -> bool {
        fn is(wanted: Option<&String>, value: Option<&String>) -> bool {
            wanted.is_none_or(|wanted| value == Some(wanted))
        }
        let from = self.new.from.as_ref();
        is(
            filters.namespace.as_ref(),
            from.and_then(|image| image.namespace.as_ref()),
        ) && is(
            filters.repo.as_ref(),
            from.and_then(|image| image.repo.as_ref()),
        ) && is(
            filters.tag.as_ref(),
            from.and_then(|image| image.tag.as_ref()),
        ) && is(filters.batch_id.as_ref(), self.new.batch_id.as_ref())
    }
}

/// What a call asks for; absent means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filters {
    pub(crate) namespace: Option<String>,
    pub(crate) repo: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) batch_id: Option<String>,
}

impl Filters {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// From instance, namespace, repo and tag to region, instance, namespace, repo and tag, as one key.
fn route(from: Option<&Image>, to: Option<&Image>) -> Option<String> {
    let (from, to) = (from?, to?);
    let parts = [
        from.instance_id.as_deref()?,
        from.namespace.as_deref()?,
        from.repo.as_deref()?,
        from.tag.as_deref()?,
        to.region_id.as_deref()?,
        to.instance_id.as_deref()?,
        to.namespace.as_deref()?,
        to.repo.as_deref()?,
        to.tag.as_deref()?,
    ];
    Some(parts.join("\u{1f}"))
}

/// `now` on a clock that is wrong by `skew`; the right time where that cannot be said.
pub(crate) fn skewed(now: Timestamp, skew: SignedDuration) -> Timestamp {
    now.checked_add(skew).unwrap_or(now)
}

#[cfg(test)]
mod tests;
