//! What becomes so by time: an open task that gets stuck, a final one that was slow. Pure.
//!
//! In: task events, which arm timers; heartbeats, at which they are judged. Out: rows that wait, and what
//! shall be told. Must never happen: a local clock held against a time of the server. A heartbeat's
//! `seen_until` is the server's own word of what time it is, and that the task was still open then: what
//! had changed up to it is on the log before it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{Detail, EventId, Kind, Phase, SyncTask, TraceParent, digest_id};

use super::turn::{Passed, Turn};
use super::{Decision, Heartbeat, Held, Name, Observation, Rule, Rules, Subject, TaskState, View};

/// Where the row of an open task waits: by instance, the longest open first. Its limit is not part of it,
/// so that a changed limit holds for what waits already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timer {
    pub(crate) instance: String,
    pub(crate) since: Timestamp,
}

/// A row that waits: the task as last seen, and all that is needed to tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Armed {
    pub(crate) instance: String,
    /// Open since; by the server's clock.
    pub(crate) since: Timestamp,
    pub(crate) event_id: EventId,
    pub(crate) observed_at: Timestamp,
    pub(crate) task: SyncTask,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Detail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<TraceParent>,
    /// The rule that wants it to be so for some time; none: `stuck`, or `slow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Name>,
}

/// What shall become of the rows that wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TimerChange {
    /// The task is open and may become stuck.
    Wait(Timer, Box<Armed>),
    /// It no longer waits there.
    Forget(Timer),
    /// It is final, and may have been slow: judged at the next heartbeat.
    Ended(Box<Armed>),
    /// It is such as a rule says that wants it to be so for some time.
    Hold(Held, Box<Armed>),
    /// It is not any more.
    Release(Held),
}

/// Since when an open task is open: since it was created, or since it was opened again after its end. One
/// without any time of its own counts from when it was first observed, for want of anything better.
pub(super) fn open_since(seen: &Observation, known: Option<&TaskState>) -> Option<Timestamp> {
    if seen.task.status.phase() == Phase::Final {
        return None;
    }
    let (created_at, modified_at) = (seen.task.created_at, seen.task.modified_at);
    let since = match known {
        Some(known) if known.status.phase() == Phase::Final => modified_at.or(created_at),
        Some(known) => known.open_since.or(created_at).or(modified_at),
        None if seen.was_final => modified_at.or(created_at),
        None => created_at.or(modified_at),
    };
    Some(since.unwrap_or(seen.observed_at))
}

/// Until when nothing is told of a task that only a snapshot has shown. A baseline is silent about what was
/// so before: a task that had crossed its limit by then stays untold; one that crosses it later is told,
/// and so is one of a snapshot that was asked for, because there the log had lost something. (This one
/// border is the poller's clock against the server's: it parts silence from telling within one baseline,
/// and a skew shifts it by its own size.)
pub(super) fn silent_until(seen: &Observation, known: Option<&TaskState>) -> Option<Timestamp> {
    let requested = seen.detail.as_ref().is_some_and(|detail| detail.requested);
    let is_silent = seen.kind == Kind::Snapshot && !requested;
    match known {
        Some(known) if known.told => None,
        Some(known) if is_silent => known.silent_until.or(Some(seen.observed_at)),
        None if is_silent => Some(seen.observed_at),
        _ => None,
    }
}

/// Since when the task has been such as each rule says that wants it to be so for some time. It begins with
/// the state that is such, by the server's time of that; of a task that vanished nothing is known, and no time
/// passes for one that is well.
pub(super) fn held(seen: &Observation, known: Option<&TaskState>, rules: &Rules) -> Vec<Held> {
    if seen.kind == Kind::Vanished || seen.task.is_well() {
        return Vec::new();
    }
    let since = seen.task.modified_at.or(seen.task.created_at);
    let waits = rules.own.iter().filter(|own| own.held_for.is_some());
    let such = waits.filter(|own| own.matches(&seen.task));
    such.map(|own| {
        let mut before = known.iter().flat_map(|known| &known.held);
        let before = before.find(|held| held.rule == own.name).cloned();
        before.unwrap_or_else(|| Held {
            rule: own.name,
            instance: seen.instance.clone(),
            since: since.unwrap_or(seen.observed_at),
            ripe: false,
        })
    })
    .collect()
}

