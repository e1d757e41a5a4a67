//! What a right monitor must have told, computed from the answers that were sent.
//!
//! In: each answer in the order sent, as the states that its rows showed. Out: [`Told`] entries.
//! Written from the design's text alone: it shares no code with the notifier, so that the two can
//! be compared. Must never happen: an entry about a state that no answer carried.
//!
//! Where the design leaves open whether something is told, the entry is not `certain`, and
//! [`compare`](crate::compare()) accepts both. It is open in which order the rows of one answer are
//! decided (so the model runs in three orders, and what not all of them tell is not certain), and
//! whether a task that stays bad under one rule, but with another status, issue or modified time,
//! is told again. Entries of one answer are in no order either.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use syncbell_event::{AlertStatus, Status};

use crate::task::Shown;

/// The rules that the ledger knows, first match first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The task's status is ERROR.
    Failed,
    /// The task has an issue, whatever its status.
    Issue,
    /// The task's status is CANCELED; only if [`Options::canceled`](crate::Options::canceled).
    Canceled,
}

impl Rule {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Issue => "issue",
            Self::Canceled => "canceled",
        }
    }
}

/// One thing that a right monitor tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The bad task; of an all-clear, the newest cause that had been told.
    pub task_id: String,
    /// Under which rule.
    pub rule: Rule,
    /// Whether it begins or ends.
    pub status: AlertStatus,
    /// When the state behind it could first be seen, by the real clock.
    pub visible_at: Timestamp,
    /// When the first answer that carried that state had been handed to the connection; absent
    /// when none has.
    pub served_at: Option<Timestamp>,
    /// The task that went well, of an all-clear.
    pub resolved_by: Option<String>,
    /// False where the design leaves open whether it is told.
    pub certain: bool,
}

/// What was to be told up to one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    pub(crate) expected: Vec<Told>,
    pub(crate) unserved: Vec<Told>,
}

impl Ledger {
    /// What must have been told once the answers sent so far are worked through, oldest first.
    pub fn expected(&self) -> Vec<Told> {
        self.expected.clone()
    }

    /// Bad states that can be seen now and that no answer has carried yet: not expected. Whether
    /// a baseline keeps one silent is not known before it is served.
    pub fn unserved(&self) -> Vec<Told> {
        self.unserved.clone()
    }
}

/// An answer as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) instance_id: String,
    /// Its Date header: whole seconds of the server's clock.
    pub(crate) date: Timestamp,
    /// A page of a list; else one task that was asked for by its id. Only a list begins a baseline.
    pub(crate) is_list: bool,
    /// In the order of the rows.
    pub(crate) rows: Vec<Arc<Shown>>,
}

/// Notes answers and says what is expected from them.
#[derive(Debug)]
pub(crate) struct Witness {
    /// One for each order in which the rows of an answer may be decided: as they were served, by
    /// creation, by last modification.
    models: [Model; 3],
}

impl Witness {
    pub(crate) fn new(canceled: bool) -> Self {
        Self {
            models: [(); 3].map(|()| Model::new(canceled)),
        }
    }

    /// From now on the first sight of a task is told, however old the task is.
    pub(crate) fn baseline_done(&mut self) {
        for model in &mut self.models {
            model.baseline_done = true;
        }
    }

    pub(crate) fn note(&mut self, served: &Served, served_at: Timestamp) {
        let mut rows: Vec<_> = served.rows.iter().collect();
        let [as_served, by_creation, by_modification] = &mut self.models;
        as_served.note(served, &rows, served_at);
        rows.sort_by_key(|row| row.created_ms);
        by_creation.note(served, &rows, served_at);
        rows.sort_by_key(|row| row.created_ms.max(row.modified_ms));
        by_modification.note(served, &rows, served_at);
    }

    /// Whether an answer carried this state of this task.
    pub(crate) fn has_seen(&self, shown: &Shown) -> bool {
        let seen = self.models[0].seen.get(&shown.task_id);
        seen.is_some_and(|seen| seen.shown.version >= shown.version)
    }

    pub(crate) fn rule(&self, shown: &Shown) -> Option<Rule> {
        self.models[0].rule(shown)
    }

