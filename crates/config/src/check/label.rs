//! The labels that can be matched and grouped by, and their values where those are known.

use crate::problem::suggestion;
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

/// Labels whose values are known: any other value would match nothing, and nobody would be told.
const CLOSED: [(&str, &[&str]); 3] = [
    ("rule", &RULES),
    ("severity", &["critical", "error", "warning", "info"]),
    ("status", &["firing", "resolved"]),
];

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

/// A condition on a label that alerts have: `label=value`, `!=`, `=~`, `!~`. The error says what is wrong with it,
/// for whoever wrote it.
pub fn matcher(text: &str) -> Result<Matcher, String> {
    let matcher = condition(text)?;
    let (label, value) = (matcher.label.as_str(), matcher.value.as_str());
    exists(label)?;
    let known = CLOSED.iter().find(|(name, _)| *name == label);
    let compares = matches!(matcher.op, MatchOp::Equals | MatchOp::NotEquals);
    if let Some((_, known)) = known
        && compares
        && !known.contains(&value)
    {
        let hint = suggestion(value, known);
        let of_task = if label == "status" {
            "; the task's own is `task_status`"
        } else {
            ""
        };
        return Err(format!("unknown {label} `{value}`{hint}{of_task}"));
    }
    Ok(matcher)
}

/// Whether entries can have it; else what was meant.
pub(super) fn exists(label: &str) -> Result<(), String> {
    let is_extra = label
        .strip_prefix(EXTRA)
        .is_some_and(|name| !name.is_empty());
    if is_extra || LABELS.contains(&label) {
        return Ok(());
    }
    let hint = suggestion(label, &LABELS);
    Err(format!("unknown label `{label}`{hint}"))
}
