//! Examples of who is told what: the shape of `tests`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::rules::SEVERITIES;
use super::{DURATION, Text};

/// One example: exactly one of `task` and `event`, and what is expected of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// What it shows.
    #[schemars(with = "String")]
    pub(crate) name: Text,
    /// A sync task as it stands in events: at least `task_id` and `status`.
    #[schemars(with = "Option<Value>")]
    pub(crate) task: Option<Spanned<Value>>,
    /// A whole event, as `syncbell events tail -o jsonl` prints it.
    #[schemars(with = "Option<Value>")]
    pub(crate) event: Option<Spanned<Value>>,
    /// It remains so for so long. Default `0s`: what is told at once.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) after: Text,
    /// What is to come of it.
    #[schemars(with = "Expect")]
    pub(crate) expect: Option<Spanned<Expect>>,
}

/// What is left out may be anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// All receivers that are told; `[]`: nobody is.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) receivers: Option<Spanned<Vec<Spanned<String>>>>,
    /// The rule that is told last.
    #[schemars(with = "Option<String>")]
    pub(crate) rule: Text,
    /// Its severity.
    #[schemars(with = "Option<String>", extend("enum" = SEVERITIES))]
    pub(crate) severity: Text,
}
