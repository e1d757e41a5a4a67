//! One attempt, from looking whether it is still wanted to the recorded outcome.
//!
//! In: a delivery whose turn it is. Out: its outcome, and its row as it stands then. Sending and recording are apart,
//! so that outcomes that come at the same time are written in one batch.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_event::TraceParent;
use syncbell_service::crash_point;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Error;
use crate::dead_letters::DeathClass;
use crate::delivery::{Attempt, Delivery, Entry};
use crate::ledger::{Draft, Ledger};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::outcome::{Answered, Outcome};
use crate::rows;
use crate::watchdog;

use super::Channel;
use super::record::{bury, drop_resolve, hand_over, is_expired, record};
use super::split::split;

/// What an attempt works with.
#[derive(Clone)]
pub(super) struct Attempting {
    pub(super) channel: Arc<Channel>,
    pub(super) ledger: Ledger,
    pub(super) metrics: NotifierMetrics,
    /// Called when a dead letter was written.
    pub(super) buried: Arc<Notify>,
}

/// What came of an attempt.
pub(super) enum Came {
    /// It was made, and is to be recorded.
    Sent(Box<Sent>),
    /// It was not to be made: that is recorded.
    Recorded(Recorded),
}

/// An attempt that was made, and is to be recorded.
pub(super) struct Sent {
    delivery: Arc<Delivery>,
    attempt: Attempt,
    pub(super) outcome: Outcome,
    pub(super) latency: Duration,
    /// Where it is refused, it goes once more in parts.
    pub(super) may_split: bool,
}

impl Sent {
    pub(super) fn seq(&self) -> u64 {
        self.delivery.seq
    }
}

/// A delivery as it stands after an attempt.
pub(super) struct Recorded {
    pub(super) seq: u64,
    /// Its row; none if it is closed.
    pub(super) left: Option<Arc<Delivery>>,
    /// It was refused as a whole: what `left` does not tell of it.
    pub(super) other: Option<Arc<Delivery>>,
    /// Its fallback is to be told.
    pub(super) handed_over: bool,
}

impl Recorded {
    /// Of one that was not delivered.
    fn of(delivery: &Delivery, left: Option<Delivery>) -> Self {
        let told = |left: &Delivery| left.fallback.is_empty();
        let handed_over = !delivery.fallback.is_empty() && left.as_ref().is_none_or(told);
        Self {
            seq: delivery.seq,
            left: left.map(Arc::new),
            other: None,
            handed_over,
        }
    }
}

impl Attempting {
    /// Makes one attempt, if the delivery is still wanted. Of a `stopped` lane nothing is sent.
    pub(super) async fn attempt(
        &self,
        delivery: Arc<Delivery>,
        stopped: bool,
    ) -> Result<Came, Error> {
        let fires = delivery.entries.iter().any(Entry::fires);
        let needs_trigger = !fires && delivery.replay.is_none();
        if needs_trigger
            && trigger_is_dead(&self.ledger, &delivery).await?
            && drop_it(&self.ledger, &delivery).await?
        {
            return Ok(Came::Recorded(Recorded::of(&delivery, None)));
        }
        if stopped {
            return self.let_go(&delivery).await.map(Came::Recorded);
        }
        Ok(Came::Sent(Box::new(self.send(delivery).await)))
    }

    async fn send(&self, delivery: Arc<Delivery>) -> Sent {
        let (began, began_at) = (Instant::now(), Timestamp::now());
        let Answered { outcome, status } = self.channel.send(&delivery, began_at).await;
        let latency = began.elapsed();
        crash_point("deliver.sent");
        let receiver = &delivery.target.receiver;
        self.metrics
            .attempt(receiver, self.channel.name(), &outcome);
        if let Outcome::Delivered { .. } = outcome
            && let Some(seen_at) = delivery.entries.iter().map(|entry| entry.observed_at).max()
            && !delivery.repeat
            && delivery.replay.is_none()
        {
            let took = Timestamp::now().duration_since(seen_at);
            self.metrics.latency.observe(took.as_secs_f64().max(0.0));
        }
        let attempt = Attempt {
            number: delivery.attempts + 1,
            at: began_at,
            duration_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            status,
            outcome: outcome.name().to_owned(),
            note: outcome.note().to_owned(),
        };
        log(&delivery, &attempt);
        Sent {
            delivery,
            attempt,
            outcome,
            latency,
            may_split: false,
        }
    }

