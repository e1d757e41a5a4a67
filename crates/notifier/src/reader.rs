//! Reads the event log from where the ledger stands, through every way in which a log can go away.
//!
//! In: the ledger's standings. Out: records, each with its place. Must never happen: a record skipped
//! because the log was away, was cut, or is another one than before. What cannot be had is waited for;
//! only a broken ledger, or a log that is closed or damaged, is an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_bus::{
    Bounds, BoxFuture, Bus, Next, Position, Read, Retry, StartAt, Stream, Subscriber,
};
use syncbell_event::{Envelope, SnapshotRequest};
use syncbell_service::{Backoff, Condition};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Error;
use crate::decide::watch::LogLost;
use crate::ledger::Ledger;
use crate::metrics::NotifierMetrics;
use crate::rows;
use crate::standing::{LATE, Standing};

/// The first and the longest pause while the log does not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How long the log may take to say where it ends.
const ANSWER: Duration = Duration::from_secs(5);

/// Without a known end of what was read: how far back changes are asked for.
const LOST_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// Reads `changes`.
pub(crate) struct Reader {
    source: Arc<Source>,
    condition: Condition,
    open: Option<Open>,
    /// Under way; dropped futures of [`Reader::next`] leave it here.
    opening: Option<BoxFuture<'static, Result<Open, Lost>>>,
    attempt: u32,
    retry_at: Instant,
}

/// What a reader is opened on.
struct Source {
    bus: Bus,
    ledger: Ledger,
    metrics: NotifierMetrics,
    /// Woken when a request was written.
    asked: Arc<Notify>,
}

struct Open {
    subscriber: Box<dyn Subscriber>,
    /// Behind the last record given.
    next: Next,
}

/// Why there is no subscriber.
enum Lost {
    /// The log does not answer, or not as it did: try again.
    Log(syncbell_bus::Error),
    Broken(Error),
}

impl From<syncbell_bus::Error> for Lost {
    fn from(error: syncbell_bus::Error) -> Self {
        match error.retry() {
            Retry::Later => Self::Log(error),
            // Between the look and the subscription the log went on: look again.
            Retry::Never if matches!(error, syncbell_bus::Error::OutOfRange { .. }) => {
                Self::Log(error)
            }
            Retry::Never => Self::Broken(error.into()),
        }
    }
}

impl From<syncbell_store::Error> for Lost {
    fn from(error: syncbell_store::Error) -> Self {
        match error.retry() {
            syncbell_store::Retry::Later => Self::Log(syncbell_bus::Error::Unavailable {
                what: format!("the ledger cannot say where to read: {error}"),
            }),
            syncbell_store::Retry::Never => Self::Broken(error.into()),
        }
    }
}

impl Reader {
    /// A reader that has not asked the log yet. `condition` holds while the log answers.
    pub(crate) fn new(
        bus: Bus,
        ledger: Ledger,
        metrics: NotifierMetrics,
        asked: Arc<Notify>,
        condition: Condition,
    ) -> Self {
        Self {
            source: Arc::new(Source {
                bus,
                ledger,
                metrics,
                asked,
            }),
            condition,
            open: None,
            opening: None,
            attempt: 0,
            retry_at: Instant::now(),
        }
    }

    /// Waits for at least one record and gives at most `max`. Cancel-safe. Waits as long as it takes
    /// while the log is away.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Vec<Read>, Error> {
        loop {
            let Some(open) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            match open.subscriber.next(max).await {
                Ok(reads) => {
                    for read in &reads {
                        open.next.advance(read.position);
                    }
                    return Ok(reads);
                }
                Err(error) => {
                    self.open = None;
                    self.lost(error.into())?;
                }
            }
        }
    }

    /// What was read up to here is durable in the ledger.
    pub(crate) async fn acknowledge(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let next = open.next.clone();
        if let Err(error) = open.subscriber.acknowledge(&next).await {
            self.open = None;
            self.lost(error.into())?;
        }
        Ok(())
    }

    /// Whether all that the log holds now was given. False while it does not answer: then nobody knows.
    pub(crate) async fn is_at_end(&mut self) -> bool {
        let Some(read_to) = self.open.as_ref().map(|open| open.next.clone()) else {
            return false;
        };
        let bounds = self.source.bus.bounds(Stream::Changes);
        let Ok(Ok(bounds)) = tokio::time::timeout(ANSWER, bounds).await else {
            return false;
        };
        // What was never read counts from where the log starts.
        let mut next = bounds.start;
        for (partition, offset) in read_to.iter() {
            next.set(partition, offset);
        }
        next.lag(&bounds.end) == 0
    }

    /// All that was put on the log before this is not there any more. None: the log does not say.
    pub(crate) fn log_begins_at(&self) -> BoxFuture<'static, Option<Timestamp>> {
        let source = self.source.clone();
        Box::pin(async move {
            let asked = tokio::time::timeout(ANSWER, source.begins_at());
            asked.await.ok().flatten()
        })
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        if self.opening.is_none() {
            tokio::time::sleep_until(self.retry_at).await;
        }
        let source = self.source.clone();
        let opening = self
            .opening
            .get_or_insert_with(|| Box::pin(async move { source.open().await }));
        let opened = opening.await;
        self.opening = None;
        match opened {
            Ok(open) => {
                if self.attempt > 0 {
                    tracing::info!("the event log can be read again");
                }
                self.attempt = 0;
                self.condition.ready();
                self.open = Some(open);
                Ok(())
            }
            Err(lost) => self.lost(lost),
        }
    }

    /// Notes why, and when to try again.
    fn lost(&mut self, lost: Lost) -> Result<(), Error> {
        let error = match lost {
            Lost::Log(error) => error,
            Lost::Broken(error) => return Err(error),
        };
        let (base, max) = BACKOFF;
        let backoff =
            Backoff::try_new(base, max).expect("the base is not zero and below the maximum");
        // The log stands, only not where we do: no reason to wait.
        let waits = self.attempt > 0 || !matches!(error, syncbell_bus::Error::OutOfRange { .. });
        let delay = if waits {
            backoff.delay(self.attempt, rand::random())
        } else {
            Duration::ZERO
        };
        self.attempt = self.attempt.saturating_add(1);
        self.retry_at = Instant::now() + delay;
        self.condition.fail(error.to_string());
        tracing::warn!(
            %error,
            retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "could not read the event log"
        );
        Ok(())
    }
}

