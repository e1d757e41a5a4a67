//! Grouping: which entries go out together, and when. Pure.
//!
//! One mechanism for all merging. A group is (receiver, route, labels). The first entry of a quiet group goes
//! at once (after `group_wait`, which is 0 by default); what follows waits until `group_interval` after
//! the last notification; a receiver gets at most `cap` notifications a minute; what stays open is told
//! again after `repeat_interval`. What flaps is in a group of its own, with a longer interval.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::digest_id;

use crate::delivery::Entry;
use crate::label::Label;

/// Incidents whose end a group waits for before it stops repeating, as many as one notification holds; more are not
/// repeated.
const OPEN_LIMIT: usize = 2_000;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// The label of groups of what flaps.
pub(crate) const FLAPPING: &str = "flapping";

/// The label of groups of what another receiver did not take: its name.
pub(crate) const INSTEAD_OF: &str = "instead_of";

/// The label with its address, where that is mail.
pub(crate) const ADDRESS: &str = "address";

/// A group: (receiver, digest of its route and labels).
pub(crate) type GroupKey = (String, String);

/// How a receiver wants to be told.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// `None`: each entry is a notification of its own, at once, without a cap and never repeated.
    pub(crate) group_by: Option<Vec<Label>>,
    pub(crate) group_wait: Duration,
    pub(crate) group_interval: Duration,
    pub(crate) repeat_interval: Duration,
    /// Instead of `group_interval`, where what is told flaps; none: it makes no difference.
    pub(crate) flapping_interval: Option<Duration>,
    /// Notifications a minute.
    pub(crate) cap: usize,
}

impl Policy {
    /// Generic webhooks: `group_by: [...]`, no wait, no cap.
    pub(crate) fn each() -> Self {
        Self {
            group_by: None,
            cap: usize::MAX,
            flapping_interval: None,
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
            flapping_interval: Some(Duration::from_mins(30)),
            cap: 10,
        }
    }

    /// With a lower cap, where the receiver takes less in a minute.
    pub(crate) fn within(self, a_minute: usize) -> Self {
        Self {
            cap: self.cap.min(a_minute),
            ..self
        }
    }

    /// Between two notifications of a group of these labels.
    fn interval(&self, labels: &BTreeMap<String, String>) -> Duration {
        let flapping = self.flapping_interval;
        let flapping = flapping.filter(|_| labels.contains_key(FLAPPING));
        self.group_interval.max(flapping.unwrap_or_default())
    }
}

/// The values of `labels` in `entry`. What its end alone says differently is none of them: an end goes with its
/// beginning, which it might overtake in a group of its own.
pub(crate) fn labels(labels: &[Label], entry: &Entry) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|label| !matches!(label, Label::Status | Label::ResolvedBy))
        .map(|label| (label.name().into_owned(), label.of(entry)))
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

/// The path of the topmost route.
pub(crate) const TOP: &str = "route";

/// 32 hex that stand for a group of the route of this path. Of the topmost one it is that of the labels
/// alone, as it was before there was a tree: the groups of such a ledger go on.
pub(crate) fn group_digest(route: &str, labels: &BTreeMap<String, String>) -> String {
    if route == TOP {
        return digest(labels);
    }
    let pairs = labels.iter().flat_map(|(name, value)| [name, value]);
    let parts = ["route", route]
        .into_iter()
        .chain(pairs.map(String::as_str));
    digest_id(parts.map(Some))
}

/// A group as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) receiver: String,
    /// The route that leads to it, none of the topmost: so were they before there was a tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
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
    pub(crate) fn new(receiver: &str, route: &str, labels: BTreeMap<String, String>) -> Self {
        Self {
            receiver: receiver.to_owned(),
            route: (route != TOP).then(|| route.to_owned()),
            labels,
            waiting: 0,
            notified_at: None,
            due_at: None,
            repeat_at: None,
            repeats: 0,
            open: BTreeSet::new(),
        }
    }

    /// The path of its route.
    pub(crate) fn route(&self) -> &str {
        self.route.as_deref().unwrap_or(TOP)
    }

    /// 32 hex that stand for it beside its receiver.
    pub(crate) fn digest(&self) -> String {
        group_digest(self.route(), &self.labels)
    }

    /// One entry came. Gives when the group is due now.
    pub(crate) fn add(&mut self, policy: &Policy, now: Timestamp) -> Timestamp {
        self.waiting += 1;
        self.due(policy, now)
    }

    /// An entry came: when the group is due now.
    pub(crate) fn due(&mut self, policy: &Policy, now: Timestamp) -> Timestamp {
        let interval = policy.interval(&self.labels);
        let due = self.due_at.unwrap_or_else(|| {
            let wait = after(now, policy.group_wait);
            let next = self.notified_at.map(|at| after(at, interval));
            // A clock that was set back must not hold a group for longer than its interval.
            next.map_or(wait, |at| wait.max(at.min(after(now, interval))))
        });
        self.due_at = Some(due);
        due
    }

    /// `told` went out, `left` entries still wait.
    pub(crate) fn notified(&mut self, told: &[Entry], left: u64, policy: &Policy, now: Timestamp) {
        self.waiting = left;
        self.notified_at = Some(now);
        let interval = policy.interval(&self.labels);
        self.due_at = (left > 0).then(|| after(now, interval));
        // A fallback is told once: what goes on is repeated to whom it was for.
        let repeats = !self.labels.contains_key(INSTEAD_OF);
        for entry in told.iter().filter(|_| repeats) {
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

    /// What waited went out, each by itself: such groups only wait. `left` entries still do.
    pub(crate) fn flushed(&mut self, left: u64, now: Timestamp) {
        self.waiting = left;
        self.notified_at = Some(now);
        self.due_at = (left > 0).then_some(now);
        self.repeat_at = None;
        self.open.clear();
    }

    /// So many entries left it: they wait elsewhere, or are told with others.
    pub(crate) fn withdraw(&mut self, n_entries: u64) {
        self.waiting = self.waiting.saturating_sub(n_entries);
        if self.waiting == 0 {
            self.due_at = None;
        }
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
        let mut group = Group::new("mail", TOP, BTreeMap::new());
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
        let mut group = Group::new("mail", TOP, BTreeMap::new());
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

    /// Of two routes to one receiver each has groups of its own.
    #[test]
    fn a_group_belongs_to_its_route() {
        let labels = BTreeMap::from([("rule".to_owned(), "failed".to_owned())]);
        let of = |route| Group::new("mail", route, labels.clone()).digest();
        let paths = [TOP, "route.routes[0]", "route.routes[1]"];
        let digests: std::collections::BTreeSet<String> = paths.map(of).into();
        assert_eq!(digests.len(), 3);
        assert_eq!(of(TOP), digest(&labels), "as before there was a tree");
        let before = r#"{"receiver":"mail","labels":{"rule":"failed"},"waiting":0,"notified_at":null,
            "due_at":null,"repeat_at":null,"repeats":0,"open":[]}"#;
        let group: Group = serde_json::from_str(before).unwrap();
        assert_eq!((group.route(), group.digest()), (TOP, digest(&labels)));
    }
}
