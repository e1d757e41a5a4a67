//! One lane: the deliveries of one target, in order where order matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use syncbell_event::TraceParent;
use syncbell_service::crash_point;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::dead_letters::DeathClass;
use crate::deliver::Channel;
use crate::deliver::record::{bury, drop_resolve, hand_over, is_expired, record};
use crate::delivery::{Attempt, Delivery, Entry, Target};
use crate::ledger::{Draft, Ledger, pending_after};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::outcome::Outcome;
use crate::rows;

/// Rows kept in memory.
const WINDOW: usize = 256;

/// Failures in a row that open the breaker.
const BREAKER_FAILURES: u32 = 5;

/// Probes of an open breaker: each second for a minute, then doubling to this.
const PROBE_MAX: Duration = Duration::from_mins(1);

/// How often a lane looks around when nothing else wakes it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Tells a lane that its rows changed.
#[derive(Debug, Default)]
pub(crate) struct LaneSignal {
    wake: Notify,
    reload: AtomicBool,
}

impl LaneSignal {
    /// New rows stand behind those it knows.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Rows that it knows were changed by somebody else; a stopped lane goes on.
    pub(crate) fn reload(&self) {
        self.reload.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// A lane's own state.
pub(crate) struct Lane {
    pub(crate) target: Target,
    pub(crate) channel: Arc<Channel>,
    pub(crate) ledger: Ledger,
    pub(crate) metrics: NotifierMetrics,
    pub(crate) signal: Arc<LaneSignal>,
    /// Of all lanes: that of a fallback is woken.
    pub(crate) signals: Arc<BTreeMap<Target, Arc<LaneSignal>>>,
    /// Called when a dead letter was written.
    pub(crate) buried: Arc<Notify>,
    pub(crate) state: LaneState,
}

/// What a lane remembers between attempts; all of it may be lost.
#[derive(Default)]
pub(crate) struct LaneState {
    window: BTreeMap<u64, Delivery>,
    /// The highest number loaded, so that the next look starts behind it.
    loaded: Option<u64>,
    under_way: BTreeSet<u64>,
    paused_until: Option<Instant>,
    failures: u32,
    stopped: Option<String>,
}

/// What became of one attempt.
struct Recorded {
    seq: u64,
    /// The row as it stands now; none if it is closed.
    left: Option<Delivery>,
    outcome: Option<Outcome>,
}

impl Lane {
    /// The state of a lane that knows nothing yet.
    pub(crate) fn fresh() -> LaneState {
        LaneState::default()
    }

    /// Runs until `stop`, then waits for what is under way.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut attempts = FuturesUnordered::new();
        let mut look = true;
        loop {
            if self.signal.reload.swap(false, Ordering::AcqRel) {
                let under_way = &self.state.under_way;
                self.state.window.retain(|seq, _| under_way.contains(seq));
                self.state.loaded = None;
                self.state.stopped = None;
                look = true;
            }
            if look {
                look = !self.fill().await?;
            }
            let now = Timestamp::now();
            while let Some(seq) = self.state.startable(now, self.channel.concurrency()) {
                self.state.under_way.insert(seq);
                let delivery = self.state.window[&seq].clone();
                let fallback = delivery.fallback.clone();
                let attempt = attempt(
                    delivery,
                    self.state.stopped.is_some(),
                    self.channel.clone(),
                    self.ledger.clone(),
                    self.metrics.clone(),
                    self.buried.clone(),
                );
                attempts.push(attempt.map(|recorded| (fallback, recorded)));
            }
            let sleep = self.state.sleep(now);
            tokio::select! {
                () = stop.cancelled() => break,
                Some((fallback, recorded)) = attempts.next() => {
                    look |= self.settle(recorded?);
                    self.wake(&fallback);
                }
                () = self.signal.wake.notified() => look = true,
                () = tokio::time::sleep(sleep) => {}
            }
        }
        while let Some((_, recorded)) = attempts.next().await {
            self.settle(recorded?);
        }
        self.channel.shutdown().await;
        Ok(())
    }

    /// Rows may stand in the lanes of a fallback.
    fn wake(&self, fallback: &[Target]) {
        for signal in fallback
            .iter()
            .filter_map(|target| self.signals.get(target))
        {
            signal.wake();
        }
    }

    /// Loads rows behind those known. True if all of them are known now.
    async fn fill(&mut self) -> Result<bool, Error> {
        let room = WINDOW.saturating_sub(self.state.window.len());
        if room == 0 {
            return Ok(false);
        }
        let after = self.state.loaded.map(|seq| {
            // Behind the pieces of that row, too.
            let mut key = rows::numbered(rows::lane(&self.target), seq);
            key.push(0xFF);
            key.push(0xFF);
            key
        });
        let found = pending_after(&self.ledger.store, &self.target, after, room).await?;
        let all = found.len() < room;
        for delivery in found {
            self.state.loaded = self.state.loaded.max(Some(delivery.seq));
            if !self.state.under_way.contains(&delivery.seq) {
                self.state.window.insert(delivery.seq, delivery);
            }
        }
        Ok(all)
    }

    /// Notes what became of an attempt. True if there is room to load more.
    fn settle(&mut self, recorded: Recorded) -> bool {
        let state = &mut self.state;
        state.under_way.remove(&recorded.seq);
        match recorded.left {
            Some(delivery) => state.window.insert(recorded.seq, delivery),
            None => state.window.remove(&recorded.seq),
        };
        match recorded.outcome {
            Some(Outcome::Delivered { .. }) => {
                if state.failures >= BREAKER_FAILURES {
                    tracing::info!(target = %self.target, "the receiver is back");
                    let now = Timestamp::now();
                    for delivery in state.window.values_mut() {
                        delivery.due_at = delivery.due_at.min(now);
                    }
                }
                state.failures = 0;
                state.paused_until = None;
            }
            Some(Outcome::RetryAfter { after, .. }) => {
                state.paused_until = Some(Instant::now() + after);
            }
            Some(Outcome::Transient { .. }) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= BREAKER_FAILURES {
                    if state.failures == BREAKER_FAILURES {
                        tracing::warn!(target = %self.target, "the receiver fails: probing it");
                    }
                    state.paused_until = Some(Instant::now() + probe_after(state.failures));
                    // The oldest is the probe, whatever its own backoff says.
                    let now = Timestamp::now();
                    if let Some((_, oldest)) = state.window.iter_mut().next() {
                        oldest.due_at = oldest.due_at.min(now);
                    }
                }
            }
            Some(Outcome::PermanentTarget { note }) => {
                if state.stopped.is_none() {
                    tracing::error!(
                        target = %self.target, note,
                        "the receiver refuses us: its lane stops until a restart or a retry"
                    );
                }
                state.stopped = Some(note);
            }
            Some(Outcome::PermanentMessage { .. }) | None => {}
        }
        state.window.len() < WINDOW
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
    /// The next delivery that may be attempted: due, and not behind an earlier one of its incident.
    fn startable(&self, now: Timestamp, concurrency: usize) -> Option<u64> {
        let paused = self
            .paused_until
            .is_some_and(|until| Instant::now() < until);
        let allowed = if self.failures >= BREAKER_FAILURES {
            1
        } else {
            concurrency
        };
        if paused || self.under_way.len() >= allowed {
            return None;
        }
        let mut waiting: BTreeSet<&str> = BTreeSet::new();
        for (seq, delivery) in &self.window {
            let incidents = || {
                delivery
                    .entries
                    .iter()
                    .map(|entry| entry.item.incident.as_str())
            };
            let free = !incidents().any(|incident| waiting.contains(incident));
            // A stopped lane only lets go of what is too old, and lets its fallback know of the rest.
            let due = match self.stopped {
                Some(_) => is_expired(delivery, now) || !delivery.fallback.is_empty(),
                None => delivery.due_at <= now,
            };
            if due && free && !self.under_way.contains(seq) {
                return Some(*seq);
            }
            waiting.extend(incidents());
        }
        None
    }

    fn sleep(&self, now: Timestamp) -> Duration {
        let pause = self
            .paused_until
            .map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            return pause.min(LONGEST_SLEEP);
        }
        let idle = self
            .window
            .iter()
            .filter(|(seq, _)| !self.under_way.contains(*seq));
        let next = idle
            .map(|(_, delivery)| delivery.due_at)
            .filter(|at| *at > now)
            .min();
        let wait = next.map(|at| at.duration_since(now));
        wait.and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or(LONGEST_SLEEP)
            .clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }
}

