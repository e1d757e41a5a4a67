//! From the ledger's rows to the log: dead letters, and requests to the poller.
//!
//! In: that something was buried or asked. Out: records, then their rows deleted. Must never happen: a row
//! deleted before its record is acknowledged.

mod letter;
mod letter_box;
mod replay;
mod replayed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_bus::{Publisher, Record, Stream};
use syncbell_event::CONTENT_TYPE;
use syncbell_service::shutdown::past;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::deliver::record::give_up;
use crate::delivery::{Delivery, DeliveryId, Target};
use crate::fallback;
use crate::ledger::{Draft, Ledger};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::rows::{self, Key};
use crate::setup::Setup;

pub use self::letter::{DeadLetter, DeathClass, LetterKind, Origin};
pub(crate) use self::letter_box::kept;
pub use self::letter_box::{LETTERS_LIMIT, LetterBox, LetterRow, LettersWanted};
pub(crate) use self::replay::decided;
pub use self::replay::{LetterReplay, LettersReplayed, ReplayWanted};
pub use self::replayed::Replayed;

/// The notifier's outbox: written first, deleted when taken.
pub(crate) struct Relay {
    pub(crate) ledger: Ledger,
    pub(crate) publisher: Arc<dyn Publisher>,
    /// Woken when a dead letter was written.
    pub(crate) buried: Arc<Notify>,
    pub(crate) metrics: NotifierMetrics,
}

/// Rows relayed at once.
const BATCH_ROWS: usize = 64;

/// Pending rows looked at, and buried at once.
const ORPHANS_A_PAGE: usize = 256;

/// What is under way when the process stops may take this long.
const LAST_TRY: Duration = Duration::from_secs(2);

