//! What a receiver did not take, told to its fallback, as whoever reads that one wants it: grouped and within its cap.
//!
//! In: deliveries that the lanes handed over, each in a row that was written with its outcome. Out: their entries in
//! groups of the fallback; where that one is told each by itself, the deliveries themselves. The consume loop alone
//! does it, as groups are its own.
//!
//! Must never happen: a delivery that is handed over, and told to nobody or twice; a turn without a bound.

use std::collections::BTreeSet;

use jiff::Timestamp;
use syncbell_store::Error;

use crate::consume::Done;
use crate::delivery::Delivery;
use crate::draft::Draft;
use crate::notify;
use crate::rows;
use crate::setup::Setup;

/// Rows looked at in one batch.
const ROWS_A_TURN: usize = 64;

/// Entries told in one batch, about.
const ENTRIES_A_TURN: usize = 1_000;

/// Tells the fallbacks of the deliveries that were handed over first. True if there may be more.
pub(crate) fn hand_on(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let page = draft.reader.scan(rows::HANDED_OVER, None, ROWS_A_TURN)?;
    let mut entries = 0;
    for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
        if entries >= ENTRIES_A_TURN {
            break;
        }
        let delivery: Delivery = rows::read(draft.reader, key, row)?;
        draft.delete(key.clone());
        entries += delivery.entries.len();
        tell(draft, &delivery, setup, now, done)?;
    }
    Ok(!page.is_empty())
}

fn tell(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for target in &delivery.fallback {
        let recipient = setup
            .routes
            .fallback(&delivery.target.receiver, &target.receiver);
        // What lists again all that is open stays one message.
        let groups = |policy: &crate::group::Policy| policy.group_by.is_some() && !delivery.repeat;
        match recipient.filter(|recipient| groups(&recipient.policy)) {
            Some(recipient) if told.insert(&target.receiver) => {
                for entry in &delivery.entries {
                    let not_taken = &delivery.target;
                    notify::tell_instead(draft, entry, not_taken, recipient, setup, now, done)?;
                }
            }
            Some(_) => {}
            None => {
                let instead = delivery.instead(target);
                if draft.has(&rows::place(&instead.id))? {
                    continue;
                }
                draft.enqueue(&Delivery {
                    seq: draft.next_number(),
                    created_at: now,
                    due_at: now,
                    ..instead
                });
                done.lanes.insert(target.clone());
            }
        }
    }
    Ok(())
}
