//! What is kept in memory of each task, so that a page on which nothing changed costs no read and no
//! write: some 40 bytes a task, of a million tasks as of a hundred.
//!
//! In: rows of the store at start and after each commit; rows of a page. Out: whether a row of a page
//! says anything new; which tasks a sweep did not meet; which are open. Must never happen: an index
//! that knows more than the store.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use syncbell_event::{SyncTask, TaskId};

use crate::diff::KEEP_ABSENT;
use crate::row::{Fingerprint, IdHash, Row};

/// All tasks of one instance that have a row.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Hashed cheaply: the ids are hashes already, and a page asks hundreds of times.
    entries: HashMap<IdHash, Entry, RandomState>,
    /// Those that are gone, and since when, by our clock.
    absent: HashMap<IdHash, Timestamp, RandomState>,
    open: HashMap<IdHash, OpenTask, RandomState>,
    /// The latest creation met so far, by the server's clock.
    newest_created_at: Option<Timestamp>,
    /// Tasks added since the start: so many rows an older one may have moved down.
    n_added: u64,
    /// Counts the sweeps, so that an entry can say in which it was last listed.
    sweep: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    task: Fingerprint,
    /// Hash of the text that the server last wrote for it; never stored, 0 for not known.
    text: u64,
    /// The sweep that last met it; 0 for none of this process.
    sweep: u32,
    /// Listed under these filters and never missed since: an equal task needs no write.
    settled: bool,
}

/// A task that can still change by itself.
#[derive(Clone, Debug)]
pub(crate) struct OpenTask {
    pub(crate) task_id: TaskId,
    pub(crate) created_at: Option<Timestamp>,
    /// The turn that last looked at it.
    pub(crate) turn: u64,
    /// Its rank in the list when it was last met there, and how many tasks had been added by then.
    place: Option<(u64, u64)>,
}

impl OpenTask {
    /// About where it stands in the list now, from 0, if that is known.
    pub(crate) fn rank(&self, n_added: u64) -> Option<u64> {
        let (rank, added_then) = self.place?;
        Some(rank + n_added.saturating_sub(added_then))
    }
}

/// How many tasks are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) tasks: u64,
    pub(crate) open: u64,
}

impl Index {
    /// A new sweep begins: it has met nothing yet.
    pub(crate) fn begin_sweep(&mut self) {
        self.sweep += 1;
    }

    /// The task is listed.
    pub(crate) fn meet(&mut self, id: IdHash) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.sweep = self.sweep;
        }
    }

    /// An open task was looked at in `turn`; `rank` is where it stands in the list, if it was there.
    pub(crate) fn look_at_open(&mut self, id: IdHash, turn: u64, rank: Option<u64>) {
        let n_added = self.n_added;
        if let Some(open) = self.open.get_mut(&id) {
            open.turn = turn;
            open.place = rank.map(|rank| (rank, n_added)).or(open.place);
        }
    }

    /// Whether a row with this text is one that is known, and as it should be.
    pub(crate) fn knows_text(&self, id: IdHash, text: u64) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|entry| entry.settled && entry.text == text && text != 0)
    }

    /// Whether `task` is known just as it is. Then its new text is remembered.
    pub(crate) fn knows_task(&mut self, id: IdHash, task: &SyncTask, text: u64) -> bool {
        let known = self
            .entries
            .get_mut(&id)
            .filter(|entry| entry.settled && entry.task == Fingerprint::of(task));
        let is_known = known.is_some();
        if let Some(entry) = known {
            entry.text = text;
        }
        is_known
    }

    pub(crate) fn contains(&self, id: IdHash) -> bool {
        self.entries.contains_key(&id)
    }

    pub(crate) fn is_open(&self, id: IdHash) -> bool {
        self.open.contains_key(&id)
    }

    /// Takes `row` as it stands in the store. `text` is what the server wrote, 0 where that is not
    /// known; `met` that the row is listed now.
    pub(crate) fn put(&mut self, id: IdHash, row: &Row, filters: &str, text: u64, met: bool) {
        let never_missed = row.misses == 0 && row.absent_since.is_none() && !row.vanished;
        let known = self.entries.get(&id);
        let sweep = if met {
            self.sweep
        } else {
            known.map_or(0, |entry| entry.sweep)
        };
        if known.is_none() {
            self.n_added += 1;
        }
        let entry = Entry {
            task: row.fingerprint(),
            text,
            sweep,
            settled: never_missed && row.filters == filters,
        };
        self.entries.insert(id, entry);
        match row.absent_since {
            Some(since) => self.absent.insert(id, since),
            None => self.absent.remove(&id),
        };
        if row.open() {
            let known = self.open.get(&id);
            let open = OpenTask {
                task_id: row.task.task_id.clone(),
                created_at: row.task.created_at,
                turn: known.map_or(0, |open| open.turn),
                place: known.and_then(|open| open.place),
            };
            self.open.insert(id, open);
        } else {
            self.open.remove(&id);
        }
        self.newest_created_at = self.newest_created_at.max(row.task.created_at);
    }

    /// Its row is deleted.
    pub(crate) fn forget(&mut self, id: IdHash) {
        self.entries.remove(&id);
        self.absent.remove(&id);
        self.open.remove(&id);
    }

    /// The tasks that the sweep did not meet and about which there is something to decide.
    pub(crate) fn absent(&self, now: Timestamp) -> Vec<IdHash> {
        let missing = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.sweep != self.sweep);
        let due = missing.filter(|(id, _)| {
            let since = self.absent.get(*id);
            since.is_none_or(|since| now.duration_since(*since) >= KEEP_ABSENT)
        });
        due.map(|(id, _)| *id).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            tasks: self.entries.len().saturating_sub(self.absent.len()) as u64,
            open: self.open.len() as u64,
        }
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &OpenTask> {
        self.open.values()
    }

    pub(crate) fn n_added(&self) -> u64 {
        self.n_added
    }

    pub(crate) fn newest_created_at(&self) -> Option<Timestamp> {
        self.newest_created_at
    }
}
