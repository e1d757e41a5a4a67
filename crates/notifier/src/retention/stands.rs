//! How it stands with one row: it is over, or it stays.

use jiff::{SignedDuration, Timestamp};
use syncbell_store::Error;

use super::Kept;
use super::pass::Place;
use crate::compact;
use crate::dead_letters::Replayed;
use crate::decide::Turns;
use crate::decide::watch::Watch;
use crate::decide::{Incident, SEEN_EVERY};
use crate::delivery::Closed;
use crate::draft::Draft;
use crate::group::Group;
use crate::held;
use crate::hold::{HoldRecord, Holder};
use crate::metrics::RowKind;
use crate::rows;
use crate::silence::Silence;
use crate::sources::SourceRow;
use crate::trail;

/// How long event ids are remembered.
const EVENT_IDS: SignedDuration = SignedDuration::from_hours(24);

/// For so long it matters when an incident began and ended: the configuration allows no more.
const TURNS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A group in which nothing happens is kept for so long, for its interval's sake.
const IDLE_GROUPS: SignedDuration = SignedDuration::from_hours(48);

/// What stands on the log may have waited so long before it came there.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How it stands with a row.
pub(super) enum Stands {
    /// It is forgotten.
    Over,
    /// It stays; it is of this time, so many stand in it, and they are bounded by number.
    Of(Timestamp, u64),
    /// It stays.
    On,
}

impl Stands {
    fn over(is_over: bool) -> Self {
        if is_over { Self::Over } else { Self::On }
    }
}

/// What follows in a key, and so how pieces of larger values are told from rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Text,
    /// One digest, in bytes.
    Digest,
    /// Of trails, and of the deliveries that were made later.
    Trail,
    /// Of rows of ids.
    Ids,
}

/// What the keys of a kind begin with, and what follows.
pub(super) fn prefix(kind: RowKind) -> (&'static [u8], Keys) {
    match kind {
        RowKind::Event => (rows::READ_IDS, Keys::Ids),
        RowKind::Trail => (rows::TRAILS, Keys::Trail),
        RowKind::Incident => (rows::INCIDENTS, Keys::Text),
        RowKind::Delivery => (rows::CLOSED, Keys::Text),
        RowKind::DeadTrigger => (rows::DEAD_TRIGGERS, Keys::Text),
        RowKind::DroppedResolve => (b"y/", Keys::Text),
        RowKind::Replay => (b"v/", Keys::Text),
        RowKind::Group => (b"g/", Keys::Text),
        RowKind::Held => (rows::HELD, Keys::Text),
        RowKind::Source => (rows::SOURCES, Keys::Text),
        RowKind::Silence => (rows::MUTES, Keys::Text),
        RowKind::Turns => (rows::TURNS, Keys::Text),
        RowKind::Watch => (rows::WATCHES, Keys::Text),
        RowKind::Task => (b"t/", Keys::Digest),
        RowKind::Route => (b"s/", Keys::Digest),
    }
}

