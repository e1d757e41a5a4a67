//! The trail that each event leaves: what it was taken for, and what became of each condition that it raised or ended.
//!
//! In: an event that is decided, the fate of an entry; a draft. Out: the trails of a turn, in one row or few. Whoever asks
//! for an event, a task or an incident looks through all of them: that is rare, and a row for each event costs more than
//! all else that it leaves. What becomes of an event in a later turn is another trail of it.
//! A trail is bounded in its fates, all of them in number and bytes (`retention.rs`).
//!
//! Must never happen: a trail that decides anything. Without it the same is told.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use syncbell_event::{AlertStatus, EventId, Kind, SyncTask};
use syncbell_store::Error;

use crate::decide::{Decision, Incident, Rule};
use crate::delivery::{DeliveryId, Entry, Made};
use crate::draft::Draft;
use crate::group;
use crate::hold::Holder;
use crate::route::Recipient;
use crate::rows;
use crate::setup::Setup;

/// Fates of one trail; what comes beyond is counted.
const FATES_LIMIT: usize = 24;

/// Incidents of fates that are left out.
const MORE_INCIDENTS_LIMIT: usize = 1_000;

/// Texts of others are cut.
const TEXT_CHARS: usize = 120;

/// Trails of one turn are put into rows of so many bytes, or a little more.
const ROW_BYTES: usize = 16 * 1024;

/// What an event meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trail {
    /// What stands for its event ([`digits`]).
    pub(crate) event: String,
    /// `created`, `updated`, `vanished`, `snapshot`; `swept`, `failing`, `recovered`. Empty: it says what became of the
    /// event later, or of what no event but the time caused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) what: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) instance: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<Why>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fates: Vec<Fate>,
    /// Fates that are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) more: u32,
    /// Their incidents.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) more_incidents: BTreeSet<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why an event of a task was told, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// It raised or ended conditions that are to be told.
    Told,
    /// Something newer was known of the task: it changed nothing.
    Stale,
    /// It breaks the rule that the task was known to break.
    Known,
    /// It says how things stood before anybody watched.
    Snapshot,
    /// It breaks no rule that is on, and ended nothing.
    NoRule,
    /// It ended what others hold open, or what was never told.
    UntoldEnd,
}

impl Why {
    /// For people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Told => "to be told",
            Self::Stale => "not told: something newer was known of the task",
            Self::Known => "not told: the task was known to be so",
            Self::Snapshot => "not told: it says how things stood when watching began",
            Self::NoRule => "not told: it breaks no rule that is on",
            Self::UntoldEnd => {
                "not told: it ended what other tasks hold open, or what was never told"
            }
        }
    }

    /// Of what was decided about an event of `kind`.
    fn of(decision: &Decision, kind: Kind, causes_before: usize) -> Self {
        let Some(task) = &decision.task else {
            return Self::Stale;
        };
        if !decision.told.is_empty() {
            Self::Told
        } else if task.broken.is_some() && kind == Kind::Snapshot {
            Self::Snapshot
        } else if task.broken.is_some() {
            Self::Known
        } else if causes(&decision.incidents) < causes_before {
            Self::UntoldEnd
        } else {
            Self::NoRule
        }
    }
}

/// How many tasks hold these open.
pub(crate) fn causes(incidents: &[Incident]) -> usize {
    incidents.iter().map(|incident| incident.causes.len()).sum()
}

/// What became of one entry, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fate {
    pub(crate) at: Timestamp,
    pub(crate) incident: String,
    pub(crate) rule: String,
    pub(crate) status: AlertStatus,
    /// Under which id it is delivered, if that is not the event's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<EventId>,
    pub(crate) ending: Ending,
}

/// How far an entry came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// On its ways to these; none: no route takes it.
    Told(Vec<Way>),
    /// Kept while this goes on.
    Held(Holder),
    /// Over before it could be told; or the end of what nobody was told.
    Over,
    /// The ledger before this one told it.
    Before,
}

