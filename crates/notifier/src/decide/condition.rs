//! Which rule a task's state breaks. First match wins, so that one state raises one condition.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use syncbell_event::{Phase, Severity, Status, SyncTask};

use super::flap::Flapping;
use super::own_rule::{Held, Marks, Name, OwnRule};

/// A rule. The order of those that are built in is the design's; in which order all of them decide is said
/// by [`Rules::rank`]. In rows and on the wire it is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Rule {
    /// An instance cannot be seen.
    Blind,
    /// The status is ERROR.
    Failed,
    /// There is a TaskIssue, whatever the status (the vendor's own sample has SUCCESS with one).
    Issue,
    /// Still open long after it was created.
    Stuck,
    /// Was open, and is no longer listed.
    Vanished,
    /// The status is none that this version knows.
    UnknownStatus,
    /// Nothing ran for a sync rule or a repository; off until switched on.
    Silent,
    /// The status is CANCELED; off until switched on.
    Canceled,
    /// Took long from created to final; off until switched on. Told once: it holds no incident open.
    Slow,
    /// One that the configuration adds, or added.
    Own(Name),
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.as_str().to_owned()
    }
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let built_in = Self::ALL.into_iter().find(|rule| rule.as_str() == name);
        built_in
            .or_else(|| Name::new(&name).map(Self::Own))
            .ok_or_else(|| format!("no rule is named {name}"))
    }
}

impl Rule {
    /// Those that are built in, in the order in which they decide where nothing else is said.
    pub(crate) const ALL: [Self; 9] = [
        Self::Blind,
        Self::Failed,
        Self::Issue,
        Self::Stuck,
        Self::Vanished,
        Self::UnknownStatus,
        Self::Silent,
        Self::Canceled,
        Self::Slow,
    ];

    /// Those of them whose incidents tasks hold open.
    pub(crate) const OF_TASKS: [Self; 6] = [
        Self::Failed,
        Self::Issue,
        Self::Stuck,
        Self::Vanished,
        Self::UnknownStatus,
        Self::Canceled,
    ];

    /// The word on the wire, in labels and in the configuration.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Blind => "blind",
            Self::Failed => "failed",
            Self::Issue => "issue",
            Self::Stuck => "stuck",
            Self::Vanished => "vanished",
            Self::UnknownStatus => "unknown_status",
            Self::Silent => "silent",
            Self::Canceled => "canceled",
            Self::Slow => "slow",
            Self::Own(name) => name.as_str(),
        }
    }

    /// How grave a break of it is, where the configuration says nothing else.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Blind => Severity::Critical,
            Self::Failed => Severity::Error,
            Self::Issue
            | Self::Stuck
            | Self::Vanished
            | Self::UnknownStatus
            | Self::Silent
            | Self::Own(_) => Severity::Warning,
            Self::Canceled | Self::Slow => Severity::Info,
        }
    }
}

/// Which rules are switched on, and the limits of those that have one (none: off).
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one switch a rule")]
pub(crate) struct Rules {
    pub(crate) failed: bool,
    pub(crate) issue: bool,
    /// Since created.
    pub(crate) stuck: Option<SignedDuration>,
    pub(crate) vanished: bool,
    pub(crate) unknown_status: bool,
    /// How long past the time by which an instance was to be heard of, at least.
    pub(crate) blind: Option<SignedDuration>,
    /// At least one task in this time.
    pub(crate) silent: Option<SignedDuration>,
    pub(crate) canceled: bool,
    /// From created to final.
    pub(crate) slow: Option<SignedDuration>,
    /// When an incident is taken for flapping.
    pub(crate) flapping: Option<Flapping>,
    /// Of rules whose alerts carry something beside the defaults, or are of another severity.
    pub(crate) marks: BTreeMap<Rule, Marks>,
    /// Those that the configuration adds, in its order.
    pub(crate) own: Vec<OwnRule>,
}