/// One attempt, from looking whether it is still wanted to the recorded outcome.
async fn attempt(
    delivery: Delivery,
    stopped: bool,
    channel: Arc<Channel>,
    ledger: Ledger,
    metrics: NotifierMetrics,
    buried: Arc<Notify>,
) -> Result<Recorded, Error> {
    let seq = delivery.seq;
    let fires = delivery.entries.iter().any(Entry::fires);
    let needs_trigger = !fires && delivery.replay.is_none();
    if needs_trigger
        && trigger_is_dead(&ledger, &delivery).await?
        && drop_it(&ledger, &delivery).await?
    {
        return Ok(Recorded {
            seq,
            left: None,
            outcome: None,
        });
    }
    if stopped {
        return let_go(delivery, &ledger, &metrics, &buried).await;
    }
    let (began, began_at) = (Instant::now(), Timestamp::now());
    let outcome = channel.send(&delivery, began_at).await;
    crash_point("deliver.sent");
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    metrics.attempt(&delivery.target.receiver, channel.name(), &outcome);
    if let Outcome::Delivered { .. } = outcome
        && let Some(seen_at) = delivery.entries.iter().map(|entry| entry.observed_at).max()
        && !delivery.repeat
        && delivery.replay.is_none()
    {
        metrics.latency.observe(
            Timestamp::now()
                .duration_since(seen_at)
                .as_secs_f64()
                .max(0.0),
        );
    }
    let attempt = Attempt {
        number: delivery.attempts + 1,
        at: began_at,
        duration_ms,
        outcome: outcome.name().to_owned(),
        note: outcome.note().to_owned(),
    };
    log(&delivery, &attempt);
    let (given, random) = (outcome.clone(), rand::random::<f64>());
    let left = ledger
        .patiently(move |draft, now| Ok(record(draft, &delivery, &attempt, &given, random, now)))
        .await?;
    crash_point("deliver.recorded");
    if left.is_none() && !matches!(outcome, Outcome::Delivered { .. }) {
        metrics.dead(DeadKind::Delivery, 1);
        buried.notify_one();
    }
    Ok(Recorded {
        seq,
        left,
        outcome: Some(outcome),
    })
}

