//! Sends the outbox to the log.
//!
//! In: that something was committed. Out: records on `changes`, oldest first; their rows deleted once
//! the log has acknowledged them. Must never happen: a row deleted before that, or an event that
//! overtakes an older one of its instance. A crash between the two sends events twice, with one id.

use std::sync::Arc;
use std::time::Duration;

use syncbell_bus::{Publisher, Record, Retry, Stream};
use syncbell_event::Envelope;
use syncbell_service::shutdown::past;
use syncbell_service::{Backoff, Condition, crash_point};
use syncbell_store::Retry as StoreRetry;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::PollerMetrics;
use crate::outbox::{Outbox, Waiting};

/// Events that are sent at once.
const BATCH_ROWS: usize = 1_024;

/// The first and the longest pause while the log does not answer. Short: nothing but disk space is
/// used up, and every alert waits.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// An append that takes longer than this is told: a log that repeats by itself may take minutes.
const SLOW: Duration = Duration::from_secs(10);

/// What is under way when the process stops may take this long.
const LAST_TRY: Duration = Duration::from_secs(3);

/// The publish loop of one outbox.
pub(crate) struct Relay {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) metrics: PollerMetrics,
    pub(crate) condition: Condition,
    /// The process stops: what is still there is tried once.
    pub(crate) stop: CancellationToken,
    /// No poll loop runs any more: nothing more will come.
    pub(crate) no_more: CancellationToken,
}

impl Relay {
    /// Runs until the polls have ended and the outbox is empty, or was tried once more in vain.
    pub(crate) async fn run(self) -> Result<(), Error> {
        if !self.until_ready().await? {
            return Ok(());
        }
        // Acknowledged by the log; their rows go while the next ones are appended.
        let mut sent: Vec<Waiting> = Vec::new();
        loop {
            let ending = self.no_more.is_cancelled();
            let Some(rows) = self.oldest_besides(&sent).await? else {
                return Ok(());
            };
            self.metrics.set_outbox(self.outbox.depth());
            let (appended, deleted) = tokio::join!(self.append(&rows), self.delete(&sent));
            if !appended? || !deleted? {
                let waiting = self.outbox.depth().rows;
                tracing::warn!(
                    waiting,
                    "stopping with events in the outbox: the next start sends them"
                );
                return Ok(());
            }
            sent = rows;
            if !sent.is_empty() {
                continue;
            }
            if ending {
                return Ok(());
            }
            tokio::select! {
                () = self.outbox.filled() => {}
                () = self.no_more.cancelled() => {}
            }
        }
    }

    /// Waits until the log answers for the first time. False when told to stop before.
    async fn until_ready(&self) -> Result<bool, Error> {
        let mut pause = Pause::default();
        loop {
            let answered = tokio::select! {
                biased;
                answered = self.publisher.ready() => answered,
                () = past(&self.stop, LAST_TRY) => return Ok(false),
            };
            let Err(error) = answered else { break };
            self.condition.fail(error.to_string());
            if !self.may_retry(&error)? || !self.wait(&mut pause, &error).await {
                return Ok(false);
            }
        }
        self.condition.ready();
        Ok(true)
    }

    /// The next rows; waits while a full disk hides them. `None` when the process stops before.
    async fn oldest_besides(&self, sent: &[Waiting]) -> Result<Option<Vec<Waiting>>, Error> {
        let mut pause = Pause::default();
        loop {
            match self.outbox.oldest_besides(sent, BATCH_ROWS).await {
                Ok(rows) => return Ok(Some(rows)),
                Err(Error::Store(error)) if error.retry() == StoreRetry::Later => {
                    if !self.wait(&mut pause, &error).await {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// True once all are acknowledged. Sends all of them again after an error: how many of them were
    /// written is not known, and the reader knows repeated ones by their ids.
    async fn append(&self, rows: &[Waiting]) -> Result<bool, Error> {
        if rows.is_empty() {
            return Ok(true);
        }
        let mut pause = Pause::default();
        loop {
            let records = rows.iter().map(record).collect();
            let Some(appended) = self
                .watched(self.publisher.append(Stream::Changes, records))
                .await
            else {
                return Ok(false);
            };
            match appended {
                Ok(()) => {
                    crash_point("publish.acknowledged");
                    self.metrics.published(rows.len() as u64);
                    if pause.attempt > 0 {
                        self.condition.ready();
                        tracing::info!("the event log takes events again");
                    }
                    return Ok(true);
                }
                Err(error) => {
                    self.metrics.publish_failed();
                    if !self.may_retry(&error)? {
                        return Ok(false);
                    }
                    self.condition.fail(error.to_string());
                    if !self.wait(&mut pause, &error).await {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The append's end; tells when it is slow. `None` where the process stops before: what was not
    /// acknowledged stays a row.
    async fn watched<T>(&self, append: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(append);
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                appended = &mut append => {
                    if told {
                        self.condition.ready();
                    }
                    return Some(appended);
                }
                () = past(&self.stop, LAST_TRY) => return None,
                () = tokio::time::sleep(SLOW), if !told => {
                    told = true;
                    let waiting = self.outbox.depth().rows;
                    self.condition.fail("the event log has not acknowledged events for 10 s");
                    tracing::warn!(waiting, "the event log is slow: events wait in the outbox");
                }
            }
        }
    }

    /// True once the rows are gone.
    async fn delete(&self, rows: &[Waiting]) -> Result<bool, Error> {
        if rows.is_empty() {
            return Ok(true);
        }
        let mut pause = Pause::default();
        loop {
            let error = match self.outbox.acknowledged(rows).await {
                Ok(()) => {
                    crash_point("publish.deleted");
                    return Ok(true);
                }
                Err(Error::Store(error)) if error.retry() == StoreRetry::Later => error,
                Err(error) => return Err(error),
            };
            if !self.wait(&mut pause, &error).await {
                return Ok(false);
            }
        }
    }

    /// False where the log was closed because the process stops.
    fn may_retry(&self, error: &syncbell_bus::Error) -> Result<bool, Error> {
        match error.retry() {
            Retry::Later => Ok(true),
            Retry::Never if self.stop.is_cancelled() => Ok(false),
            Retry::Never => Err(Error::Bus(error.clone())),
        }
    }

    /// Logs the failure and waits. False when the process stops: what was not sent stays a row.
    async fn wait(&self, pause: &mut Pause, error: &(dyn std::error::Error + Sync)) -> bool {
        let delay = pause.next();
        let stopping = self.stop.is_cancelled();
        tracing::warn!(
            %error,
            retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "could not send events from the outbox"
        );
        if stopping {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            // One more try at once.
            () = self.stop.cancelled() => true,
        }
    }
}

#[derive(Default)]
struct Pause {
    attempt: u32,
}

impl Pause {
    fn next(&mut self) -> Duration {
        let (base, max) = BACKOFF;
        let backoff =
            Backoff::try_new(base, max).expect("the base is not zero and below the maximum");
        let delay = backoff.delay(self.attempt, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        delay
    }
}

fn record(row: &Waiting) -> Record {
    let mut headers = vec![(
        "content-type".to_owned(),
        syncbell_event::CONTENT_TYPE.as_bytes().to_vec(),
    )];
    // Tools that follow traces look at headers, not into events.
    if let Some(trace) = Envelope::traceparent_of(&row.event) {
        headers.push(("traceparent".to_owned(), trace.to_string().into_bytes()));
    }
    Record {
        key: row.instance.clone().into_bytes(),
        value: row.event.clone(),
        headers,
    }
}

#[cfg(test)]
mod tests;
