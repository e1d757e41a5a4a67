//! What the poller says about its own sight of an instance.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EventId, digest_id};

/// How much of the list a sweep read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SweepKind {
    /// The newest pages.
    Head,
    /// All pages.
    Full,
}

/// `watch.swept`: a turn was complete and its changes are published. The heartbeat of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Swept {
    /// Everything up to here was seen; the server's time (Date of the sweep's first answer).
    #[schemars(with = "String")]
    pub seen_until: Timestamp,
    /// Tasks listed.
    pub tasks: u64,
    /// Of these, tasks still open.
    pub open: u64,
    /// How much was read.
    pub sweep: SweepKind,
    /// When the next of these is due at the latest; the server's time.
    #[schemars(with = "String")]
    pub next_by: Timestamp,
}

/// `watch.failing`: the instance could not be read completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failing {
    /// The class of the failure: denied, throttled, unavailable, malformed, rejected, clock, credentials,
    /// unstable, gone, disk_full, ...; the reason of the alert.
    pub reason: String,
    /// One line for people, without secrets.
    pub message: String,
    /// Since when; our time.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// `watch.recovered`: it can be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovered {
    /// The class of the failure that ended.
    pub reason: String,
    /// Since when it had failed.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// The id of a watch event: over (source, type, reason, since). For `swept`, `since` is `seen_until`.
pub(crate) fn watch_id(source: &str, kind: &str, reason: &str, since: Timestamp) -> EventId {
    EventId(digest_id([
        Some(source),
        Some(kind),
        Some(reason),
        Some(&since.to_string()),
    ]))
}