impl Rules {
    /// From the checked configuration.
    pub(crate) fn of(switches: &syncbell_config::RuleSwitches) -> Self {
        let limit = |on: bool, after| {
            on.then(|| SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX))
        };
        Self {
            failed: switches.failed,
            issue: switches.issue,
            stuck: limit(switches.stuck, switches.stuck_after),
            vanished: switches.vanished,
            unknown_status: switches.unknown_status,
            blind: limit(switches.blind, switches.blind_after),
            silent: switches
                .silent
                .as_ref()
                .and_then(|silent| limit(true, silent.within)),
            canceled: switches.canceled,
            slow: limit(switches.slow, switches.slow_after),
            flapping: switches.flapping.map(|flapping| Flapping {
                changes: flapping.changes,
                within: SignedDuration::try_from(flapping.within).unwrap_or(SignedDuration::MAX),
            }),
            marks: OwnRule::marks(switches),
            own: switches.own.iter().filter_map(OwnRule::new).collect(),
        }
    }

    /// What its alerts carry, if it is not as built in.
    pub(crate) fn marks(&self, rule: Rule) -> Option<&Marks> {
        self.marks.get(&rule)
    }

    /// The place of `rule` among those that decide; the least decides: the gravest, of equal severity those
    /// that the configuration adds before those that are built in, then their own order. One that left the
    /// configuration comes last.
    pub(crate) fn rank(&self, rule: Rule) -> (Reverse<Severity>, usize) {
        let built_in = || Rule::ALL.iter().position(|known| *known == rule);
        let place = match rule {
            Rule::Own(name) => self.own.iter().position(|own| own.name == name),
            _ => built_in().map(|place| self.own.len() + place),
        };
        let Some(place) = place else {
            return (Reverse(Severity::Info), usize::MAX);
        };
        let severity = self
            .marks(rule)
            .map_or(rule.severity(), |marks| marks.severity);
        (Reverse(severity), place)
    }

    /// Those whose incidents tasks hold open.
    pub(crate) fn of_tasks(&self) -> impl Iterator<Item = Rule> {
        let own = self.own.iter().map(|own| Rule::Own(own.name));
        Rule::OF_TASKS.into_iter().chain(own)
    }

    /// The one that the configuration adds under this name, if it still does.
    pub(crate) fn own(&self, name: Name) -> Option<&OwnRule> {
        self.own.iter().find(|own| own.name == name)
    }

    /// Those that a task breaks by remaining as it is, with their limits: in the order in which they decide,
    /// so that nothing is told of a lesser one that a graver one takes over at once.
    pub(crate) fn timed(&self) -> Vec<(Rule, SignedDuration)> {
        let own = self.own.iter();
        let own = own.filter_map(|own| Some((Rule::Own(own.name), own.held_for?)));
        let stuck = self.stuck.map(|limit| (Rule::Stuck, limit));
        let mut timed: Vec<_> = own.chain(stuck).collect();
        timed.sort_by_key(|(rule, _)| self.rank(*rule));
        timed
    }

    /// The rule that this state of the task breaks, if any: the first by [`Rules::rank`] of those switched
    /// on. `held`: for how long it has been so.
    pub(crate) fn broken_by(&self, task: &SyncTask, beyond: Beyond, held: &[Held]) -> Option<Rule> {
        let is_open = task.status.phase() == Phase::Open;
        let breaks = |rule: &Rule| match rule {
            Rule::Failed => self.failed && task.status == Status::Error,
            Rule::Issue => self.issue && task.issue.is_some(),
            Rule::Stuck => self.stuck.is_some() && is_open && beyond.stuck,
            Rule::Vanished => self.vanished && is_open && beyond.vanished,
            Rule::UnknownStatus => self.unknown_status && matches!(task.status, Status::Unknown(_)),
            Rule::Canceled => self.canceled && task.status == Status::Canceled,
            Rule::Own(name) => self
                .own(*name)
                .is_some_and(|own| own.is_broken_by(task, held)),
            // Of instances, or only told once at the end.
            Rule::Blind | Rule::Silent | Rule::Slow => false,
        };
        self.of_tasks()
            .filter(breaks)
            .min_by_key(|rule| self.rank(*rule))
    }
}

/// What is known of a task beyond the fields of its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// It has been open for too long, judged at a heartbeat.
    pub(crate) stuck: bool,
    /// It is no longer listed.
    pub(crate) vanished: bool,
}