impl Relay {
    /// Relays until `stop`; what is not taken then stays for the next start.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            loop {
                // An append may wait long for a broker; the rows stay until the next start.
                let more = tokio::select! {
                    biased;
                    more = self.turn() => more?,
                    () = past(&stop, LAST_TRY) => return Ok(()),
                };
                if !more {
                    break;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.buried.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
        }
    }

    /// Relays the oldest requests and dead letters. True if there may be more.
    async fn turn(&self) -> Result<bool, Error> {
        let relayed = async { Ok(self.relay_requests().await? | self.relay_letters().await?) };
        match relayed.await {
            Err(Error::Ledger(error)) if error.retry() == syncbell_store::Retry::Later => {
                tracing::error!(%error, "the ledger's rows cannot be read: waiting");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(false)
            }
            relayed => relayed,
        }
    }

    async fn relay_requests(&self) -> Result<bool, Error> {
        let requests = self.ledger.store.read(|reader| {
            let mut requests: Vec<(Vec<u8>, String)> = Vec::new();
            for (key, row) in reader.scan(rows::REQUESTS, None, BATCH_ROWS)? {
                if !rows::is_piece(&key) {
                    let request = rows::read(reader, &key, &row)?;
                    requests.push((key, request));
                }
            }
            Ok(requests)
        });
        let (keys, requests): (Vec<Vec<u8>>, Vec<String>) = requests.await?.into_iter().unzip();
        let records = requests.into_iter().map(|request| Record {
            headers: vec![("content-type".to_owned(), CONTENT_TYPE.as_bytes().to_vec())],
            ..Record::new("notifier", request)
        });
        self.put(Stream::Requests, records.collect(), keys).await
    }

    async fn relay_letters(&self) -> Result<bool, Error> {
        let letters = self.ledger.store.read(|reader| {
            let mut letters: Vec<(Vec<u8>, DeadLetter)> = Vec::new();
            // The pieces of large ones count too: a page is a few MiB at most.
            for (key, row) in reader.scan(rows::DEAD_LETTERS, None, BATCH_ROWS)? {
                if !rows::is_piece(&key) {
                    let bytes = rows::bytes(reader, &key, &row)?;
                    let letter = DeadLetter::of_row(&bytes);
                    let what = "it is no dead letter of this version";
                    let letter = letter.ok_or_else(|| rows::unreadable(&key, what))?;
                    letters.push((key, letter));
                }
            }
            Ok(letters)
        });
        let letters = letters.await?;
        let records = letters.iter().flat_map(|(_, letter)| letter.records());
        let records = records.collect();
        let keys = letters.into_iter().map(|(key, _)| key).collect();
        self.put(Stream::DeadLetters, records, keys).await
    }

    /// Appends `records` and deletes their rows. False where there are none, or the log takes none now.
    async fn put(
        &self,
        stream: Stream,
        records: Vec<Record>,
        keys: Vec<Vec<u8>>,
    ) -> Result<bool, Error> {
        if records.is_empty() {
            return Ok(false);
        }
        if let Err(error) = self.publisher.append(stream, records).await {
            tracing::error!(%error, %stream, "rows could not be put on the log: they are kept");
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(false);
        }
        self.ledger
            .patiently(move |draft, _| {
                for key in &keys {
                    draft.delete(key.clone());
                }
                Ok(())
            })
            .await?;
        Ok(true)
    }

    /// Deliveries to targets that left the configuration can go nowhere: to the dead letters, a page at a time, and handed
    /// over to their fallbacks. There may be as many as a receiver that was down for long left behind, and the lanes start after this.
    pub(crate) async fn bury_orphans(&self, setup: &Arc<Setup>) -> Result<(), Error> {
        let mut buried: BTreeMap<Target, (u64, u64)> = BTreeMap::new();
        // What was for several addresses of one receiver is told once.
        let mut told: BTreeSet<DeliveryId> = BTreeSet::new();
        let mut after = None;
        loop {
            let (orphans, last) = self.orphans(setup.clone(), after).await?;
            let mut given_up: Vec<(Delivery, Option<Delivery>)> = Vec::new();
            for orphan in orphans {
                let stands_in = orphan.instead_of.is_some() && orphan.target.address.is_some();
                let handed = fallback::of_orphan(&orphan, setup);
                let handed = handed.filter(|it| !stands_in || told.insert(it.id.clone()));
                let (n_buried, n_told) = buried.entry(orphan.target.clone()).or_default();
                (*n_buried, *n_told) = (*n_buried + 1, *n_told + u64::from(handed.is_some()));
                given_up.push((orphan, handed));
            }
            if !given_up.is_empty() {
                self.metrics.dead(DeadKind::Delivery, given_up.len() as u64);
                let give_up = move |draft: &mut Draft<'_>, now: Timestamp| {
                    for (orphan, handed) in &given_up {
                        // The consume loop tells it when it begins.
                        if let Some(handed) = handed {
                            let number = draft.next_number();
                            draft.put(rows::numbered(rows::HANDED_OVER.to_vec(), number), handed);
                        }
                        give_up(draft, orphan, handed.is_some(), now);
                    }
                    Ok(())
                };
                self.ledger.patiently(give_up).await?;
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        for (target, (deliveries, instead)) in buried {
            tracing::error!(
                %target, deliveries, instead,
                "the receiver of pending deliveries left the configuration: to the dead letters, and told to its fallback \
                 where there is one"
            );
        }
        Ok(())
    }

    /// Those of a page of pending deliveries whose target is gone, and the end of the page; none behind the last.
    async fn orphans(
        &self,
        setup: Arc<Setup>,
        after: Option<Key>,
    ) -> Result<(Vec<Delivery>, Option<Key>), Error> {
        let page = self.ledger.store.read(move |reader| {
            let page = reader.scan(rows::PENDING, after.as_deref(), ORPHANS_A_PAGE)?;
            let mut orphans = Vec::new();
            for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                let delivery: Option<Delivery> = rows::seen(reader, key, row)?;
                orphans.extend(delivery.filter(|it| !setup.has(&it.target)));
            }
            Ok((orphans, page.into_iter().last().map(|(key, _)| key)))
        });
        Ok(page.await?)
    }
}
