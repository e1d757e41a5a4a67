//! What a silence, or an open incident, held back: a row, and the lines in it that people read.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a silence, or an incident, held back so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    pub(crate) held: u64,
    /// Of them: told when nothing held them any more.
    pub(crate) told: u64,
    /// Of them: over before that.
    pub(crate) over: u64,
    /// The newest first.
    pub(crate) last: VecDeque<HeldLine>,
    /// Its end was looked at: it holds nothing any more.
    #[serde(default)]
    pub(crate) released: bool,
}

/// One alert that was held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldLine {
    /// When.
    pub at: Timestamp,
    /// Its incident.
    pub incident: String,
    /// Its rule.
    pub rule: String,
    /// What it would have said.
    pub summary: String,
}
