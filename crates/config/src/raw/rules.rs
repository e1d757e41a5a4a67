//! What is told: the shape of `rules`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{DURATION, Text};

/// The gravest first.
pub(crate) const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// Switches and limits, one rule a key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Status ERROR. Default on.
    pub(crate) failed: Option<Switch>,
    /// A TaskIssue, whatever the status. Default on.
    pub(crate) issue: Option<Switch>,
    /// Still open so long after it was created. Default on, `2h`.
    pub(crate) stuck: Option<Timed>,
    /// Open, and no longer listed by two complete sweeps. Default on.
    pub(crate) vanished: Option<Switch>,
    /// A status that this version does not know. Default on.
    pub(crate) unknown_status: Option<Switch>,
    /// An instance that cannot be seen: the poller says so, or is not heard of in time. Default on,
    /// `2m` past the time by which it was to be heard of; at least twice `poll_every`.
    pub(crate) blind: Option<Timed>,
    /// Status CANCELED. Default off.
    pub(crate) canceled: Option<Switch>,
    /// So long from created to final; told once. Default off, `1h`.
    pub(crate) slow: Option<Timed>,
    /// Nothing ran for a sync rule or a repository. Default off.
    #[schemars(with = "Option<Silent>")]
    pub(crate) silent: Option<Spanned<Silent>>,
    /// More rules, by conditions on the task. Of those that match, the gravest raises the condition; of equal
    /// severity these go before the others, in their order here.
    #[schemars(with = "Option<Vec<OwnRule>>")]
    pub(crate) own: Option<Vec<Spanned<OwnRule>>>,
    /// When an incident in which nothing happens ends by itself. Default `7d`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) expire_after: Text,
}

/// A switch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// On or off.
    pub(crate) enabled: Option<bool>,
    /// `critical`, `error`, `warning` or `info`. Default: that of the rule.
    #[schemars(with = "Option<String>", extend("enum" = SEVERITIES))]
    pub(crate) severity: Text,
    /// For machines: routes match and group by `labels.NAME`.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) labels: Option<BTreeMap<String, Spanned<String>>>,
    /// For people: a runbook, a hint.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) annotations: Option<BTreeMap<String, Spanned<String>>>,
}

/// A rule with a limit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timed {
    /// On or off.
    pub(crate) enabled: Option<bool>,
    /// The limit.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) after: Text,
    /// `critical`, `error`, `warning` or `info`. Default: that of the rule.
    #[schemars(with = "Option<String>", extend("enum" = SEVERITIES))]
    pub(crate) severity: Text,
    /// For machines: routes match and group by `labels.NAME`.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) labels: Option<BTreeMap<String, Spanned<String>>>,
    /// For people: a runbook, a hint.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) annotations: Option<BTreeMap<String, Spanned<String>>>,
}

/// What is to run at least once in a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Silent {
    /// On or off.
    pub(crate) enabled: Option<bool>,
    /// At least one task in this time. Default `24h`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) within: Text,
    /// `SYNC_RULE_ID`, or `INSTANCE/SYNC_RULE_ID` where several instances are watched.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) sync_rules: Option<Vec<Spanned<String>>>,
    /// `NAMESPACE/REPO`, or `INSTANCE/NAMESPACE/REPO` where several instances are watched.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) repos: Option<Vec<Spanned<String>>>,
    /// `critical`, `error`, `warning` or `info`. Default: that of the rule.
    #[schemars(with = "Option<String>", extend("enum" = SEVERITIES))]
    pub(crate) severity: Text,
    /// For machines: routes match and group by `labels.NAME`.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) labels: Option<BTreeMap<String, Spanned<String>>>,
    /// For people: a runbook, a hint.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) annotations: Option<BTreeMap<String, Spanned<String>>>,
}

/// A rule of one's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnRule {
    /// Unique; routes name it as `rule=NAME`. Small letters, digits, `_` and `-`, at most 32.
    #[schemars(with = "String")]
    pub(crate) name: Text,
    /// All must hold, on the task's own labels: `task_status=ERROR`, `from.namespace=~team-.*`.
    #[schemars(with = "Vec<String>")]
    #[serde(rename = "match")]
    pub(crate) matchers: Option<Vec<Spanned<String>>>,
    /// It must hold for so long, by the registry's clock. Default: it tells at once.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    #[serde(rename = "for")]
    pub(crate) held_for: Text,
    /// `critical`, `error`, `warning` or `info`. Default `warning`.
    #[schemars(with = "Option<String>", extend("enum" = SEVERITIES))]
    pub(crate) severity: Text,
    /// For machines: routes match and group by `labels.NAME`.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) labels: Option<BTreeMap<String, Spanned<String>>>,
    /// For people: a runbook, a hint.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) annotations: Option<BTreeMap<String, Spanned<String>>>,
}
