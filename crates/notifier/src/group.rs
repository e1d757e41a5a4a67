//! Grouping: which entries go out together, and when. Pure.
//!
//! One mechanism for all merging. A group is (receiver, labels). The first entry of a quiet group goes
//! at once (after `group_wait`, which is 0 by default); what follows waits until `group_interval` after
//! the last notification; a receiver gets at most `cap` notifications a minute; what stays open is told
//! again after `repeat_interval`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{AlertItem, Image, SyncTask, digest_id};

use crate::delivery::Entry;

/// Incidents whose end a group waits for before it stops repeating; more are not repeated.
const OPEN_LIMIT: usize = 1_000;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// How a receiver wants to be told.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// `None`: each entry is a notification of its own, at once, without a cap and never repeated.
    pub(crate) group_by: Option<Vec<Label>>,
    pub(crate) group_wait: Duration,
    pub(crate) group_interval: Duration,
    pub(crate) repeat_interval: Duration,
    /// Notifications a minute.
    pub(crate) cap: usize,
}

impl Policy {
    /// Generic webhooks: `group_by: [...]`, no wait, no cap.
    pub(crate) fn each() -> Self {
        Self {
            group_by: None,
            cap: usize::MAX,
            ..Self::people()
        }
    }

    /// Mail and chat: by instance and rule, 1 m, 10 a minute, repeated after 24 h.
    pub(crate) fn people() -> Self {
        Self {
            group_by: Some(vec![Label::Instance, Label::Rule]),
            group_wait: Duration::ZERO,
            group_interval: Duration::from_mins(1),
            repeat_interval: Duration::from_hours(24),
            cap: 10,
        }
    }
}

/// What entries can be grouped and matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Instance,
    Rule,
    Severity,
    Status,
    Reason,
    Incident,
    SyncRule,
    From(Part),
    To(Part),
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

impl Label {
    /// All labels with their names in the configuration and on the wire.
    pub(crate) const ALL: [(&'static str, Self); 17] = [
        ("instance", Self::Instance),
        ("rule", Self::Rule),
        ("severity", Self::Severity),
        ("status", Self::Status),
        ("reason", Self::Reason),
        ("incident", Self::Incident),
        ("sync_rule_id", Self::SyncRule),
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

    /// The label of this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, label)| *label)
    }

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, label)| *label == self)
            .map_or("", |(name, _)| *name)
    }

    /// Its value in `entry`; empty where the entry has none.
    pub(crate) fn of(self, entry: &Entry) -> String {
        let item = &entry.item;
        let task = item.task.as_ref();
        match self {
            Self::Instance => entry.instance.clone(),
            Self::Rule => item.rule.clone(),
            Self::Severity => item.severity.as_str().to_owned(),
            Self::Status => item.status.as_str().to_owned(),
            Self::Reason => item.reason.clone(),
            Self::Incident => item.incident.clone(),
            Self::SyncRule => task
                .map_or(&item.sync_rule_id, |task| &task.sync_rule_id)
                .clone()
                .unwrap_or_default(),
            // Whoever routes by the source is told as well that nothing is seen of it.
            Self::From(part) if task.is_none() => part.of(Some(&listed_by(item))),
            Self::From(part) => part.of(task.and_then(|t: &SyncTask| t.from.as_ref())),
            Self::To(part) => part.of(task.and_then(|t: &SyncTask| t.to.as_ref())),
        }
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

/// The values of `labels` in `entry`.
pub(crate) fn labels(labels: &[Label], entry: &Entry) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|label| (label.name().to_owned(), label.of(entry)))
        .collect()
}

/// 32 hex that stand for a group's labels.
pub(crate) fn digest(labels: &BTreeMap<String, String>) -> String {
    digest_id(
        labels
            .iter()
            .flat_map(|(name, value)| [Some(name.as_str()), Some(value.as_str())]),
    )
}

/// A group as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) receiver: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Entries that wait in rows of their own.
    pub(crate) waiting: u64,
    pub(crate) notified_at: Option<Timestamp>,
    /// When what waits is due.
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) repeat_at: Option<Timestamp>,
    pub(crate) repeats: u32,
    /// Incidents told as firing and not yet as resolved.
    pub(crate) open: BTreeSet<String>,
}