/// A receiver that an entry is routed to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) receiver: String,
    /// Its place in the configuration, such as `route.routes[1]`.
    #[serde(default)]
    pub(crate) route: String,
    /// The group in which it goes out, if it is not told by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Those that were made at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<DeliveryId>,
}

/// The event that is decided now, with its trail so far.
#[derive(Clone, Debug)]
pub(crate) struct Deciding {
    event_id: EventId,
    trail: Trail,
}

/// As much of `text` as a trail keeps.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

impl Deciding {
    pub(crate) fn new(event_id: &EventId, what: &str, instance: &str) -> Self {
        Self {
            event_id: event_id.clone(),
            trail: Trail {
                event: digits(event_id),
                what: what.to_owned(),
                instance: instance.to_owned(),
                ..Trail::default()
            },
        }
    }

    /// It is of `task`.
    pub(crate) fn of_task(&mut self, task: &SyncTask) {
        self.trail.task = Some(short(task.task_id.as_str()));
        self.trail.status = Some(short(task.status.as_str()));
        self.trail.issue = task.issue.as_deref().map(short);
    }

    /// What was decided of it; there were so many causes before.
    pub(crate) fn decided(&mut self, decision: &Decision, kind: Kind, causes_before: usize) {
        self.trail.rule = decision.task.as_ref().and_then(|task| task.broken);
        self.trail.why = Some(Why::of(decision, kind, causes_before));
    }
}

/// What a change of this kind is called.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Snapshot => "snapshot",
        Kind::Created => "created",
        Kind::Updated => "updated",
        Kind::Vanished => "vanished",
    }
}

/// The ways of `entry`, on which these deliveries were made at once.
pub(crate) fn ways(setup: &Setup, entry: &Entry, made: &[Made]) -> Vec<Way> {
    let way = |recipient: &Recipient| {
        let by = recipient.policy.group_by.as_ref();
        let labels = by.map(|by| group::labels(by, entry));
        Way {
            receiver: recipient.name.clone(),
            route: recipient.path.clone(),
            group: labels.map(|labels| group::group_digest(&recipient.path, &labels)),
            deliveries: made
                .iter()
                .filter(|made| made.receiver == recipient.name)
                .map(|made| made.id.clone())
                .collect(),
        }
    };
    setup.routes.of(entry).into_iter().map(way).collect()
}

/// Notes what became of `entry`: in the trail of the event that is decided if it is of that, or of no event and no task;
/// else in one of its own.
pub(crate) fn note(
    draft: &mut Draft<'_>,
    deciding: Option<&mut Deciding>,
    entry: &Entry,
    ending: Ending,
    now: Timestamp,
) -> Result<(), Error> {
    let mut fate = Fate {
        at: now,
        incident: entry.item.incident.clone(),
        rule: entry.item.rule.clone(),
        status: entry.item.status,
        event_id: None,
        ending,
    };
    let own = deciding
        .as_ref()
        .is_some_and(|it| it.event_id == entry.event_id);
    match deciding {
        Some(deciding) if own => deciding.trail.add(fate),
        // What a heartbeat says of many tasks stands in trails of their own.
        Some(deciding) if entry.item.task.is_none() && !draft.was_read(&entry.event_id)? => {
            fate.event_id = Some(entry.event_id.clone());
            deciding.trail.add(fate);
        }
        _ => draft.trails.note(entry, fate, now),
    }
    Ok(())
}

/// Writes the trail of the event that was decided. A heartbeat at which nothing was told leaves none.
pub(crate) fn write(draft: &mut Draft<'_>, deciding: Option<Deciding>, now: Timestamp) {
    let Some(Deciding { trail, .. }) = deciding else {
        return;
    };
    if trail.why.is_some() || !trail.fates.is_empty() {
        draft.trails.put(trail, now);
    }
}

/// What stands for an event in its trails.
pub(crate) fn digits(event: &EventId) -> String {
    rows::hex(&rows::event_digest(event))
}

