//! The poll loop of one instance: when to poll, and what a failed poll means.
//!
//! In: the clock, shutdown. Out: polls, log lines, metrics, the status. Must never happen: a loop that
//! ends because the upstream fails.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_config::Instance;
use syncbell_event::Source;
use syncbell_service::Backoff;
use syncbell_service::backoff::jittered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::baseline::Baseline;
use crate::metrics::InstanceMetrics;
use crate::outbox::Outbox;
use crate::poll::{Failure, Report, Stopped};
use crate::state::State;
use crate::status::{Failing, InstanceStatus, LastSweep, Status};
use crate::upstream::{Upstream, asked_to_wait};
use crate::watch::Watch;

const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// Failures back off to the interval, but at least to this.
const BACKOFF_AT_LEAST: Duration = Duration::from_secs(15);

/// A denial needs a person: it is probed ever more slowly, to this.
const DENIED_BACKOFF: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(5));

/// One instance that is watched.
pub(crate) struct Watcher {
    pub(crate) source: Source,
    pub(crate) instance: Instance,
    pub(crate) upstream: Upstream,
    pub(crate) state: State,
    pub(crate) baseline: Baseline,
    pub(crate) watch: Watch,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) metrics: InstanceMetrics,
    pub(crate) status: Status,
    pub(crate) last_sweep: Option<LastSweep>,
    pub(crate) failing: Option<Failing>,
}

impl Watcher {
    /// Polls at once, then every `poll_every`, until told to stop. Fails only with the store.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.metrics.baseline(self.baseline.is_complete());
        self.show();
        loop {
            let started = Instant::now();
            let polled = self.poll(&stop).await;
            let took = started.elapsed();
            let next = match polled {
                Ok(report) => {
                    self.succeeded(&report, took);
                    started + jittered(self.instance.poll_every, rand::random())
                }
                Err(Stopped::Shutdown) => return Ok(()),
                // The store was closed under us because the process stops.
                Err(Stopped::Broken(_)) if stop.is_cancelled() => return Ok(()),
                Err(Stopped::Broken(error)) => return Err(error),
                Err(Stopped::Failed(failure)) => Instant::now() + self.failed(&failure, took),
            };
            self.show();
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// The longest time between the starts of two polls.
    pub(crate) fn longest_interval(&self) -> Duration {
        jittered(self.instance.poll_every, 1.0)
    }

    fn succeeded(&mut self, report: &Report, took: Duration) {
        let now = Timestamp::now();
        self.metrics.polled("complete", took);
        self.metrics.swept(now);
        let proved_before = self
            .last_sweep
            .as_ref()
            .is_none_or(|last| last.proves_absence);
        if proved_before && !report.proves_absence {
            tracing::warn!(
                instance = %self.source.instance,
                tasks = report.counts.tasks,
                "the list has rows without an id, or fewer than its TotalCount: tasks that are \
                 gone from it are not told as vanished"
            );
        }
        self.last_sweep = Some(LastSweep {
            ended_at: now,
            seen_until: report.seen_until,
            took_ms: millis(took),
            pages: report.pages,
            tasks: report.counts.tasks,
            open: report.counts.open,
            proves_absence: report.proves_absence,
        });
        let instance = self.source.instance.as_str();
        if let Some(failing) = self.failing.take() {
            let Failing {
                outcome, attempts, ..
            } = failing;
            tracing::info!(
                instance,
                outcome,
                attempts,
                "the instance can be read again"
            );
        }
        let (pages, tasks, told) = (report.pages, report.counts.tasks, report.told.len());
        if told > 0 {
            tracing::info!(
                instance,
                pages,
                tasks,
                told,
                took_ms = millis(took),
                "polled"
            );
        } else {
            tracing::debug!(instance, pages, tasks, took_ms = millis(took), "polled");
        }
    }

    /// Logs and counts a failed poll. Says how long to wait before the next.
    fn failed(&mut self, failure: &Failure, took: Duration) -> Duration {
        self.watch.failed();
        let attempt = self.failing.as_ref().map_or(0, |failing| failing.attempts);
        let (outcome, message) = match failure {
            Failure::Upstream(error) => (error.class(), error.to_string()),
            Failure::StoreFull(error) => ("disk_full", error.to_string()),
            Failure::Unstable(why) => ("unstable", why.as_str().to_owned()),
        };
        let delay = retry_delay(
            Cause::of(failure),
            self.instance.poll_every,
            attempt,
            rand::random(),
        );
        self.metrics.polled(outcome, took);
        match failure {
            Failure::Upstream(error) => self.log_failure(error, outcome, delay),
            _ => self.log_failure(&message, outcome, delay),
        }
        let since = self
            .failing
            .as_ref()
            .map_or_else(Timestamp::now, |failing| failing.since);
        self.failing = Some(Failing {
            outcome,
            message,
            since,
            attempts: attempt.saturating_add(1),
        });
        delay
    }

    pub(crate) fn log_failure(
        &self,
        error: &(dyn std::fmt::Display + Sync),
        outcome: &'static str,
        delay: Duration,
    ) {
        tracing::warn!(
            instance = %self.source.instance,
            region = %self.source.region,
            outcome,
            %error,
            retry_in_ms = millis(delay),
            "could not read the list"
        );
    }

    fn show(&self) {
        let status = InstanceStatus {
            region: self.source.region.clone(),
            baseline: self.baseline.stand(),
            last_sweep: self.last_sweep.clone(),
            failing: self.failing.clone(),
        };
        self.status.set_instance(&self.source.instance, status);
    }
}

/// What a failure means for the time of the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Nothing is wrong, the list was only busy: look again in the rhythm of polls.
    Busy,
    /// The server says when; to the millisecond.
    AskedToWait(Duration),
    /// It needs a person who changes a permission.
    Denied,
    /// All else.
    Down,
}

