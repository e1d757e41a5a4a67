//! `silent`: that nothing ran for a sync rule or a repository. Pure.
//!
//! In: tasks as they are seen, heartbeats. Out: how long nothing ran, and what shall be told. Only times of
//! the server count: a task's creation against a heartbeat's `seen_until`.
//!
//! Must never happen: silence told of a time in which nobody looked.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_config::SilentSubject;
use syncbell_event::{SyncTask, TaskId};

use super::incident::{ClosedBy, Incident, Subject};
use super::notice::{self, About, Told};
use super::{Heartbeat, Rule, summary};

/// A sync rule or a source repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quiet {
    SyncRule(String),
    Repo { namespace: String, repo: String },
}

impl From<&SilentSubject> for Quiet {
    fn from(subject: &SilentSubject) -> Self {
        match subject {
            SilentSubject::SyncRule(id) => Self::SyncRule(id.clone()),
            SilentSubject::Repo { namespace, repo } => Self::Repo {
                namespace: namespace.clone(),
                repo: repo.clone(),
            },
        }
    }
}

impl Quiet {
    /// Whether `task` is one of its tasks. A repository is that of the source.
    pub(crate) fn covers(&self, task: &SyncTask) -> bool {
        match self {
            Self::SyncRule(id) => task.sync_rule_id.as_ref() == Some(id),
            Self::Repo { namespace, repo } => task.from.as_ref().is_some_and(|from| {
                from.namespace.as_ref() == Some(namespace) && from.repo.as_ref() == Some(repo)
            }),
        }
    }

    /// What ids are made of.
    pub(crate) fn parts(&self) -> Vec<&str> {
        match self {
            Self::SyncRule(id) => vec!["sync_rule", id],
            Self::Repo { namespace, repo } => vec!["repo", namespace, repo],
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SyncRule(id) => format!("sync rule {id}"),
            Self::Repo { namespace, repo } => format!("{namespace}/{repo}"),
        }
    }
}

/// What the ledger keeps about one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) instance: String,
    pub(crate) quiet: Quiet,
    /// Silence counts from here: the first heartbeat since it is watched.
    pub(crate) armed_at: Option<Timestamp>,
    /// When its newest task was created.
    pub(crate) last_at: Option<Timestamp>,
    pub(crate) last_task: Option<TaskId>,
    /// It was told that nothing runs, and nothing has run since.
    pub(crate) is_told: bool,
}

impl Silence {
    /// Of one of which nothing is known.
    pub(crate) fn new(instance: &str, quiet: Quiet) -> Self {
        Self {
            instance: instance.to_owned(),
            quiet,
            armed_at: None,
            last_at: None,
            last_task: None,
            is_told: false,
        }
    }

    /// What its incident is about.
    pub(crate) fn subject(&self) -> Subject {
        Subject::Quiet {
            instance: self.instance.clone(),
            quiet: self.quiet.clone(),
        }
    }

    /// A task of it was seen. One that was created before the newest known is none that ran since; one
    /// without a time of its own ran at `seen_at`.
    pub(crate) fn ran(
        &mut self,
        task: &SyncTask,
        seen_at: Timestamp,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        let at = task.created_at.or(task.modified_at).unwrap_or(seen_at);
        let is_known = self.last_task.as_ref() == Some(&task.task_id);
        if is_known || self.last_at.is_some_and(|last| at <= last) {
            return Told::default();
        }
        self.last_at = Some(at);
        self.last_task = Some(task.task_id.clone());
        if !std::mem::take(&mut self.is_told) {
            return Told::default();
        }
        let name = self.quiet.name();
        let text = format!("{name} on {} runs again: {}", self.instance, task.status);
        notice::end(incident, ClosedBy::Ran, text, seen_at, now)
    }

    /// Judges it at a heartbeat: `within` is how long nothing may run.
    pub(crate) fn judge(
        &mut self,
        within: SignedDuration,
        heartbeat: &Heartbeat,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        let armed_at = *self.armed_at.get_or_insert(heartbeat.seen_until);
        let since = self.last_at.map_or(armed_at, |last| last.max(armed_at));
        let passed = heartbeat.seen_until.duration_since(since);
        if self.is_told || passed < within {
            return Told::default();
        }
        self.is_told = true;
        let (name, instance) = (self.quiet.name(), &self.instance);
        let text = format!(
            "nothing ran of {name} on {instance} for {}",
            summary::spoken(passed)
        );
        let message = self.last_at.map_or_else(
            || "No task of it has been seen.".to_owned(),
            |last| format!("Its last task was created at {}.", summary::minute(last)),
        );
        let about = About {
            rule: Rule::Silent,
            subject: self.subject(),
            instance,
            region: Some(&heartbeat.region),
            reason: "nothing_ran",
            message: Some(message),
            since,
            summary: text,
        };
        notice::begin(
            incident,
            about,
            heartbeat.observed_at,
            heartbeat.traceparent,
            now,
        )
    }
}
