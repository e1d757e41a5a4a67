//! How the notifier stands, for people: `GET /notifier/status`.
//!
//! In: the ledger, the log. Out: sizes, positions, what waits for whom. Also without a server: a function over
//! the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use syncbell_bus::{Bus, Stream};
use syncbell_store::{Reader, Size};

use crate::Error;
use crate::api::Failed;
use crate::decide::Incident;
use crate::delivery::Delivery;
use crate::ledger::Ledger;
use crate::rows;
use crate::run::Handle;

/// Rows of a kind that are counted; more are shown as so many.
const ROWS_LIMIT: usize = 100_000;

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// How long the log may take to say where it ends.
const ANSWER: Duration = Duration::from_secs(5);

/// What [`Handle::status`] says.
#[derive(Clone, Debug, Serialize)]
pub struct NotifierStatus {
    /// The ledger's files.
    pub ledger: Size,
    /// The log, as far as it answers.
    pub log: LogStatus,
    /// Open incidents.
    pub incidents_open: usize,
    /// Closed ones that are kept.
    pub incidents_closed: usize,
    /// What waits, by target.
    pub pending: Vec<PendingStatus>,
    /// Dead letters on the log.
    pub dead_letters: Option<u64>,
    /// Dead letters on their way to it.
    pub dead_letters_waiting: usize,
}

/// Where the reading of the log stands.
#[derive(Clone, Debug, Serialize)]
pub struct LogStatus {
    /// Of all streams on this machine's disk; 0 where it is a cluster.
    pub size_bytes: Option<u64>,
    /// Events on it that are not read; none while it does not answer.
    pub lag: Option<u64>,
    /// By partition.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition of the changes.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// The oldest offset that is held.
    pub start: Option<u64>,
    /// The next offset to read.
    pub next: Option<u64>,
    /// One past the newest offset.
    pub end: Option<u64>,
    /// When the event that was read last was observed.
    pub read_until: Option<Timestamp>,
}

/// What waits for one target.
#[derive(Clone, Debug, Serialize)]
pub struct PendingStatus {
    /// The receiver.
    pub receiver: String,
    /// Receiver, and address if it is mail.
    pub target: String,
    /// Deliveries.
    pub deliveries: usize,
    /// When the oldest of them was decided.
    pub oldest_at: Timestamp,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// How the last attempt at the oldest one ended.
    pub last_error: Option<String>,
}

/// The route, to be nested under `/api/v1`.
pub(crate) fn api(handle: Handle) -> Router {
    Router::new()
        .route("/notifier/status", get(show))
        .with_state(handle)
}

async fn show(State(handle): State<Handle>) -> Result<Json<NotifierStatus>, Failed> {
    Ok(Json(handle.status().await?))
}

impl Handle {
    /// What waits, by target. `Err` is the ledger's.
    pub(crate) async fn pending(&self) -> Result<Vec<PendingStatus>, Error> {
        let pending = self.ledger.store.read(|reader| {
            let mut counts = Counts::default();
            each(reader, rows::PENDING, |key, row| {
                counts.delivery(reader, key, row)
            })?;
            Ok(counts.pending)
        });
        Ok(pending.await?.into_values().collect())
    }

    /// How the notifier stands now. `Err` is the ledger's.
    pub async fn status(&self) -> Result<NotifierStatus, Error> {
        let counts = self.ledger.store.read(|reader| {
            let mut counts = Counts::default();
            each(reader, rows::INCIDENTS, |key, row| {
                counts.incident(reader, key, row)
            })?;
            each(reader, rows::PENDING, |key, row| {
                counts.delivery(reader, key, row)
            })?;
            let letters = |_: &[u8], _: &[u8]| {
                counts.letters += 1;
                Ok(())
            };
            each(reader, rows::DEAD_LETTERS, letters)?;
            Ok(counts)
        });
        let counts = counts.await?;
        let dead = tokio::time::timeout(ANSWER, self.bus.bounds(Stream::DeadLetters)).await;
        Ok(NotifierStatus {
            ledger: self.ledger.store.size().await?,
            log: log_status(&self.bus, &self.ledger).await?,
            incidents_open: counts.open,
            incidents_closed: counts.closed,
            pending: counts.pending.into_values().collect(),
            dead_letters: match dead {
                Ok(Ok(bounds)) => Some(bounds.start.lag(&bounds.end)),
                Ok(Err(_)) | Err(_) => None,
            },
            dead_letters_waiting: counts.letters,
        })
    }
}

#[derive(Default)]
struct Counts {
    open: usize,
    closed: usize,
    letters: usize,
    pending: BTreeMap<String, PendingStatus>,
}

impl Counts {
    fn incident(
        &mut self,
        reader: &Reader,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), syncbell_store::Error> {
        let Some(incident) = rows::seen::<Incident>(reader, key, row)? else {
            return Ok(());
        };
        if incident.is_open() {
            self.open += 1;
        } else {
            self.closed += 1;
        }
        Ok(())
    }

    /// Rows of one target come in their order: the first is the oldest.
    fn delivery(
        &mut self,
        reader: &Reader,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), syncbell_store::Error> {
        let Some(delivery) = rows::seen::<Delivery>(reader, key, row)? else {
            return Ok(());
        };
        let target = delivery.target.to_string();
        let known = self.pending.entry(target);
        let pending = known.or_insert_with_key(|target| PendingStatus {
            receiver: delivery.target.receiver.clone(),
            target: target.clone(),
            deliveries: 0,
            oldest_at: delivery.created_at,
            due_at: delivery.due_at,
            last_error: delivery.last_error.clone(),
        });
        pending.deliveries += 1;
        pending.due_at = pending.due_at.min(delivery.due_at);
        Ok(())
    }
}

/// Each row under `prefix` that is no piece of another, up to the limit.
fn each(
    reader: &Reader,
    prefix: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), syncbell_store::Error>,
) -> Result<(), syncbell_store::Error> {
    let mut after: Option<Vec<u8>> = None;
    let mut taken = 0;
    while taken < ROWS_LIMIT {
        let page = reader.scan(prefix, after.as_deref(), PAGE_ROWS)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
            take(key, row)?;
            taken += 1;
        }
    }
    Ok(())
}

async fn log_status(bus: &Bus, ledger: &Ledger) -> Result<LogStatus, Error> {
    let standings = ledger.standings(Stream::Changes).await?;
    let bounds = match tokio::time::timeout(ANSWER, bus.bounds(Stream::Changes)).await {
        Ok(Ok(bounds)) => Some(bounds),
        Ok(Err(_)) | Err(_) => None,
    };
    let mut partitions: BTreeMap<u32, PartitionStatus> = BTreeMap::new();
    for (partition, standing) in standings {
        let status = PartitionStatus {
            partition,
            start: None,
            next: Some(standing.next),
            end: None,
            read_until: standing.observed_at,
        };
        partitions.insert(partition, status);
    }
    let mut lag = None;
    if let Some(bounds) = &bounds {
        // What was never read counts from where the log starts.
        let mut next = bounds.start.clone();
        for status in partitions.values() {
            next.set(status.partition, status.next.unwrap_or(0));
        }
        lag = Some(next.lag(&bounds.end));
        for (partition, end) in bounds.end.iter() {
            let status = partitions.entry(partition).or_insert(PartitionStatus {
                partition,
                start: None,
                next: None,
                end: None,
                read_until: None,
            });
            (status.start, status.end) = (bounds.start.get(partition), Some(end));
        }
    }
    Ok(LogStatus {
        size_bytes: bus.size_bytes().ok(),
        lag,
        partitions: partitions.into_values().collect(),
    })
}
