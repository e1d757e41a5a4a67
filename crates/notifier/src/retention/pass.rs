//! Passes: which slice is next, and when it is due.
//!
//! In: what a slice did, what came meanwhile, the time. Out: where the next slice begins. Must never happen: a kind of
//! rows that is never gone over because another one hurries.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Slice;
use super::newest::Newest;
use crate::metrics::{NotifierMetrics, RowKind};
use crate::rows::Key;

/// However young they are: this many ids (16 bytes each), twice what an outbox holds.
const EVENT_IDS_LIMIT: u64 = if cfg!(test) { 40 } else { 200_000 };

/// However young they are: this many trails, one an event and one for what became of it later, of some 200 bytes.
const TRAILS_LIMIT: u64 = if cfg!(test) { 20 } else { 20_000 };

/// How many more of each may be there before a pass goes on at once. A table of as many ids as may be there by then is
/// not yet doubled in memory.
const EVENT_IDS_SLACK: u64 = if cfg!(test) { 8 } else { 20_000 };
const TRAILS_SLACK: u64 = if cfg!(test) { 8 } else { 10_000 };

/// However young they are: this many deliveries that are over, some 2 KB each.
const DELIVERIES_LIMIT: u64 = if cfg!(test) { 20 } else { 50_000 };

/// Between slices, and between the beginnings of passes.
const SLICE_EVERY: Duration = Duration::from_secs(1);
const PASS_EVERY: Duration = Duration::from_mins(10);

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
    pub(super) kinds: &'static [RowKind],
    kind: usize,
    after: Option<Key>,
    rows: u64,
    /// Of kinds that are bounded by number too.
    newest: BTreeMap<RowKind, Newest>,
    /// Everything that was put on the log before this is not there any more; none: nobody knows.
    pub(crate) log_begins_at: Option<Timestamp>,
    began: Instant,
    pub(super) due_at: Instant,
}

/// Where a slice begins.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) kind: RowKind,
    pub(super) after: Option<Key>,
    /// What is older is over, however young.
    pub(super) keep_from: Option<Timestamp>,
}

impl Pass {
    fn new(kinds: &'static [RowKind], now: Instant) -> Self {
        let limit = |kind: &RowKind| match kind {
            RowKind::Event => Some((*kind, Newest::new(EVENT_IDS_LIMIT, EVENT_IDS_SLACK))),
            RowKind::Trail => Some((*kind, Newest::new(TRAILS_LIMIT, TRAILS_SLACK))),
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
        let kind = self.kind();
        Place {
            kind,
            after: self.after.clone(),
            keep_from: self.newest.get(&kind).and_then(Newest::keep_from),
        }
    }

    /// So many of its kinds were put. Once there are clearly too many it goes on at once.
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
            for (at, n) in slice.left_at {
                newest.count(at, n);
            }
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
