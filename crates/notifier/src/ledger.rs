//! The notifier's ledger: what it knows, where it stands, what is still to be delivered.
//!
//! A [`Draft`] (`draft.rs`) is one turn's changes over what the store holds: it reads through its own changes, so
//! that the second event of a turn sees what the first one did, and ends as one batch. The position of
//! the reader is in the same batch as what the records caused: that is the whole of exactly-once here.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use syncbell_bus::Stream;
use syncbell_store::{Error, Store};

use crate::delivery::{Delivery, Target};
pub(crate) use crate::draft::Draft;
use crate::mirror::Mirrors;
use crate::numbers::Numbers;
use crate::read_ids;
use crate::rows::{self, Key};
use crate::standing::{PARTITIONS_LIMIT, Standing, positions};

/// Rows of a lane that are read at once.
const ROWS_A_PAGE: usize = 256;

/// Between looks at a full disk.
const FULL_DISK_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What time it is.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The store, and the order of what is put into it.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) store: Store,
    /// By which turns are made; a test may have another one.
    pub(crate) clock: Clock,
    pub(crate) numbers: Arc<Numbers>,
    /// What is asked for with each event, in memory.
    pub(crate) mirrors: Arc<Mirrors>,
    /// Whoever changes a delivery by hand (a retry, a replay) writes it; who writes what becomes of deliveries of his own
    /// (a lane, retention) reads it. Drafts are no snapshots: the one must see what the other did.
    pub(crate) by_hand: Arc<tokio::sync::RwLock<()>>,
}

impl Ledger {
    /// Opens the ledger over `store`: looks where its numbering goes on.
    pub(crate) async fn open(store: Store) -> Result<Self, Error> {
        let highest = store
            .read(|reader| {
                // Of these the last one has the highest.
                let closed = reader.scan_back(rows::CLOSED, None, 1)?;
                let closed = closed.first().map_or(0, |(key, _)| rows::number(key));
                let mut highest = closed;
                for prefix in [rows::TRAILS_NUMBERED, rows::READ_IDS] {
                    let last = reader.scan_back(prefix, None, 1)?;
                    let number = last.first().and_then(|(key, _)| rows::number_in_bytes(key));
                    highest = highest.max(number.unwrap_or(0));
                }
                for prefix in [
                    rows::PENDING,
                    b"q/",
                    rows::HANDED_OVER,
                    rows::DEAD_LETTERS,
                    rows::REQUESTS,
                    rows::REPLAYS,
                ] {
                    let mut after: Option<Key> = None;
                    loop {
                        let page = reader.scan(prefix, after.as_deref(), 1_000)?;
                        for (key, _) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                            highest = highest.max(rows::number(key));
                        }
                        match page.last() {
                            Some((key, _)) => after = Some(key.clone()),
                            None => break,
                        }
                    }
                }
                Ok(highest)
            })
            .await?;
        Ok(Self {
            store,
            clock: Arc::new(Timestamp::now),
            numbers: Numbers::from(highest + 1),
            mirrors: Mirrors::new(),
            by_hand: Arc::default(),
        })
    }

    /// Rewrites ids of events that an earlier version put in a row each; to be done before an event is decided.
    pub(crate) async fn rewrite_ids(&self) -> Result<(), crate::Error> {
        while self.patiently(|draft, _| read_ids::rewrite(draft)).await? {}
        Ok(())
    }

    /// Where the reader of `stream` stands, by partition.
    pub(crate) async fn standings(&self, stream: Stream) -> Result<BTreeMap<u32, Standing>, Error> {
        let prefix = positions(stream);
        self.store
            .read(move |reader| {
                let mut standings = BTreeMap::new();
                for (key, row) in reader.scan(&prefix, None, PARTITIONS_LIMIT)? {
                    let partition = u32::try_from(rows::number(&key)).unwrap_or(u32::MAX);
                    standings.insert(partition, rows::read(reader, &key, &row)?);
                }
                Ok(standings)
            })
            .await
    }

    /// Runs `fill` over a new draft on a blocking thread, commits the draft, and gives what `fill` gave.
    pub(crate) async fn turn<T: Send + 'static>(
        &self,
        fill: impl FnOnce(&mut Draft<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (drawn, mirrors) = (self.numbers.draw(), self.mirrors.clone());
        let (batch, changes, done, drawn) = self
            .store
            .read(move |reader| {
                let mut draft = Draft::new(reader, &drawn, &mirrors);
                let done = fill(&mut draft)?;
                let (batch, changes) = draft.into_batch()?;
                Ok((batch, changes, done, drawn))
            })
            .await?;
        if !batch.is_empty() {
            let committing = self.mirrors.committing(changes);
            self.store.commit(batch).await?;
            committing.committed();
        }
        drop(drawn);
        Ok(done)
    }

    /// As [`Ledger::turn`], but waits while the store takes no rows (a full disk) and then tries again;
    /// `fill` gets the time of each try.
    pub(crate) async fn patiently<T: Send + 'static>(
        &self,
        fill: impl Fn(&mut Draft<'_>, Timestamp) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, crate::Error> {
        let fill = Arc::new(fill);
        loop {
            let (try_fill, now) = (fill.clone(), (self.clock)());
            match self.turn(move |draft| try_fill(draft, now)).await {
                Ok(done) => return Ok(done),
                Err(error) if error.retry() == syncbell_store::Retry::Later => {
                    tracing::error!(%error, "the ledger takes no rows: waiting");
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The lane key's rows of one target, oldest first, that come after `after`: at most `limit`, and no more once they
/// have `n_entries` together. With whether these are all.
pub(crate) async fn pending_after(
    store: &Store,
    target: &Target,
    after: Option<Key>,
    limit: usize,
    n_entries: usize,
) -> Result<(Vec<Delivery>, bool), Error> {
    let prefix = rows::lane(target);
    store
        .read(move |reader| {
            let (mut found, mut entries) = (Vec::new(), 0);
            let mut after = after;
            loop {
                // A few at a time: one may be of thousands of entries.
                let page = reader.scan(&prefix, after.as_deref(), limit.min(ROWS_A_PAGE))?;
                let Some((last, _)) = page.last() else {
                    return Ok((found, true));
                };
                after = Some(last.clone());
                for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                    if let Some(delivery) = rows::seen::<Delivery>(reader, key, row)? {
                        entries += delivery.entries.len();
                        found.push(delivery);
                    }
                    if found.len() >= limit || entries >= n_entries {
                        return Ok((found, false));
                    }
                }
            }
        })
        .await
}

/// The first `limit` rows of a target's lane.
#[cfg(test)]
pub(crate) async fn pending(
    store: &Store,
    target: &Target,
    limit: usize,
) -> Result<Vec<Delivery>, Error> {
    let (found, _) = pending_after(store, target, None, limit, usize::MAX).await?;
    Ok(found)
}
