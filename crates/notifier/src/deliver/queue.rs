//! What of a lane's rows is known in memory, in the order in which it may go. Pure.
//!
//! In: deliveries, which of them were begun and what became of them; the time. Out: the next one that may be begun.
//!
//! Must never happen: a delivery that is begun while an earlier one of one of its incidents waits or is under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::delivery::Delivery;

/// A bounded part of a lane; the bound is the caller's.
#[derive(Default)]
pub(super) struct Queue {
    /// By number; those under way too.
    rows: BTreeMap<u64, Arc<Delivery>>,
    /// The numbers of those that tell of an incident.
    lines: HashMap<String, BTreeSet<u64>>,
    /// Those that are the first of each of their incidents and not under way, with when they are due.
    free: BTreeSet<(Timestamp, u64)>,
    under_way: BTreeSet<u64>,
    /// Of all rows together.
    n_entries: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Entries of all its deliveries: what they take of the memory goes with these.
    pub(super) fn n_entries(&self) -> usize {
        self.n_entries
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Adds a delivery at its number's place. One that is known stays as it is.
    pub(super) fn insert(&mut self, delivery: Arc<Delivery>) {
        if !self.rows.contains_key(&delivery.seq) {
            self.put(delivery);
        }
    }

    fn put(&mut self, delivery: Arc<Delivery>) {
        let seq = delivery.seq;
        self.take_out(seq);
        let mut behind: BTreeSet<u64> = BTreeSet::new();
        for entry in &delivery.entries {
            let line = self.lines.entry(entry.item.incident.clone()).or_default();
            line.insert(seq);
            behind.extend(line.range(seq + 1..).next());
        }
        self.n_entries += delivery.entries.len();
        self.rows.insert(seq, delivery);
        self.look_at(seq);
        for other in behind {
            self.look_at(other);
        }
    }

    /// The next delivery that is due, which is under way from now on.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Arc<Delivery>> {
        let (due_at, seq) = *self.free.first()?;
        (due_at <= now).then(|| self.begin_one(due_at, seq))
    }

    /// As [`Queue::begin`]: the first for which `is_wanted` holds, due or not.
    pub(super) fn begin_if(
        &mut self,
        is_wanted: impl Fn(&Delivery) -> bool,
    ) -> Option<Arc<Delivery>> {
        let mut free = self.free.iter();
        let (due_at, seq) = *free.find(|(_, seq)| is_wanted(&self.rows[seq]))?;
        Some(self.begin_one(due_at, seq))
    }

    fn begin_one(&mut self, due_at: Timestamp, seq: u64) -> Arc<Delivery> {
        self.free.remove(&(due_at, seq));
        self.under_way.insert(seq);
        Arc::clone(&self.rows[&seq])
    }

    /// What was under way is over, or `left` to be tried again.
    pub(super) fn end(&mut self, seq: u64, left: Option<Arc<Delivery>>) {
        self.under_way.remove(&seq);
        match left {
            Some(delivery) => self.put(delivery),
            None => self.take_out(seq),
        }
    }

    /// When the next one is due; none if all wait for others.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.free.first().map(|(due_at, _)| *due_at)
    }

    /// All that is not under way is due now, whatever its backoff says.
    pub(super) fn hurry_all(&mut self, now: Timestamp) {
        let idle = self.rows.values();
        let idle = idle.filter(|row| row.due_at > now && !self.under_way.contains(&row.seq));
        for row in idle.cloned().collect::<Vec<_>>() {
            self.put(due(&row, now));
        }
    }

    /// The oldest of those for which `is_wanted` holds is due now.
    pub(super) fn hurry_oldest(&mut self, now: Timestamp, is_wanted: impl Fn(u64) -> bool) {
        let mut rows = self.rows.values();
        let oldest = rows.find(|row| is_wanted(row.seq)).cloned();
        let is_late = |row: &Arc<Delivery>| row.due_at > now && !self.under_way.contains(&row.seq);
        if let Some(row) = oldest.filter(is_late) {
            self.put(due(&row, now));
        }
    }

    /// The first rows, one behind the other, that go together, if there are at least two: each `may`, is like the first
    /// of them, and together they have no more than `n_entries`.
    pub(super) fn run(
        &self,
        n_entries: usize,
        may: impl Fn(&Delivery) -> bool,
        alike: impl Fn(&Delivery, &Delivery) -> bool,
    ) -> Vec<Arc<Delivery>> {
        let (mut run, mut entries): (Vec<Arc<Delivery>>, usize) = (Vec::new(), 0);
        for row in self.rows.values() {
            let room = entries + row.entries.len() <= n_entries;
            if may(row) && run.first().is_none_or(|first| room && alike(first, row)) {
                entries += row.entries.len();
                run.push(Arc::clone(row));
                continue;
            }
            if run.len() > 1 {
                break;
            }
            (run, entries) = (Vec::new(), 0);
            if may(row) {
                entries = row.entries.len();
                run.push(Arc::clone(row));
            }
        }
        if run.len() < 2 {
            run.clear();
        }
        run
    }

    /// Forgets what is not under way and for which `is_left_out` holds. Gives when the oldest of it was decided.
    pub(super) fn leave_out(
        &mut self,
        is_left_out: impl Fn(&Delivery) -> bool,
    ) -> Option<Timestamp> {
        let idle = self.rows.iter();
        let idle = idle.filter(|(seq, row)| !self.under_way.contains(seq) && is_left_out(row));
        let left: Vec<(u64, Timestamp)> = idle.map(|(seq, row)| (*seq, row.created_at)).collect();
        for (seq, _) in &left {
            self.take_out(*seq);
        }
        left.into_iter().map(|(_, created_at)| created_at).min()
    }

    /// Forgets all that is not under way.
    pub(super) fn forget_idle(&mut self) {
        let idle = self.rows.keys();
        let idle = idle.filter(|seq| !self.under_way.contains(seq));
        for seq in idle.copied().collect::<Vec<_>>() {
            self.take_out(seq);
        }
    }

    fn take_out(&mut self, seq: u64) {
        let Some(row) = self.rows.remove(&seq) else {
            return;
        };
        self.n_entries -= row.entries.len();
        self.free.remove(&(row.due_at, seq));
        let mut next: BTreeSet<u64> = BTreeSet::new();
        for entry in &row.entries {
            let incident = entry.item.incident.as_str();
            if let Some(line) = self.lines.get_mut(incident) {
                line.remove(&seq);
                next.extend(line.first());
                if line.is_empty() {
                    self.lines.remove(incident);
                }
            }
        }
        for other in next {
            self.look_at(other);
        }
    }

    /// Notes whether the row may go now.
    fn look_at(&mut self, seq: u64) {
        let Some(row) = self.rows.get(&seq) else {
            return;
        };
        let is_first = |incident: &String| {
            let line = self.lines.get(incident);
            line.and_then(BTreeSet::first) == Some(&seq)
        };
        let mut incidents = row.entries.iter().map(|entry| &entry.item.incident);
        let place = (row.due_at, seq);
        if !self.under_way.contains(&seq) && incidents.all(is_first) {
            self.free.insert(place);
        } else {
            self.free.remove(&place);
        }
    }
}

fn due(row: &Delivery, now: Timestamp) -> Arc<Delivery> {
    Arc::new(Delivery {
        due_at: now,
        ..row.clone()
    })
}

#[cfg(test)]
mod tests;
