//! Who watches the watcher, checked.

use std::time::Duration;

use url::Url;

use super::Egress;
use crate::Secret;

/// A ping for a dead man's switch outside.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Where to POST; http or https.
    pub url: Secret<Url>,
    /// How often; at least 1 s.
    pub every: Duration,
    /// Where pings may go.
    pub egress: Egress,
}

/// When Syncbell tells that it cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// Nothing reached a receiver for so long, and something should have.
    pub receiver_failing_for: Duration,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            receiver_failing_for: Duration::from_mins(15),
        }
    }
}
