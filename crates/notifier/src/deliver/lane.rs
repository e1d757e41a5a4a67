//! One lane: the deliveries of one target, in order where order matters.

mod signal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::deliver::{Channel, NotBefore};
use crate::delivery::{Delivery, Target};
use crate::ledger::{Ledger, pending_after};
use crate::metrics::NotifierMetrics;
use crate::outcome::Outcome;
use crate::rows;

use super::attempt::{Attempting, Came, Recorded, Sent};
use super::budget::SharedBudget;
use super::concurrency::Concurrency;
use super::merge;
use super::queue::Queue;
use super::record::{MAX_AGE, is_expired};
use super::split::REFUSALS_IN_A_ROW;

pub(crate) use signal::{LaneSignal, Standing};

/// Rows kept in memory at least; four for each attempt that may be under way.
const WINDOW: usize = 256;

/// Entries of these rows together, about: a mail may tell of thousands.
const ENTRIES: usize = 16_000;

/// Outcomes that are written in one batch.
const OUTCOMES_A_BATCH: usize = 256;

/// What may be sent and not recorded, where that is more than twice what may be under way: each would be sent again
/// after a crash. As many are recorded in one batch, and a burst does not wait for each batch. Only where what comes
/// twice is known as such: people are not told twice.
const UNRECORDED: usize = 128;

/// Failures in a row that open the breaker.
const BREAKER_FAILURES: u32 = 5;

/// Probes of an open breaker: each second for a minute, then doubling to this.
const PROBE_MAX: Duration = Duration::from_mins(1);

/// What left the queue of a stopped lane is looked at again after this at the soonest.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// How often it does while something only waits for its time of day.
const LOOK_AT_CLOCK: Duration = Duration::from_millis(500);

/// How often a lane looks around when nothing else wakes it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A lane's own state.
pub(crate) struct Lane {
    pub(crate) target: Target,
    pub(crate) channel: Arc<Channel>,
    pub(crate) ledger: Ledger,
    pub(crate) metrics: NotifierMetrics,
    pub(crate) signal: Arc<LaneSignal>,
    /// Called when its fallback is to be told.
    pub(crate) handed_over: Arc<Notify>,
    /// Called when a dead letter was written.
    pub(crate) buried: Arc<Notify>,
    pub(crate) state: LaneState,
}

/// What a lane remembers between attempts; all of it may be lost.
pub(crate) struct LaneState {
    queue: Queue,
    /// The highest number loaded, so that the next look starts behind it.
    loaded: Option<u64>,
    /// Rows may stand behind it.
    look: bool,
    concurrency: Concurrency,
    /// Attempts whose outcome is not known yet.
    sending: usize,
    /// What the receiver asked for. Nothing ends it early.
    paused_until: Option<Instant>,
    /// When the breaker lets the next probe through.
    probe_at: Option<Instant>,
    failures: u32,
    /// Messages that were refused for good, in a row.
    refusals: u32,
    stopped: Option<String>,
    /// When the oldest of what left the queue of a stopped lane is too old.
    look_again_at: Option<Timestamp>,
    /// What the provider takes in a time.
    budget: SharedBudget,
    /// Whether what waits for that may go as one message.
    merges: bool,
    /// When a delivery goes at the earliest, where that depends on the time of day.
    not_before: Option<NotBefore>,
    /// Something was due and had to wait for it, or for a pause that was asked for.
    waited: bool,
    /// What came twice is known as such there: by its id, not by a person who reads.
    knows_repeats: bool,
    /// Those that may have arrived, although they were not taken.
    doubtful: BTreeSet<u64>,
}

