//! What is over is forgotten, a slice at a time: the ledger stays as large as what goes on, and what happened
//! within the times of `retention`.
//!
//! In: a slice of rows, what may still be read again, now. Out: a draft in which what is over is deleted.
//! A pass goes over every kind of row once, where the slice before ended, and begins anew some time after.
//!
//! What may be forgotten, and why nothing is told wrongly without it:
//! - trails of events, with their ids, or before where there are too many: they decide nothing;
//! - ids of events, 24 h after they were read, and all but the newest of them: what comes later is known by the
//!   task's own row, and a poller sends again what its outbox held, which is less;
//! - closed incidents: deciding looks at open ones only. A closed one that opens again is a new one;
//! - deliveries that are over, with their attempts, after a time and all but the newest: their ids keep one from being made twice, which matters
//!   while an event of theirs can be read again, and there the task's row says that it was told;
//! - marks of dead triggers, once their incident is over: then no resolve comes any more;
//! - groups in which nothing waits and nothing is open;
//! - when incidents began and ended, a day later: it is no flapping any more;
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

mod newest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_config::Retention;
use syncbell_store::Error;
use tokio::time::Instant;

use crate::compact;
use crate::dead_letters::Replayed;
use crate::decide::Incident;
use crate::decide::watch::Watch;
use crate::delivery::Closed;
use crate::draft::Draft;
use crate::flap::Turns;
use crate::group::Group;
use crate::held::{self, HoldRecord, SourceRow};
use crate::hold::Holder;
use crate::metrics::{NotifierMetrics, RowKind};
use crate::rows::{self, Key};
use crate::silence::Silence;

use newest::Newest;

/// Rows looked at in one batch.
const ROWS_A_SLICE: usize = if cfg!(test) { 8 } else { 2_000 };

/// Attempts of one delivery that are deleted with it.
const ATTEMPTS_LIMIT: usize = 1_000;

/// Between slices, and between the beginnings of passes.
const SLICE_EVERY: Duration = Duration::from_secs(1);
const PASS_EVERY: Duration = Duration::from_mins(10);

/// How long event ids are remembered.
const EVENT_IDS: SignedDuration = SignedDuration::from_hours(24);

/// However young they are: this many ids (23 bytes each), twice what an outbox holds.
const EVENT_IDS_LIMIT: u64 = if cfg!(test) { 40 } else { 200_000 };

/// However young they are: this many deliveries that are over, some 2 KB each.
const DELIVERIES_LIMIT: u64 = if cfg!(test) { 20 } else { 50_000 };

/// However young they are: this many rows by which trails are found, one or two an event; with its trail some 300
/// bytes.
const TRAILS_LIMIT: u64 = if cfg!(test) { 20 } else { 30_000 };

/// How many more of both may be there before a pass goes on at once.
const SLACK: u64 = if cfg!(test) { 8 } else { 40_000 };

/// For so long it matters when an incident began and ended: the configuration allows no more.
const TURNS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A group in which nothing happens is kept for so long, for its interval's sake.
const IDLE_GROUPS: SignedDuration = SignedDuration::from_hours(48);

/// What stands on the log may have waited so long before it came there.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);

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

/// Both passes: one over what comes with each event, one over everything else.
pub(crate) struct Passes {
    pub(crate) ids: Pass,
    pub(crate) rest: Pass,
}

impl Passes {
    pub(crate) fn new(now: Instant) -> Self {
        let (ids, rest) = RowKind::ALL.split_at(2);
        Self {
            ids: Pass::new(ids, now),
            rest: Pass::new(rest, now),
        }
    }

    /// When the next slice is due.
    pub(crate) fn due_at(&self) -> Instant {
        self.ids.due_at.min(self.rest.due_at)
    }

    /// The pass whose slice is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<&mut Pass> {
        let passes = [&mut self.ids, &mut self.rest];
        let due = passes.into_iter().filter(|pass| pass.due_at <= now);
        due.min_by_key(|pass| pass.due_at)
    }
}

