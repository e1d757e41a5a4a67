//! What the store keeps of one task.
//!
//! In: bytes of a row, or what the diff makes of a task. Out: the row, its key, its bytes.
//! Must never happen: a row over the store's limit of a value. [`admit`](crate::admit) bounds the
//! task, [`VISITS_LIMIT`] the history.
//!
//! Of a task that is over and went well only a few bytes are kept (see [`compact`]): of a million
//! tasks nearly all are such.

mod compact;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_event::{Phase, SyncTask, digest_id};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::Error;
use crate::diff::is_bad;

/// The format of whole rows that this version writes; it refuses newer ones.
const VERSION: u8 = 1;

/// How many states of a task are remembered, the latest visited. An older one that comes back
/// counts from 0 again; by then no reader remembers the id of its event.
pub(crate) const VISITS_LIMIT: usize = 32;

/// One task as it was last seen, and what the diff must remember of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    v: u8,
    /// The task as last accepted; where the row is not whole, its id, status and times.
    pub(crate) task: SyncTask,
    /// Set where only that is known of the task: what the whole of it hashed to.
    #[serde(skip)]
    pub(crate) compacted: Option<Fingerprint>,
    /// How often the task entered each state, latest last.
    visits: Vec<(String, u32)>,
    /// Digest of the filters under which it was last listed.
    pub(crate) filters: String,
    /// When `task` was last changed, by our clock.
    pub(crate) observed_at: Timestamp,
    /// Complete sweeps in a row that did not list it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) misses: u8,
    /// Since when it has been gone, by our clock; set once it is final, vanished, or of other filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absent_since: Option<Timestamp>,
    /// It was open when it went, and that was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) vanished: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

impl Row {
    /// The row of a task seen for the first time, not yet in any state.
    pub(crate) fn new(task: SyncTask, filters: &str, observed_at: Timestamp) -> Self {
        Self {
            v: VERSION,
            task,
            compacted: None,
            visits: Vec::new(),
            filters: filters.to_owned(),
            observed_at,
            misses: 0,
            absent_since: None,
            vanished: false,
        }
    }

    /// Whether the task can still change by itself.
    pub(crate) fn open(&self) -> bool {
        self.task.status.phase() == Phase::Open && !self.vanished
    }

    /// Counts that the row enters its task's state (status, issue, modified time), or `vanished`,
    /// and says how often it was in exactly that state before.
    pub(crate) fn enter(&mut self) -> u32 {
        let state = if self.vanished {
            digest_id([Some("gone")])
        } else {
            let modified_ms = self
                .task
                .modified_at
                .map(|at| at.as_millisecond().to_string());
            digest_id([
                Some("here"),
                Some(self.task.status.as_str()),
                self.task.issue.as_deref(),
                modified_ms.as_deref(),
            ])
        };
        let state = state[..16].to_owned();
        let known = self.visits.iter().position(|(other, _)| *other == state);
        let n = known.map_or(0, |at| self.visits.remove(at).1);
        self.visits.push((state, n.saturating_add(1)));
        if self.visits.len() > VISITS_LIMIT {
            self.visits.remove(0);
        }
        n
    }

    /// What [`Row::enter`] said when the row came into the state that it is in.
    pub(crate) fn times_before(&self) -> u32 {
        self.visits.last().map_or(0, |(_, n)| n.saturating_sub(1))
    }

    /// What the whole task hashes to.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.compacted
            .unwrap_or_else(|| Fingerprint::of(&self.task))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.task.status.phase() == Phase::Final && !is_bad(&self.task) {
            return compact::encode(self);
        }
        serde_json::to_vec(self).expect("our own struct has string keys and no failing serializer")
    }

    /// `key` only names the row in the error.
    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Error> {
        if bytes.first() == Some(&b'{') {
            return decode_row(key, bytes, |row: &Self| row.v, VERSION);
        }
        compact::decode(bytes).map_err(|what| Error::Row {
            key: key.escape_ascii().to_string(),
            what,
        })
    }
}

/// A hash of everything that is known of a task. It is stored: the function never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) u64);

impl Fingerprint {
    pub(crate) fn of(task: &SyncTask) -> Self {
        let json = serde_json::to_vec(task);
        Self(xxh3_64(&json.expect("tasks have string keys")))
    }
}

