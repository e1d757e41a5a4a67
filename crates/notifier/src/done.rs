//! What one turn did, beside its batch.
//!
//! The steps of a turn note in it what the consume loop is to do once the batch is durable: which lanes to wake, when to
//! look at what, what to count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::delivery::Target;
use crate::group::GroupKey;
use crate::trail::Deciding;

/// What one turn did, beside its batch.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) lanes: BTreeSet<Target>,
    /// When groups want to be looked at.
    pub(crate) timers: BTreeMap<GroupKey, Option<Timestamp>>,
    /// When instances are overdue.
    pub(crate) watches: BTreeMap<String, Option<Timestamp>>,
    /// An instance of which more is due than one batch takes.
    pub(crate) judging: Option<String>,
    /// Incidents that ended, and held back more than one batch takes.
    pub(crate) releasing: BTreeSet<String>,
    pub(crate) told: u64,
    /// Held back, or the end of what was.
    pub(crate) untold: u64,
    /// The event that is decided now, with its trail.
    pub(crate) deciding: Option<Deciding>,
    /// Records that are dead letters now.
    pub(crate) dead: u64,
    /// Deliveries that are.
    pub(crate) buried: u64,
    /// What was seen before is only to be known, see `begin.rs`.
    pub(crate) tells_from: Timestamp,
}
