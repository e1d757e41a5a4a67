//! One decision about one task in the making: causes that are added, moved and ended, and what is told.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{AlertItem, AlertStatus, Kind, Phase, TaskId};

use super::condition;
use super::flap;
use super::incident::{Cause, ClosedBy, Incident, Subject, Well};
use super::own_rule::Name;
use super::{Observation, Rule, Rules, SubjectState, TaskState, summary};
use crate::delivery::Entry;

/// One decision in the making.
pub(super) struct Turn<'a> {
    seen: &'a Observation,
    subject: &'a Subject,
    rules: &'a Rules,
    now: Timestamp,
    pub(super) incidents: Vec<Incident>,
    pub(super) told: Vec<Entry>,
}

/// Beside what was seen, where a rule is about time.
pub(super) struct Passed {
    /// How long it took.
    pub(super) took: SignedDuration,
    /// Since when the condition is so.
    pub(super) since: Timestamp,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        seen: &'a Observation,
        subject: &'a Subject,
        incidents: Vec<Incident>,
        rules: &'a Rules,
        now: Timestamp,
    ) -> Self {
        Self {
            seen,
            subject,
            rules,
            now,
            incidents,
            told: Vec::new(),
        }
    }

    /// A task that broke a lesser rule (an issue, or stuck) and now breaks this one is a cause of this one,
    /// without an all-clear.
    pub(super) fn move_to_graver(&mut self, rule: Rule) {
        for incident in &mut self.incidents {
            if incident.is_open() && self.rules.rank(rule) < self.rules.rank(incident.rule) {
                incident.end_task(&self.seen.task.task_id, ClosedBy::Graver, self.now);
            }
        }
    }

    /// Makes the task a cause of the subject's incident of `rule`, and tells it.
    pub(super) fn raise(
        &mut self,
        rule: Rule,
        tells: bool,
        known: &SubjectState,
        passed: Option<&Passed>,
    ) {
        let observed = self.seen.task.modified_at.unwrap_or(self.seen.observed_at);
        let since = passed.map_or(observed, |passed| passed.since);
        let id = self.subject.incident_id(rule);
        let at = self
            .incidents
            .iter()
            .position(|incident| incident.id == id && incident.is_open());
        let at = at.unwrap_or_else(|| {
            let before = self.incidents.iter().position(|known| known.id == id);
            let before = before.map(|at| self.incidents.remove(at));
            let (subject, now) = (self.subject.clone(), self.now);
            self.incidents.push(Incident {
                turns: before.map(|before| before.turns).unwrap_or_default(),
                marks: self.rules.marks(rule).cloned(),
                ..Incident::open(rule, subject, &self.seen.instance, now)
            });
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
            let took = passed.map(|passed| passed.took);
            let summary = summary::firing(&cause.task, rule, incident.occurrences, took);
            let mut entry = entry(incident, &cause, AlertStatus::Firing, summary);
            entry.observed_at = self.seen.observed_at;
            entry.history.clone_from(&known.history);
            entry.item.detail.clone_from(&self.seen.detail);
            entry.traceparent = self.seen.traceparent;
            flap::note(incident, &mut entry, self.rules.flapping);
            self.told.push(entry);
        }
    }

    /// Ends what `well` ends.
    pub(super) fn end(&mut self, well: &Well) {
        for at in 0..self.incidents.len() {
            let incident = &mut self.incidents[at];
            if !incident.is_open() {
                continue;
            }
            let ended = incident.end_by_well(well, self.now);
            self.tell_end(at, &ended, |cause| {
                let summary = summary::resolved(&cause.task, &well.task_id);
                (summary, Some(well.task_id.clone()))
            });
        }
    }

    /// Ends what the task's own state ends, well or not: `stuck` when it is final, `vanished` when it is
    /// listed, a rule that the configuration adds when it is final and not such as the rule says.
    pub(super) fn end_what_is_over(&mut self) {
        let task = &self.seen.task;
        let is_final = task.status.phase() == Phase::Final;
        let is_listed = self.seen.kind != Kind::Vanished;
        for at in 0..self.incidents.len() {
            let why = match self.incidents[at].rule {
                Rule::Stuck if is_final => ClosedBy::Final,
                Rule::Own(name) if is_final && !self.is_such(name) => ClosedBy::Final,
                Rule::Vanished if is_listed => ClosedBy::Listed,
                _ => continue,
            };
            let incident = &mut self.incidents[at];
            if !incident.is_open() {
                continue;
            }
            let rule = incident.rule;
            let ended = incident.end_task(&task.task_id, why, self.now);
            let ended: Vec<Cause> = ended.into_iter().collect();
            self.tell_end(at, &ended, |_| (summary::over(task, rule), None));
        }
    }

    /// Whether the task is as the rule of this name says.
    fn is_such(&self, name: Name) -> bool {
        let rule = self.rules.own(name);
        rule.is_some_and(|rule| rule.matches(&self.seen.task))
    }

    /// An incident without causes is told resolved once, by its newest cause that had been told.
    fn tell_end(
        &mut self,
        at: usize,
        ended: &[Cause],
        say: impl Fn(&Cause) -> (String, Option<TaskId>),
    ) {
        let incident = &mut self.incidents[at];
        if incident.is_open() || incident.occurrences == 0 {
            return;
        }
        let newest = ended
            .iter()
            .filter(|cause| cause.told)
            .max_by_key(|cause| (cause.task.created_at, cause.task.task_id.clone()))
            .or(ended.last());
        if let Some(cause) = newest {
            let (summary, resolved_by) = say(cause);
            let mut entry = entry(incident, cause, AlertStatus::Resolved, summary);
            entry.item.resolved_by = resolved_by;
            entry.event_id = self.seen.event_id.clone();
            entry.observed_at = self.seen.observed_at;
            entry.traceparent = self.seen.traceparent;
            flap::note(incident, &mut entry, self.rules.flapping);
            self.told.push(entry);
        }
    }

    /// What was raised is told and does not go on.
    pub(super) fn close_at_once(&mut self, rule: Rule) {
        let id = self.subject.incident_id(rule);
        for incident in &mut self.incidents {
            if incident.id == id {
                incident.close(ClosedBy::Once, self.now);
            }
        }
    }

    /// The incidents that the task is a cause of: those `known` before first.
    pub(super) fn incidents_of_task(&self, known: Option<&TaskState>) -> Vec<String> {
        let held: Vec<String> = self.causes_of_task().collect();
        let before = known.map_or(&[][..], |known| known.incidents.as_slice());
        let mut ids: Vec<String> = before
            .iter()
            .filter(|id| held.contains(id))
            .cloned()
            .collect();
        for id in held {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
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

/// What `cause` of `incident` is on the wire.
pub(super) fn entry(
    incident: &Incident,
    cause: &Cause,
    status: AlertStatus,
    summary: String,
) -> Entry {
    let (labels, annotations) = incident.texts();
    Entry {
        item: AlertItem {
            incident: incident.id.clone(),
            rule: incident.rule.as_str().to_owned(),
            severity: incident.severity(),
            status,
            reason: condition::reason(&cause.task),
            since: cause.since,
            summary,
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: Some(cause.task.clone()),
            resolved_by: None,
            detail: None,
            labels,
            annotations,
        },
        event_id: cause.event_id.clone(),
        message: None,
        occurrence: incident.occurrences,
        history: Vec::new(),
        instance: incident.instance.clone(),
        observed_at: incident.changed_at,
        flapping: false,
        traceparent: None,
    }
}
