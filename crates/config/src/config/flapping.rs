//! When a condition flaps, checked.

use std::time::Duration;

/// A condition that begins and ends over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// So many beginnings and ends, 3 to 100.
    pub changes: usize,
    /// Within this time; at most 24 h, not zero.
    pub within: Duration,
    /// Between two messages about it to people; not zero.
    pub every: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            changes: 6,
            within: Duration::from_hours(1),
            every: Duration::from_mins(30),
        }
    }
}
