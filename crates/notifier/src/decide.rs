//! The centre of the notifier: what one event means. Pure; every line of [`decide`] is a step.
//!
//! In: a task event, what the ledger knows about its task and its route, the rules, now. Out: what the
//! ledger shall know next, and what shall be told. It cannot fail and touches nothing. What needs time is
//! decided beside it: `timers.rs` at a heartbeat, `watch.rs` by the wall clock, `silent.rs`.
//!
//! How the rules that need more than a row meet:
//! - A cause moves to a graver rule without an all-clear (stuck → ERROR); to a lesser one it does not move:
//!   only what the design names ends a cause. An open task that is stuck and has an issue is an issue.
//! - A stuck task that is final ends `stuck`, however it went.
//! - A task that vanished while it was stuck stays `stuck`: of two that match, the first decides, and it
//!   was told. Nothing is known of a task that vanished, so no time passes for it: it does not become stuck.
//! - A vanished task that is listed again ends `vanished`; where it comes back failed or with an issue, its
//!   cause moves.
//! - An unknown status that becomes PENDING ends nothing, as the design says of PENDING: a well task does.
//! - A rule that the configuration adds is like a built-in one of its severity. Its cause ends as any other, and
//!   when the task is final and not as the rule says; an open task ends nothing. One that a well task breaks is
//!   told once.
//! - A snapshot tells nothing and arms the timers: what was stuck before a baseline stays silent, what
//!   becomes stuck after it is told.
//!
//! Must never happen: a bad state that was changed to and is not told, a state that is told twice, an
//! all-clear for what was never told.

mod condition;
mod own_rule;
mod incident;
mod flap;
mod turn;
pub(crate) mod summary;
pub(crate) mod timers;
mod notice;
mod close;
pub(crate) mod watch;
mod silent;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{AlertStatus, Detail, EventId, Kind, Phase, Status, SyncTask, TraceParent};

use crate::delivery::Entry;

pub(crate) use close::close;
use condition::Beyond;
pub(crate) use condition::{Rule, Rules};
pub(crate) use flap::Turns;
#[cfg(test)]
pub(crate) use incident::Notice;
pub(crate) use incident::{ClosedBy, Incident, Subject, Well};
pub(crate) use notice::Told;
pub(crate) use own_rule::{Held, Name};
pub(crate) use silent::{Quiet, Silence};
use summary::minute;
use timers::{Timer, TimerChange};
use turn::Turn;

/// Outcomes of a route that are remembered for the texts.
const HISTORY_LIMIT: usize = 5;

/// That a task of a subject was seen is written as often: it matters only for how long the subject is kept.
pub(crate) const SEEN_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// A task event, as far as deciding goes.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) event_id: EventId,
    pub(crate) kind: Kind,
    pub(crate) instance: String,
    pub(crate) observed_at: Timestamp,
    pub(crate) task: SyncTask,
    /// The event itself says that the task had been final before. Its own row may be forgotten.
    pub(crate) was_final: bool,
    pub(crate) detail: Option<Detail>,
    pub(crate) traceparent: Option<TraceParent>,
}

/// The last state of a task that the ledger knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskState {
    pub(crate) instance: String,
    pub(crate) status: Status,
    pub(crate) issue: Option<String>,
    pub(crate) modified_at: Option<Timestamp>,
    pub(crate) observed_at: Timestamp,
    pub(crate) broken: Option<Rule>,
    /// False while it is known only from a snapshot.
    pub(crate) told: bool,
    /// The incidents that it is, or was, a cause of.
    pub(crate) incidents: Vec<String>,
    /// While it is open: it was judged to be open for too long.
    #[serde(default)]
    pub(crate) stuck: bool,
    /// It is no longer listed.
    #[serde(default)]
    pub(crate) vanished: bool,
    /// While it is open: since when, by the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) open_since: Option<Timestamp>,
    /// The row that waits for it to become stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<Timer>,
    /// Known from a snapshot of this time: what became of it before is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) silent_until: Option<Timestamp>,
    /// Since when it has been such as rules say that want it to be so for some time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<Held>,
}

/// A heartbeat of an instance, as far as judging goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) region: String,
    /// Everything up to here was seen; the server's clock.
    pub(crate) seen_until: Timestamp,
    /// When the poller said so; its own clock.
    pub(crate) observed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<TraceParent>,
}