impl Source {
    async fn begins_at(&self) -> Option<Timestamp> {
        let bounds = self.bus.bounds(Stream::Changes).await.ok()?;
        let mut begins_at = Timestamp::now();
        for (partition, offset) in bounds.start.iter() {
            if bounds.end.get(partition).is_none_or(|end| end <= offset) {
                continue;
            }
            let position = Position { partition, offset };
            let first = self.bus.read_at(Stream::Changes, position).await.ok()??;
            let at = Timestamp::from_millisecond(first.appended_at_ms?).ok()?;
            begins_at = begins_at.min(at);
        }
        Some(begins_at)
    }

    /// Starts where the ledger stands, if the log still holds there what was read; else at the start.
    async fn open(&self) -> Result<Open, Lost> {
        let stream = Stream::Changes;
        let standings = self.ledger.standings(stream).await?;
        let bounds = self.bus.bounds(stream).await?;
        let mut next = Next::new();
        for (partition, standing) in &standings {
            if let Some(why) = self.misfit(*partition, standing, &bounds).await? {
                tracing::error!(
                    partition,
                    next = standing.next,
                    why,
                    "the event log is not the one that was read: it is read from its start"
                );
                return self.start_over(&standings, &bounds, why).await;
            }
            next.set(*partition, standing.next);
        }
        let subscriber = self.bus.subscribe(stream, StartAt::At(next.clone()));
        Ok(Open {
            subscriber: subscriber.await?,
            next,
        })
    }

    /// From the beginning, and the ledger says so too: rows of the log before would never fit again.
    /// What the log lost is asked of the poller.
    async fn start_over(
        &self,
        standings: &BTreeMap<u32, Standing>,
        bounds: &Bounds,
        why: &str,
    ) -> Result<Open, Lost> {
        self.metrics.log_restarts.inc();
        let stream = Stream::Changes;
        let subscriber = self.bus.subscribe(stream, StartAt::Start).await?;
        let start = bounds.start.clone();
        let (at_start, why) = (start.clone(), why.to_owned());
        let cut: u64 = standings
            .iter()
            .filter_map(|(partition, one)| bounds.start.get(*partition)?.checked_sub(one.next))
            .sum();
        let (count, unread) = if cut > 0 {
            (cut, true)
        } else {
            (bounds.start.lag(&bounds.end), false)
        };
        let read_until = standings.values().filter_map(|one| one.observed_at).min();
        let restarted = self.ledger.patiently(move |draft, now| {
            let since = read_until.unwrap_or(now - LOST_AT_MOST) - LATE;
            draft.request(&SnapshotRequest::new(&why, since, now));
            let lost = LogLost {
                why: why.clone(),
                count,
                unread,
                at: now,
            };
            draft.put(rows::LOG_LOST.to_vec(), &lost);
            draft.stand_at_start(stream, &at_start)
        });
        restarted.await.map_err(Lost::Broken)?;
        self.asked.notify_one();
        Ok(Open {
            subscriber,
            next: start,
        })
    }

    /// Why the log is not the one that was read, if it is not.
    async fn misfit(
        &self,
        partition: u32,
        standing: &Standing,
        bounds: &Bounds,
    ) -> Result<Option<&'static str>, Lost> {
        let (start, end) = (bounds.start.get(partition), bounds.end.get(partition));
        if end.is_none_or(|end| end < standing.next) {
            return Ok(Some("it ends before"));
        }
        if start.is_some_and(|start| start > standing.next) {
            return Ok(Some("it starts after"));
        }
        let (Some(known), Some(offset)) = (&standing.event_id, standing.next.checked_sub(1)) else {
            return Ok(None);
        };
        // The record itself may have been cut away by retention: then nothing contradicts.
        if start.is_some_and(|start| start > offset) {
            return Ok(None);
        }
        let position = Position { partition, offset };
        let held = self.bus.read_at(Stream::Changes, position).await?;
        let held = held.and_then(|read| Envelope::decode(&read.record.value).ok());
        let same = held.is_some_and(|envelope| envelope.id == *known);
        Ok((!same).then_some("it holds another event there"))
    }
}
