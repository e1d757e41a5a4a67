//! What an attempt leaves in the ledger: its row, and what follows from its outcome.
//!
//! In: a draft, a delivery, an outcome, now. Must never happen: a row closed without an outcome, a dead
//! delivery without its dead letter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_service::Backoff;

use crate::delivery::{Attempt, Closed, Delivery, DeliveryId, Ending, Target};
use crate::ledger::{DeadLetter, Draft};
use crate::outcome::Outcome;
use crate::rows;

/// After this a delivery goes to the dead letters.
pub(super) const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// Whether it is too old to be tried again.
pub(super) fn is_expired(delivery: &Delivery, now: Timestamp) -> bool {
    now.duration_since(delivery.created_at) >= MAX_AGE
}

/// Writes the attempt and what follows from it. Gives the row as it stands now, if it still does.
pub(super) fn record(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    attempt: &Attempt,
    outcome: &Outcome,
    random: f64,
    now: Timestamp,
) -> Option<Delivery> {
    let mut delivery = delivery.clone();
    delivery.attempts = attempt.number;
    let number = u64::from(attempt.number);
    draft.put(
        rows::numbered(rows::attempts(&delivery.id), number),
        attempt,
    );
    let wait = match outcome {
        Outcome::Delivered { note } => {
            finish(draft, &delivery, Ending::Delivered, note, now);
            return None;
        }
        Outcome::PermanentMessage { note } => {
            finish(draft, &delivery, Ending::Dead, note, now);
            return None;
        }
        Outcome::RetryAfter { after, .. } => *after,
        Outcome::Transient { .. } => backoff().delay(attempt.number.saturating_sub(1), random),
        Outcome::PermanentTarget { .. } => Duration::ZERO,
    };
    delivery.last_error = Some(outcome.note().to_owned());
    if is_expired(&delivery, now) {
        finish(
            draft,
            &delivery,
            Ending::Dead,
            &format!("expired: {}", outcome.note()),
            now,
        );
        return None;
    }
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
    delivery.due_at = now.saturating_add(wait).unwrap_or(now);
    draft.put(
        rows::numbered(rows::lane(&delivery.target), delivery.seq),
        &delivery,
    );
    Some(delivery)
}

fn backoff() -> Backoff {
    Backoff::try_new(BACKOFF_BASE, BACKOFF_MAX).expect("one second is less than five minutes")
}

/// Closes the row; a dead one goes to the dead letters, and its triggers are marked.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    ending: Ending,
    why: &str,
    now: Timestamp,
) {
    draft.delete(rows::numbered(rows::lane(&delivery.target), delivery.seq));
    draft.delete(rows::pending(&delivery.id));
    for entry in delivery.entries.iter().filter(|entry| entry.fires()) {
        let mark = rows::dead_trigger(&delivery.target, &entry.item.incident);
        if ending == Ending::Dead {
            draft.put(mark, &now);
        } else {
            draft.delete(mark);
        }
    }
    if ending == Ending::Dead {
        draft.bury(&DeadLetter::of_delivery(delivery, why, now));
    }
    let closed = Closed {
        delivery: delivery.clone(),
        ending,
        reason: Some(why.to_owned()),
        at: now,
    };
    draft.put(rows::closed(&delivery.id), &closed);
}

/// Closes a delivery whose target is not in the configuration any more.
pub(crate) fn give_up(draft: &mut Draft<'_>, delivery: &Delivery, now: Timestamp) {
    finish(
        draft,
        delivery,
        Ending::Dead,
        "its receiver left the configuration",
        now,
    );
}

/// Puts a dead or dropped delivery back into its lane, or makes a pending one due now. Gives its target;
/// none if there is no such delivery, or it was delivered.
pub(crate) fn retry(
    draft: &mut Draft<'_>,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<Option<Target>, syncbell_store::Error> {
    let mut delivery = match draft.get::<String>(&rows::pending(id))? {
        Some(key) => {
            let key = key.into_bytes();
            let Some(delivery) = draft.get::<Delivery>(&key)? else {
                return Ok(None);
            };
            draft.delete(key);
            delivery
        }
        None => match draft.get::<Closed>(&rows::closed(id))? {
            Some(closed) if closed.ending != Ending::Delivered => {
                draft.delete(rows::closed(id));
                closed.delivery
            }
            _ => return Ok(None),
        },
    };
    // Its age starts anew: whoever retries by hand wants it tried.
    delivery.created_at = now;
    delivery.due_at = now;
    draft.enqueue(&delivery);
    Ok(Some(delivery.target))
}