impl Lane {
    /// Runs until `stop`, then waits for what is under way.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let attempting = Attempting {
            channel: self.channel.clone(),
            ledger: self.ledger.clone(),
            metrics: self.metrics.clone(),
            buried: self.buried.clone(),
        };
        let mut attempts = FuturesUnordered::new();
        // One batch at a time: what comes meanwhile goes into the next one.
        let mut recording = FuturesUnordered::new();
        let mut sent: Vec<Sent> = Vec::new();
        loop {
            if self.signal.take_reload() {
                self.state.reload();
            }
            self.signal.show(&self.state);
            self.state.fill(&self.ledger, &self.target).await?;
            self.merge().await?;
            let now = Timestamp::now();
            while let Some(delivery) = self.state.begin(now) {
                attempts.push(attempting.attempt(delivery, self.state.stopped.is_some()));
            }
            if recording.is_empty() && !sent.is_empty() {
                let batch = sent.drain(..sent.len().min(OUTCOMES_A_BATCH)).collect();
                recording.push(attempting.record(batch));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(recorded) = recording.next() => {
                    for recorded in recorded? {
                        self.settle(recorded);
                    }
                }
                Some(came) = attempts.next() => {
                    let mut came = Some(came);
                    while let Some(one) = came {
                        self.came(one?, &mut sent);
                        came = attempts.next().now_or_never().flatten();
                    }
                }
                () = self.signal.woken() => self.state.look = true,
                () = tokio::time::sleep(self.state.sleep(now)) => {}
            }
        }
        while let Some(came) = attempts.next().await {
            self.came(came?, &mut sent);
        }
        recording.push(attempting.record(sent));
        while let Some(recorded) = recording.next().await {
            for recorded in recorded? {
                self.settle(recorded);
            }
        }
        self.channel.shutdown().await;
        Ok(())
    }

    /// What waited for the provider's rate becomes one delivery, once there is room for it.
    async fn merge(&mut self) -> Result<(), Error> {
        if !self.state.may_merge() {
            return Ok(());
        }
        self.state.waited = false;
        let rows = self
            .state
            .queue
            .run(merge::ENTRIES, merge::may, merge::alike);
        let Some(merged) = merge::merge(&self.ledger, &rows).await? else {
            return Ok(());
        };
        self.metrics.merged(&self.target.receiver, merged.of);
        for row in rows.iter().take(merged.of) {
            self.state.queue.end(row.seq, None);
        }
        self.state.queue.insert(Arc::new(merged.delivery));
        Ok(())
    }

    /// An attempt came back: its outcome is known, and still to be recorded unless it needed none.
    fn came(&mut self, came: Came, sent: &mut Vec<Sent>) {
        self.state.sending -= 1;
        match came {
            Came::Sent(mut one) => {
                self.state.heed(&one.outcome, one.latency, &self.target);
                self.state.doubt(one.seq(), &one.outcome);
                one.may_split = self.state.refusals < REFUSALS_IN_A_ROW;
                sent.push(*one);
            }
            Came::Recorded(recorded) => self.settle(recorded),
        }
    }

    /// The row as it stands now.
    fn settle(&mut self, recorded: Recorded) {
        self.state
            .settle(recorded.seq, recorded.left, Timestamp::now());
        if let Some(other) = recorded.other {
            self.state.queue.insert(other);
        }
        if recorded.handed_over {
            self.handed_over.notify_one();
        }
    }
}

/// One second for the first minute, then doubling to a minute.
fn probe_after(failures: u32) -> Duration {
    let late = failures.saturating_sub(BREAKER_FAILURES + 60);
    let second = Duration::from_secs(1);
    second
        .saturating_mul(1u32.checked_shl(late).unwrap_or(u32::MAX))
        .min(PROBE_MAX)
}

impl LaneState {
    /// The state of a lane that knows nothing yet, and may make `most` attempts at a time.
    pub(crate) fn fresh(most: u32) -> Self {
        Self {
            queue: Queue::default(),
            loaded: None,
            look: true,
            concurrency: Concurrency::up_to(most),
            sending: 0,
            paused_until: None,
            probe_at: None,
            failures: 0,
            refusals: 0,
            stopped: None,
            look_again_at: None,
            budget: SharedBudget::default(),
            merges: false,
            not_before: None,
            waited: false,
            knows_repeats: true,
            doubtful: BTreeSet::new(),
        }
    }

    /// The state of a lane of this channel.
    pub(crate) fn of(channel: &Channel) -> Self {
        Self {
            budget: channel.budget().clone(),
            merges: channel.merges(),
            not_before: channel.not_before(),
            knows_repeats: !channel.is_for_people(),
            ..Self::fresh(channel.concurrency())
        }
    }

    /// Rows were changed by somebody else: they are read again, and a stopped lane goes on.
    fn reload(&mut self) {
        self.queue.forget_idle();
        self.doubtful.clear();
        self.loaded = None;
        self.stopped = None;
        self.look_again_at = None;
        self.look = true;
    }

