//! What an attempt leaves in the ledger: its row, and what follows from its outcome.
//!
//! In: a draft, a delivery, an outcome, now. Must never happen: a row closed without an outcome, a dead
//! delivery without its dead letter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_service::Backoff;

use crate::dead_letters::{DeadLetter, DeathClass, Replayed};
use crate::delivery::{
    Attempt, Closed, Delivery, DeliveryId, DeliveryState, Ending, Entry, Target,
};
use crate::ledger::Draft;
use crate::outcome::{Outcome, UNKNOWN};
use crate::rows;

/// After this a delivery goes to the dead letters.
pub(crate) const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Waits between the tries of what was not understood; after the last one it is given up.
const UNKNOWN_WAITS: [Duration; 3] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
];

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
) -> Result<Option<Delivery>, syncbell_store::Error> {
    let mut delivery = delivery.clone();
    delivery.attempts = attempt.number;
    let ended_by = Some(attempt.clone());
    let wait = match outcome {
        Outcome::Delivered { note } => {
            finish(draft, &delivery, Ending::Delivered, note, ended_by, now);
            return Ok(None);
        }
        Outcome::PermanentMessage { note } => {
            delivery.first_failure_at.get_or_insert(attempt.at);
            bury(draft, &delivery, DeathClass::Refused, note, ended_by, now);
            return Ok(None);
        }
        Outcome::TooLarge { note } => {
            delivery.first_failure_at.get_or_insert(attempt.at);
            if std::mem::replace(&mut delivery.smaller, true) {
                let why = format!("in its smaller form too: {note}");
                bury(draft, &delivery, DeathClass::Refused, &why, ended_by, now);
                return Ok(None);
            }
            Duration::ZERO
        }
        Outcome::Unknown { note } => {
            delivery.first_failure_at.get_or_insert(attempt.at);
            let tries = not_understood(draft, delivery.seq, attempt.number.into())?;
            let Some(wait) = UNKNOWN_WAITS.get(tries) else {
                let why = format!("not understood: {note}");
                bury(draft, &delivery, DeathClass::Refused, &why, ended_by, now);
                return Ok(None);
            };
            *wait
        }
        Outcome::RetryAfter { after, .. } => *after,
        Outcome::Transient { .. } => backoff().delay(attempt.number.saturating_sub(1), random),
        Outcome::PermanentTarget { .. } => {
            // It stays pending, in case that somebody repairs the receiver; others are told meanwhile.
            hand_over(draft, &mut delivery);
            Duration::ZERO
        }
    };
    delivery.last_error = Some(outcome.note().to_owned());
    delivery.first_failure_at.get_or_insert(attempt.at);
    if is_expired(&delivery, now) {
        let why = format!("expired: {}", outcome.note());
        bury(draft, &delivery, DeathClass::Expired, &why, ended_by, now);
        return Ok(None);
    }
    put_attempt(draft, delivery.seq, attempt);
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
    delivery.due_at = now.saturating_add(wait).unwrap_or(now);
    draft.put(
        rows::numbered(rows::lane(&delivery.target), delivery.seq),
        &delivery,
    );
    Ok(Some(delivery))
}

fn put_attempt(draft: &mut Draft<'_>, seq: u64, attempt: &Attempt) {
    let key = rows::numbered(rows::attempts(seq), attempt.number.into());
    draft.put(key, attempt);
}

/// Attempts before this one, in a row, that were not understood; at most as many as there are waits.
fn not_understood(
    draft: &Draft<'_>,
    seq: u64,
    number: u64,
) -> Result<usize, syncbell_store::Error> {
    let mut tries = 0;
    while tries < UNKNOWN_WAITS.len() && (tries as u64) + 1 < number {
        let key = rows::numbered(rows::attempts(seq), number - 1 - tries as u64);
        match draft.get::<Attempt>(&key)? {
            Some(before) if before.outcome == UNKNOWN => tries += 1,
            _ => break,
        }
    }
    Ok(tries)
}

fn backoff() -> Backoff {
    Backoff::try_new(BACKOFF_BASE, BACKOFF_MAX).expect("one second is less than five minutes")
}

/// Gives the delivery up, by this `attempt` or without one: its row is closed, its triggers are marked, and it is a dead
/// letter.
pub(crate) fn bury(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    class: DeathClass,
    why: &str,
    attempt: Option<Attempt>,
    now: Timestamp,
) {
    let mut delivery = delivery.clone();
    if class != DeathClass::ReceiverGone {
        hand_over(draft, &mut delivery);
    }
    finish(draft, &delivery, Ending::Dead, why, attempt, now);
    draft.bury(&DeadLetter::of_delivery(&delivery, class, why, now));
}

/// Hands what its receiver does not take over to the fallback, once: the consume loop tells it. A replay is for whom it
/// was asked.
pub(super) fn hand_over(draft: &mut Draft<'_>, delivery: &mut Delivery) {
    if !delivery.fallback.is_empty() && delivery.replay.is_none() {
        tracing::warn!(
            delivery.id = %delivery.id, receiver = delivery.target.receiver,
            "not taken: its fallback is told"
        );
        let key = rows::numbered(rows::HANDED_OVER.to_vec(), draft.next_number());
        draft.put(key, delivery);
    }
    delivery.fallback.clear();
}

/// Closes the row; of a dead one the triggers are marked.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    ending: Ending,
    why: &str,
    attempt: Option<Attempt>,
    now: Timestamp,
) {
    draft.delete(rows::numbered(rows::lane(&delivery.target), delivery.seq));
    // A replay is no trigger of anything.
    let is_trigger = |entry: &&Entry| delivery.replay.is_none() && entry.fires();
    for entry in delivery.entries.iter().filter(is_trigger) {
        let mark = rows::dead_trigger(&delivery.target, &entry.item.incident);
        match ending {
            Ending::Dead => draft.put(mark, &now),
            // It is told by another one, which may die yet.
            Ending::Merged => {}
            Ending::Delivered | Ending::Dropped => draft.delete(mark),
        }
    }
    let closed = Closed {
        delivery: delivery.clone(),
        ending,
        reason: Some(why.to_owned()),
        at: now,
        attempt,
    };
    draft.put(rows::closed(delivery.seq), &closed);
}