    /// What any of the models tells; what not all of them tell is not certain.
    pub(crate) fn expected(&self) -> Vec<Told> {
        let mut told: HashMap<_, [Vec<&Told>; 3]> = HashMap::new();
        for (n, model) in self.models.iter().enumerate() {
            for entry in &model.told {
                let key = (&entry.task_id, entry.rule, entry.status);
                told.entry(key).or_default()[n].push(entry);
            }
        }
        let mut expected = Vec::new();
        for by_model in told.into_values() {
            let n_max = by_model.iter().map(Vec::len).max().unwrap_or_default();
            for n in 0..n_max {
                let nth: Vec<&Told> = by_model
                    .iter()
                    .filter_map(|told| told.get(n).copied())
                    .collect();
                let certain = nth.len() == by_model.len() && nth.iter().all(|told| told.certain);
                expected.extend(nth.first().map(|&told| Told {
                    certain,
                    ..told.clone()
                }));
            }
        }
        expected.sort_by(|a, b| {
            let key = |told: &Told| (told.served_at, told.visible_at, told.status);
            key(a).cmp(&key(b)).then_with(|| a.task_id.cmp(&b.task_id))
        });
        expected
    }
}

/// Where an incident stands: one rule on one image route, or of one task where a part is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct IncidentKey {
    rule: Rule,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Route(String),
    Task {
        instance_id: String,
        task_id: String,
    },
}

/// Newest is greatest.
type Cause = (i64, String);

#[derive(Debug, Default)]
struct Incident {
    causes: BTreeSet<Cause>,
    newest_told: Option<Cause>,
}

#[derive(Debug)]
struct Seen {
    shown: Arc<Shown>,
    rule: Option<Rule>,
    /// Known from a baseline only.
    silent: bool,
}

#[derive(Debug)]
struct Model {
    canceled: bool,
    baseline_done: bool,
    /// The Date of each instance's first answer.
    baseline_date: HashMap<String, Timestamp>,
    seen: HashMap<String, Seen>,
    /// Tasks seen on each route.
    on_route: HashMap<String, HashSet<String>>,
    incidents: HashMap<IncidentKey, Incident>,
    /// The incidents that each task is a cause of.
    caused: HashMap<String, HashSet<IncidentKey>>,
    told: Vec<Told>,
}

impl Model {
    fn new(canceled: bool) -> Self {
        Self {
            canceled,
            baseline_done: false,
            baseline_date: HashMap::new(),
            seen: HashMap::new(),
            on_route: HashMap::new(),
            incidents: HashMap::new(),
            caused: HashMap::new(),
            told: Vec::new(),
        }
    }

    fn rule(&self, shown: &Shown) -> Option<Rule> {
        if shown.status == Status::Error {
            Some(Rule::Failed)
        } else if shown.issue.is_some() {
            Some(Rule::Issue)
        } else if shown.status == Status::Canceled && self.canceled {
            Some(Rule::Canceled)
        } else {
            None
        }
    }

    fn note(&mut self, served: &Served, rows: &[&Arc<Shown>], served_at: Timestamp) {
        let instance_id = &served.instance_id;
        let baseline_date = if served.is_list {
            *self
                .baseline_date
                .entry(instance_id.clone())
                .or_insert(served.date)
        } else {
            // Before the first list nothing is told as new that is older than this answer.
            let first = self.baseline_date.get(instance_id);
            first.copied().unwrap_or(served.date)
        };
        for row in rows {
            self.note_row(instance_id, baseline_date, row, served_at);
        }
    }

    fn note_row(
        &mut self,
        instance_id: &str,
        baseline_date: Timestamp,
        row: &Arc<Shown>,
        served_at: Timestamp,
    ) {
        let rule = self.rule(row);
        let before = self.seen.get(&row.task_id);
        // An answer that was overtaken by a newer one, or nothing new.
        if before.is_some_and(|seen| seen.shown.version > row.version || seen.shown == *row) {
            return;
        }
        let touched_ms = row.created_ms.max(row.modified_ms);
        let silent =
            before.is_none() && !self.baseline_done && touched_ms < baseline_date.as_millisecond();
        // Told for certain on entering the rule; a silent bad state is told as soon as it moves.
        let certain = before.is_none_or(|seen| seen.rule != rule || seen.silent);
        let was = before.and_then(|seen| seen.rule);
        self.seen.insert(
            row.task_id.clone(),
            Seen {
                shown: Arc::clone(row),
                rule,
                silent,
            },
        );
        if let Some(route) = &row.route {
            self.on_route
                .entry(route.clone())
                .or_default()
                .insert(row.task_id.clone());
        }
        let Some(rule) = rule else {
            if is_well(row) {
                self.end_by(row, served_at);
            }
            return;
        };
        if rule == Rule::Failed && was == Some(Rule::Issue) {
            self.leave_issue_silently(&row.task_id);
        }
        let key = IncidentKey {
            rule,
            place: place(instance_id, row),
        };
        let cause = (row.created_ms, row.task_id.clone());
        let incident = self.incidents.entry(key.clone()).or_default();
        incident.causes.insert(cause.clone());
        if !silent {
            incident.newest_told = incident.newest_told.take().max(Some(cause));
            self.told.push(Told {
                task_id: row.task_id.clone(),
                rule,
                status: AlertStatus::Firing,
                visible_at: row.visible_at,
                served_at: Some(served_at),
                resolved_by: None,
                certain,
            });
        }
        self.caused
            .entry(row.task_id.clone())
            .or_default()
            .insert(key);
        if let Some(well) = self.newer_well_task(row) {
            self.end_causes(&row.task_id.clone(), &well, row.visible_at, served_at);
        }
    }

