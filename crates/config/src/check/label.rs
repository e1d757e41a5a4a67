//! The labels that can be matched and grouped by, and their values where those are known.

use std::collections::BTreeSet;

use crate::problem::suggestion;
use crate::raw::SEVERITIES;
use crate::{MatchOp, Matcher};

/// Labels that entries have; kept in step with the notifier by a test there.
pub(crate) const LABELS: [&str; 31] = [
    "instance",
    "rule",
    "severity",
    "status",
    "reason",
    "incident",
    "task_id",
    "batch_id",
    "sync_rule_id",
    "sync_rule_name",
    "task_status",
    "issue",
    "trigger",
    "priority",
    "created_at",
    "modified_at",
    "cross_user",
    "custom_link",
    "link_id",
    "accelerated",
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
    "resolved_by",
];

/// Fields of the vendor that this version does not know: `extra.NAME`.
const EXTRA: &str = "extra.";

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

/// What a rule gives: `labels.NAME`.
const GIVEN: &str = "labels.";

/// Of the alert, or of what is found out beside the task: rules decide before there is any.
const NOT_OF_TASKS: [&str; 8] = [
    "instance",
    "rule",
    "severity",
    "status",
    "reason",
    "incident",
    "resolved_by",
    "sync_rule_name",
];

/// What the rules of the file make known.
pub(super) struct Given {
    /// Of all rules, the built-in ones among them.
    pub(super) rules: Vec<String>,
    /// That any of them gives.
    pub(super) labels: BTreeSet<String>,
}

const EXPECTED: &str = "expected `label=value`, `!=`, `=~` or `!~`";

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
    Matcher::try_new(label.trim(), op, unquoted(value.trim()))
}

/// Alertmanager's own form has the value in quotes.
fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(value)
}

/// A condition on a label that alerts have: `label=value`, `!=`, `=~`, `!~`; where the rules of the file are not
/// known, of any rule and any label that a rule may give. The error says what is wrong with it, for whoever wrote
/// it.
pub fn any_matcher(text: &str) -> Result<Matcher, String> {
    let matcher = condition(text)?;
    // One of the file's own is taken as it is, unless it looks like a built-in one that is misspelt: a pattern
    // (`rule=~NAME`) is never taken for that.
    let is_misspelt = suggestion(&matcher.value, &RULES).contains("did you mean");
    let own = (!is_misspelt).then(|| matcher.value.clone());
    let given = Given {
        rules: RULES.map(str::to_owned).into_iter().chain(own).collect(),
        labels: matcher
            .label
            .strip_prefix(GIVEN)
            .map(str::to_owned)
            .into_iter()
            .collect(),
    };
    self::matcher(text, &given)
}

/// [`any_matcher`] of a file whose rules give these.
pub(super) fn matcher(text: &str, given: &Given) -> Result<Matcher, String> {
    let matcher = condition(text)?;
    let (label, value) = (matcher.label.as_str(), matcher.value.as_str());
    exists(label, given)?;
    // Any other value would match nothing, and nobody would be told.
    let known: Vec<&str> = match label {
        "rule" => given.rules.iter().map(String::as_str).collect(),
        "severity" => SEVERITIES.to_vec(),
        "status" => vec!["firing", "resolved"],
        _ => Vec::new(),
    };
    let compares = matches!(matcher.op, MatchOp::Equals | MatchOp::NotEquals);
    if compares && !known.is_empty() && !known.contains(&value) {
        let hint = suggestion(value, &known);
        let of_task = if label == "status" {
            "; the task's own is `task_status`"
        } else {
            ""
        };
        return Err(format!("unknown {label} `{value}`{hint}{of_task}"));
    }
    Ok(matcher)
}

/// A condition on a label that tasks have.
pub(super) fn of_task(text: &str) -> Result<Matcher, String> {
    let matcher = condition(text)?;
    let label = matcher.label.as_str();
    if matches!(label, "status" | "reason") {
        return Err(format!(
            "`{label}` is of the alert: the task's own are `task_status` and `issue`"
        ));
    }
    if label == "instance" {
        // A rule may not depend on which of them asked last.
        let what = "`instance` is of the alert, and a task may be listed by two: its own are \
                    `from.instance_id` and `to.instance_id`";
        return Err(what.to_owned());
    }
    if is_extra(label) || LABELS.contains(&label) && !NOT_OF_TASKS.contains(&label) {
        return Ok(matcher);
    }
    let of_tasks = LABELS
        .into_iter()
        .filter(|label| !NOT_OF_TASKS.contains(label));
    let hint = suggestion(label, &of_tasks.collect::<Vec<_>>());
    Err(format!("`{label}` is no label of a task{hint}"))
}

fn is_extra(label: &str) -> bool {
    label
        .strip_prefix(EXTRA)
        .is_some_and(|name| !name.is_empty())
}

/// Whether entries can have it; else what was meant.
pub(super) fn exists(label: &str, given: &Given) -> Result<(), String> {
    if let Some(name) = label.strip_prefix(GIVEN) {
        if given.labels.contains(name) {
            return Ok(());
        }
        let known: Vec<&str> = given.labels.iter().map(String::as_str).collect();
        let hint = if known.is_empty() {
            String::new()
        } else {
            suggestion(name, &known)
        };
        return Err(format!("no rule gives the label `{name}`{hint}"));
    }
    if is_extra(label) || LABELS.contains(&label) {
        return Ok(());
    }
    let hint = suggestion(label, &LABELS);
    Err(format!("unknown label `{label}`{hint}"))
}