/// Closes a delivery whose target is not in the configuration any more. `told`: its fallback is, and not again.
pub(crate) fn give_up(draft: &mut Draft<'_>, delivery: &Delivery, told: bool, now: Timestamp) {
    let why = "its receiver left the configuration";
    let mut delivery = delivery.clone();
    if told {
        delivery.fallback.clear();
    }
    bury(draft, &delivery, DeathClass::ReceiverGone, why, None, now);
}

/// Resolves of one incident that were dropped are remembered up to this many.
const DROPPED_LIMIT: usize = 16;

/// Closes a resolve of which every trigger is dead, and remembers that with the triggers. False if one of
/// them was brought back meanwhile: then it is to be sent.
pub(crate) fn drop_resolve(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<bool, syncbell_store::Error> {
    for entry in &delivery.entries {
        let mark = rows::dead_trigger(&delivery.target, &entry.item.incident);
        if !draft.has(&mark)? {
            return Ok(false);
        }
    }
    for entry in &delivery.entries {
        let key = rows::dropped(&delivery.target, &entry.item.incident);
        let mut dropped: Vec<DeliveryId> = draft.get(&key)?.unwrap_or_default();
        dropped.push(delivery.id.clone());
        let over = dropped.len().saturating_sub(DROPPED_LIMIT);
        dropped.drain(..over);
        draft.put(key, &dropped);
    }
    let why = "its trigger is in the dead letters";
    let mut delivery = delivery.clone();
    // Whoever was told that it began is told that it ended.
    hand_over(draft, &mut delivery);
    finish(draft, &delivery, Ending::Dropped, why, None, now);
    Ok(true)
}

/// Puts a dead or dropped delivery back into its lane, or makes a pending one due now. Gives its target;
/// none if there is no such delivery, or it was delivered. Call it with [`Ledger::by_hand`] held for writing.
///
/// [`Ledger::by_hand`]: crate::ledger::Ledger
pub(crate) fn retry(
    draft: &mut Draft<'_>,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<Option<Target>, syncbell_store::Error> {
    let mut delivery = match draft.delivery(id)? {
        Some(DeliveryState::Pending(delivery)) => delivery,
        Some(DeliveryState::Over(closed)) if closed.ending == Ending::Dead => {
            // Its dead letter is replayed thereby.
            let letter = DeadLetter::id_of_delivery(&closed.delivery, closed.at);
            Replayed::of_delivery(id, closed.at, now).note(draft, &letter)?;
            return revive(draft, closed.delivery, now).map(Some);
        }
        Some(DeliveryState::Over(closed)) if closed.ending == Ending::Dropped => {
            return revive(draft, closed.delivery, now).map(Some);
        }
        _ => return Ok(None),
    };
    delivery.created_at = now;
    delivery.due_at = now;
    draft.enqueue(&delivery);
    Ok(Some(delivery.target))
}

/// Brings back a delivery that is over: pending, under the same id, and its triggers dead no more. What was
/// dropped because of them is to be told again too, behind it: else a receiver hears that something began
/// and never that it ended.
pub(crate) fn revive(
    draft: &mut Draft<'_>,
    delivery: Delivery,
    now: Timestamp,
) -> Result<Target, syncbell_store::Error> {
    let target = delivery.target.clone();
    let mut dropped: Vec<DeliveryId> = Vec::new();
    let is_trigger = |entry: &&Entry| delivery.replay.is_none() && entry.fires();
    for entry in delivery.entries.iter().filter(is_trigger) {
        draft.delete(rows::dead_trigger(&target, &entry.item.incident));
        let key = rows::dropped(&target, &entry.item.incident);
        dropped.extend(
            draft
                .get::<Vec<DeliveryId>>(&key)?
                .into_iter()
                .flatten()
                .filter(|id| *id != delivery.id),
        );
        draft.delete(key);
    }
    let seq = put_back(draft, delivery, None, now)?;
    for id in dropped {
        if let Some(DeliveryState::Over(closed)) = draft.delivery(&id)?
            && closed.ending == Ending::Dropped
        {
            put_back(draft, closed.delivery, Some(seq), now)?;
        }
    }
    Ok(target)
}

/// Puts it into its lane, behind the delivery with the number `after`. Gives its own number.
fn put_back(
    draft: &mut Draft<'_>,
    mut delivery: Delivery,
    after: Option<u64>,
    now: Timestamp,
) -> Result<u64, syncbell_store::Error> {
    delivery.seq = match draft.delivery(&delivery.id)? {
        Some(DeliveryState::Over(closed)) => {
            let seq = closed.delivery.seq;
            draft.delete(rows::closed(seq));
            if let Some(attempt) = &closed.attempt {
                put_attempt(draft, seq, attempt);
            }
            seq
        }
        Some(DeliveryState::Pending(delivery)) => delivery.seq,
        // Its own may be another's by now: numbers begin again once nothing stands.
        None => draft.next_number(),
    };
    if after.is_some_and(|after| delivery.seq < after) {
        draft.forget_attempts(delivery.seq)?;
        delivery.seq = draft.next_number();
    }
    // Its age starts anew: whoever retries by hand wants it tried.
    delivery.created_at = now;
    delivery.due_at = now;
    delivery.smaller = false;
    draft.enqueue(&delivery);
    Ok(delivery.seq)
}
