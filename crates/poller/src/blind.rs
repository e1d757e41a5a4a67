//! Says that an instance cannot be read: `watch.failing` when that has lasted, `watch.recovered` when
//! it is over.
//!
//! In: complete turns, failures, the time. Out: the two events, each with the row that remembers that
//! it was told. Must never happen: a failure that lasts and is not told, also across a restart; one
//! that is told twice.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_event::{Failing, Recovered};
use syncbell_store::{Batch, Store};
use tokio::time::Instant;

use crate::Error;
use crate::row::{decode_row, key_part};

const VERSION: u8 = 1;

/// Characters of a message that are told.
const MESSAGE_LIMIT: usize = 600;

/// What was told and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlindRow {
    v: u8,
    reason: String,
    since: Timestamp,
}

/// Whether one instance can be read.
#[derive(Debug)]
pub(crate) struct Blind {
    key: Vec<u8>,
    told: Option<BlindRow>,
    /// So long it has to last.
    after: Duration,
    /// The last complete turn, or the start.
    saw: (Instant, Timestamp),
}

impl Blind {
    /// Reads what was told before a restart. `after` is how long an instance may not be read.
    pub(crate) async fn load(
        store: &Store,
        instance: &str,
        after: Duration,
    ) -> Result<Self, Error> {
        let key = format!("blind/{}", key_part(instance)).into_bytes();
        let bytes = store.get(key.clone()).await?;
        let told = bytes
            .map(|bytes| decode_row(&key, &bytes, |row: &BlindRow| row.v, VERSION))
            .transpose()?;
        Ok(Self {
            key,
            told,
            after,
            saw: (Instant::now(), Timestamp::now()),
        })
    }

    /// When it has lasted long enough to be told, if it lasts; `None` once it is told.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.told.is_none().then(|| self.saw.0 + self.after)
    }

    /// It was told, and is not over.
    pub(crate) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The event that tells it, with the row to write in its batch. Then call [`Blind::set_told`].
    pub(crate) fn tell(&self, reason: &str, message: &str) -> (Failing, Batch) {
        self.tell_since(self.saw.1, reason, message)
    }

    /// As [`Blind::tell`], where it is known since when.
    pub(crate) fn tell_since(
        &self,
        since: Timestamp,
        reason: &str,
        message: &str,
    ) -> (Failing, Batch) {
        let line = message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c });
        let failing = Failing {
            reason: reason.to_owned(),
            message: line.take(MESSAGE_LIMIT).collect(),
            since,
        };
        let mut batch = Batch::new();
        let row = BlindRow {
            v: VERSION,
            reason: failing.reason.clone(),
            since: failing.since,
        };
        let json = serde_json::to_vec(&row);
        batch.put(self.key.clone(), json.expect("it has string keys"));
        (failing, batch)
    }

    /// What [`Blind::tell`] gave is durable.
    pub(crate) fn set_told(&mut self, failing: &Failing) {
        self.told = Some(BlindRow {
            v: VERSION,
            reason: failing.reason.clone(),
            since: failing.since,
        });
    }

    /// After a complete turn: the event that tells that it is over, if it was told, with the batch
    /// that forgets it. Then call [`Blind::saw`].
    pub(crate) fn end(&self) -> Option<(Recovered, Batch)> {
        let BlindRow { reason, since, .. } = self.told.clone()?;
        let mut batch = Batch::new();
        batch.delete(self.key.clone());
        Some((Recovered { reason, since }, batch))
    }

    /// A turn was complete `now`.
    pub(crate) fn saw(&mut self, now: Timestamp) {
        self.told = None;
        self.saw = (Instant::now(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_across_a_restart_and_ended_once() {
        let store = Store::memory();
        let after = Duration::from_mins(2);
        let mut blind = Blind::load(&store, "cri-a", after).await.unwrap();
        assert_eq!(blind.due_at(), Some(Instant::now() + after));
        assert!(blind.end().is_none(), "nothing was told");
        let (failing, batch) = blind.tell("denied", "NoPrivilege\nx");
        assert_eq!(failing.message, "NoPrivilege x");
        store.commit(batch).await.unwrap();
        blind.set_told(&failing);
        assert_eq!(blind.due_at(), None);

        let mut blind = Blind::load(&store, "cri-a", after).await.unwrap();
        assert_eq!(blind.due_at(), None, "it was told before the restart");
        let (recovered, batch) = blind.end().unwrap();
        assert_eq!(
            (recovered.reason.as_str(), recovered.since),
            ("denied", failing.since)
        );
        store.commit(batch).await.unwrap();
        blind.saw(Timestamp::now());
        assert!(blind.end().is_none());

        let blind = Blind::load(&store, "cri-a", after).await.unwrap();
        assert!(blind.due_at().is_some());
    }
}
