//! What is over is forgotten, a slice at a time: the ledger stays as large as what goes on, and what happened
//! within the times of `retention`.
//!
//! In: a slice of rows, what may still be read again, now. Out: a draft in which what is over is deleted.
//! A pass goes over every kind of row once, where the slice before ended, and begins anew some time after.
//!
//! What may be forgotten, and why nothing is told wrongly without it:
//! - trails of events, 24 h after they were made, or before where there are too many: they decide nothing;
//! - ids of events, 24 h after they were read, and all but the newest of them: what comes later is known by the
//!   task's own row, and a poller sends again what its outbox held, which is less;
//! - closed incidents, a day after they turned last at the soonest: then it is no flapping any more. Of closed ones deciding
//!   takes nothing else; one that opens again is a new one;
//! - deliveries that are over, with their attempts, after a time and all but the newest: their ids keep one from
//!   being made twice, which matters while an event of theirs can be read again, and there the task's row says that
//!   it was told;
//! - marks of dead triggers, once their incident is over: then no resolve comes any more;
//! - groups in which nothing waits and nothing is open;
//! - when incidents began and ended, as an earlier version wrote it, a day later;
//! - what is held back of an incident that is over, and that it hid others: nobody will be told;
//! - silences, the time of incidents after they ended, once what they held back was looked at;
//! - tasks that ended well, after a long time, and only if the log holds nothing that was read of them. Such
//!   a row keeps an *older* event of its task from being told: one that is read again from the log (it is not
//!   there any more), or that another instance, or a poller that lost its store, finds late (within `tasks`). A
//!   *newer* event of the task is decided alike with the row and without: a bad state is told, and that the task
//!   was final before stands in the event itself. Short as they are, they may stay long;
//! - what is remembered of a route, with its tasks: a failure of before its newest well task that is found
//!   after all that time stays open until `expire_after`, instead of being told as over at once.
//!
//! Never forgotten are tasks that ended badly (their next event would be told again, and so would a snapshot
//! that was asked for), open ones, and what waits to be delivered.
//!
//! Must never happen: a pass that reads the whole ledger at once; a task forgotten of which the log still
//! holds an event.

mod pass;
mod newest;
mod stands;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_config::Retention;
use syncbell_store::Error;

use crate::draft::Draft;
use crate::rows::{self, Key};

pub(crate) use pass::Passes;
use pass::Place;
use stands::{Keys, Stands, prefix, stands};

/// Rows looked at in one batch, of trails (some 16 KB each) fewer.
const ROWS_A_SLICE: usize = if cfg!(test) { 8 } else { 2_000 };
const TRAIL_ROWS_A_SLICE: usize = if cfg!(test) { 8 } else { 128 };

/// How long what is over is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    incidents: SignedDuration,
    deliveries: SignedDuration,
    dead_letters: SignedDuration,
    tasks: SignedDuration,
    /// When an incident in which nothing happens ends.
    expire_after: SignedDuration,
}

impl Kept {
    pub(crate) fn of(retention: &Retention, expire_after: Duration) -> Self {
        let time = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        Self {
            incidents: time(retention.incidents),
            deliveries: time(retention.deliveries),
            dead_letters: time(retention.dead_letters),
            tasks: time(retention.tasks),
            expire_after: time(expire_after),
        }
    }
}

/// What a slice did.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// The last row that was looked at; none: there are no more of this kind.
    last: Option<Key>,
    looked_at: u64,
    forgotten: u64,
    /// Of rows of a kind that is bounded by number: the times of those that are left, and how many stand in each.
    left_at: Vec<(Timestamp, u64)>,
}

/// One slice: forgets what is over among the next rows of a kind.
pub(crate) fn forget(
    draft: &mut Draft<'_>,
    place: &Place,
    kept: Kept,
    log_begins_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Slice, Error> {
    let mut slice = Slice::default();
    let (prefix, keys) = prefix(place.kind);
    let after = place.after.as_deref();
    let limit = match keys {
        Keys::Trail => TRAIL_ROWS_A_SLICE,
        Keys::Text | Keys::Digest | Keys::Ids => ROWS_A_SLICE,
    };
    let page = draft.reader.scan(prefix, after, limit)?;
    if page.len() == limit {
        slice.last = page.last().map(|(key, _)| key.clone());
    }
    for (key, row) in page {
        let is_piece = match keys {
            Keys::Text => rows::is_piece(&key),
            Keys::Digest => key.len() != rows::BINARY_KEY_BYTES,
            Keys::Trail => rows::is_piece_of_trail(&key),
            Keys::Ids => !rows::is_read_ids(&key),
        };
        if is_piece {
            continue;
        }
        slice.looked_at += 1;
        match stands(draft, place, &key, &row, kept, log_begins_at, now)? {
            Stands::Over => {
                slice.forgotten += 1;
                draft.delete(key);
            }
            Stands::Of(at, n) => slice.left_at.push((at, n)),
            Stands::On => {}
        }
    }
    Ok(slice)
}
