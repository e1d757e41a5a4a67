//! What entries, and the tasks that they are about, can be matched and grouped by. Pure.
//!
//! In: an entry, or a task. Out: the text that a label says of it; an empty one where it says nothing.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;
use syncbell_config::Matcher;
use syncbell_event::{AlertItem, Detail, Image, SyncTask};

use crate::delivery::Entry;

/// A label of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Instance,
    Rule,
    Severity,
    Status,
    Reason,
    Incident,
    ResolvedBy,
    /// Of its task.
    Task(Field),
    /// The rule gives it: `labels.NAME`.
    Given(String),
}

/// A label of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Id,
    BatchId,
    SyncRuleId,
    SyncRuleName,
    Status,
    Issue,
    Trigger,
    Priority,
    CreatedAt,
    ModifiedAt,
    CrossUser,
    CustomLink,
    LinkId,
    Accelerated,
    From(Part),
    To(Part),
    /// One that the vendor sends and this version does not know: `extra.NAME`.
    Extra(String),
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Region,
    Instance,
    Namespace,
    Repo,
    Tag,
}

const GIVEN: &str = "labels.";
const EXTRA: &str = "extra.";

impl Label {
    /// Those of entries alone, with their names in the configuration and on the wire.
    pub(crate) const OF_ENTRIES: [(&'static str, Self); 7] = [
        ("instance", Self::Instance),
        ("rule", Self::Rule),
        ("severity", Self::Severity),
        ("status", Self::Status),
        ("reason", Self::Reason),
        ("incident", Self::Incident),
        ("resolved_by", Self::ResolvedBy),
    ];

    /// The label of this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if let Some(given) = name.strip_prefix(GIVEN) {
            return Some(Self::Given(given.to_owned()));
        }
        let of_entry = Self::OF_ENTRIES
            .into_iter()
            .find(|(known, _)| *known == name);
        of_entry
            .map(|(_, label)| label)
            .or_else(|| Field::named(name).map(Self::Task))
    }

    /// Its name in the configuration and on the wire.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Given(name) => format!("{GIVEN}{name}").into(),
            Self::Task(field) => field.name(),
            of_entry => {
                let mut known = Self::OF_ENTRIES.into_iter();
                known
                    .find(|(_, label)| label == of_entry)
                    .map_or("", |(name, _)| name)
                    .into()
            }
        }
    }

    /// Its value in `entry`; empty where the entry has none.
    pub(crate) fn of(&self, entry: &Entry) -> String {
        let item = &entry.item;
        match self {
            Self::Instance => entry.instance.clone(),
            Self::Rule => item.rule.clone(),
            Self::Severity => item.severity.as_str().to_owned(),
            Self::Status => item.status.as_str().to_owned(),
            Self::Reason => item.reason.clone(),
            Self::Incident => item.incident.clone(),
            Self::ResolvedBy => {
                let by = item.resolved_by.as_ref();
                by.map(|id| id.as_str().to_owned()).unwrap_or_default()
            }
            Self::Given(name) => item.labels.get(name).cloned().unwrap_or_default(),
            Self::Task(field) => match (&item.task, field) {
                (Some(task), field) => field.of(task, item.detail.as_ref()),
                (None, Field::SyncRuleId) => item.sync_rule_id.clone().unwrap_or_default(),
                // Whoever routes by the source is told as well that nothing is seen of it.
                (None, Field::From(part)) => part.of(Some(&listed_by(item))),
                (None, _) => String::new(),
            },
        }
    }
}

