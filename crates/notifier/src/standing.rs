//! Where the reader of the log stands, partition by partition.
//!
//! In: the positions that were read. Out: rows; `ledger.rs` reads them at a start, a draft writes them in the batch of
//! what the records caused.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_bus::{Position, Stream};
use syncbell_event::EventId;

use crate::rows::Key;

/// Positions read at start; more partitions than any topic of ours has.
pub(crate) const PARTITIONS_LIMIT: usize = 4_096;

/// A task's own time may lie this long before it was observed.
pub(crate) const LATE: SignedDuration = SignedDuration::from_mins(30);

/// Where the reader of one partition stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The next offset to read.
    pub(crate) next: u64,
    /// When the event before it was observed: how far back something may be missing, if the log goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed_at: Option<Timestamp>,
    /// The id of the event before it, if it was one: the log must still hold it there.
    pub(crate) event_id: Option<EventId>,
}

impl Standing {
    /// Behind the record at `position`, whose event is not known.
    pub(crate) fn behind(position: Position) -> Self {
        Self {
            next: position.offset.saturating_add(1),
            observed_at: None,
            event_id: None,
        }
    }
}

/// The rows that say where the reader of `stream` stands.
pub(crate) fn positions(stream: Stream) -> Key {
    format!("p/{}/", stream.as_str()).into_bytes()
}