/// What stands for a task's id in memory and in keys: ids are any text. It is stored, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IdHash([u8; 16]);

impl IdHash {
    pub(crate) fn of(task_id: &str) -> Self {
        Self(xxh3_128(task_id.as_bytes()).to_be_bytes())
    }
}

/// Decodes a JSON row, refuses one of a newer version.
pub(crate) fn decode_row<T: serde::de::DeserializeOwned>(
    key: &[u8],
    bytes: &[u8],
    version: impl Fn(&T) -> u8,
    known: u8,
) -> Result<T, Error> {
    let fault = |what: String| Error::Row {
        key: key.escape_ascii().to_string(),
        what,
    };
    let row: T = serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
    let found = version(&row);
    if found > known {
        return Err(fault(format!(
            "it has version {found}, this program knows up to {known}"
        )));
    }
    Ok(row)
}

/// `task/{instance}/`
pub(crate) fn task_prefix(instance: &str) -> Vec<u8> {
    format!("task/{}/", key_part(instance)).into_bytes()
}

/// `task/{instance}/` and the 16 bytes that stand for the task's id.
pub(crate) fn task_key(prefix: &[u8], task: IdHash) -> Vec<u8> {
    [prefix, &task.0].concat()
}

/// An id as one part of a key: `/` and `%` escaped, so that no instance's prefix holds another's.
pub(crate) fn key_part(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use syncbell_event::Status;

    use super::*;

    fn row() -> Row {
        let task = SyncTask::new("rst-1", Status::Error);
        Row::new(task, "f", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        let mut row = row();
        row.enter();
        row.misses = 1;
        row.absent_since = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(Row::decode(b"k", &row.encode()).unwrap(), row);
    }

    #[test]
    fn an_unknown_number_comes_back_as_it_was() {
        let mut row = row();
        let numbers = "[0.1, 7.038531e-26, 2.638344616030823e-256, 18446744073709551615]";
        let numbers = serde_json::from_str(numbers).unwrap();
        row.task.extra.insert("New".to_owned(), numbers);
        assert_eq!(Row::decode(b"k", &row.encode()).unwrap(), row);
    }

    #[test]
    fn a_row_of_a_newer_version_is_refused_by_name() {
        let mut row = row();
        row.v = 2;
        let error = Row::decode(b"task/a/1", &row.encode()).unwrap_err();
        assert!(error.to_string().contains("task/a/1"), "{error}");
        assert!(error.to_string().contains("version 2"), "{error}");
        assert!(Row::decode(b"k", b"{").is_err());
    }

    #[test]
    fn entering_a_state_counts_how_often_it_was_entered_before() {
        let mut row = row();
        assert_eq!(row.enter(), 0);
        assert_eq!(row.enter(), 1);
        row.task.issue = Some("X".to_owned());
        assert_eq!(row.enter(), 0);
        row.vanished = true;
        assert_eq!(row.enter(), 0);
        row.vanished = false;
        row.task.issue = None;
        assert_eq!(row.enter(), 2);
    }

    #[test]
    fn the_history_of_states_is_bounded() {
        let mut row = row();
        for ms in 0..1_000 {
            row.task.modified_at = Some(Timestamp::from_millisecond(ms).unwrap());
            row.enter();
        }
        assert_eq!(row.visits.len(), VISITS_LIMIT);
        assert!(row.encode().len() < 4_000);
        assert_eq!(row.enter(), 1, "the latest states are the ones kept");
    }

    #[test]
    fn no_instance_has_a_prefix_within_another_ones() {
        let inner = task_key(&task_prefix("a/b"), IdHash::of("x"));
        assert!(!inner.starts_with(&task_prefix("a")));
        assert!(inner.starts_with(b"task/a%2Fb/"));
    }

    #[test]
    fn what_is_stored_of_hashes_never_changes() {
        assert_eq!(
            task_key(b"", IdHash::of("rst-1")),
            hex("9235e7df982feeacc47428a90cfedb62")
        );
        assert_eq!(Fingerprint::of(&row().task).0, 13_623_340_478_404_620_624);
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }
}