/// A pass under way, and when to go on with it. Memory alone: a restart begins a pass anew.
pub(crate) struct Pass {
    /// What it goes over.
    kinds: &'static [RowKind],
    kind: usize,
    after: Option<Key>,
    rows: u64,
    /// Of kinds that are bounded by number too.
    newest: BTreeMap<RowKind, Newest>,
    /// Everything that was put on the log before this is not there any more; none: nobody knows.
    pub(crate) log_begins_at: Option<Timestamp>,
    began: Instant,
    due_at: Instant,
}

/// Where a slice begins.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    kind: RowKind,
    after: Option<Key>,
    /// What is older is over, however young.
    keep_from: Option<Timestamp>,
    /// Where events are looked at: the trail of an older one is over.
    trails_from: Option<Timestamp>,
}

/// What a slice did.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// The last row that was looked at; none: there are no more of this kind.
    last: Option<Key>,
    looked_at: u64,
    forgotten: u64,
    /// Of rows of a kind that is bounded by number: the times of those that are left.
    left_at: Vec<Timestamp>,
}

impl Pass {
    fn new(kinds: &'static [RowKind], now: Instant) -> Self {
        let limit = |kind: &RowKind| match kind {
            RowKind::Event => Some((*kind, Newest::new(EVENT_IDS_LIMIT, SLACK))),
            RowKind::Trail => Some((*kind, Newest::new(TRAILS_LIMIT, SLACK))),
            RowKind::Delivery => Some((*kind, Newest::new(DELIVERIES_LIMIT, DELIVERIES_LIMIT / 5))),
            _ => None,
        };
        Self {
            kinds,
            kind: 0,
            after: None,
            rows: 0,
            newest: kinds.iter().filter_map(limit).collect(),
            log_begins_at: None,
            began: now,
            due_at: now + SLICE_EVERY,
        }
    }

    fn kind(&self) -> RowKind {
        self.kinds[self.kind]
    }

    /// Whether the next slice needs to know where the log begins.
    pub(crate) fn asks_for_log(&self) -> bool {
        self.after.is_none() && self.kind() == RowKind::Task
    }

    /// Where the next slice begins.
    pub(crate) fn place(&self) -> Place {
        let keep_from = |kind| self.newest.get(&kind).and_then(Newest::keep_from);
        Place {
            kind: self.kind(),
            after: self.after.clone(),
            keep_from: keep_from(self.kind()),
            trails_from: keep_from(RowKind::Trail),
        }
    }

