//! Rules that the configuration adds, and what alerts of a rule carry. Pure.
//!
//! In: a task. Out: whether its state breaks the rule, or would, once it has been so for long enough: that is
//! judged at a heartbeat (`timers.rs`), by the server's clock. Must never happen: a rule's name that is taken
//! for that of another one.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_config::RuleSwitches;
use syncbell_event::{Severity, SyncTask};

use super::condition::Rule;
use crate::label::{Condition, Field};

/// Bytes of a name.
const NAME_BYTES: usize = 32;

/// The name of a rule that the configuration adds: kept in place, as rules are copied everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES],
    length: u8,
}

impl Name {
    /// None: it is longer than the configuration allows.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self {
            bytes,
            length: u8::try_from(text.len()).ok()?,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        std::str::from_utf8(bytes).expect("it was made of a whole text")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or_else(|| format!("{text} is too long for the name of a rule"))
    }
}

/// What a rule's alerts carry. An incident keeps those with which it was opened, so that its end takes the
/// way of its beginning, whatever the configuration says by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Marks {
    pub(crate) severity: Severity,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct OwnRule {
    pub(crate) name: Name,
    conditions: Vec<Condition<Field>>,
    /// None: it is broken at once.
    pub(crate) held_for: Option<SignedDuration>,
}

/// Since when a task's state has been one that breaks a rule once it has been so for long enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) rule: Name,
    /// The one whose heartbeats judge it.
    pub(crate) instance: String,
    /// By the server's clock.
    pub(crate) since: Timestamp,
    /// It has been so for long enough.
    pub(crate) ripe: bool,
}

impl OwnRule {
    /// From the checked configuration, which bounds names.
    pub(crate) fn new(rule: &syncbell_config::OwnRule) -> Option<Self> {
        let limit = |after| SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
        Some(Self {
            name: Name::new(&rule.name)?,
            conditions: Condition::of_task(&rule.matchers),
            held_for: rule.held_for.map(limit),
        })
    }

    /// What the configuration says of rules beside their defaults.
    pub(crate) fn marks(switches: &RuleSwitches) -> BTreeMap<Rule, Marks> {
        let built_in = switches.marks.iter().map(|(name, marks)| (*name, marks));
        let own = switches
            .own
            .iter()
            .map(|own| (own.name.as_str(), &own.marks));
        let marks = |(name, marks): (&str, &syncbell_config::Marks)| {
            let rule = Rule::try_from(name.to_owned()).ok()?;
            let of_rule = Marks {
                severity: marks.severity.map_or(rule.severity(), severity),
                labels: marks.labels.clone(),
                annotations: marks.annotations.clone(),
            };
            Some((rule, of_rule))
        };
        built_in.chain(own).filter_map(marks).collect()
    }

    /// Whether the task's state is such, for however long.
    pub(crate) fn matches(&self, task: &SyncTask) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds_for(task))
    }

    /// Whether the task breaks it.
    pub(crate) fn is_broken_by(&self, task: &SyncTask, held: &[Held]) -> bool {
        let ripe = || held.iter().any(|held| held.rule == self.name && held.ripe);
        (self.held_for.is_none() || ripe()) && self.matches(task)
    }
}

fn severity(severity: syncbell_config::Severity) -> Severity {
    match severity {
        syncbell_config::Severity::Info => Severity::Info,
        syncbell_config::Severity::Warning => Severity::Warning,
        syncbell_config::Severity::Error => Severity::Error,
        syncbell_config::Severity::Critical => Severity::Critical,
    }
}