impl Field {
    /// Those with one name each, as in the configuration and on the wire.
    pub(crate) const ALL: [(&'static str, Self); 24] = [
        ("task_id", Self::Id),
        ("batch_id", Self::BatchId),
        ("sync_rule_id", Self::SyncRuleId),
        ("sync_rule_name", Self::SyncRuleName),
        ("task_status", Self::Status),
        ("issue", Self::Issue),
        ("trigger", Self::Trigger),
        ("priority", Self::Priority),
        ("created_at", Self::CreatedAt),
        ("modified_at", Self::ModifiedAt),
        ("cross_user", Self::CrossUser),
        ("custom_link", Self::CustomLink),
        ("link_id", Self::LinkId),
        ("accelerated", Self::Accelerated),
        ("from.region_id", Self::From(Part::Region)),
        ("from.instance_id", Self::From(Part::Instance)),
        ("from.namespace", Self::From(Part::Namespace)),
        ("from.repo", Self::From(Part::Repo)),
        ("from.tag", Self::From(Part::Tag)),
        ("to.region_id", Self::To(Part::Region)),
        ("to.instance_id", Self::To(Part::Instance)),
        ("to.namespace", Self::To(Part::Namespace)),
        ("to.repo", Self::To(Part::Repo)),
        ("to.tag", Self::To(Part::Tag)),
    ];

    /// The field of this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if let Some(extra) = name.strip_prefix(EXTRA) {
            return Some(Self::Extra(extra.to_owned()));
        }
        let mut known = Self::ALL.into_iter();
        known
            .find(|(known, _)| *known == name)
            .map(|(_, field)| field)
    }

    fn name(&self) -> Cow<'static, str> {
        if let Self::Extra(name) = self {
            return format!("{EXTRA}{name}").into();
        }
        let mut known = Self::ALL.into_iter();
        known
            .find(|(_, field)| field == self)
            .map_or("", |(name, _)| name)
            .into()
    }

    /// Its value in `task`; empty where the task has none.
    pub(crate) fn of(&self, task: &SyncTask, detail: Option<&Detail>) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let yes = |yes: Option<bool>| yes.map(|yes| yes.to_string()).unwrap_or_default();
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        match self {
            Self::Id => task.task_id.as_str().to_owned(),
            Self::BatchId => text(&task.batch_id),
            Self::SyncRuleId => text(&task.sync_rule_id),
            Self::SyncRuleName => {
                detail.map_or_else(String::new, |detail| text(&detail.sync_rule_name))
            }
            Self::Status => task.status.as_str().to_owned(),
            Self::Issue => text(&task.issue),
            Self::Trigger => text(&task.trigger),
            Self::Priority => task.priority.map(|n| n.to_string()).unwrap_or_default(),
            Self::CreatedAt => time(task.created_at),
            Self::ModifiedAt => time(task.modified_at),
            Self::CrossUser => yes(task.cross_user),
            Self::CustomLink => yes(task.custom_link),
            Self::LinkId => text(&task.link_id),
            Self::Accelerated => yes(task.accelerated),
            Self::From(part) => part.of(task.from.as_ref()),
            Self::To(part) => part.of(task.to.as_ref()),
            Self::Extra(name) => match task.extra.get(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            },
        }
    }
}

/// A condition on an entry.
#[derive(Clone, Debug)]
pub(crate) struct Condition<L> {
    label: L,
    matcher: Matcher,
}

impl Condition<Label> {
    /// Those of the configuration, which knows every label.
    pub(crate) fn all(matchers: &[Matcher]) -> Vec<Self> {
        let of = |matcher: &Matcher| {
            let label = Label::named(&matcher.label)?;
            Some(Self {
                label,
                matcher: matcher.clone(),
            })
        };
        matchers.iter().filter_map(of).collect()
    }

    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        self.matcher.holds(&self.label.of(entry))
    }
}

/// Of a condition without a task: the instance that lists the tasks, which it copies from, and the
/// repository.
fn listed_by(item: &AlertItem) -> Image {
    let repo = item.repo.as_deref().and_then(|repo| repo.split_once('/'));
    Image {
        region_id: item.region.clone(),
        instance_id: item.instance.clone(),
        namespace: repo.map(|(namespace, _)| namespace.to_owned()),
        repo: repo.map(|(_, repo)| repo.to_owned()),
        tag: None,
    }
}

impl Part {
    fn of(self, image: Option<&Image>) -> String {
        let part = image.and_then(|image| match self {
            Self::Region => image.region_id.as_ref(),
            Self::Instance => image.instance_id.as_ref(),
            Self::Namespace => image.namespace.as_ref(),
            Self::Repo => image.repo.as_ref(),
            Self::Tag => image.tag.as_ref(),
        });
        part.cloned().unwrap_or_default()
    }
}

