//! A message that others were merged into, and that its receiver refuses for good: it goes once more in two halves, and so
//! on, until what it is refused for is a dead letter alone.
//!
//! In: the refused row, the rows that were merged into it. Out: two rows in its place, in the batch that closes it. Must
//! never happen: an entry that is in none of them or in two, or that overtakes an earlier one of its incident.

use std::sync::Arc;

use jiff::Timestamp;

use crate::delivery::{Attempt, Closed, Delivery, Ending};
use crate::ledger::Draft;
use crate::rows;

use super::merge::{enqueue, into, one_of};
use super::record::finish;

/// Refusals in a row after which nothing is split any more: they are not about one entry. That of two thousand entries the
/// first is refused takes eleven.
pub(super) const REFUSALS_IN_A_ROW: u32 = 12;

/// Writes two rows in the place of `refused`, the first under its number. None: it is not of several, or what was merged
/// into it is forgotten.
pub(super) fn split(
    draft: &mut Draft<'_>,
    refused: &Delivery,
    attempt: &Attempt,
    note: &str,
    now: Timestamp,
) -> Result<Option<[Delivery; 2]>, syncbell_store::Error> {
    if refused.parts.len() < 2 || !draft.has(&lane_row(refused))? {
        return Ok(None);
    }
    let mut parts: Vec<Closed> = Vec::with_capacity(refused.parts.len());
    for number in &refused.parts {
        match draft.get::<Closed>(&rows::closed(*number))? {
            Some(closed) if closed.ending == Ending::Merged => parts.push(closed),
            _ => return Ok(None),
        }
    }
    let behind = parts.split_off(parts.len() / 2);
    draft.forget_attempts(refused.seq)?;
    let second = half(draft, behind, None, now);
    let first = half(draft, parts, Some(refused.seq), now);

    let mut over = refused.clone();
    over.attempts = attempt.number;
    over.first_failure_at.get_or_insert(attempt.at);
    over.seq = draft.next_number();
    let place = lane_row(&over);
    draft.put_bytes(rows::place(&over.id), place);
    let why = format!(
        "refused as a whole ({note}): in two parts {} and {}",
        first.id, second.id
    );
    finish(
        draft,
        &over,
        Ending::Merged,
        &why,
        Some(attempt.clone()),
        now,
    );
    tracing::warn!(
        delivery.id = %over.id, receiver = over.target.receiver, entries = over.entries.len(),
        first = %first.id, second = %second.id,
        "a message of several is refused: it goes once more in two parts"
    );
    Ok(Some([first, second]))
}

fn lane_row(delivery: &Delivery) -> rows::Key {
    rows::numbered(rows::lane(&delivery.target), delivery.seq)
}

/// One that tells what `parts` tell, where the first of them stood or at `place`.
fn half(
    draft: &mut Draft<'_>,
    mut parts: Vec<Closed>,
    place: Option<u64>,
    now: Timestamp,
) -> Delivery {
    let stood = parts[0].delivery.seq;
    let seq = place.unwrap_or(stood);
    if let [alone] = parts.as_slice() {
        draft.delete(rows::closed(stood));
        let alone = Delivery {
            seq,
            due_at: now,
            by_itself: true,
            ..alone.delivery.clone()
        };
        draft.enqueue(&alone);
        return alone;
    }
    if place.is_none() {
        // Its own row is to have that number once it is over.
        draft.delete(rows::closed(stood));
        parts[0].delivery.seq = draft.next_number();
        let moved = &parts[0].delivery;
        let place = lane_row(moved);
        draft.put_bytes(rows::place(&moved.id), place);
    }
    let of: Vec<Arc<Delivery>> = parts
        .iter()
        .map(|part| Arc::new(part.delivery.clone()))
        .collect();
    let one = Delivery {
        seq,
        parts: of.iter().map(|part| part.seq).collect(),
        by_itself: true,
        ..one_of(&of, now)
    };
    for part in parts {
        let told = Closed {
            reason: Some(into(&one)),
            ..part
        };
        draft.put(rows::closed(told.delivery.seq), &told);
    }
    enqueue(draft, &one, now);
    one
}

#[cfg(test)]
mod tests;
