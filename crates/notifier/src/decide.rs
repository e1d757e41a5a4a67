//! The centre of the notifier: what one event means. Pure; every line of [`decide`] is a step.
//!
//! In: a task event, what the ledger knows about its task and its route, the rules, now. Out: what the
//! ledger shall know next, and what shall be told. It cannot fail and touches nothing.
//!
//! Must never happen: a bad state that was changed to and is not told, a state that is told twice, an
//! all-clear for what was never told.

mod condition;
mod incident;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_event::{
    AlertItem, AlertStatus, Detail, EventId, Kind, Status, SyncTask, TaskId, TraceParent,
};

use crate::delivery::Entry;

pub(crate) use condition::Rule;
pub(crate) use condition::Rules;
pub(crate) use incident::{Cause, ClosedBy, Incident, Subject, Well};

/// Outcomes of a route that are remembered for the texts.
const HISTORY_LIMIT: usize = 5;

/// A task event, as far as deciding goes.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) event_id: EventId,
    pub(crate) kind: Kind,
    pub(crate) instance: String,
    pub(crate) observed_at: Timestamp,
    pub(crate) task: SyncTask,
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
}

/// What is remembered about a subject, open incidents aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubjectState {
    /// The well task with the latest creation.
    pub(crate) newest_well: Option<Well>,
    /// Finished tasks, newest first, a line each.
    pub(crate) history: Vec<String>,
}

/// What the ledger knows that matters for one observation.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) task: Option<TaskState>,
    pub(crate) subject: SubjectState,
    /// Open incidents of the subject, and those that the task is a cause of.
    pub(crate) incidents: Vec<Incident>,
}

/// What the ledger shall know next, and what shall be told, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    pub(crate) task: Option<TaskState>,
    pub(crate) subject: Option<SubjectState>,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) told: Vec<Entry>,
}

/// Decides what `seen` means. See the module's own words.
pub(crate) fn decide(seen: &Observation, view: View, rules: Rules, now: Timestamp) -> Decision {
    if view
        .task
        .as_ref()
        .is_some_and(|known| is_stale(known, seen))
    {
        return Decision::default();
    }
    let subject = Subject::of(&seen.instance, &seen.task);
    let mut turn = Turn {
        seen,
        subject: &subject,
        now,
        incidents: view.incidents,
        told: Vec::new(),
    };

    let broken = rules.broken_by(&seen.task);
    let tells = tells(seen, view.task.as_ref(), broken);
    let repeats = view
        .task
        .as_ref()
        .is_some_and(|known| known.broken == broken)
        && !tells;
    if let Some(rule) = broken.filter(|_| !repeats) {
        turn.move_to_graver(rule);
        turn.raise(rule, tells, &view.subject);
    }
    if seen.task.is_well() {
        turn.end(&well(seen));
    } else if let Some(newer) = view
        .subject
        .newest_well
        .as_ref()
        .filter(|_| broken.is_some())
    {
        turn.end(newer);
    }

    let told_before = view
        .task
        .as_ref()
        .is_some_and(|known| known.told && known.broken == broken);
    let mut incidents_of_task = view.task.map(|known| known.incidents).unwrap_or_default();
    incidents_of_task.retain(|id| turn.holds(id));
    for id in turn.causes_of_task() {
        if !incidents_of_task.contains(&id) {
            incidents_of_task.push(id);
        }
    }
    Decision {
        task: Some(TaskState {
            instance: seen.instance.clone(),
            status: seen.task.status.clone(),
            issue: seen.task.issue.clone(),
            modified_at: seen.task.modified_at,
            observed_at: seen.observed_at,
            broken,
            told: told_before || seen.kind != Kind::Snapshot || tells,
            incidents: incidents_of_task,
        }),
        subject: Some(remember(view.subject, seen, broken)),
        incidents: turn.incidents,
        told: turn.told,
    }
}

/// Whether `seen` is older than what is known, so that it changes nothing.
///
/// The vendor's modified time decides where both have one: our own clock may jump. An instance that
/// shows its own task with a modified time gone back did change it (the poller says so only when the
/// status is new); what another instance lists may simply lag.
fn is_stale(known: &TaskState, seen: &Observation) -> bool {
    let same_state = known.status == seen.task.status && known.issue == seen.task.issue;
    let earlier = seen.observed_at < known.observed_at;
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

fn well(seen: &Observation) -> Well {
    Well {
        task_id: seen.task.task_id.clone(),
        route: seen.task.route(),
        created_at: seen.task.created_at,
        event_id: seen.event_id.clone(),
    }
}

/// Notes the outcome for the texts, and the newest well task for failures that are read late.
fn remember(mut known: SubjectState, seen: &Observation, broken: Option<Rule>) -> SubjectState {
    let task = &seen.task;
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
        let line = format!(
            "{} {}{issue}, task {}",
            minute(at),
            task.status,
            task.task_id
        );
        if known.history.first() != Some(&line) {
            known.history.insert(0, line);
            known.history.truncate(HISTORY_LIMIT);
        }
    }
    known
}

/// `2026-01-02 03:04 UTC`
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// One decision in the making.
struct Turn<'a> {
    seen: &'a Observation,
    subject: &'a Subject,
    now: Timestamp,
    incidents: Vec<Incident>,
    told: Vec<Entry>,
}

