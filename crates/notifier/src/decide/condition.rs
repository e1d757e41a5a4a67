//! Which rule a task's state breaks. First match wins, so that one state raises one condition.

use serde::{Deserialize, Serialize};
use syncbell_event::{Severity, Status, SyncTask};

/// A rule. The order is the design's: on equal severity the earlier one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// The status is ERROR.
    Failed,
    /// There is a TaskIssue, whatever the status (the vendor's own sample has SUCCESS with one).
    Issue,
    /// The status is CANCELED; off until switched on.
    Canceled,
}

impl Rule {
    /// All rules, in the order in which they decide.
    pub(crate) const ALL: [Self; 3] = [Self::Failed, Self::Issue, Self::Canceled];

    /// The word on the wire, in labels and in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Issue => "issue",
            Self::Canceled => "canceled",
        }
    }

    /// How grave a break of it is.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Failed => Severity::Error,
            Self::Issue => Severity::Warning,
            Self::Canceled => Severity::Info,
        }
    }
}

/// Which rules are switched on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) failed: bool,
    pub(crate) issue: bool,
    pub(crate) canceled: bool,
}

impl Rules {
    /// The rule that this state of the task breaks, if any: the gravest of those switched on.
    pub(crate) fn broken_by(self, task: &SyncTask) -> Option<Rule> {
        if self.failed && task.status == Status::Error {
            Some(Rule::Failed)
        } else if self.issue && task.issue.is_some() {
            Some(Rule::Issue)
        } else if self.canceled && task.status == Status::Canceled {
            Some(Rule::Canceled)
        } else {
            None
        }
    }
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

    #[test]
    fn the_gravest_rule_that_is_on_decides() {
        let on = Rules {
            failed: true,
            issue: true,
            canceled: true,
        };
        let off = Rules {
            failed: false,
            issue: true,
            canceled: false,
        };
        let task = |status, issue: Option<&str>| {
            let mut task = SyncTask::new("rst-1", status);
            task.issue = issue.map(str::to_owned);
            task
        };
        let cases = [
            (
                on,
                task(Status::Error, Some("NETWORK_ERROR")),
                Some(Rule::Failed),
            ),
            (on, task(Status::Error, None), Some(Rule::Failed)),
            (
                on,
                task(Status::Success, Some("NETWORK_ERROR")),
                Some(Rule::Issue),
            ),
            (on, task(Status::Pending, Some("X")), Some(Rule::Issue)),
            (on, task(Status::Canceled, Some("X")), Some(Rule::Issue)),
            (on, task(Status::Canceled, None), Some(Rule::Canceled)),
            (on, task(Status::Success, None), None),
            (on, task(Status::Unknown("PAUSED".into()), None), None),
            (off, task(Status::Error, Some("X")), Some(Rule::Issue)),
            (off, task(Status::Error, None), None),
            (off, task(Status::Canceled, None), None),
        ];
        for (rules, task, expected) in cases {
            assert_eq!(rules.broken_by(&task), expected, "{task:?}");
        }
    }
}
