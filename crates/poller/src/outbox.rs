//! The events that are decided and not yet acknowledged by the log: rows `outbox/{seq}` of the
//! store, written in the batch of the state they come from.
//!
//! In: envelopes. Out: rows for a batch; the oldest rows for the publish loop. Must never happen: an
//! event dropped because there are many. At the bound polling waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use syncbell_event::Envelope;
use syncbell_service::crash_point;
use syncbell_store::{Batch, Store};
use tokio::sync::Notify;

use crate::Error;

/// The outbox is full at this many rows.
pub(crate) const ROWS_LIMIT: u64 = 100_000;

/// The outbox is full at this many bytes of values.
pub(crate) const BYTES_LIMIT: u64 = 256 * 1024 * 1024;

const PREFIX: &[u8] = b"outbox/";

/// The next sequence number to give, so that it goes on after a restart with an empty outbox.
const NEXT_KEY: &[u8] = b"outbox-next";

/// Rows that are read at once when counting at start.
const SCAN_ROWS: usize = 512;

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    key: Vec<u8>,
    /// The ACR instance it is about: the record's key.
    pub(crate) instance: String,
    /// The envelope's bytes.
    pub(crate) event: Vec<u8>,
}

/// How full the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Depth {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// The outbox of one store. Shared by the poll loops and the publish loop.
#[derive(Debug)]
pub(crate) struct Outbox {
    store: Store,
    limit: Depth,
    inner: Mutex<Inner>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    depth: Depth,
}

/// Rows that were added to a batch: say how the batch went.
#[derive(Debug)]
#[must_use = "tell the outbox whether the batch was committed"]
pub(crate) struct Added(Depth);

impl Outbox {
    /// Counts what waits in `store` from before.
    pub(crate) async fn load(store: Store) -> Result<Self, Error> {
        let limit = Depth {
            rows: ROWS_LIMIT,
            bytes: BYTES_LIMIT,
        };
        Self::load_with(store, limit).await
    }

    pub(crate) async fn load_with(store: Store, limit: Depth) -> Result<Self, Error> {
        let (next, depth) = store
            .read(|reader| {
                let mut next = reader
                    .get(NEXT_KEY)?
                    .and_then(|bytes| bytes.try_into().ok())
                    .map_or(1, u64::from_be_bytes);
                let mut depth = Depth::default();
                let mut after: Option<Vec<u8>> = None;
                loop {
                    let rows = reader.scan(PREFIX, after.as_deref(), SCAN_ROWS)?;
                    for (key, value) in &rows {
                        depth.rows += 1;
                        depth.bytes += value.len() as u64;
                        next = next.max(seq(key) + 1);
                    }
                    match rows.into_iter().next_back() {
                        Some((key, _)) => after = Some(key),
                        None => return Ok((next, depth)),
                    }
                }
            })
            .await?;
        Ok(Self {
            store,
            limit,
            inner: Mutex::new(Inner { next, depth }),
            filled: Notify::new(),
            emptied: Notify::new(),
        })
    }

    /// Adds `envelopes`, in order, to a batch that the caller commits.
    ///
    /// Two callers may commit in another order than they added. Each instance has one caller, and
    /// order is promised within an instance.
    pub(crate) fn add(&self, batch: &mut Batch, envelopes: &[Envelope]) -> Added {
        let mut added = Depth::default();
        if envelopes.is_empty() {
            return Added(added);
        }
        let mut inner = self.inner();
        for envelope in envelopes {
            let value = encode(&envelope.source.instance, &envelope.encode());
            added.rows += 1;
            added.bytes += value.len() as u64;
            batch.put(key(inner.next), value);
            inner.next += 1;
        }
        batch.put(NEXT_KEY, inner.next.to_be_bytes());
        inner.depth.rows += added.rows;
        inner.depth.bytes += added.bytes;
        Added(added)
    }

    /// The batch is durable: the publish loop wakes.
    pub(crate) fn committed(&self, added: &Added) {
        if added.0.rows > 0 {
            self.filled.notify_one();
        }
    }

    /// The batch was not written.
    pub(crate) fn abandoned(&self, added: &Added) {
        self.leave(added.0);
    }

