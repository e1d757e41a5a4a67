//! What is to be delivered, as it stands in the ledger.
//!
//! A delivery is (receiver, target, group, notification). Its entries are frozen when it is
//! committed; only rendering comes later, so that a retry says what the first attempt said.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_event::{AlertItem, AlertStatus, EventId, Replay, TraceParent, digest_id};

/// The stable id of a delivery: 32 hex; the `webhook-id`, the alert's `id`, the Message-ID's left side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub String);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeliveryId {
    /// Over (receiver, target, group, event ids told, repeat number).
    ///
    /// Each event id is hashed with what it was told as: a failure that is read after a newer success
    /// of its route is told as firing and as resolved, by one event, and these are two deliveries.
    pub(crate) fn of(
        target: &Target,
        group: &BTreeMap<String, String>,
        entries: &[Entry],
        repeat: u32,
    ) -> Self {
        let repeat = repeat.to_string();
        let mut parts: Vec<Option<&str>> =
            vec![Some(target.receiver.as_str()), target.address.as_deref()];
        for (label, value) in group {
            parts.push(Some(label));
            parts.push(Some(value));
        }
        parts.push(None);
        for entry in entries {
            parts.push(Some(entry.event_id.as_str()));
            parts.push(Some(entry.item.status.as_str()));
            parts.push(Some(&entry.item.incident));
        }
        parts.push(Some(&repeat));
        Self(digest_id(parts))
    }
}

/// Where a delivery goes: a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// For mail, the one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} <{address}>", self.receiver),
            None => f.write_str(&self.receiver),
        }
    }
}

/// One condition that a delivery tells, with what only the texts for people need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// As it stands on the wire.
    pub item: AlertItem,
    /// The event that caused it.
    pub event_id: EventId,
    /// What else is to be said where no task says it; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The how many-th failing task this is while the incident is open; 1 is the first.
    pub occurrence: u32,
    /// What happened before on this route, newest first, one line each; bounded.
    #[serde(default)]
    pub history: Vec<String>,
    /// Its incident begins and ends over and over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flapping: bool,
    /// The ACR instance that was asked.
    pub instance: String,
    /// When the poller saw it: where end-to-end latency starts.
    pub observed_at: Timestamp,
    /// The poll that saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

impl Entry {
    /// Whether it tells that a condition began.
    pub(crate) fn fires(&self) -> bool {
        self.item.status == AlertStatus::Firing
    }
}

/// A delivery that is still to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Stable id.
    pub id: DeliveryId,
    /// Order of its commit; only used to keep the order within a target.
    pub seq: u64,
    /// Where to.
    pub target: Target,
    /// The labels its entries have in common.
    pub group: BTreeMap<String, String>,
    /// What it tells, frozen.
    pub entries: Vec<Entry>,
    /// True when it lists again what is open, instead of something new.
    #[serde(default)]
    pub repeat: bool,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// Attempts made.
    pub attempts: u32,
    /// Its receiver found it too large: from then on it is told in a smaller form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smaller: bool,
    /// Of one that others were merged into: their numbers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<u64>,
    /// It was part of a message that was refused: it is merged no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
    /// How the last attempt ended, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When an attempt first failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure_at: Option<Timestamp>,
    /// It tells again what was told before, because somebody asked for a replay of the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Who is told if its receiver does not take it; empty once they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Target>,
    /// The receiver that did not take it, where this one is its fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl Delivery {
    /// One that is due now, with the number `seq`: nobody tried it yet, and nobody is told in its place. `repeat`: 0, or the
    /// how many-th list of all that is open it is.
    pub(crate) fn due_now(
        target: &Target,
        (group, entries): (&BTreeMap<String, String>, &[Entry]),
        repeat: u32,
        seq: u64,
        now: Timestamp,
    ) -> Self {
        Self {
            id: DeliveryId::of(target, group, entries, repeat),
            seq,
            target: target.clone(),
            group: group.clone(),
            entries: entries.to_vec(),
            repeat: repeat > 0,
            created_at: now,
            due_at: now,
            attempts: 0,
            smaller: false,
            parts: Vec::new(),
            by_itself: false,
            last_error: None,
            first_failure_at: None,
            replay: None,
            fallback: Vec::new(),
            instead_of: None,
        }
    }

    /// The same for a fallback, under an id of its own that is the same each time; its place in the lane
    /// and its times are the caller's.
    pub(crate) fn instead(&self, target: &Target) -> Self {
        let parts = ["fallback", &self.id.0, &target.receiver];
        let parts = parts
            .map(Some)
            .into_iter()
            .chain([target.address.as_deref()]);
        Self {
            id: DeliveryId(digest_id(parts)),
            target: target.clone(),
            attempts: 0,
            smaller: false,
            parts: Vec::new(),
            by_itself: false,
            last_error: None,
            first_failure_at: None,
            fallback: Vec::new(),
            instead_of: Some(self.target.receiver.clone()),
            ..self.clone()
        }
    }

    /// The delivery as a step of the trace of its first entry that has one: the same for each attempt.
    pub(crate) fn traceparent(&self) -> Option<TraceParent> {
        let poll = self.entries.iter().find_map(|entry| entry.traceparent)?;
        let span = self.id.0.get(..16).unwrap_or_default();
        Some(poll.child(u64::from_str_radix(span, 16).unwrap_or_default()))
    }
}

/// A delivery that was made, or stood already.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) receiver: String,
    pub(crate) id: DeliveryId,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    /// The receiver took it.
    Delivered,
    /// In the dead letters, with the reason.
    Dead,
    /// Not needed any more, with the reason (its trigger is in the dead letters).
    Dropped,
    /// Told by another one, which its reason names.
    Merged,
}

/// A delivery that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closed {
    /// As it last was.
    pub delivery: Delivery,
    /// How it ended.
    pub ending: Ending,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The attempt that ended it: it has no row of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

/// How a delivery stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DeliveryState {
    Pending(Delivery),
    Over(Closed),
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Starting at 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// The HTTP status or the SMTP code of the answer; none: nothing was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The outcome's name, see [`crate::outcome::Outcome::name`].
    pub outcome: String,
    /// Status line or error, without secrets.
    pub note: String,
}