/// How it stands with the row under `key`. What belongs to it alone, and is over with it, is deleted.
pub(super) fn stands(
    draft: &mut Draft<'_>,
    place: &Place,
    key: &[u8],
    row: &[u8],
    kept: Kept,
    log_begins_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Stands, Error> {
    let older = |at: Timestamp, kept: SignedDuration| now.duration_since(at) >= kept;
    let gone_from_log = |at: Timestamp| {
        let begins_at = log_begins_at.and_then(|at| at.checked_sub(LATE).ok());
        older(at, kept.tasks) && begins_at.is_some_and(|begins_at| at < begins_at)
    };
    let is_over = match place.kind {
        RowKind::Event | RowKind::Trail | RowKind::Delivery => {
            return counted(draft, place, key, row, kept, now);
        }
        RowKind::Incident => {
            let mut incident: Incident = rows::read(draft.reader, key, row)?;
            if incident.expire(kept.expire_after, now) {
                tracing::info!(
                    incident = incident.id,
                    "an incident expired: nothing happened in it"
                );
                draft.put_incident(&incident);
            }
            let closed = incident.closed.as_ref();
            let turned = incident.turns.last();
            let is_over = closed.is_some_and(|closed| older(closed.at, kept.incidents))
                && turned.is_none_or(|at| older(at, TURNS_KEPT));
            if is_over {
                draft.delete(rows::hold_record(&Holder::Incident(incident.id)));
            }
            is_over
        }
        RowKind::DeadTrigger => {
            let at: Timestamp = rows::read(draft.reader, key, row)?;
            older(at, kept.deliveries) && !is_open(draft, key)?
        }
        RowKind::DroppedResolve => !draft.has(&rows::trigger_of_dropped(key))?,
        RowKind::Replay => {
            let replayed: Replayed = rows::read(draft.reader, key, row)?;
            older(replayed.letter_at, kept.dead_letters)
        }
        RowKind::Group => {
            let group: Group = rows::read(draft.reader, key, row)?;
            let told_at = group.notified_at.filter(|_| group.is_idle());
            told_at.is_some_and(|at| older(at, IDLE_GROUPS))
        }
        RowKind::Held | RowKind::Source | RowKind::Silence => {
            holds_nothing(draft, place.kind, key, row, kept, now)?
        }
        RowKind::Turns => {
            let turns: Turns = rows::read(draft.reader, key, row)?;
            turns.last().is_none_or(|at| older(at, TURNS_KEPT))
        }
        RowKind::Watch => {
            let watch: Watch = rows::read(draft.reader, key, row)?;
            let dropped_at = watch.dropped_at;
            dropped_at.is_some_and(|at| older(at, kept.incidents))
        }
        RowKind::Task => {
            let bytes = rows::bytes(draft.reader, key, row)?;
            let state = compact::read_task(&bytes).filter(|_| compact::is_short(&bytes));
            state.is_some_and(|state| gone_from_log(state.observed_at))
        }
        RowKind::Route => {
            let bytes = rows::bytes(draft.reader, key, row)?;
            let seen_at = compact::subject_seen_at(&bytes);
            seen_at.is_some_and(|at| gone_from_log(at.saturating_add(SEEN_EVERY).unwrap_or(at)))
        }
    };
    Ok(Stands::over(is_over))
}

/// Of kinds that are bounded by number too.
fn counted(
    draft: &mut Draft<'_>,
    place: &Place,
    key: &[u8],
    row: &[u8],
    kept: Kept,
    now: Timestamp,
) -> Result<Stands, Error> {
    let older = |at: Timestamp, kept: SignedDuration| now.duration_since(at) >= kept;
    let is_surplus = |at: Timestamp| place.keep_from.is_some_and(|from| at < from);
    if place.kind == RowKind::Delivery {
        let closed: Closed = rows::read(draft.reader, key, row)?;
        let is_over = older(closed.at, kept.deliveries) || is_surplus(closed.at);
        if !is_over {
            return Ok(Stands::Of(closed.at, 1));
        }
        if draft.forget_attempts(closed.delivery.seq)? {
            // The next pass goes on.
            return Ok(Stands::On);
        }
        draft.delete(rows::place(&closed.delivery.id));
        return Ok(Stands::Over);
    }
    let bytes = rows::bytes(draft.reader, key, row)?;
    let counted = if place.kind == RowKind::Event {
        rows::ids_of_row(&bytes).map(|(at, ids)| (at, ids.len() as u64))
    } else if rows::number_in_bytes(key).is_some() {
        trail::count(&bytes)
    } else {
        rows::second(&bytes).map(|at| (at, 1))
    };
    // What cannot be read is of an earlier version, and decides nothing.
    let stays = counted.filter(|(at, _)| !older(*at, EVENT_IDS) && !is_surplus(*at));
    let Some((at, n)) = stays else {
        if place.kind == RowKind::Event {
            draft.ids.forgets(&bytes);
        }
        return Ok(Stands::Over);
    };
    Ok(Stands::Of(at, n))
}

/// Of what is held back, and what holds it back.
fn holds_nothing(
    draft: &mut Draft<'_>,
    kind: RowKind,
    key: &[u8],
    row: &[u8],
    kept: Kept,
    now: Timestamp,
) -> Result<bool, Error> {
    match kind {
        RowKind::Held => held::drop_if_over(draft, key, now),
        RowKind::Source => {
            let source: SourceRow = rows::read(draft.reader, key, row)?;
            Ok(!source.goes_on(draft)?)
        }
        _ => {
            let silence: Silence = rows::read(draft.reader, key, row)?;
            let record = rows::hold_record(&Holder::Silence(silence.id.clone()));
            let released = draft.get::<HoldRecord>(&record)?;
            let is_over = released.is_some_and(|record| record.released)
                && now.duration_since(silence.end()) >= kept.incidents;
            if is_over {
                draft.delete(record);
            }
            Ok(is_over)
        }
    }
}

/// Whether the incident that a mark's key ends with is open.
fn is_open(draft: &Draft<'_>, key: &[u8]) -> Result<bool, Error> {
    let id = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let id = String::from_utf8_lossy(id);
    let incident: Option<Incident> = draft.get(&rows::incident(&id))?;
    Ok(incident.is_some_and(|incident| incident.is_open()))
}