/// The trails that one turn leaves. What comes later of an event is another trail of it: none that stands is changed.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    made: Vec<Trail>,
    /// Where the one of an event is.
    by_event: HashMap<String, usize>,
    at: Timestamp,
}

impl Trails {
    fn put(&mut self, trail: Trail, now: Timestamp) {
        self.at = self.at.max(now);
        self.by_event.insert(trail.event.clone(), self.made.len());
        self.made.push(trail);
    }

    fn note(&mut self, entry: &Entry, fate: Fate, now: Timestamp) {
        let event = digits(&entry.event_id);
        if let Some(known) = self.by_event.get(&event) {
            self.made[*known].add(fate);
            return;
        }
        let task = entry.item.task.as_ref();
        let mut trail = Trail {
            event,
            instance: entry.instance.clone(),
            task: task.map(|task| short(task.task_id.as_str())),
            status: task.map(|task| short(task.status.as_str())),
            issue: task.and_then(|task| task.issue.as_deref().map(short)),
            ..Trail::default()
        };
        trail.add(fate);
        self.put(trail, now);
    }

    /// The values of rows, in order, none much larger than it has to be: [`read`] reads them.
    pub(crate) fn into_rows(self) -> Vec<Vec<u8>> {
        let begun = rows::second_bytes(self.at);
        let mut rows: Vec<Vec<u8>> = Vec::new();
        for trail in &self.made {
            let json = rows::json(trail);
            match rows.last_mut() {
                Some(row) if row.len() + json.len() < ROW_BYTES => row.push(b','),
                _ => rows.push([begun.as_slice(), b"["].concat()),
            }
            if let Some(row) = rows.last_mut() {
                row.extend(json);
            }
        }
        for row in &mut rows {
            row.push(b']');
        }
        rows
    }
}

/// When the trails in a row were made, and these, the oldest first; none if the row is of another version.
pub(crate) fn read(row: &[u8]) -> Option<(Timestamp, Vec<Trail>)> {
    parsed(row)
}

/// As [`read`], but only how many there are.
pub(crate) fn count(row: &[u8]) -> Option<(Timestamp, u64)> {
    let (at, trails): (_, Vec<IgnoredAny>) = parsed(row)?;
    Some((at, trails.len() as u64))
}

fn parsed<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Option<(Timestamp, T)> {
    let (at, json) = row.split_at_checked(rows::SECOND_BYTES)?;
    Some((rows::second(at)?, serde_json::from_slice(json).ok()?))
}

impl Trail {
    /// Whether it says something of the event for which these digits stand.
    pub(crate) fn is_of(&self, event: &str) -> bool {
        let told_as = |fate: &Fate| fate.event_id.as_ref().map(digits);
        self.event == event
            || self
                .fates
                .iter()
                .any(|fate| told_as(fate).as_deref() == Some(event))
    }

    /// Whether it touched the incident of this id.
    pub(crate) fn touches(&self, incident: &str) -> bool {
        let mut fates = self.fates.iter();
        fates.any(|fate| fate.incident == incident) || self.more_incidents.contains(incident)
    }

    /// Adds what became of its event later.
    pub(crate) fn continue_with(&mut self, later: Self) {
        if self.what.is_empty() {
            // Its first trail is forgotten, and it was decided again.
            (self.what, self.why, self.rule) = (later.what, later.why, later.rule);
        }
        later.fates.into_iter().for_each(|fate| self.add(fate));
        self.more = self.more.saturating_add(later.more);
        self.more_incidents.extend(later.more_incidents);
    }

    fn add(&mut self, fate: Fate) {
        if self.fates.len() < FATES_LIMIT {
            self.fates.push(fate);
        } else {
            self.more = self.more.saturating_add(1);
            if self.more_incidents.len() < MORE_INCIDENTS_LIMIT {
                self.more_incidents.insert(fate.incident);
            }
        }
    }
}