/// Why, in one or two words: the issue, else the status.
pub(crate) fn reason(task: &SyncTask) -> String {
    task.issue
        .clone()
        .unwrap_or_else(|| task.status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_ON: Rules = Rules {
        flapping: None,
        failed: true,
        issue: true,
        stuck: Some(SignedDuration::from_hours(2)),
        vanished: true,
        unknown_status: true,
        blind: Some(SignedDuration::from_mins(2)),
        silent: None,
        canceled: true,
        slow: None,
        marks: BTreeMap::new(),
        own: Vec::new(),
    };
    const PLAIN: Beyond = Beyond {
        stuck: false,
        vanished: false,
    };
    const STUCK: Beyond = Beyond {
        stuck: true,
        vanished: false,
    };
    const VANISHED: Beyond = Beyond {
        stuck: false,
        vanished: true,
    };
    const BOTH: Beyond = Beyond {
        stuck: true,
        vanished: true,
    };

    fn task(status: Status, issue: Option<&str>) -> SyncTask {
        let mut task = SyncTask::new("rst-1", status);
        task.issue = issue.map(str::to_owned);
        task
    }

    fn unknown() -> Status {
        Status::Unknown("PAUSED".into())
    }

    #[test]
    fn the_gravest_rule_that_is_on_decides_and_then_the_first() {
        use Rule::{Canceled, Failed, Issue, Stuck, UnknownStatus, Vanished};
        let cases = [
            (Status::Error, Some("NETWORK_ERROR"), PLAIN, Some(Failed)),
            (Status::Error, None, PLAIN, Some(Failed)),
            (Status::Success, Some("NETWORK_ERROR"), PLAIN, Some(Issue)),
            (Status::Pending, Some("X"), PLAIN, Some(Issue)),
            (Status::Canceled, Some("X"), PLAIN, Some(Issue)),
            (Status::Canceled, None, PLAIN, Some(Canceled)),
            (Status::Success, None, PLAIN, None),
            (Status::Pending, None, PLAIN, None),
            (unknown(), None, PLAIN, Some(UnknownStatus)),
            (unknown(), Some("X"), BOTH, Some(Issue)),
            (unknown(), None, STUCK, Some(Stuck)),
            (unknown(), None, VANISHED, Some(Vanished)),
            (Status::Pending, Some("X"), BOTH, Some(Issue)),
            (Status::Pending, None, BOTH, Some(Stuck)),
            (Status::Synchronizing, None, VANISHED, Some(Vanished)),
            // What is final is neither.
            (Status::Success, None, BOTH, None),
            (Status::Error, None, BOTH, Some(Failed)),
            (Status::Canceled, None, BOTH, Some(Canceled)),
        ];
        for (status, issue, beyond, expected) in cases {
            let task = task(status, issue);
            let broken = ALL_ON.broken_by(&task, beyond, &[]);
            assert_eq!(broken, expected, "{task:?} {beyond:?}");
        }
    }

    #[test]
    fn a_rule_that_is_off_leaves_the_state_to_the_next() {
        let off = |change: fn(&mut Rules)| {
            let mut rules = ALL_ON;
            change(&mut rules);
            rules
        };
        let cases = [
            (
                off(|r| r.failed = false),
                Status::Error,
                Some("X"),
                PLAIN,
                Some(Rule::Issue),
            ),
            (off(|r| r.failed = false), Status::Error, None, PLAIN, None),
            (
                off(|r| r.issue = false),
                Status::Pending,
                Some("X"),
                STUCK,
                Some(Rule::Stuck),
            ),
            (
                off(|r| r.stuck = None),
                Status::Pending,
                None,
                BOTH,
                Some(Rule::Vanished),
            ),
            (
                off(|r| r.vanished = false),
                unknown(),
                None,
                VANISHED,
                Some(Rule::UnknownStatus),
            ),
            (
                off(|r| r.unknown_status = false),
                unknown(),
                None,
                PLAIN,
                None,
            ),
            (
                off(|r| r.canceled = false),
                Status::Canceled,
                None,
                PLAIN,
                None,
            ),
        ];
        for (rules, status, issue, beyond, expected) in cases {
            let task = task(status, issue);
            let broken = rules.broken_by(&task, beyond, &[]);
            assert_eq!(broken, expected, "{task:?} {beyond:?}");
        }
    }

    #[test]
    fn the_order_is_by_severity_and_the_names_are_those_of_the_configuration() {
        assert!(Rule::ALL.is_sorted());
        assert!(Rule::ALL.is_sorted_by_key(|rule| std::cmp::Reverse(rule.severity())));
        for rule in Rule::ALL {
            let written = serde_json::to_value(rule).unwrap();
            assert_eq!(written, rule.as_str());
        }
        assert!(Rule::ALL.is_sorted_by_key(|rule| ALL_ON.rank(*rule)));
        let severities: Vec<&str> = Rule::ALL.iter().map(|r| r.severity().as_str()).collect();
        let expected = "critical error warning warning warning warning warning info info";
        assert_eq!(severities.join(" "), expected);
    }
}