    /// Commits `batch` with `envelopes`: both are durable, or neither is there.
    pub(crate) async fn put(&self, mut batch: Batch, envelopes: &[Envelope]) -> Result<(), Error> {
        let added = self.add(&mut batch, envelopes);
        if batch.is_empty() {
            return Ok(());
        }
        crash_point("poller.diffed");
        match self.store.commit(batch).await {
            Ok(()) => {
                crash_point("poller.committed");
                self.committed(&added);
                Ok(())
            }
            Err(error) => {
                self.abandoned(&added);
                Err(error.into())
            }
        }
    }

    /// The oldest `limit` events besides `sent`: durable ones only.
    ///
    /// Not those behind the last sent: of two instances one may commit later what it added earlier.
    pub(crate) async fn oldest_besides(
        &self,
        sent: &[Waiting],
        limit: usize,
    ) -> Result<Vec<Waiting>, Error> {
        let mut rows = self.oldest(sent.len() + limit).await?;
        rows.retain(|row| sent.binary_search_by(|one| one.key.cmp(&row.key)).is_err());
        rows.truncate(limit);
        Ok(rows)
    }

    /// The oldest `limit` events, in order: durable ones only.
    pub(crate) async fn oldest(&self, limit: usize) -> Result<Vec<Waiting>, Error> {
        let rows = self.store.scan(PREFIX, None, limit).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let (instance, event) = decode(&value).ok_or_else(|| Error::Row {
                    key: key.escape_ascii().to_string(),
                    what: "it is cut".to_owned(),
                })?;
                Ok(Waiting {
                    key,
                    instance,
                    event,
                })
            })
            .collect()
    }

    /// The log has acknowledged `published`: their rows go.
    pub(crate) async fn acknowledged(&self, published: &[Waiting]) -> Result<(), Error> {
        let mut batch = Batch::new();
        let mut gone = Depth::default();
        for row in published {
            batch.delete(row.key.clone());
            gone.rows += 1;
            gone.bytes += encoded_bytes(&row.instance, &row.event);
        }
        batch.put(NEXT_KEY, self.inner().next.to_be_bytes());
        self.store.commit(batch).await?;
        self.leave(gone);
        Ok(())
    }

    /// The sequence number behind all that was added so far.
    pub(crate) fn next(&self) -> u64 {
        self.inner().next
    }

    /// Whether a durable event with a smaller sequence number than `next` waits.
    pub(crate) async fn has_older_than(&self, next: u64) -> Result<bool, Error> {
        let oldest = self.store.scan(PREFIX, None, 1).await?;
        Ok(oldest.first().is_some_and(|(key, _)| seq(key) < next))
    }

    /// How much waits now.
    pub(crate) fn depth(&self) -> Depth {
        self.inner().depth
    }

    /// Full: nothing more may be added.
    pub(crate) fn is_full(&self) -> bool {
        let depth = self.depth();
        depth.rows >= self.limit.rows || depth.bytes >= self.limit.bytes
    }

    /// Returns once there is room. What one page brings may go over the bound.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // From here on no wake is missed, even before it is polled.
            emptied.as_mut().enable();
            if !self.is_full() {
                return;
            }
            emptied.await;
        }
    }

    /// Returns once something was committed since the last look.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn leave(&self, gone: Depth) {
        {
            let mut inner = self.inner();
            inner.depth.rows = inner.depth.rows.saturating_sub(gone.rows);
            inner.depth.bytes = inner.depth.bytes.saturating_sub(gone.bytes);
        }
        self.emptied.notify_waiters();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(seq: u64) -> Vec<u8> {
    [PREFIX, &seq.to_be_bytes()].concat()
}

fn seq(key: &[u8]) -> u64 {
    let number = key.get(PREFIX.len()..).unwrap_or_default();
    number.try_into().map_or(0, u64::from_be_bytes)
}

/// The instance's length (`u16`, big-endian), the instance, the envelope.
fn encode(instance: &str, event: &[u8]) -> Vec<u8> {
    let length = u16::try_from(instance.len()).expect("instance ids are shorter than 64 KiB");
    [&length.to_be_bytes(), instance.as_bytes(), event].concat()
}

fn encoded_bytes(instance: &str, event: &[u8]) -> u64 {
    (2 + instance.len() + event.len()) as u64
}

fn decode(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    let (instance, event) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((String::from_utf8(instance.to_vec()).ok()?, event.to_vec()))
}

#[cfg(test)]
mod tests;