impl Group {
    pub(crate) fn new(receiver: &str, labels: BTreeMap<String, String>) -> Self {
        Self {
            receiver: receiver.to_owned(),
            labels,
            waiting: 0,
            notified_at: None,
            due_at: None,
            repeat_at: None,
            repeats: 0,
            open: BTreeSet::new(),
        }
    }

    /// One entry came. Gives when the group is due now.
    pub(crate) fn add(&mut self, policy: &Policy, now: Timestamp) -> Timestamp {
        self.waiting += 1;
        let due = self.due_at.unwrap_or_else(|| {
            let wait = after(now, policy.group_wait);
            let interval = self.notified_at.map(|at| after(at, policy.group_interval));
            // A clock that was set back must not hold a group for longer than its interval.
            interval.map_or(wait, |at| {
                wait.max(at.min(after(now, policy.group_interval)))
            })
        });
        self.due_at = Some(due);
        due
    }

    /// `told` went out, `left` entries still wait.
    pub(crate) fn notified(&mut self, told: &[Entry], left: u64, policy: &Policy, now: Timestamp) {
        self.waiting = left;
        self.notified_at = Some(now);
        self.due_at = (left > 0).then(|| after(now, policy.group_interval));
        for entry in told {
            if entry.fires() {
                if self.open.len() < OPEN_LIMIT {
                    self.open.insert(entry.item.incident.clone());
                }
            } else {
                self.open.remove(&entry.item.incident);
            }
        }
        self.repeat_at = (!self.open.is_empty()).then(|| after(now, policy.repeat_interval));
    }

    /// Whether nothing waits in it and nothing is open: it may be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.open.is_empty() && self.wakes_at().is_none()
    }

    /// When it next wants to be looked at.
    pub(crate) fn wakes_at(&self) -> Option<Timestamp> {
        self.due_at.into_iter().chain(self.repeat_at).min()
    }
}

/// When a receiver was notified within the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recent {
    sent_at: Vec<Timestamp>,
}

impl Recent {
    /// Now, or when the cap next allows a notification.
    pub(crate) fn allows_at(&self, cap: usize, now: Timestamp) -> Timestamp {
        let within = |at: &&Timestamp| **at <= now && now.duration_since(**at) < MINUTE;
        let recent: Vec<_> = self.sent_at.iter().filter(within).collect();
        match recent.len().checked_sub(cap) {
            Some(over) => recent[over].saturating_add(MINUTE).unwrap_or(now),
            None => now,
        }
    }

    /// Notes a notification.
    pub(crate) fn note(&mut self, cap: usize, now: Timestamp) {
        self.sent_at
            .retain(|at| *at <= now && now.duration_since(*at) < MINUTE);
        self.sent_at.push(now);
        let over = self.sent_at.len().saturating_sub(cap);
        self.sent_at.drain(..over);
    }
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_322_800 + second).unwrap()
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_waits_for_the_interval() {
        let policy = Policy::people();
        let mut group = Group::new("mail", BTreeMap::new());
        assert_eq!(group.add(&policy, at(0)), at(0));
        group.notified(&[], 0, &policy, at(0));
        assert_eq!(group.add(&policy, at(10)), at(60));
        assert_eq!(group.add(&policy, at(20)), at(60));
        group.notified(&[], 0, &policy, at(60));
        assert_eq!(group.add(&policy, at(500)), at(500), "quiet again");
    }

    #[test]
    fn a_clock_set_back_holds_a_group_for_its_interval_at_most() {
        let policy = Policy::people();
        let mut group = Group::new("mail", BTreeMap::new());
        group.notified(&[], 0, &policy, at(7_200));
        assert_eq!(group.add(&policy, at(0)), at(60));
    }

    #[test]
    fn the_cap_counts_the_last_minute() {
        let mut recent = Recent::default();
        for second in 0..10 {
            assert_eq!(recent.allows_at(10, at(second)), at(second));
            recent.note(10, at(second));
        }
        assert_eq!(recent.allows_at(10, at(30)), at(60));
        assert_eq!(recent.allows_at(10, at(60)), at(60));
        recent.note(10, at(60));
        assert_eq!(recent.allows_at(10, at(60)), at(61));
    }

    #[test]
    fn every_label_has_a_name_of_its_own() {
        for (name, label) in Label::ALL {
            assert_eq!(Label::named(name), Some(label));
            assert_eq!(label.name(), name);
        }
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