/// A firing entry of which these labels, `name=value` apart by spaces, say so.
#[cfg(test)]
pub(crate) fn entry_with(labels: &str) -> Entry {
    use syncbell_event::{AlertStatus, EventId, Severity, Status, TaskId};
    let mut task = SyncTask::new("", Status::Error);
    let (mut from, mut to) = (Image::default(), Image::default());
    let mut entry = Entry {
        item: AlertItem {
            incident: String::new(),
            rule: "failed".into(),
            severity: Severity::Error,
            status: AlertStatus::Firing,
            reason: String::new(),
            since: Timestamp::UNIX_EPOCH,
            summary: String::new(),
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: None,
            resolved_by: None,
            detail: None,
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
        },
        event_id: EventId(String::new()),
        message: None,
        occurrence: 1,
        history: Vec::new(),
        instance: String::new(),
        observed_at: Timestamp::UNIX_EPOCH,
        flapping: false,
        traceparent: None,
    };
    for pair in labels.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        let text = value.to_owned();
        let item = &mut entry.item;
        match name.split_once('.').unwrap_or(("", name)) {
            ("from", part) => set(&mut from, part, text),
            ("to", part) => set(&mut to, part, text),
            ("extra", name) => drop(task.extra.insert(name.into(), text.into())),
            ("labels", name) => drop(item.labels.insert(name.into(), text)),
            (_, "instance") => entry.instance = text,
            (_, "rule") => item.rule = text,
            (_, "reason") => item.reason = text,
            (_, "incident") => item.incident = text,
            (_, "resolved_by") => item.resolved_by = Some(TaskId(text)),
            (_, "task_id") => task.task_id = TaskId(text),
            (_, "batch_id") => task.batch_id = Some(text),
            (_, "sync_rule_id") => task.sync_rule_id = Some(text),
            (_, "sync_rule_name") => {
                item.detail.get_or_insert_default().sync_rule_name = Some(text);
            }
            (_, "task_status") => task.status = Status::from(text),
            (_, "issue") => task.issue = Some(text),
            (_, "trigger") => task.trigger = Some(text),
            (_, "priority") => task.priority = Some(text.parse().unwrap()),
            (_, "created_at") => task.created_at = Some(text.parse().unwrap()),
            (_, "modified_at") => task.modified_at = Some(text.parse().unwrap()),
            (_, "cross_user") => task.cross_user = Some(text == "true"),
            (_, "custom_link") => task.custom_link = Some(text == "true"),
            (_, "link_id") => task.link_id = Some(text),
            (_, "accelerated") => task.accelerated = Some(text == "true"),
            other => panic!("{other:?}"),
        }
    }
    (task.from, task.to) = (Some(from), Some(to));
    entry.item.task = Some(task);
    entry
}

#[cfg(test)]
fn set(image: &mut Image, part: &str, value: String) {
    match part {
        "region_id" => image.region_id = Some(value),
        "instance_id" => image.instance_id = Some(value),
        "namespace" => image.namespace = Some(value),
        "repo" => image.repo = Some(value),
        "tag" => image.tag = Some(value),
        other => panic!("{other}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_322_800 + second).unwrap()
    }

    #[test]
    fn every_label_has_a_name_of_its_own() {
        let fields = Field::ALL.map(|(name, field)| (name, Label::Task(field)));
        for (name, label) in Label::OF_ENTRIES.into_iter().chain(fields) {
            assert_eq!(Label::named(name), Some(label.clone()));
            assert_eq!(label.name(), name);
        }
        for name in ["labels.team", "extra.Foo"] {
            assert_eq!(Label::named(name).unwrap().name(), name);
        }
        assert_eq!(Label::named("from.tga"), None);
    }

    #[test]
    fn labels_work_without_a_task() {
        let subject = crate::decide::watch::Watch::subject("cri-a");
        let mut incident =
            crate::decide::Incident::open(crate::decide::Rule::Blind, subject, "cri-a", at(0));
        incident.notice = Some(crate::decide::Notice {
            reason: "denied".into(),
            message: None,
            since: at(0),
            event_id: syncbell_event::EventId("e".into()),
            region: Some("cn-shanghai".into()),
            summary: "cannot see cri-a".into(),
        });
        let mut entry = crate::decide::repeat_entries(&incident).remove(0);
        let of = |entry: &Entry, name: &str| Label::named(name).unwrap().of(entry);
        let expected = [
            ("instance", "cri-a"),
            ("rule", "blind"),
            ("severity", "critical"),
            ("status", "firing"),
            ("reason", "denied"),
            ("from.region_id", "cn-shanghai"),
            ("from.instance_id", "cri-a"),
            ("from.namespace", ""),
            ("to.instance_id", ""),
            ("sync_rule_id", ""),
        ];
        for (name, value) in expected {
            assert_eq!(of(&entry, name), value, "{name}");
        }
        entry.item.repo = Some("team-a/web".into());
        assert_eq!(of(&entry, "from.namespace"), "team-a");
        assert_eq!(of(&entry, "from.repo"), "web");
        entry.item.sync_rule_id = Some("crsr-1".into());
        assert_eq!(of(&entry, "sync_rule_id"), "crsr-1");
    }
}
