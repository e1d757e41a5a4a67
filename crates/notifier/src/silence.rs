//! Silences: what somebody does not want to hear of for a while, as rows.
//!
//! In: rows. Out: what may hold something back, and until when. The API alone writes them (`silences.rs`); the consume
//! loop reads them in each of its turns, and alone writes what a silence held back, in a row beside it: neither of
//! the two writers overwrites what the other wrote.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_store::Reader;

use crate::hold::{Compiled, HoldRecord, Holder, Mute};
use crate::rows;

/// Silences that go on or are to begin: each is looked at with each alert.
pub const SILENCES_LIMIT: usize = 1_000;

/// Those that are over and are still listed; the oldest go first.
pub(crate) const ENDED_LIMIT: usize = 1_000;

/// A silence as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// 32 hex.
    pub id: String,
    /// All must hold.
    pub matchers: Vec<String>,
    /// From then on.
    pub starts_at: Timestamp,
    /// Not any more then.
    pub ends_at: Timestamp,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When somebody ended it before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<Timestamp>,
}

impl Silence {
    pub(crate) fn end(&self) -> Timestamp {
        self.expired_at
            .map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    pub(crate) fn state(&self, now: Timestamp) -> &'static str {
        if self.end() <= now {
            "expired"
        } else if now < self.starts_at {
            "pending"
        } else {
            "active"
        }
    }

    /// What the consume loop needs of it. Matchers that no version can read hold nothing back.
    fn mute(&self, compiled: &Compiled) -> Option<Mute> {
        Some(Mute {
            id: self.id.clone(),
            starts_at: self.starts_at,
            ends_at: self.end(),
            matchers: compiled.matchers(&self.id, &self.matchers)?,
        })
    }
}

/// Every silence that stands in the ledger.
pub(crate) fn all(reader: &Reader) -> Result<Vec<Silence>, syncbell_store::Error> {
    let mut silences = Vec::new();
    for (key, row) in reader.scan(rows::MUTES, None, 4 * (SILENCES_LIMIT + ENDED_LIMIT))? {
        if !rows::is_piece(&key) {
            silences.extend(rows::seen::<Silence>(reader, &key, &row)?);
        }
    }
    Ok(silences)
}

/// Those that may hold something back now.
pub(crate) fn mutes(
    reader: &Reader,
    compiled: &Compiled,
    now: Timestamp,
) -> Result<Vec<Mute>, syncbell_store::Error> {
    let mut mutes = Vec::new();
    for silence in all(reader)? {
        // One whose end came is over, also where the clock was set back then: nothing would wake what it held.
        if now < silence.end() && !record(reader, &silence.id)?.released {
            mutes.extend(silence.mute(compiled));
        }
    }
    Ok(mutes)
}

/// When each silence ends whose end was not looked at yet.
pub(crate) fn ends(reader: &Reader) -> Result<Vec<(String, Timestamp)>, syncbell_store::Error> {
    let mut ends = Vec::new();
    for silence in all(reader)? {
        if !record(reader, &silence.id)?.released {
            ends.push((silence.id.clone(), silence.end()));
        }
    }
    Ok(ends)
}

/// What the silence held back so far.
pub(crate) fn record(reader: &Reader, id: &str) -> Result<HoldRecord, syncbell_store::Error> {
    let key = rows::hold_record(&Holder::Silence(id.to_owned()));
    Ok(rows::find(reader, &key)?.unwrap_or_default())
}