impl Turn<'_> {
    /// A task that was only an issue and now failed is a cause of `failed`, without an all-clear.
    fn move_to_graver(&mut self, rule: Rule) {
        for incident in &mut self.incidents {
            if incident.is_open() && rule < incident.rule {
                incident.move_out(&self.seen.task.task_id, self.now);
            }
        }
    }

    /// Makes the task a cause of the subject's incident of `rule`, and tells it.
    fn raise(&mut self, rule: Rule, tells: bool, known: &SubjectState) {
        let since = self.seen.task.modified_at.unwrap_or(self.seen.observed_at);
        let id = self.subject.incident_id(rule);
        let at = self
            .incidents
            .iter()
            .position(|incident| incident.id == id && incident.is_open());
        let at = at.unwrap_or_else(|| {
            self.incidents.retain(|incident| incident.id != id);
            let (subject, now) = (self.subject.clone(), self.now);
            self.incidents
                .push(Incident::open(rule, subject, &self.seen.instance, now));
            self.incidents.len() - 1
        });
        let incident = &mut self.incidents[at];
        let cause = Cause {
            task: self.seen.task.clone(),
            event_id: self.seen.event_id.clone(),
            told: tells,
            since,
        };
        incident.add(cause.clone(), self.now);
        if tells {
            let occurrence = incident.occurrences;
            let summary = firing_summary(&cause.task, rule, occurrence);
            let mut entry = entry(incident, &cause, AlertStatus::Firing, summary);
            entry.observed_at = self.seen.observed_at;
            entry.history.clone_from(&known.history);
            entry.item.detail.clone_from(&self.seen.detail);
            entry.traceparent = self.seen.traceparent;
            self.told.push(entry);
        }
    }

    /// Ends what `well` ends. An incident without causes is told resolved once, by its newest cause
    /// that had been told.
    fn end(&mut self, well: &Well) {
        for incident in &mut self.incidents {
            if !incident.is_open() {
                continue;
            }
            let ended = incident.end_by_well(well, self.now);
            if incident.is_open() || incident.occurrences == 0 {
                continue;
            }
            let newest = ended
                .iter()
                .filter(|cause| cause.told)
                .max_by_key(|cause| (cause.task.created_at, cause.task.task_id.clone()))
                .or(ended.last());
            if let Some(cause) = newest {
                let summary = resolved_summary(&cause.task, &well.task_id);
                let mut entry = entry(incident, cause, AlertStatus::Resolved, summary);
                entry.item.resolved_by = Some(well.task_id.clone());
                entry.event_id = self.seen.event_id.clone();
                entry.observed_at = self.seen.observed_at;
                entry.traceparent = self.seen.traceparent;
                self.told.push(entry);
            }
        }
    }

    fn holds(&self, id: &str) -> bool {
        self.causes_of_task().any(|held| held == id)
    }

    fn causes_of_task(&self) -> impl Iterator<Item = String> + '_ {
        let task_id: &TaskId = &self.seen.task.task_id;
        self.incidents
            .iter()
            .filter(|incident| incident.is_open())
            .filter(move |incident| incident.causes.iter().any(|c| c.task.task_id == *task_id))
            .map(|incident| incident.id.clone())
    }
}

fn entry(incident: &Incident, cause: &Cause, status: AlertStatus, summary: String) -> Entry {
    Entry {
        item: AlertItem {
            incident: incident.id.clone(),
            rule: incident.rule.as_str().to_owned(),
            severity: incident.rule.severity(),
            status,
            reason: condition::reason(&cause.task),
            since: cause.since,
            summary,
            task: Some(cause.task.clone()),
            resolved_by: None,
            detail: None,
        },
        event_id: cause.event_id.clone(),
        occurrence: incident.occurrences,
        history: Vec::new(),
        instance: incident.instance.clone(),
        observed_at: incident.changed_at,
        traceparent: None,
    }
}

/// What stays open, told again: the entries of a repeat.
pub(crate) fn repeat_entries(incident: &Incident) -> Vec<Entry> {
    let told = incident.causes.iter().filter(|cause| cause.told);
    told.map(|cause| {
        let summary = format!("still: {}", firing_summary(&cause.task, incident.rule, 1));
        entry(incident, cause, AlertStatus::Firing, summary)
    })
    .collect()
}

fn firing_summary(task: &SyncTask, rule: Rule, occurrence: u32) -> String {
    let what = match rule {
        Rule::Failed => "did not reach",
        Rule::Issue => "has an issue on its way to",
        Rule::Canceled => "was called off on its way to",
    };
    let again = match occurrence {
        0 | 1 => String::new(),
        n => format!(" (again, {})", ordinal(n)),
    };
    let (image, place) = ends(task);
    format!("{image} {what} {place}: {}{again}", condition::reason(task))
}

fn resolved_summary(task: &SyncTask, by: &TaskId) -> String {
    let (image, place) = ends(task);
    if task.task_id == *by {
        format!("{image} reached {place} after all")
    } else {
        format!("{image} reached {place}, by task {by}")
    }
}

fn ends(task: &SyncTask) -> (String, String) {
    let image = task.from.as_ref().map_or_else(
        || format!("task {}", task.task_id),
        syncbell_event::Image::name,
    );
    let place = task
        .to
        .as_ref()
        .map_or_else(|| "its target".to_owned(), syncbell_event::Image::place);
    (image, place)
}

/// `2nd time`, `3rd time`, `11th time`
fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix} time")
}