/// What is remembered about a subject, open incidents aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubjectState {
    /// The well task with the latest creation.
    pub(crate) newest_well: Option<Well>,
    /// Finished tasks, newest first, a line each.
    pub(crate) history: Vec<String>,
    /// When a task of it was last observed, or up to [`SEEN_EVERY`] before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_at: Option<Timestamp>,
}

/// What the ledger knows that matters for one observation.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) task: Option<TaskState>,
    pub(crate) subject: SubjectState,
    /// Incidents of the subject, and those that the task is a cause of; closed ones too, which may open again.
    pub(crate) incidents: Vec<Incident>,
}

/// What the ledger shall know next, and what shall be told, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    pub(crate) task: Option<TaskState>,
    pub(crate) subject: Option<SubjectState>,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) told: Vec<Entry>,
    pub(crate) timers: Vec<TimerChange>,
}

/// Decides what `seen` means. See the module's own words.
pub(crate) fn decide(seen: &Observation, view: View, rules: &Rules, now: Timestamp) -> Decision {
    if view
        .task
        .as_ref()
        .is_some_and(|known| is_stale(known, seen))
    {
        return Decision::default();
    }
    let subject = Subject::of(&seen.instance, &seen.task);
    let known = view.task.as_ref();
    let mut turn = Turn::new(seen, &subject, view.incidents, rules, now);

    let beyond = beyond(seen, known);
    let held = timers::held(seen, known, rules);
    let broken = rules.broken_by(&seen.task, beyond, &held);
    // What is well breaks nothing for longer than the moment: it is told once.
    let (once, broken) = broken.map_or((None, None), |rule| {
        let of_moment = seen.task.is_well();
        (of_moment.then_some(rule), (!of_moment).then_some(rule))
    });
    let tells = tells(seen, known, broken);
    let repeats = known.is_some_and(|known| known.broken == broken) && !tells;
    if let Some(rule) = broken.filter(|_| !repeats) {
        turn.move_to_graver(rule);
        turn.raise(rule, tells, &view.subject, None);
    }
    if let Some(rule) = once.filter(|_| is_news(seen, known)) {
        turn.raise(rule, true, &view.subject, None);
        turn.close_at_once(rule);
    }
    if seen.task.is_well() {
        turn.end(&well(seen));
    } else if let Some(newer) = view
        .subject
        .newest_well
        .as_ref()
        .filter(|well| broken.is_some() && well.task_id != seen.task.task_id)
    {
        turn.end(newer);
    }
    turn.end_what_is_over();

    let told_before = known.is_some_and(|known| known.told && known.broken == broken);
    let incidents_of_task = turn.incidents_of_task(known);
    let open_since = timers::open_since(seen, known);
    let mut task = TaskState {
        instance: seen.instance.clone(),
        status: seen.task.status.clone(),
        issue: seen.task.issue.clone(),
        modified_at: seen.task.modified_at,
        observed_at: seen.observed_at,
        broken,
        told: told_before || seen.kind != Kind::Snapshot || tells,
        incidents: incidents_of_task,
        stuck: beyond.stuck,
        vanished: beyond.vanished,
        open_since,
        timer: None,
        silent_until: timers::silent_until(seen, known),
        held,
    };
    let timers = timers::arm(seen, known, &mut task, rules);
    Decision {
        task: Some(task),
        subject: remember(view.subject, seen, broken),
        incidents: turn.incidents,
        told: turn.told,
        timers,
    }
}

/// What is known of the task beyond its row. Being stuck lasts until the task is final.
fn beyond(seen: &Observation, known: Option<&TaskState>) -> Beyond {
    let is_open = seen.task.status.phase() == Phase::Open;
    Beyond {
        stuck: is_open && known.is_some_and(|known| known.stuck),
        vanished: is_open && seen.kind == Kind::Vanished,
    }
}

