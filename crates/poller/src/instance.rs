//! The loop of one instance: what to do next, and what it means that it failed.
//!
//! In: the clock, shutdown. Out: head polls, the pages of full sweeps between them, log lines, metrics,
//! the status. Must never happen: a loop that ends because the upstream fails; an instance that cannot
//! be read, and nobody is told.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_event::{Envelope, Source, SweepKind};
use syncbell_service::backoff::jittered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::baseline::Baseline;
use crate::blind::Blind;
use crate::budget::Lane;
use crate::enrich::Enrich;
use crate::failure::{Failure, Stopped, retry_delay};
use crate::metrics::InstanceMetrics;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::schedule::{Next, Schedule};
use crate::sightings::Sighting;
use crate::state::State;
use crate::status::{Failing, InstanceStatus, LastSweep, Status};
use crate::sweeping::Sweeping;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// One instance that is watched.
pub(crate) struct Watcher {
    pub(crate) source: Source,
    pub(crate) upstream: Upstream,
    pub(crate) state: State,
    pub(crate) baseline: Baseline,
    pub(crate) sighting: Sighting,
    pub(crate) watch: Watch,
    pub(crate) blind: Blind,
    pub(crate) enrich: Enrich,
    pub(crate) pace: Pace,
    pub(crate) schedule: Schedule,
    /// The full sweep under way.
    pub(crate) sweeping: Option<Sweeping>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) metrics: InstanceMetrics,
    pub(crate) status: Status,
    pub(crate) last_sweep: Option<LastSweep>,
    pub(crate) failing: Option<Failing>,
}

/// A turn that was complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) sweep: SweepKind,
    pub(crate) pages: u32,
    /// The server's time of the first answer.
    pub(crate) seen_until: Timestamp,
    pub(crate) told: u64,
    pub(crate) took: Duration,
}

