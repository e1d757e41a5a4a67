//! An incident: one rule broken on one image route, with the tasks that cause it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{EventId, Route, Severity, SyncTask, TaskId, digest_id};

use super::condition::Rule;
use super::flap::Turns;
use super::own_rule::Marks;
use super::silent::Quiet;

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
    /// An instance: that it cannot be seen.
    Instance { instance: String },
    /// A sync rule or a repository: that nothing ran.
    Quiet { instance: String, quiet: Quiet },
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
            Self::Instance { instance } => vec![Some("instance"), Some(instance)],
            Self::Quiet { instance, quiet } => {
                let mut parts = vec![Some("quiet"), Some(instance.as_str())];
                parts.extend(quiet.parts().into_iter().map(Some));
                parts
            }
        }
    }

    /// For people: the source image, the task, the instance, or what did not run.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Route(route) => match route.parts() {
                [_, namespace, repo, tag, ..] => format!("{namespace}/{repo}:{tag}"),
                _ => String::new(),
            },
            Self::Task { task_id, .. } => format!("task {task_id}"),
            Self::Instance { instance } => format!("instance {instance}"),
            Self::Quiet { quiet, .. } => quiet.name(),
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
    /// What it says where no task is its cause: `blind` and `silent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notice: Option<Notice>,
    /// How it ended, if it did.
    pub(crate) closed: Option<Closing>,
    /// When it began and ended of late, earlier openings included.
    #[serde(default, skip_serializing_if = "Turns::is_empty")]
    pub(crate) turns: Turns,
    /// With what it was opened; none: as its rule is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) marks: Option<Marks>,
}

/// What an incident without tasks says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// One word for machines.
    pub(crate) reason: String,
    /// One line for people, if there is more to say than the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    pub(crate) since: Timestamp,
    /// Over (rule, instance, subject, since): the same whoever finds it.
    pub(crate) event_id: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// As it was told, to be repeated.
    pub(crate) summary: String,
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
    /// What was stuck, or broke a rule that the configuration adds, is final.
    Final,
    /// What had vanished is listed again.
    Listed,
    /// The instance is seen again.
    Seen,
    /// Something ran again.
    Ran,
    /// It is told once and does not go on.
    Once,
    /// It, or its rule, left the configuration; that is no all-clear.
    Unwatched,
    /// Somebody closed it.
    Hand {
        /// Why; may be empty.
        reason: String,
    },
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
            notice: None,
            closed: None,
            turns: Turns::default(),
            marks: None,
        }
    }

    /// How grave it is.
    pub(crate) fn severity(&self) -> Severity {
        let severity = self.marks.as_ref().map(|marks| marks.severity);
        severity.unwrap_or(self.rule.severity())
    }

    /// What its alerts carry for machines, and for people.
    pub(crate) fn texts(&self) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let marks = self.marks.as_ref();
        let texts = marks.map(|marks| (marks.labels.clone(), marks.annotations.clone()));
        texts.unwrap_or_default()
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

    /// Ends the cause of `task_id`, if it is one, because of `why`; gives it back. If none is left, the
    /// incident is closed.
    pub(crate) fn end_task(
        &mut self,
        task_id: &TaskId,
        why: ClosedBy,
        now: Timestamp,
    ) -> Option<Cause> {
        let at = self
            .causes
            .iter()
            .position(|cause| cause.task.task_id == *task_id)?;
        let cause = self.causes.remove(at);
        self.changed_at = now;
        if self.causes.is_empty() {
            self.close(why, now);
        }
        Some(cause)
    }

    /// Whether the task may hold it open: it does, or it is one of more than are kept.
    pub(crate) fn may_hold(&self, task_id: &TaskId) -> bool {
        let mut causes = self.causes.iter();
        self.causes.len() >= CAUSES_LIMIT || causes.any(|cause| cause.task.task_id == *task_id)
    }

    /// Ends it, whatever holds it open.
    pub(crate) fn close(&mut self, why: ClosedBy, now: Timestamp) {
        self.changed_at = now;
        self.closed = Some(Closing { at: now, why });
    }

    /// Closes it if nothing happened in it for `expire_after`: immutable tags never get a newer task.
    /// True if it did. What no task holds open does not end by age: nobody is to believe that Syncbell
    /// sees again because a week is over.
    pub(crate) fn expire(&mut self, expire_after: SignedDuration, now: Timestamp) -> bool {
        let ages = self.notice.is_none();
        let expired = ages && self.is_open() && now.duration_since(self.changed_at) >= expire_after;
        if expired {
            self.closed = Some(Closing {
                at: now,
                why: ClosedBy::Expired,
            });
        }
        expired
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