    /// A task of the same route that is well and was created later.
    fn newer_well_task(&self, row: &Shown) -> Option<Arc<Shown>> {
        let others = self.on_route.get(row.route.as_ref()?)?;
        others
            .iter()
            .filter_map(|id| self.seen.get(id))
            .map(|seen| &seen.shown)
            .find(|other| is_well(other) && other.created_ms > row.created_ms)
            .cloned()
    }

    /// `well` ends its own causes and those of its route that are older.
    fn end_by(&mut self, well: &Arc<Shown>, served_at: Timestamp) {
        let mut ended = vec![well.task_id.clone()];
        if let Some(route) = &well.route {
            for rule in [Rule::Failed, Rule::Issue, Rule::Canceled] {
                let key = IncidentKey {
                    rule,
                    place: Place::Route(route.clone()),
                };
                let causes = self.incidents.get(&key).map(|incident| &incident.causes);
                let older = causes
                    .into_iter()
                    .flatten()
                    .filter(|cause| cause.0 < well.created_ms);
                ended.extend(older.map(|cause| cause.1.clone()));
            }
        }
        for task_id in ended {
            self.end_causes(&task_id, well, well.visible_at, served_at);
        }
    }

    fn end_causes(
        &mut self,
        task_id: &str,
        well: &Shown,
        visible_at: Timestamp,
        served_at: Timestamp,
    ) {
        for key in self.caused.remove(task_id).unwrap_or_default() {
            let Some(incident) = self.incidents.get_mut(&key) else {
                continue;
            };
            incident.causes.retain(|cause| cause.1 != task_id);
            if !incident.causes.is_empty() {
                continue;
            }
            let newest_told = incident.newest_told.take();
            self.incidents.remove(&key);
            // A cause that was never told is not told resolved.
            if let Some((_, newest_told)) = newest_told {
                self.told.push(Told {
                    task_id: newest_told,
                    rule: key.rule,
                    status: AlertStatus::Resolved,
                    visible_at: visible_at.max(well.visible_at),
                    served_at: Some(served_at),
                    resolved_by: Some(well.task_id.clone()),
                    certain: true,
                });
            }
        }
    }

    /// issue → ERROR: the cause moves to `failed`, without an all-clear of the issue.
    fn leave_issue_silently(&mut self, task_id: &str) {
        let Some(keys) = self.caused.get_mut(task_id) else {
            return;
        };
        let issues: Vec<_> = keys
            .iter()
            .filter(|key| key.rule == Rule::Issue)
            .cloned()
            .collect();
        for key in issues {
            keys.remove(&key);
            let Some(incident) = self.incidents.get_mut(&key) else {
                continue;
            };
            incident.causes.retain(|cause| cause.1 != task_id);
            if incident.causes.is_empty() {
                self.incidents.remove(&key);
            } else if incident
                .newest_told
                .as_ref()
                .is_some_and(|told| told.1 == task_id)
            {
                let seen = &self.seen;
                let is_told = |cause: &&Cause| seen.get(&cause.1).is_some_and(|s| !s.silent);
                incident.newest_told = incident.causes.iter().rev().find(is_told).cloned();
            }
        }
    }
}

fn is_well(shown: &Shown) -> bool {
    shown.status == Status::Success && shown.issue.is_none()
}

fn place(instance_id: &str, row: &Shown) -> Place {
    match &row.route {
        Some(route) => Place::Route(route.clone()),
        None => Place::Task {
            instance_id: instance_id.to_owned(),
            task_id: row.task_id.clone(),
        },
    }
}

#[cfg(test)]
mod tests;
