//! One synchronization task as the simulated service keeps it.
//!
//! In: what a script or a test says ([`NewTask`]). Out: the vendor's JSON row, and what of it a
//! monitor can see ([`Shown`]). Must never happen: a row that says something else than the
//! [`Shown`] that is noted for it, because the ledger is made from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use syncbell_event::{Image, Status};

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
}

/// A task in the simulated service.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) new: NewTask,
    pub(crate) seq: u64,
    pub(crate) shown: Arc<Shown>,
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
        });
        Self { new, seq, shown }
    }

    /// The task goes on to another state.
    pub(crate) fn enter(
        &mut self,
        status: Status,
        issue: Option<String>,
        server_now: Timestamp,
        visible_at: Timestamp,
    ) {
        self.new.status = status.clone();
        self.new.issue.clone_from(&issue);
        self.shown = Arc::new(Shown {
            status,
            issue: issue.filter(|issue| !issue.is_empty()),
            modified_ms: server_now.as_millisecond(),
            version: self.shown.version + 1,
            visible_at,
            ..Shown::clone(&self.shown)
        });
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
mod tests {
    use super::*;

    fn task(new: NewTask) -> Task {
        let now = Timestamp::from_millisecond(1_572_839_133_000).unwrap();
        Task::new(new, "rst-1".to_owned(), 0, now, now)
    }

    #[test]
    fn a_row_has_every_field_of_the_vendors_page() {
        let mut new = NewTask::of("test/test", "v0.1")
            .status(Status::Success)
            .issue("NETWORK_ERROR");
        new.batch_id = Some("15DEEB56".to_owned());
        new.link_id = Some("link-1".to_owned());
        let (row, _) = row(
            &task(
                new.aged(Duration::from_secs(7))
                    .took(Duration::from_secs(7)),
            ),
            RowForm::default(),
        );
        let names: Vec<&str> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for name in [
            "ModifedTime",
            "SyncRuleId",
            "SyncTaskId",
            "TaskStatus",
            "CreateTime",
            "SyncBatchTaskId",
            "CrossUser",
            "SyncTransAccelerate",
            "TaskTrigger",
            "ImageFrom",
            "ImageTo",
            "CustomLink",
            "TaskIssue",
            "LinkId",
            "Priority",
        ] {
            assert!(names.contains(&name), "{name} is missing");
        }
        assert_eq!(row["CreateTime"], 1_572_839_126_000_i64);
        assert_eq!(row["ModifedTime"], 1_572_839_133_000_i64);
        assert_eq!(row["ImageTo"]["RegionId"], DEMO_TARGET_REGION);
        assert!(row.get("ModifiedTime").is_none());
    }

    #[test]
    fn unset_fields_are_absent_or_null() {
        let plain = task(NewTask::of("a/b", "1"));
        assert!(row(&plain, RowForm::default()).0.get("TaskIssue").is_none());
        let (nulls, shown) = row(
            &plain,
            RowForm {
                nulls: true,
                ..RowForm::default()
            },
        );
        assert!(nulls["TaskIssue"].is_null() && nulls["LinkId"].is_null());
        assert_eq!(shown, plain.shown);
    }

    #[test]
    fn an_unknown_status_is_noted_as_it_was_shown() {
        let (value, shown) = row(
            &task(NewTask::of("a/b", "1")),
            RowForm {
                unknown: true,
                ..RowForm::default()
            },
        );
        assert_eq!(value["TaskStatus"], shown.status.as_str());
        assert!(matches!(shown.status, Status::Unknown(_)));
        let failed = task(NewTask::of("a/b", "1").status(Status::Error));
        let (value, _) = row(
            &failed,
            RowForm {
                unknown: true,
                ..RowForm::default()
            },
        );
        assert_eq!(value["TaskStatus"], "ERROR");
    }

    #[test]
    fn a_task_with_a_part_missing_has_no_route() {
        let mut new = NewTask::of("a/b", "1");
        assert!(task(new.clone()).shown.route.is_some());
        new.to.as_mut().unwrap().region_id = None;
        assert_eq!(task(new).shown.route, None);
    }
}