/// The rows of what waits in `held`, and of what `known` waited in before.
fn hold(seen: &Observation, known: Option<&TaskState>, held: &[Held]) -> Vec<TimerChange> {
    let before = known.iter().flat_map(|known| &known.held);
    let over = before.filter(|before| held.iter().all(|held| held.rule != before.rule));
    let over = over.cloned().map(TimerChange::Release);
    let waiting = held.iter().filter(|held| !held.ripe).map(|held| {
        let armed = Armed {
            instance: held.instance.clone(),
            rule: Some(held.rule),
            ..armed(seen, held.since)
        };
        TimerChange::Hold(held.clone(), Box::new(armed))
    });
    over.chain(waiting).collect()
}

/// The rows that `seen` changes; `task` gets the timer that it then has. Timers are armed whether or not
/// their rule is on: one that is switched on finds what is open already.
pub(super) fn arm(
    seen: &Observation,
    known: Option<&TaskState>,
    task: &mut TaskState,
    rules: &Rules,
) -> Vec<TimerChange> {
    let waits = !task.stuck && !task.vanished;
    let since = task.open_since.filter(|_| waits);
    task.timer = since.map(|since| Timer {
        instance: seen.instance.clone(),
        since,
    });
    let before = known.and_then(|known| known.timer.clone());
    let mut changes: Vec<TimerChange> = before
        .filter(|before| task.timer.as_ref() != Some(before))
        .map(TimerChange::Forget)
        .into_iter()
        .collect();
    if let Some(timer) = &task.timer {
        let armed = armed(seen, timer.since);
        changes.push(TimerChange::Wait(timer.clone(), Box::new(armed)));
    }
    changes.extend(hold(seen, known, &task.held));
    let was_open = match known {
        Some(known) => known.status.phase() == Phase::Open,
        None => seen.kind != Kind::Snapshot && !seen.was_final,
    };
    let is_final = seen.task.status.phase() == Phase::Final;
    let began = known.and_then(|known| known.open_since);
    if let Some(since) = began.or(seen.task.created_at)
        && was_open
        && is_final
        && task.broken.is_none()
        && rules.slow.is_some_and(|limit| {
            // Where the end is not known it is that of the next heartbeat.
            let took = seen.task.modified_at.map(|end| end.duration_since(since));
            took.is_none_or(|took| took >= limit)
        })
    {
        changes.push(TimerChange::Ended(Box::new(armed(seen, since))));
    }
    changes
}

fn armed(seen: &Observation, since: Timestamp) -> Armed {
    Armed {
        instance: seen.instance.clone(),
        since,
        event_id: seen.event_id.clone(),
        observed_at: seen.observed_at,
        task: seen.task.clone(),
        detail: seen.detail.clone(),
        traceparent: seen.traceparent,
        rule: None,
    }
}

impl Armed {
    /// As if it were seen at `heartbeat`, under the id of what time made of it: over the rule, what it is
    /// about and since when, so that it is the same whoever judges it, and however often.
    fn observation(&self, rule: Rule, heartbeat: &Heartbeat) -> Observation {
        let since = self.since.to_string();
        let parts = [
            "timer",
            rule.as_str(),
            &self.instance,
            self.task.task_id.as_str(),
            &since,
        ];
        Observation {
            event_id: EventId(digest_id(parts.map(Some))),
            kind: Kind::Updated,
            instance: self.instance.clone(),
            observed_at: heartbeat.observed_at,
            task: self.task.clone(),
            was_final: false,
            detail: self.detail.clone(),
            traceparent: heartbeat.traceparent.or(self.traceparent),
        }
    }