impl Watcher {
    /// Reads everything at once, then the newest every `poll_every` and everything every
    /// `sweep_every`, until told to stop. Fails only with the store.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.metrics.baseline(self.baseline.is_complete());
        if let Some(date) = self.baseline.stand().since {
            self.sighting.began(date).await;
        }
        loop {
            self.show();
            let next = self.schedule.next(Instant::now(), self.sweeping.is_some());
            // Before the sweep that recovers: a short list is read in one step.
            let done = match (self.tell_lost().await, next) {
                (Err(stopped), _) => Err(stopped),
                (Ok(()), Next::Head) => self.poll(&stop).await.map(Some),
                (Ok(()), Next::SweepPage { until }) => self.sweep_on(until, &stop).await,
                (Ok(()), Next::Wait { until }) => self.wait(until, &stop).await.map(|()| None),
            };
            let of = match next {
                Next::SweepPage { .. } => Lane::Sweep,
                Next::Head | Next::Wait { .. } => Lane::Head,
            };
            let noted = match done {
                Ok(None) => Ok(()),
                Ok(Some(report)) => self.succeeded(report).await,
                Err(Stopped::Failed(failure)) => {
                    self.failed(&failure, of);
                    Ok(())
                }
                Err(stopped) => Err(stopped),
            };
            let noted = noted.and(self.tell_blind().await);
            match noted.and(self.settle().await) {
                // A full disk: what could not be told is told with the next try.
                Ok(()) | Err(Stopped::Failed(_)) => {}
                Err(Stopped::Shutdown) => return Ok(()),
                // The store was closed under us because the process stops.
                Err(Stopped::Broken(_)) if stop.is_cancelled() => return Ok(()),
                Err(Stopped::Broken(error)) => return Err(error),
            }
        }
    }

    async fn wait(&self, until: Instant, stop: &CancellationToken) -> Result<(), Stopped> {
        let until = match self.blind.due_at().filter(|_| self.failing.is_some()) {
            Some(due_at) => until.min(due_at),
            None => until,
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            () = stop.cancelled() => Err(Stopped::Shutdown),
        }
    }

    /// The longest time between the starts of two turns.
    fn longest_interval(&self) -> Duration {
        jittered(self.pace.interval(), 1.0)
    }

    /// A turn was complete: says that we see, plans the next.
    async fn succeeded(&mut self, report: Report) -> Result<(), Stopped> {
        let now = Timestamp::now();
        self.metrics.polled("complete", report.took);
        if report.sweep == SweepKind::Full {
            self.schedule.swept(Instant::now(), rand::random());
        } else {
            self.pace.went_well(report.took);
        }
        let interval = jittered(self.pace.interval(), rand::random());
        self.schedule.polled(Instant::now(), report.took, interval);
        self.log(report);
        // Head polls alone do not see all: they count only while sweeps come to their end too.
        if report.sweep == SweepKind::Head && self.schedule.sweeps_are_overdue(Instant::now()) {
            return Ok(());
        }
        // Lost rows are not all read again yet.
        if self.baseline.recovers() {
            return Ok(());
        }
        // A page of a sweep that fails is over only with that page.
        let over = |failing: &mut Failing| report.sweep == SweepKind::Full || !failing.of_sweep;
        if let Some(failing) = self.failing.take_if(over) {
            if self.schedule.was_out(failing.began, Instant::now()) {
                self.sweep_anew();
            }
            self.log_over(&failing);
        }
        if let Some((recovered, batch)) = self.blind.end() {
            let envelope = Envelope::recovered(&self.source, now, recovered);
            self.state.commit_watch(envelope, batch).await?;
            // That we see is said at once, too.
            self.watch.failed();
        }
        self.blind.saw(now);
        if self.watch.is_due(now) {
            let counts = self.state.index.counts();
            let interval = self.longest_interval();
            let swept = crate::watch::swept(report, counts, interval);
            let envelope = Envelope::swept(&self.source, now, swept);
            self.state
                .commit_watch(envelope, syncbell_store::Batch::new())
                .await?;
            self.watch.told(now);
        }
        Ok(())
    }

    pub(crate) fn log_over(&self, failing: &Failing) {
        tracing::info!(
            instance = %self.source.instance,
            outcome = failing.outcome,
            attempts = failing.attempts,
            "the instance can be read again"
        );
    }

    fn log(&self, report: Report) {
        let Report { pages, told, .. } = report;
        let (instance, sweep) = (self.source.instance.as_str(), report.sweep);
        let (tasks, took_ms) = (self.state.index.counts().tasks, millis(report.took));
        if told > 0 {
            tracing::info!(instance, ?sweep, pages, tasks, told, took_ms, "polled");
        } else {
            tracing::debug!(instance, ?sweep, pages, tasks, took_ms, "polled");
        }
    }

    /// Says in the file beside the store how far the list was seen, once that is on the log.
    async fn settle(&mut self) -> Result<(), Stopped> {
        Ok(self.sighting.settle(&self.outbox).await?)
    }

    /// Logs and counts a failed turn, or page of a sweep, and plans the next try.
    fn failed(&mut self, failure: &Failure, of: Lane) {
        if of == Lane::Head || !self.schedule.has_heads() {
            self.watch.failed();
        }
        let known = self.failing.take();
        let attempts = known.as_ref().map_or(0, |known| known.attempts);
        let of_head = known.as_ref().map_or(0, |known| known.of_head);
        // One outage meets both: that is no reason to wait for longer.
        let attempt = match of {
            Lane::Head => of_head,
            Lane::Sweep | Lane::Extra => attempts.saturating_sub(of_head),
        };
        let (outcome, message) = (failure.class(), failure.message());
        let delay = retry_delay(failure, self.pace.interval(), attempt, rand::random());
        let now = Instant::now();
        if failure.is_throttled() {
            self.pace.was_throttled();
        }
        self.metrics.polled(outcome, Duration::ZERO);
        if of == Lane::Head {
            self.schedule.poll_failed(now + delay);
        } else if self.gives_up(failure) {
            self.sweeping = None;
            self.schedule
                .sweep_failed(now, delay.max(self.pace.interval()));
        } else {
            self.schedule.sweep_waits(now + delay);
        }
        tracing::warn!(
            instance = %self.source.instance,
            region = %self.source.region,
            outcome,
            error = message,
            retry_in_ms = millis(delay),
            "could not read the list"
        );
        let (since, began) =
            known.map_or((Timestamp::now(), now), |known| (known.since, known.began));
        self.failing = Some(Failing {
            outcome,
            message,
            since,
            attempts: attempts.saturating_add(1),
            of_head: of_head.saturating_add(u32::from(of == Lane::Head)),
            of_sweep: of == Lane::Sweep,
            began,
        });
    }

    /// Tells that the rows of the instance were lost, once.
    async fn tell_lost(&mut self) -> Result<(), Stopped> {
        if !self.baseline.recovers() || self.blind.is_told() {
            return Ok(());
        }
        let until = self.baseline.saw_until();
        let known = until.map_or_else(
            || "nobody knows what was seen of it: what changed in the last 24 h is told".to_owned(),
            |until| format!("what changed after {until} is told"),
        );
        let message = format!("the rows of its tasks were lost, a sweep reads it again; {known}");
        let since = until.unwrap_or_else(Timestamp::now);
        let (failing, batch) = self.blind.tell_since(since, "store_lost", &message);
        let envelope = Envelope::failing(&self.source, Timestamp::now(), failing.clone());
        self.state.commit_watch(envelope, batch).await?;
        self.blind.set_told(&failing);
        let instance = self.source.instance.as_str();
        tracing::error!(instance, "{message}");
        Ok(())
    }

    /// Tells that the instance cannot be read, once that has lasted.
    async fn tell_blind(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        let lasts = self.blind.due_at().is_some_and(|due_at| now >= due_at);
        let Some(failing) = self.failing.as_ref().filter(|_| lasts) else {
            return Ok(());
        };
        let (failing, batch) = self.blind.tell(failing.outcome, &failing.message);
        let envelope = Envelope::failing(&self.source, Timestamp::now(), failing.clone());
        self.state.commit_watch(envelope, batch).await?;
        self.blind.set_told(&failing);
        tracing::error!(
            instance = %self.source.instance,
            reason = failing.reason,
            error = failing.message,
            since = %failing.since,
            "the instance cannot be read: that is told"
        );
        Ok(())
    }

    fn show(&self) {
        let now = Instant::now();
        self.metrics
            .pace(self.pace.interval(), self.upstream.rate());
        let status = InstanceStatus {
            region: self.source.region.clone(),
            baseline: self.baseline.stand(),
            last_sweep: self.last_sweep.clone(),
            sweeping: self.sweeping.as_ref().map(|sweeping| sweeping.stand(now)),
            tasks: self.state.index.counts().tasks,
            open: self.state.index.counts().open,
            newest_first: self.schedule.has_heads(),
            by_id: self.upstream.has_tasks_by_id(),
            poll_every_ms: millis(self.pace.interval()),
            failing: self.failing.clone(),
        };
        self.status.set_instance(&self.source.instance, status);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
