//! The route: who is told what, by which labels, how often.

use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::config::Route;
use crate::problem::suggestion;
use crate::raw;
use crate::{MatchOp, Matcher};

/// Labels that entries have; kept in step with the notifier by a test there.
pub(crate) const LABELS: [&str; 17] = [
    "instance",
    "rule",
    "severity",
    "status",
    "reason",
    "incident",
    "sync_rule_id",
    "from.region_id",
    "from.instance_id",
    "from.namespace",
    "from.repo",
    "from.tag",
    "to.region_id",
    "to.instance_id",
    "to.namespace",
    "to.repo",
    "to.tag",
];

/// The rules' names; kept in step with the notifier by a test there.
pub(crate) const RULES: [&str; 9] = [
    "blind",
    "failed",
    "issue",
    "stuck",
    "vanished",
    "unknown_status",
    "silent",
    "canceled",
    "slow",
];

/// Labels whose values are known: any other value would match nothing, and nobody would be told.
const CLOSED: [(&str, &[&str]); 3] = [
    ("rule", &RULES),
    ("severity", &["critical", "error", "warning", "info"]),
    ("status", &["firing", "resolved"]),
];

const EXPECTED: &str = "expected `label=value`, `!=`, `=~` or `!~`";

impl Checker<'_> {
    /// `names`: of all receivers in the file.
    pub(super) fn route(&mut self, raw: Option<Spanned<raw::Route>>, names: &[String]) -> Route {
        let mut route = Route::default();
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `route` is missing: nobody would be told",
            );
            return route;
        };
        let at = raw.referenced;
        let raw = raw.value;
        self.later("fallback", &raw.fallback);
        self.later("routes", &raw.routes);
        route.receivers = self.told(raw.receivers, names, at);
        for text in raw.matchers.unwrap_or_default() {
            match matcher(&text.value) {
                Ok(matcher) => route.matchers.push(matcher),
                Err(message) => self.error(text.referenced, message),
            }
        }
        route.group_by = raw.group_by.map(|labels| self.group_by(labels));
        route.group_wait = self.optional_duration("group_wait", raw.group_wait);
        route.group_interval = self.optional_duration("group_interval", raw.group_interval);
        route.repeat_interval = self.positive("repeat_interval", raw.repeat_interval);
        route
    }

    fn told(
        &mut self,
        raw: Option<Spanned<Vec<Spanned<String>>>>,
        names: &[String],
        at: Location,
    ) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        let Some(raw) = raw else {
            self.error(
                at,
                "the key `receivers` is missing here: nobody would be told",
            );
            return told;
        };
        if raw.value.is_empty() {
            self.error(raw.referenced, "`receivers` is empty: nobody is told");
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in raw.value {
            if !names.contains(&name.value.as_str()) {
                let hint = suggestion(&name.value, &names);
                let message = format!("no receiver is named `{}`{hint}", name.value);
                self.error(name.referenced, message);
            } else if !told.contains(&name.value) {
                told.push(name.value);
            }
        }
        told
    }

    fn group_by(&mut self, raw: Vec<Spanned<String>>) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        let only = raw.len() == 1;
        for label in raw {
            if label.value == "..." {
                if !only {
                    self.error(label.referenced, "`...` is every label: it stands alone");
                }
            } else if !LABELS.contains(&label.value.as_str()) {
                let hint = suggestion(&label.value, &LABELS);
                self.error(
                    label.referenced,
                    format!("unknown label `{}`{hint}", label.value),
                );
            }
            if !labels.contains(&label.value) {
                labels.push(label.value);
            }
        }
        labels
    }
}

/// A condition on a label of any name.
pub(super) fn condition(text: &str) -> Result<Matcher, String> {
    let at = text.find(['=', '!']).ok_or(EXPECTED)?;
    let (label, rest) = text.split_at(at);
    let ops = [
        ("=~", MatchOp::Matches),
        ("!~", MatchOp::NotMatches),
        ("!=", MatchOp::NotEquals),
        ("=", MatchOp::Equals),
    ];
    let found = ops
        .into_iter()
        .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)));
    let (op, value) = found.ok_or(EXPECTED)?;
    let (label, value) = (label.trim().to_owned(), value.trim().to_owned());
    if matches!(op, MatchOp::Matches | MatchOp::NotMatches) {
        check_pattern(&value)?;
    }
    Ok(Matcher { label, op, value })
}

/// A condition on a label that alerts have: `label=value`, `!=`, `=~`, `!~`. The error says what is wrong with it,
/// for whoever wrote it.
pub fn matcher(text: &str) -> Result<Matcher, String> {
    let matcher = condition(text)?;
    let (label, value) = (matcher.label.as_str(), matcher.value.as_str());
    if !LABELS.contains(&label) {
        return Err(format!(
            "unknown label `{label}`{}",
            suggestion(label, &LABELS)
        ));
    }
    let known = CLOSED.iter().find(|(name, _)| *name == label);
    let compares = matches!(matcher.op, MatchOp::Equals | MatchOp::NotEquals);
    if let Some((_, known)) = known
        && compares
        && !known.contains(&value)
    {
        return Err(format!(
            "unknown {label} `{value}`{}",
            suggestion(value, known)
        ));
    }
    Ok(matcher)
}

/// Only `.*` has a meaning in a pattern. The other signs of regular expressions would be taken as
/// plain text and match nothing, so they are refused.
fn check_pattern(value: &str) -> Result<(), String> {
    match value.replace(".*", "").find([
        '*', '+', '?', '|', '(', ')', '[', ']', '{', '}', '^', '$', '\\',
    ]) {
        None => Ok(()),
        Some(_) => Err(format!(
            "the pattern `{value}`: only `.*` has a meaning, for any text"
        )),
    }
}