    fn passed(&self, took: SignedDuration) -> Passed {
        Passed {
            took,
            since: self.task.modified_at.unwrap_or(self.observed_at),
        }
    }
}

/// A task that has been so for as long as the rule wants that `armed` waits for, at `heartbeat`: an open one
/// is stuck, or the rule is one that the configuration adds. Its row is taken away by the caller.
pub(crate) fn remained(
    armed: &Armed,
    view: View,
    rules: &Rules,
    heartbeat: &Heartbeat,
    now: Timestamp,
) -> Decision {
    let rule = armed.rule.map_or(Rule::Stuck, Rule::Own);
    let timed = rules.timed();
    let limit = timed.iter().find(|(timed, _)| *timed == rule);
    let (Some(mut known), Some((_, limit))) = (view.task, limit) else {
        return Decision::default();
    };
    if !ripens(armed, &mut known) {
        return Decision::default();
    }
    let seen = armed.observation(rule, heartbeat);
    let subject = Subject::of(&seen.instance, &seen.task);
    let mut turn = Turn::new(&seen, &subject, view.incidents, rules, now);
    let beyond = super::Beyond {
        stuck: known.stuck,
        vanished: known.vanished,
    };
    let broken = rules.broken_by(&seen.task, beyond, &known.held);
    if broken == Some(rule) && known.broken != broken {
        let crossed_at = armed.since.saturating_add(*limit).unwrap_or(Timestamp::MAX);
        let tells = known.silent_until.is_none_or(|until| crossed_at > until);
        let took = heartbeat.seen_until.duration_since(armed.since);
        turn.move_to_graver(rule);
        turn.raise(rule, tells, &view.subject, Some(&armed.passed(took)));
        let newest_well = view.subject.newest_well.as_ref();
        if let Some(newer) = newest_well.filter(|well| well.task_id != seen.task.task_id) {
            turn.end(newer);
        }
        (known.broken, known.told) = (broken, tells);
        known.incidents = turn.incidents_of_task(Some(&known));
    }
    Decision {
        task: Some(known),
        subject: None,
        incidents: turn.incidents,
        told: turn.told,
        timers: Vec::new(),
    }
}

/// Notes that `known` has been so for long enough. False if it does not wait for that any more.
fn ripens(armed: &Armed, known: &mut TaskState) -> bool {
    let Some(rule) = armed.rule else {
        let waits = known.timer.as_ref().is_some_and(|timer| {
            timer.since == armed.since && timer.instance == armed.instance && !known.stuck
        });
        if waits {
            (known.stuck, known.timer) = (true, None);
        }
        return waits;
    };
    let waits = |held: &&mut Held| held.rule == rule && held.since == armed.since && !held.ripe;
    let held = known.held.iter_mut().find(waits);
    held.map(|held| held.ripe = true).is_some()
}

/// A task that became final since the heartbeat before: whether it took too long. Told once; nothing holds
/// it open. A graver condition of the same state was told instead.
pub(crate) fn slow(
    armed: &Armed,
    view: View,
    rules: &Rules,
    heartbeat: &Heartbeat,
    now: Timestamp,
) -> Decision {
    let stands = view
        .task
        .as_ref()
        .is_some_and(|known| known.status == armed.task.status && known.broken.is_none());
    let ended_at = armed.task.modified_at.unwrap_or(heartbeat.seen_until);
    let took = ended_at.duration_since(armed.since);
    if !stands || rules.slow.is_none_or(|limit| took < limit) {
        return Decision::default();
    }
    let seen = armed.observation(Rule::Slow, heartbeat);
    let subject = Subject::of(&seen.instance, &seen.task);
    let mut turn = Turn::new(&seen, &subject, view.incidents, rules, now);
    turn.raise(Rule::Slow, true, &view.subject, Some(&armed.passed(took)));
    turn.close_at_once(Rule::Slow);
    Decision {
        task: None,
        subject: None,
        incidents: turn.incidents,
        told: turn.told,
        timers: Vec::new(),
    }
}
