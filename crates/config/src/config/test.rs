//! Examples of who is told what, checked.

use std::time::Duration;

use serde_json::Value;

/// One example.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// `file:line:column`
    pub place: String,
    /// An event or a sync task, as JSON.
    pub input: Value,
    /// It remains so for so long.
    pub after: Duration,
    /// All receivers that are told; sorted, all exist.
    pub receivers: Option<Vec<String>>,
    /// The rule that is told last; it exists.
    pub rule: Option<String>,
    /// Its severity, as a word.
    pub severity: Option<String>,
}
