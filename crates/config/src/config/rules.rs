//! What is told, checked.

use std::time::Duration;

use super::{Flapping, Inhibit};

/// Which rules are on, and their limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSwitches {
    /// Status ERROR.
    pub failed: bool,
    /// A TaskIssue, whatever the status.
    pub issue: bool,
    /// Still open after `stuck_after`.
    pub stuck: bool,
    /// Since created, in the server's time; not zero.
    pub stuck_after: Duration,
    /// Open and no longer listed.
    pub vanished: bool,
    /// A status that this version does not know.
    pub unknown_status: bool,
    /// An instance that cannot be seen.
    pub blind: bool,
    /// How long past the time by which an instance was to be heard of, at least; not zero. A grace of
    /// twice its `poll_every` is kept where that is longer.
    pub blind_after: Duration,
    /// Status CANCELED.
    pub canceled: bool,
    /// At least `slow_after` from created to final.
    pub slow: bool,
    /// In the server's time; not zero.
    pub slow_after: Duration,
    /// Nothing ran for a sync rule or a repository; none: off.
    pub silent: Option<Silent>,
    /// When an incident is taken for flapping; none: never.
    pub flapping: Option<Flapping>,
    /// When an incident in which nothing happens ends by itself.
    pub expire_after: Duration,
    /// What hides what, beside what is built in.
    pub inhibit: Vec<Inhibit>,
}

impl Default for RuleSwitches {
    fn default() -> Self {
        Self {
            failed: true,
            issue: true,
            stuck: true,
            stuck_after: Duration::from_hours(2),
            vanished: true,
            unknown_status: true,
            blind: true,
            blind_after: Duration::from_mins(2),
            canceled: false,
            slow: false,
            slow_after: Duration::from_hours(1),
            silent: None,
            flapping: Some(Flapping::default()),
            expire_after: Duration::from_hours(7 * 24),
            inhibit: Vec::new(),
        }
    }
}

/// What is to run at least once in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// At least one task in this time, by the server's clock; not zero.
    pub within: Duration,
    /// Of these; at least one, each once.
    pub watched: Vec<SilentWatch>,
}

/// One sync rule or repository of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SilentWatch {
    /// The ACR instance that lists its tasks; one that is configured.
    pub instance: String,
    /// Which.
    pub subject: SilentSubject,
}

/// A sync rule or a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SilentSubject {
    /// `SyncRuleId`
    SyncRule(String),
    /// The source repository.
    Repo {
        /// `RepoNamespaceName`
        namespace: String,
        /// `RepoName`
        repo: String,
    },
}
