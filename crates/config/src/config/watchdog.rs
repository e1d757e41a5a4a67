//! Who watches the watcher, checked.

use std::time::Duration;

use super::Http;
use crate::LiveSecret;

/// A ping for a dead man's switch outside.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Where to POST, see [`http_url`](crate::http_url); often a secret.
    pub url: LiveSecret,
    /// How often; at least 1 s.
    pub every: Duration,
    /// How to get there.
    pub http: Http,
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