    /// So many rows of its kinds were put. Once there are clearly too many it goes on at once.
    pub(crate) fn came(&mut self, n_rows: u64, now: Instant) {
        for newest in self.newest.values_mut() {
            newest.came(n_rows);
            if newest.is_over() {
                self.due_at = now;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.newest.values().any(Newest::is_over)
    }

    /// A slice is done: counts it, and goes on behind it.
    pub(crate) fn went_on(&mut self, slice: Slice, metrics: &NotifierMetrics, now: Instant) {
        let (kind, is_first) = (self.kind(), self.after.is_none());
        metrics.forgotten(kind, slice.forgotten);
        self.rows += slice.looked_at - slice.forgotten;
        self.due_at = now + SLICE_EVERY;
        self.after = slice.last;
        let kind_is_bounded = self.newest.contains_key(&kind);
        if let Some(newest) = self.newest.get_mut(&kind) {
            if is_first {
                newest.begin();
            }
            slice.left_at.into_iter().for_each(|at| newest.count(at));
            if self.after.is_none() {
                newest.end();
            }
        }
        if kind_is_bounded && self.is_over() {
            self.due_at = now;
        }
        if self.after.is_some() {
            return;
        }
        metrics.rows(kind, std::mem::take(&mut self.rows));
        self.kind += 1;
        if self.kind == self.kinds.len() {
            self.kind = 0;
            if self.due_at > now {
                self.due_at = (self.began + PASS_EVERY).max(self.due_at);
            }
            self.began = self.due_at;
        }
    }
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
    let page = draft.reader.scan(prefix, after, ROWS_A_SLICE)?;
    if page.len() == ROWS_A_SLICE {
        slice.last = page.last().map(|(key, _)| key.clone());
    }
    for (key, row) in page {
        let is_piece = match keys {
            Keys::Text => rows::is_piece(&key),
            Keys::Digest => key.len() != rows::BINARY_KEY_BYTES,
            Keys::Bytes => false,
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
            Stands::Of(at) => slice.left_at.push(at),
            Stands::On => {}
        }
    }
    Ok(slice)
}

/// How it stands with a row.
enum Stands {
    /// It is forgotten.
    Over,
    /// It stays; it is of this time, and of a kind that is bounded by number.
    Of(Timestamp),
    /// It stays.
    On,
}

impl Stands {
    fn over(is_over: bool) -> Self {
        if is_over { Self::Over } else { Self::On }
    }

    fn over_or(is_over: bool, at: Timestamp) -> Self {
        if is_over { Self::Over } else { Self::Of(at) }
    }
}

/// What follows in a key, and so how pieces of larger values are told from rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Text,
    /// One digest, in bytes.
    Digest,
    /// Bytes of any length; no row of these is large.
    Bytes,
}

/// What the keys of a kind begin with, and what follows.
fn prefix(kind: RowKind) -> (&'static [u8], Keys) {
    match kind {
        RowKind::Event => (b"e/", Keys::Digest),
        RowKind::Trail => (rows::TRAILS, Keys::Bytes),
        RowKind::Incident => (b"i/", Keys::Text),
        RowKind::Delivery => (b"c/", Keys::Text),
        RowKind::DeadTrigger => (b"k/", Keys::Text),
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

fn stands(
    draft: &mut Draft<'_>,
    place: &Place,
    key: &[u8],
    row: &[u8],
    kept: Kept,
    log_begins_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Stands, Error> {
    let older = |at: Timestamp, kept: SignedDuration| now.duration_since(at) >= kept;
    let is_surplus = |at: Timestamp| place.keep_from.is_some_and(|from| at < from);
    let gone_from_log = |at: Timestamp| {
        let begins_at = log_begins_at.and_then(|at| at.checked_sub(LATE).ok());
        older(at, kept.tasks) && begins_at.is_some_and(|begins_at| at < begins_at)
    };
    let is_over = match place.kind {
        RowKind::Event => {
            let bytes = rows::bytes(draft.reader, key, row)?;
            let (second, trail) = bytes.split_at(bytes.len().min(rows::SECOND_BYTES));
            let Some(at) = rows::second(second) else {
                return Ok(Stands::Over);
            };
            let is_over = older(at, EVENT_IDS) || is_surplus(at);
            let untrailed = place.trails_from.is_some_and(|from| at < from);
            if !is_over && untrailed && !trail.is_empty() {
                draft.put_bytes(key.to_vec(), second.to_vec());
            }
            return Ok(Stands::over_or(is_over, at));
        }
        RowKind::Trail => {
            let bytes = rows::bytes(draft.reader, key, row)?;
            return Ok(rows::second(&bytes).map_or(Stands::Over, |at| {
                Stands::over_or(older(at, EVENT_IDS) || is_surplus(at), at)
            }));
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
            let is_over = closed.is_some_and(|closed| older(closed.at, kept.incidents));
            if is_over {
                draft.delete(rows::hold_record(&Holder::Incident(incident.id)));
            }
            is_over
        }
        RowKind::Delivery => {
            let closed: Closed = rows::read(draft.reader, key, row)?;
            let is_over = older(closed.at, kept.deliveries) || is_surplus(closed.at);
            if is_over {
                let attempts = rows::attempts(&closed.delivery.id);
                for (key, _) in draft.reader.scan(&attempts, None, ATTEMPTS_LIMIT)? {
                    draft.delete(key);
                }
            }
            return Ok(Stands::over_or(is_over, closed.at));
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
            compact::subject_seen_at(&bytes).is_some_and(gone_from_log)
        }
    };
    Ok(Stands::over(is_over))
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
