//! An incident: one rule broken on one image route, with the tasks that cause it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{EventId, Route, SyncTask, TaskId, digest_id};

use super::condition::Rule;

/// Causes kept in full. A later well task of the route ends them all alike, so the oldest may go.
const CAUSES_LIMIT: usize = 32;

/// What an incident is about, beside its rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// A complete image route.
    Route(Route),
    /// A task of which part of the route is not known.
    Task { instance: String, task_id: TaskId },
}

impl Subject {
    /// The subject of `task` as listed by `instance`.
    pub(crate) fn of(instance: &str, task: &SyncTask) -> Self {
        match task.route() {
            Some(route) => Self::Route(route),
            None => Self::Task {
                instance: instance.to_owned(),
                task_id: task.task_id.clone(),
            },
        }
    }

    fn parts(&self) -> Vec<Option<&str>> {
        match self {
            Self::Route(route) => std::iter::once(Some("route"))
                .chain(route.parts().iter().map(|part| Some(part.as_str())))
                .collect(),
            Self::Task { instance, task_id } => {
                vec![Some("task"), Some(instance), Some(task_id.as_str())]
            }
        }
    }

    /// For people: the source image, or the task.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Route(route) => match route.parts() {
                [_, namespace, repo, tag, ..] => format!("{namespace}/{repo}:{tag}"),
                _ => String::new(),
            },
            Self::Task { task_id, .. } => format!("task {task_id}"),
        }
    }

    /// 32 hex that stand for it in keys.
    pub(crate) fn digest(&self) -> String {
        digest_id(self.parts())
    }

    /// The incident's id: 32 hex of rule and subject.
    pub(crate) fn incident_id(&self, rule: Rule) -> String {
        digest_id(std::iter::once(Some(rule.as_str())).chain(self.parts()))
    }
}

/// One task that holds an incident open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) task: SyncTask,
    pub(crate) event_id: EventId,
    /// Known only from a snapshot: was never told, and will not be told resolved.
    pub(crate) told: bool,
    pub(crate) since: Timestamp,
}

/// One rule broken on one subject. Its id is the same each time; `opened_at` tells the times apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) rule: Rule,
    pub(crate) subject: Subject,
    /// The instance that listed its first cause.
    pub(crate) instance: String,
    pub(crate) opened_at: Timestamp,
    pub(crate) changed_at: Timestamp,
    /// Oldest first.
    pub(crate) causes: Vec<Cause>,
    /// Failures told while it has been open.
    pub(crate) occurrences: u32,
    /// How it ended, if it did.
    pub(crate) closed: Option<Closing>,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closing {
    pub(crate) at: Timestamp,
    pub(crate) why: ClosedBy,
}

/// What ended an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClosedBy {
    /// This task went well.
    Well(TaskId),
    /// Its last cause became a cause of a graver rule; that is no all-clear.
    Graver,
    /// Nothing happened for `expire_after`; that is no all-clear.
    Expired,
}

impl Incident {
    /// A new one without causes.
    pub(crate) fn open(rule: Rule, subject: Subject, instance: &str, now: Timestamp) -> Self {
        Self {
            id: subject.incident_id(rule),
            rule,
            subject,
            instance: instance.to_owned(),
            opened_at: now,
            changed_at: now,
            causes: Vec::new(),
            occurrences: 0,
            closed: None,
        }
    }

    /// Whether it goes on.
    pub(crate) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Adds a cause, or renews the one of the same task.
    pub(crate) fn add(&mut self, cause: Cause, now: Timestamp) {
        if cause.told {
            self.occurrences = self.occurrences.saturating_add(1);
        }
        self.causes
            .retain(|known| known.task.task_id != cause.task.task_id);
        self.causes.push(cause);
        if self.causes.len() > CAUSES_LIMIT {
            self.causes.remove(0);
        }
        self.changed_at = now;
    }

    /// Takes out the causes that the well task `well` ends: its own, and those of earlier tasks of the
    /// same route. Gives them back; if none is left, the incident is closed.
    pub(crate) fn end_by_well(&mut self, well: &Well, now: Timestamp) -> Vec<Cause> {
        let same_route =
            matches!(&self.subject, Subject::Route(route) if Some(route) == well.route.as_ref());
        let ends = |cause: &Cause| {
            cause.task.task_id == well.task_id
                || (same_route
                    && matches!((cause.task.created_at, well.created_at), (Some(failed), Some(well)) if failed < well))
        };
        let (ended, left): (Vec<_>, Vec<_>) = self.causes.drain(..).partition(ends);
        self.causes = left;
        if !ended.is_empty() {
            self.changed_at = now;
            if self.causes.is_empty() {
                self.closed = Some(Closing {
                    at: now,
                    why: ClosedBy::Well(well.task_id.clone()),
                });
            }
        }
        ended
    }

    /// Closes it if nothing happened in it for `expire_after`: immutable tags never get a newer task.
    /// True if it did.
    pub(crate) fn expire(&mut self, expire_after: SignedDuration, now: Timestamp) -> bool {
        let expired = self.is_open() && now.duration_since(self.changed_at) >= expire_after;
        if expired {
            self.closed = Some(Closing {
                at: now,
                why: ClosedBy::Expired,
            });
        }
        expired
    }

    /// Takes out the cause of `task_id` because it moves to a graver rule.
    pub(crate) fn move_out(&mut self, task_id: &TaskId, now: Timestamp) {
        let before = self.causes.len();
        self.causes.retain(|cause| cause.task.task_id != *task_id);
        if self.causes.len() < before {
            self.changed_at = now;
            if self.causes.is_empty() {
                self.closed = Some(Closing {
                    at: now,
                    why: ClosedBy::Graver,
                });
            }
        }
    }
}

/// A task that went well, as far as incidents care.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Well {
    pub(crate) task_id: TaskId,
    pub(crate) route: Option<Route>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) event_id: EventId,
}