/// Of a stopped lane: its fallback is told, and what is too old is given up.
async fn let_go(
    delivery: Delivery,
    ledger: &Ledger,
    metrics: &NotifierMetrics,
    buried: &Notify,
) -> Result<Recorded, Error> {
    let seq = delivery.seq;
    if !is_expired(&delivery, Timestamp::now()) {
        let handing_over = move |draft: &mut Draft<'_>, now| {
            let mut delivery = delivery.clone();
            hand_over(draft, &mut delivery, now);
            let row = rows::numbered(rows::lane(&delivery.target), delivery.seq);
            draft.put(row, &delivery);
            Ok(delivery)
        };
        return Ok(Recorded {
            seq,
            left: Some(ledger.patiently(handing_over).await?),
            outcome: None,
        });
    }
    let reason = format!("expired: {}", delivery.last_error.as_deref().unwrap_or("-"));
    let closing = move |draft: &mut Draft<'_>, now| {
        bury(draft, &delivery, DeathClass::Expired, &reason, now);
        Ok(())
    };
    ledger.patiently(closing).await?;
    metrics.dead(DeadKind::Delivery, 1);
    buried.notify_one();
    Ok(Recorded {
        seq,
        left: None,
        outcome: None,
    })
}

fn log(delivery: &Delivery, attempt: &Attempt) {
    let (id, target) = (&delivery.id, &delivery.target.receiver);
    let trace_id = delivery.traceparent().map(TraceParent::trace_id);
    let trace_id = trace_id.as_deref().unwrap_or_default();
    let (number, outcome, note) = (attempt.number, attempt.outcome.as_str(), &attempt.note);
    if outcome == "delivered" {
        tracing::info!(
            delivery.id = %id, receiver = target, delivery.attempt = number, trace.id = trace_id,
            "delivered"
        );
    } else {
        tracing::warn!(
            delivery.id = %id, receiver = target, delivery.attempt = number, outcome, note,
            trace.id = trace_id, "a delivery was not taken"
        );
    }
}

async fn trigger_is_dead(ledger: &Ledger, delivery: &Delivery) -> Result<bool, Error> {
    let target = delivery.target.clone();
    let incidents: Vec<String> = delivery
        .entries
        .iter()
        .map(|entry| entry.item.incident.clone())
        .collect();
    let dead = ledger.store.read(move |reader| {
        for incident in &incidents {
            if reader
                .get(&rows::dead_trigger(&target, incident))?
                .is_none()
            {
                return Ok(false);
            }
        }
        Ok(true)
    });
    Ok(dead.await?)
}

/// False if a trigger was brought back meanwhile.
async fn drop_it(ledger: &Ledger, delivery: &Delivery) -> Result<bool, Error> {
    let _held = ledger.triggers.lock().await;
    let delivery = delivery.clone();
    let dropping = move |draft: &mut Draft<'_>, now| drop_resolve(draft, &delivery, now);
    ledger.patiently(dropping).await
}

#[cfg(test)]
mod tests;