    /// Of a stopped lane: what its fallback knows of, or nobody is to be told of, only waits to be too old. It leaves the
    /// queue, so that the fallback hears of all that comes behind it, of the same incident or another.
    fn leave_out(&mut self, now: Timestamp) {
        if self.stopped.is_none() {
            return;
        }
        let waits = |row: &Delivery| row.fallback.is_empty() && !is_expired(row, now);
        if let Some(created_at) = self.queue.leave_out(waits) {
            let too_old_at = created_at.saturating_add(MAX_AGE).unwrap_or(Timestamp::MAX);
            let soonest = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            let at = too_old_at.max(soonest);
            self.look_again_at = Some(self.look_again_at.map_or(at, |known| known.min(at)));
        }
        if self.look_again_at.is_some_and(|at| at <= now) {
            (self.look_again_at, self.loaded, self.look) = (None, None, true);
        }
    }

    /// Loads rows behind those known, where there may be some, and room for them.
    async fn fill(&mut self, ledger: &Ledger, target: &Target) -> Result<(), Error> {
        loop {
            self.leave_out(Timestamp::now());
            let window = self.window();
            let room = window.saturating_sub(self.queue.len());
            // Not one by one.
            let is_full = room < window / 4 || self.queue.n_entries() > ENTRIES / 2;
            if !self.look || is_full {
                return Ok(());
            }
            self.load(ledger, target, room).await?;
        }
    }

    async fn load(&mut self, ledger: &Ledger, target: &Target, room: usize) -> Result<(), Error> {
        let after = self.loaded.map(|seq| {
            // Behind the pieces of that row, too.
            let mut key = rows::numbered(rows::lane(target), seq);
            key.push(0xFF);
            key.push(0xFF);
            key
        });
        // A lower number may be committed later than a higher one.
        let settled = ledger.numbers.settled();
        let entries = ENTRIES.saturating_sub(self.queue.n_entries());
        let (found, all) = pending_after(&ledger.store, target, after, room, entries).await?;
        self.look = !all;
        for delivery in found {
            let passed = delivery.seq.min(settled.saturating_sub(1));
            self.loaded = self.loaded.max(Some(passed));
            self.queue.insert(Arc::new(delivery));
        }
        Ok(())
    }

    /// Whether nothing is to be sent because too much was.
    fn is_limited(&self) -> bool {
        let now = Instant::now();
        let is_asked = self.paused_until.is_some_and(|until| until > now);
        self.stopped.is_none() && (is_asked || !self.budget.lock().wait(now).is_zero())
    }

    /// Whether what waited may become one message now. Nothing is under way then: what comes back from an attempt
    /// keeps its place before what was merged behind it.
    fn may_merge(&self) -> bool {
        self.merges
            && self.waited
            && self.stopped.is_none()
            && self.failures < BREAKER_FAILURES
            && self.queue.under_way() == 0
            && self.pause().is_zero()
    }

    fn window(&self) -> usize {
        WINDOW.max(4 * self.concurrency.limit())
    }

    /// The next delivery that may be attempted: due, and not behind an earlier one of its incident.
    fn begin(&mut self, now: Timestamp) -> Option<Arc<Delivery>> {
        let is_paused = self.pause() > Duration::ZERO;
        let is_due = self.queue.due_at().is_some_and(|at| at <= now);
        self.waited |= is_due && self.is_limited();
        let probing = self.failures >= BREAKER_FAILURES;
        // A probe is over when it is recorded: the next one may be the same delivery.
        let is_full = if probing {
            self.queue.under_way() > 0
        } else {
            // What is sent and not recorded would be sent again after a crash: that has a bound too. Mail goes one
            // by one.
            let limit = self.concurrency.limit();
            let unrecorded = 2 * limit - 1;
            let unrecorded = if self.knows_repeats && limit > 1 {
                unrecorded.max(UNRECORDED)
            } else {
                unrecorded
            };
            self.sending >= limit || self.queue.under_way() >= unrecorded
        };
        if is_paused || is_full {
            return None;
        }
        let begun = if self.stopped.is_some() {
            // A stopped lane only lets go of what is too old, and lets its fallback know of the rest.
            self.queue
                .begin_if(|row| is_expired(row, now) || !row.fallback.is_empty())
        } else {
            // Another lane may have taken the last place since.
            let mut budget = self.budget.lock();
            let instant = Instant::now();
            let may_go = budget.wait(instant).is_zero();
            let begun = may_go.then(|| match self.not_before {
                None => self.queue.begin(now),
                Some(at) => self
                    .queue
                    .begin_if(|row| row.due_at <= now && at(row, now) <= now),
            });
            let begun = begun.flatten();
            if begun.is_some() {
                budget.note(instant);
            }
            begun
        };
        self.sending += usize::from(begun.is_some());
        begun
    }