/// Whether `seen` is older than what is known, so that it changes nothing.
///
/// The vendor's modified time decides where both have one: our own clock may jump. An instance that
/// shows its own task with a modified time gone back did change it (the poller says so only when the
/// status is new); what another instance lists may simply lag. A task vanishes once, and only an open one:
/// where another instance has seen its end, it did not vanish.
fn is_stale(known: &TaskState, seen: &Observation) -> bool {
    let same_state = known.status == seen.task.status && known.issue == seen.task.issue;
    let earlier = seen.observed_at < known.observed_at;
    if seen.kind == Kind::Vanished
        && (earlier || known.vanished || known.status.phase() == Phase::Final)
    {
        return true;
    }
    match (seen.task.modified_at, known.modified_at) {
        (Some(seen_at), Some(known_at)) if seen_at < known_at => {
            earlier || known.instance != seen.instance
        }
        (Some(seen_at), Some(known_at)) if seen_at == known_at => earlier && !same_state,
        _ => false,
    }
}

/// Whether this observation is told: it breaks a rule, it is not a silent snapshot, and the ledger does
/// not already know this break as told.
fn tells(seen: &Observation, known: Option<&TaskState>, broken: Option<Rule>) -> bool {
    let silent =
        seen.kind == Kind::Snapshot && !seen.detail.as_ref().is_some_and(|detail| detail.requested);
    let known_and_told = known.is_some_and(|known| known.broken == broken && known.told);
    let requested_and_known = seen.kind == Kind::Snapshot
        && known.is_some_and(|known| {
            known.broken == broken
                && known.status == seen.task.status
                && known.issue == seen.task.issue
        });
    broken.is_some() && !silent && !known_and_told && !requested_and_known
}

/// Whether a well task became so, as far as the ledger knows, and no snapshot says so.
fn is_news(seen: &Observation, known: Option<&TaskState>) -> bool {
    let was_so = known
        .is_some_and(|known| known.status == seen.task.status && known.issue == seen.task.issue);
    seen.kind != Kind::Snapshot && !was_so
}

fn well(seen: &Observation) -> Well {
    Well {
        task_id: seen.task.task_id.clone(),
        route: seen.task.route(),
        created_at: seen.task.created_at,
        event_id: seen.event_id.clone(),
    }
}

/// Notes the outcome for the texts, and the newest well task for failures that are read late. None: it is as it was.
fn remember(
    mut known: SubjectState,
    seen: &Observation,
    broken: Option<Rule>,
) -> Option<SubjectState> {
    let (task, before) = (&seen.task, known.clone());
    // A task that went well and then did not is no well task any more.
    known.newest_well = known
        .newest_well
        .filter(|well| task.is_well() || well.task_id != task.task_id);
    if task.is_well() && task.route().is_some() && task.created_at.is_some() {
        let newest = known.newest_well.as_ref().and_then(|well| well.created_at);
        if task.created_at > newest {
            known.newest_well = Some(well(seen));
        }
    }
    if task.is_well() || broken.is_some() {
        let at = task.touched_at().unwrap_or(seen.observed_at);
        let issue = task
            .issue
            .as_deref()
            .map(|issue| format!(" with {issue}"))
            .unwrap_or_default();
        let gone = if seen.kind == Kind::Vanished {
            " and vanished"
        } else {
            ""
        };
        let line = format!(
            "{} {}{issue}{gone}, task {}",
            minute(at),
            task.status,
            task.task_id
        );
        if known.history.first() != Some(&line) {
            known.history.insert(0, line);
            known.history.truncate(HISTORY_LIMIT);
        }
    }
    let of_late = |at| seen.observed_at.duration_since(at) < SEEN_EVERY;
    if known == before && known.seen_at.is_some_and(of_late) {
        return None;
    }
    known.seen_at = known.seen_at.max(Some(seen.observed_at));
    Some(known)
}

/// The cause that `entry` told.
#[cfg(test)]
pub(crate) fn told_cause(entry: &Entry, since: Timestamp) -> incident::Cause {
    incident::Cause {
        task: entry.item.task.clone().expect("it is of a task"),
        event_id: entry.event_id.clone(),
        told: true,
        since,
    }
}

/// What stays open, told again: the entries of a repeat.
pub(crate) fn repeat_entries(incident: &Incident) -> Vec<Entry> {
    let told = incident.causes.iter().filter(|cause| cause.told);
    let of_tasks = told.map(|cause| {
        let summary = summary::firing(&cause.task, incident.rule, 1, None);
        turn::entry(incident, cause, AlertStatus::Firing, summary)
    });
    let mut entries: Vec<Entry> = of_tasks
        .chain(notice::entry(incident, AlertStatus::Firing))
        .collect();
    for entry in &mut entries {
        entry.item.summary = format!("still: {}", entry.item.summary);
    }
    entries
}