    /// Writes what came of these attempts, in one batch. Gives each row as it stands then.
    pub(super) async fn record(&self, sent: Vec<Sent>) -> Result<Vec<Recorded>, Error> {
        if sent.is_empty() {
            return Ok(Vec::new());
        }
        let sent: Arc<[(Sent, f64)]> = sent.into_iter().map(|one| (one, rand::random())).collect();
        let rows = Arc::clone(&sent);
        let (budget, messages) = (self.channel.budget().clone(), self.channel.messages());
        let recording = self.ledger.patiently(move |draft, now| {
            let mut left = Vec::with_capacity(rows.len());
            for (one, random) in rows.iter() {
                for _ in 0..messages {
                    budget.note_sent(draft, &one.delivery.target, one.attempt.at)?;
                }
                watchdog::attempted(draft, &one.delivery.target, &one.outcome, now)?;
                let (delivery, attempt, outcome) = (&one.delivery, &one.attempt, &one.outcome);
                if let Outcome::PermanentMessage { note } = outcome
                    && one.may_split
                    && let Some([first, second]) = split(draft, delivery, attempt, note, now)?
                {
                    left.push((Some(first), Some(second)));
                    continue;
                }
                let stands = record(draft, delivery, attempt, outcome, *random, now)?;
                left.push((stands, None));
            }
            Ok(left)
        });
        let seen = self.ledger.by_hand.read().await;
        let left = recording.await?;
        drop(seen);
        crash_point("deliver.recorded");
        let ends = sent.iter().zip(left);
        Ok(ends
            .map(|((one, _), (left, other))| {
                if let Outcome::Delivered { .. } = one.outcome {
                    return Recorded {
                        handed_over: false,
                        ..Recorded::of(&one.delivery, left)
                    };
                }
                if left.is_none() {
                    self.metrics.dead(DeadKind::Delivery, 1);
                    self.buried.notify_one();
                }
                Recorded {
                    other: other.map(Arc::new),
                    ..Recorded::of(&one.delivery, left)
                }
            })
            .collect())
    }

    /// Of a stopped lane: its fallback is told, and what is too old is given up.
    async fn let_go(&self, delivery: &Arc<Delivery>) -> Result<Recorded, Error> {
        let _seen = self.ledger.by_hand.read().await;
        let row = Arc::clone(delivery);
        if !is_expired(delivery, Timestamp::now()) {
            let handing_over = move |draft: &mut Draft<'_>, _| {
                let mut delivery = Delivery::clone(&row);
                hand_over(draft, &mut delivery);
                let row = rows::numbered(rows::lane(&delivery.target), delivery.seq);
                draft.put(row, &delivery);
                Ok(delivery)
            };
            let left = self.ledger.patiently(handing_over).await?;
            return Ok(Recorded::of(delivery, Some(left)));
        }
        let reason = format!("expired: {}", delivery.last_error.as_deref().unwrap_or("-"));
        let closing = move |draft: &mut Draft<'_>, now| {
            bury(draft, &row, DeathClass::Expired, &reason, None, now);
            Ok(())
        };
        self.ledger.patiently(closing).await?;
        self.metrics.dead(DeadKind::Delivery, 1);
        self.buried.notify_one();
        Ok(Recorded::of(delivery, None))
    }
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

pub(super) async fn trigger_is_dead(ledger: &Ledger, delivery: &Delivery) -> Result<bool, Error> {
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
pub(super) async fn drop_it(ledger: &Ledger, delivery: &Delivery) -> Result<bool, Error> {
    let _seen = ledger.by_hand.read().await;
    let delivery = delivery.clone();
    let dropping = move |draft: &mut Draft<'_>, now| drop_resolve(draft, &delivery, now);
    ledger.patiently(dropping).await
}