impl Cause {
    fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Unstable(_) => Self::Busy,
            Failure::Upstream(syncbell_acr::Error::Denied { .. }) => Self::Denied,
            Failure::Upstream(error) => asked_to_wait(error).map_or(Self::Down, Self::AskedToWait),
            Failure::StoreFull(_) => Self::Down,
        }
    }
}

/// Pure: how long to wait after the failed poll number `attempt` (from 0) in a row. `random` is in 0..1.
fn retry_delay(cause: Cause, poll_every: Duration, attempt: u32, random: f64) -> Duration {
    let backoff = |base, max| {
        Backoff::try_new(base, max).expect("the base is not zero and below the maximum")
    };
    match cause {
        Cause::Busy => jittered(poll_every, random),
        Cause::AskedToWait(delay) => delay,
        // Never soon: half of it is sure.
        Cause::Denied => backoff(DENIED_BACKOFF.0, DENIED_BACKOFF.1)
            .ceiling(attempt)
            .mul_f64(0.5 + random / 2.0),
        Cause::Down => {
            backoff(BACKOFF_BASE, poll_every.max(BACKOFF_AT_LEAST)).delay(attempt, random)
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_poll_is_tried_again_as_its_cause_demands() {
        let seconds = Duration::from_secs;
        let longest = |cause, poll_every, attempt| retry_delay(cause, poll_every, attempt, 1.0);
        assert_eq!(longest(Cause::Down, seconds(1), 0), seconds(1));
        assert_eq!(longest(Cause::Down, seconds(1), 10), seconds(15));
        assert_eq!(longest(Cause::Down, seconds(60), 10), seconds(60));
        assert_eq!(longest(Cause::Denied, seconds(1), 0), seconds(15));
        assert_eq!(
            longest(Cause::Denied, seconds(1), 10),
            Duration::from_mins(5)
        );
        assert!(retry_delay(Cause::Denied, seconds(1), 0, 0.0) > seconds(7));
        assert_eq!(longest(Cause::Busy, seconds(10), 99), seconds(11));
    }

    #[test]
    fn a_delay_that_the_server_names_is_kept_to_the_millisecond() {
        let cause = Cause::AskedToWait(Duration::from_millis(1_234));
        for attempt in [0, 50] {
            let waited = retry_delay(cause, Duration::from_secs(15), attempt, 0.3);
            assert_eq!(waited, Duration::from_millis(1_234));
        }
    }
}
