//! What the ledger remembers of a dead letter's replay.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_store::{Error, Reader};

use crate::delivery::{DeliveryId, DeliveryState, Ending};
use crate::draft::Draft;
use crate::{explain, rows};

/// A replay of a dead letter; kept as long as the letter itself can be listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// When, the last time.
    pub at: Timestamp,
    /// How often.
    pub times: u32,
    /// How it ended, or how it stands.
    pub ended: String,
    /// When the letter was given up: so long it is kept.
    pub letter_at: Timestamp,
    /// The delivery that was tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
}

/// Of a record that waits to be decided again.
pub(super) const QUEUED: &str = "queued";

impl Replayed {
    /// A delivery is pending again.
    pub(crate) fn of_delivery(id: &DeliveryId, letter_at: Timestamp, now: Timestamp) -> Self {
        Self {
            at: now,
            times: 1,
            ended: "pending".to_owned(),
            letter_at,
            delivery: Some(id.clone()),
        }
    }

    /// A record waits to be decided again.
    pub(super) fn of_record(letter_at: Timestamp, now: Timestamp) -> Self {
        Self {
            at: now,
            times: 1,
            ended: QUEUED.to_owned(),
            letter_at,
            delivery: None,
        }
    }

    /// Writes it down, counted on.
    pub(crate) fn note(mut self, draft: &mut Draft<'_>, letter_id: &str) -> Result<(), Error> {
        let key = rows::replayed(letter_id);
        let before: Option<Self> = draft.get(&key)?;
        self.times = before.map_or(1, |before| before.times.saturating_add(1));
        draft.put(key, &self);
        Ok(())
    }

    /// With how its delivery stands now, as far as the ledger still knows it.
    pub(super) fn with_end(mut self, reader: &Reader) -> Result<Self, Error> {
        let Some(id) = &self.delivery else {
            return Ok(self);
        };
        let ended = match explain::stands(reader, id)? {
            None => return Ok(self),
            Some(DeliveryState::Pending(_)) => "pending",
            Some(DeliveryState::Over(closed)) => match closed.ending {
                Ending::Delivered => "delivered",
                Ending::Dead => "dead again",
                Ending::Dropped => "dropped",
                Ending::Merged => "merged",
            },
        };
        ended.clone_into(&mut self.ended);
        Ok(self)
    }
}