    /// Notes whether it may have arrived all the same.
    fn doubt(&mut self, seq: u64, outcome: &Outcome) {
        if let Outcome::Transient {
            maybe_delivered: true,
            ..
        } = outcome
        {
            self.doubtful.insert(seq);
        } else {
            self.doubtful.remove(&seq);
        }
    }

    /// What was begun is over, or `left` to be tried again.
    fn settle(&mut self, seq: u64, left: Option<Arc<Delivery>>, now: Timestamp) {
        if left.is_none() {
            self.doubtful.remove(&seq);
        }
        self.queue.end(seq, left);
        if self.failures >= BREAKER_FAILURES {
            // The oldest is the probe, whatever its own backoff says: but nobody is to read the same each second.
            let (known, doubtful) = (self.knows_repeats, &self.doubtful);
            let may_come_again = |seq: u64| known || !doubtful.contains(&seq);
            self.queue.hurry_oldest(now, may_come_again);
        }
    }

    /// Does what an outcome asks for.
    fn heed(&mut self, outcome: &Outcome, latency: Duration, target: &Target) {
        match outcome {
            Outcome::Delivered { .. } => {
                self.concurrency.taken(latency, self.sending + 1);
                if self.failures >= BREAKER_FAILURES {
                    tracing::info!(target = %target, "the receiver is back");
                    self.queue.hurry_all(Timestamp::now());
                }
                (self.failures, self.refusals) = (0, 0);
                self.probe_at = None;
            }
            Outcome::RetryAfter { after, .. } => {
                self.concurrency.failed();
                let until = Instant::now() + *after;
                self.paused_until = self.paused_until.max(Some(until));
                if self.merges {
                    // To the vendor all that speak to it are one.
                    self.budget.lock().pause(until);
                }
            }
            Outcome::Transient { .. } => {
                self.concurrency.failed();
                self.failures = self.failures.saturating_add(1);
                if self.failures >= BREAKER_FAILURES {
                    if self.failures == BREAKER_FAILURES {
                        tracing::warn!(target = %target, "the receiver fails: probing it");
                    }
                    self.probe_at = Some(Instant::now() + probe_after(self.failures));
                }
            }
            Outcome::PermanentTarget { note } => {
                self.concurrency.refused();
                if self.stopped.is_none() {
                    tracing::error!(
                        target = %target, note,
                        "the receiver refuses us: its lane stops until `syncbell receivers resume`, a retry or a restart"
                    );
                }
                self.stopped = Some(note.clone());
            }
            Outcome::PermanentMessage { .. } => {
                self.concurrency.refused();
                self.refusals = self.refusals.saturating_add(1);
            }
            Outcome::TooLarge { .. } | Outcome::Unknown { .. } => self.concurrency.refused(),
        }
    }

    /// The rest of the time in which nothing is to be begun.
    fn pause(&self) -> Duration {
        let (now, until) = (Instant::now(), self.paused_until.max(self.probe_at));
        let asked = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        match self.stopped {
            // Nothing is sent.
            Some(_) => asked,
            None => asked.max(self.budget.lock().wait(now)),
        }
    }

    fn sleep(&self, now: Timestamp) -> Duration {
        let pause = self.pause();
        if !pause.is_zero() {
            return pause.min(LONGEST_SLEEP);
        }
        let is_due = self.queue.due_at().is_some_and(|at| at <= now);
        if is_due && self.sending == 0 && self.not_before.is_some() {
            return LOOK_AT_CLOCK;
        }
        // What is due already waits for a place, and is woken by an attempt that ends.
        let next = self.queue.due_at().filter(|at| *at > now);
        let wait = next.map(|at| at.duration_since(now));
        wait.and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or(LONGEST_SLEEP)
            .clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }
}

#[cfg(test)]
pub(in crate::deliver) mod tests;
