//! Takes what the notifier asks: how everything stands, because its event log lost something.
//!
//! In: records of `requests`. Out: a row for each instance, written with the position; the poll of the
//! instance answers it after its next complete sweep and deletes it. Must never happen: a request that
//! is read and forgotten before it is answered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_bus::{Bus, Next, Position, Retry, StartAt, Stream, Subscriber};
use syncbell_event::{EventId, SnapshotRequest};
use syncbell_service::Backoff;
use syncbell_store::{Batch, Store};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::baseline::Baseline;
use crate::fleet::Watched;
use crate::row::{decode_row, key_part};

/// Records taken at once.
const BATCH_RECORDS: usize = 64;

/// Requests of one instance that are answered at once; more are one answer all the same.
const LIMIT: usize = 256;

/// The first and the longest pause while the log does not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A server's clock and ours, and two services that are started together, may lie so far apart.
const AS_NEW: SignedDuration = SignedDuration::from_mins(1);

const POSITION_KEY: &[u8] = b"position/requests";

const VERSION: u8 = 1;

/// Where the reader stands, and the last request that it read: the log must still hold it there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PositionRow {
    next: Next,
    last: Option<(Position, EventId)>,
}

/// A request that is still to be answered for one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WantedRow {
    v: u8,
    reason: String,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fresh: bool,
}

/// What an instance has to answer: the rows to delete with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    keys: Vec<Vec<u8>>,
    /// The earliest that any of them asks for.
    pub(crate) since: Timestamp,
    /// One who knows nothing asks: what was so before is not to be told.
    pub(crate) fresh: bool,
}

impl Wanted {
    /// What is asked of `instance` now.
    pub(crate) async fn load(store: &Store, instance: &str) -> Result<Option<Self>, Error> {
        let rows = store.scan(prefix(instance), None, LIMIT).await?;
        let mut wanted: Option<Self> = None;
        for (key, bytes) in rows {
            let row = decode_row(&key, &bytes, |row: &WantedRow| row.v, VERSION)?;
            let wanted = wanted.get_or_insert(Self {
                keys: Vec::new(),
                since: row.since,
                fresh: false,
            });
            wanted.fresh |= row.fresh;
            wanted.since = wanted.since.min(row.since);
            wanted.keys.push(key);
        }
        Ok(wanted)
    }

    /// Deletes the rows: goes into the batch of the answer's last events.
    pub(crate) fn answered(&self) -> Batch {
        let mut batch = Batch::new();
        for key in &self.keys {
            batch.delete(key.clone());
        }
        batch
    }
}

/// The loop that takes requests.
pub(crate) struct Requests {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) watched: Watched,
}

impl Requests {
    /// Runs until `stop`. Waits while the log does not answer; fails only with the store or the log.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let (base, max) = BACKOFF;
        let backoff =
            Backoff::try_new(base, max).expect("the base is not zero and below the maximum");
        let mut attempt = 0;
        loop {
            let read = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                read = self.read(&mut attempt) => read,
            };
            let error = match read {
                Ok(never) => match never {},
                // The log was closed because the process stops.
                Err(_) if stop.is_cancelled() => return Ok(()),
                Err(error) if passes(&error) => error,
                Err(error) => return Err(error),
            };
            let delay = backoff.delay(attempt, rand::random());
            attempt = attempt.saturating_add(1);
            // The publish loop, on the same log, says the same louder.
            tracing::debug!(%error, "could not read what the notifier asks");
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn read(&self, attempt: &mut u32) -> Result<std::convert::Infallible, Error> {
        let (mut subscriber, mut at) = self.subscribe().await?;
        *attempt = 0;
        loop {
            let reads = subscriber.next(BATCH_RECORDS).await?;
            let mut batch = Batch::new();
            for read in &reads {
                at.next.advance(read.position);
                match SnapshotRequest::decode(&read.record.value) {
                    Ok(request) => {
                        self.want(&request, &mut batch).await?;
                        at.last = Some((read.position, request.id));
                    }
                    Err(error) => {
                        let (partition, offset) = (read.position.partition, read.position.offset);
                        tracing::error!(%error, partition, offset, "a record is no request");
                    }
                }
            }
            batch.put(POSITION_KEY, json(&at));
            self.store.commit(batch).await?;
            subscriber.acknowledge(&at.next).await?;
        }
    }

    /// One who knows nothing has nothing to ask about an instance whose baseline is as new: what that found
    /// is on the log.
    async fn want(&self, request: &SnapshotRequest, batch: &mut Batch) -> Result<(), Error> {
        tracing::info!(
            reason = request.reason, since = %request.since,
            "the notifier asks how everything stands: the next complete sweep answers"
        );
        let row = WantedRow {
            v: VERSION,
            reason: request.reason.clone(),
            since: request.since,
            fresh: request.fresh,
        };
        let about_then = request.at.saturating_sub(AS_NEW).unwrap_or(Timestamp::MIN);
        for instance in &self.watched.ids() {
            if request.fresh && !Baseline::began_before(&self.store, instance, about_then).await? {
                continue;
            }
            let key = [prefix(instance), request.id.as_str().as_bytes().to_vec()].concat();
            batch.put(key, json(&row));
        }
        Ok(())
    }

    /// From the kept position; where the log does not hold it any more, or another request there, from
    /// its start: an answer too many does no harm.
    async fn subscribe(&self) -> Result<(Box<dyn Subscriber>, PositionRow), Error> {
        let stream = Stream::Requests;
        let kept = self.store.get(POSITION_KEY).await?;
        let kept: Option<PositionRow> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(kept) = kept
            && self.fits(&kept).await?
        {
            let from = StartAt::At(kept.next.clone());
            match self.bus.subscribe(stream, from).await {
                Ok(subscriber) => return Ok((subscriber, kept)),
                Err(syncbell_bus::Error::OutOfRange { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let subscriber = self.bus.subscribe(stream, StartAt::Start).await?;
        Ok((subscriber, PositionRow::default()))
    }

    /// Whether the log still holds the last request where it was read.
    async fn fits(&self, kept: &PositionRow) -> Result<bool, Error> {
        let Some((position, id)) = &kept.last else {
            return Ok(true);
        };
        let held = self.bus.read_at(Stream::Requests, *position).await?;
        let held = held.and_then(|read| SnapshotRequest::decode(&read.record.value).ok());
        Ok(held.is_some_and(|request| request.id == *id))
    }
}

/// The log or the disk will answer again, or the topic was made anew under the reader.
fn passes(error: &Error) -> bool {
    match error {
        Error::Bus(error) => {
            error.retry() == Retry::Later || matches!(error, syncbell_bus::Error::OutOfRange { .. })
        }
        Error::Store(error) => error.retry() == syncbell_store::Retry::Later,
        _ => false,
    }
}

fn prefix(instance: &str) -> Vec<u8> {
    format!("requested/{}/", key_part(instance)).into_bytes()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own structs have string keys and no failing serializer")
}

#[cfg(test)]
mod tests;
