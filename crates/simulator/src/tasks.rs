//! All tasks, and the lists that hold them.
//!
//! In: tasks that come, go on, are listed no more, or are gone. Out: any page of any list at the cost of
//! that page. Must never happen: a listing that walks through what it does not show. A filter that is
//! asked for the first time is an exception: its list is made once and then kept.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use syncbell_event::Status;

use crate::Error;
use crate::bulk::{Bulk, MAX_TASKS, StaticLoad};
use crate::ordered::{Key, Ordered};
use crate::task::{Filters, NewTask, Task};

/// In which order a list shows its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By CreateTime, newest first.
    #[default]
    NewestFirst,
    /// By CreateTime, oldest first.
    OldestFirst,
    /// Any order, the same each time.
    Shuffled {
        /// Which one.
        seed: u64,
    },
}

/// Filters whose lists are kept; the one that was made first goes first.
const MAX_VIEWS: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Tasks {
    own: HashMap<u64, Task>,
    seq_of: HashMap<String, u64>,
    /// Per instance.
    shelves: HashMap<String, Shelf>,
    batches: HashMap<String, BTreeSet<u64>>,
    bulks: Vec<Bulk>,
    /// Tasks of `bulks` that are there no more.
    gone: HashSet<u64>,
    next_seq: u64,
}

/// One instance's list.
#[derive(Debug, Default)]
struct Shelf {
    by_age: Ordered,
    shuffled: Option<(u64, Ordered)>,
    views: Vec<(Filters, Ordered)>,
}

/// Which rows of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) order: Order,
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            next_seq: 1,
            ..Self::default()
        }
    }

    /// From now on there is a list of this instance, if only an empty one.
    pub(crate) fn open_shelf(&mut self, instance_id: &str) {
        self.shelves.entry(instance_id.to_owned()).or_default();
    }

    /// The tasks themselves stay.
    pub(crate) fn close_shelf(&mut self, instance_id: &str) {
        self.shelves.remove(instance_id);
    }

    /// Puts a task, whose `listed_by` is complete, into its lists. An id that is there already is refused
    /// with the task given back.
    pub(crate) fn add(
        &mut self,
        mut new: NewTask,
        server_now: Timestamp,
        visible_at: Timestamp,
    ) -> Result<String, (String, Box<NewTask>)> {
        let seq = self.next_seq;
        let task_id = new.id.take().unwrap_or_else(|| format!("rst-{seq:013x}"));
        if self.seq(&task_id).is_some() {
            return Err((task_id, Box::new(new)));
        }
        self.next_seq += 1;
        let task = Task::new(new, task_id.clone(), seq, server_now, visible_at);
        self.seq_of.insert(task_id.clone(), seq);
        if let Some(batch_id) = &task.new.batch_id {
            self.batches
                .entry(batch_id.clone())
                .or_default()
                .insert(seq);
        }
        self.list(&task);
        self.own.insert(seq, task);
        Ok(task_id)
    }

    fn list(&mut self, task: &Task) {
        for instance_id in &task.new.listed_by {
            let shelf = self.shelves.entry(instance_id.clone()).or_default();
            shelf.insert(key(task), |filters| task.matches(filters));
        }
    }

    /// A static load: its healthy tasks take no memory, its other ones are as any task.
    pub(crate) fn add_load(
        &mut self,
        load: &StaticLoad,
        place: (String, Option<String>),
        server_now: Timestamp,
    ) -> Result<(), Error> {
        if load.tasks > MAX_TASKS {
            return Err(Error::LoadTooLarge { most: MAX_TASKS });
        }
        let bulk = Bulk::new(load, self.bulks.len(), self.next_seq, place, server_now);
        self.next_seq += bulk.n;
        let shelf = self.shelves.entry(bulk.instance_id.clone()).or_default();
        let keys = shelf.by_age.iter().chain(bulk.keys());
        *shelf = Shelf {
            by_age: Ordered::of(keys.collect()),
            ..Shelf::default()
        };
        for (n_some, status, offset) in [
            (load.failed, Status::Error, 0),
            (load.open, Status::Synchronizing, 1),
        ] {
            let n_some = n_some.min(bulk.n);
            for n in 0..n_some {
                let seq = bulk.first_seq + (n * bulk.n / n_some + offset) % bulk.n;
                let task = bulk.task(seq).of_its_own(&status);
                self.seq_of.insert(task.shown.task_id.clone(), seq);
                self.own.insert(seq, task);
            }
        }
        self.bulks.push(bulk);
        Ok(())
    }

    fn seq(&self, task_id: &str) -> Option<u64> {
        let own = self.seq_of.get(task_id).copied();
        own.or_else(|| {
            let mut bulks = self.bulks.iter();
            let seq = bulks.find_map(|bulk| bulk.seq(task_id))?;
            (!self.gone.contains(&seq)).then_some(seq)
        })
    }

    fn by_seq(&self, seq: u64) -> Option<Cow<'_, Task>> {
        match self.own.get(&seq) {
            Some(task) => Some(Cow::Borrowed(task)),
            None if self.gone.contains(&seq) => None,
            None => {
                let bulk = self.bulks.iter().find(|bulk| bulk.has(seq))?;
                Some(Cow::Owned(bulk.task(seq)))
            }
        }
    }

    /// Whether it is listed or not.
    pub(crate) fn get(&self, task_id: &str) -> Option<Cow<'_, Task>> {
        self.by_seq(self.seq(task_id)?)
    }

    /// To change it. One of a static load becomes one of its own.
    pub(crate) fn get_mut(&mut self, task_id: &str) -> Result<&mut Task, Error> {
        let none = || Error::NoSuchTask {
            task_id: task_id.to_owned(),
        };
        let seq = self.seq(task_id).ok_or_else(none)?;
        if !self.own.contains_key(&seq) {
            let task = self.by_seq(seq).ok_or_else(none)?.into_owned();
            self.seq_of.insert(task_id.to_owned(), seq);
            self.own.insert(seq, task);
        }
        self.own.get_mut(&seq).ok_or_else(none)
    }

    /// It is listed no more; it is there all the same.
    pub(crate) fn unlist(&mut self, task_id: &str) -> Result<(), Error> {
        let task = self.get_mut(task_id)?;
        let (key, instances) = (key(task), task.new.listed_by.clone());
        for instance_id in &instances {
            if let Some(shelf) = self.shelves.get_mut(instance_id) {
                shelf.remove(key);
            }
        }
        Ok(())
    }

    /// It is there no more.
    pub(crate) fn remove(&mut self, task_id: &str) -> Result<(), Error> {
        self.unlist(task_id)?;
        let Some(seq) = self.seq_of.remove(task_id) else {
            return Ok(());
        };
        if self.bulks.iter().any(|bulk| bulk.has(seq)) {
            self.gone.insert(seq);
        }
        let task = self.own.remove(&seq);
        if let Some(batch_id) = task.and_then(|task| task.new.batch_id)
            && let Some(batch) = self.batches.get_mut(&batch_id)
        {
            batch.remove(&seq);
            if batch.is_empty() {
                self.batches.remove(&batch_id);
            }
        }
        Ok(())
    }

    /// Ids of an instance's tasks that were created before `oldest`, at most `most` of them.
    pub(crate) fn older_than(
        &self,
        instance_id: &str,
        oldest: Timestamp,
        most: usize,
    ) -> Vec<String> {
        let Some(shelf) = self.shelves.get(instance_id) else {
            return Vec::new();
        };
        let old = shelf
            .by_age
            .ascending(0)
            .take_while(|key| key.0 < oldest.as_millisecond())
            .take(most);
        old.filter_map(|key| Some(self.by_seq(key.1)?.shown.task_id.clone()))
            .collect()
    }

    /// How many tasks a list has, and some of them. `None`: no such list.
    pub(crate) fn slice(
        &mut self,
        instance_id: &str,
        filters: &Filters,
        slice: Slice,
    ) -> Option<(usize, Vec<Cow<'_, Task>>)> {
        let candidates = self.candidates(filters);
        let Self {
            own,
            shelves,
            bulks,
            ..
        } = self;
        let shelf = shelves.get_mut(instance_id)?;
        let matches = |seq: u64| match own.get(&seq) {
            Some(task) => task.matches(filters),
            None => bulks
                .iter()
                .find(|bulk| bulk.has(seq))
                .is_some_and(|bulk| bulk.matches(seq, filters)),
        };
        let (total, seqs) = shelf.slice(filters, slice, candidates.as_ref(), matches);
        let tasks = seqs.into_iter().filter_map(|seq| self.by_seq(seq));
        Some((total, tasks.collect()))
    }

    /// All that can pass a filter by batch.
    fn candidates(&self, filters: &Filters) -> Option<HashSet<u64>> {
        let batch_id = filters.batch_id.as_ref()?;
        let own = self.batches.get(batch_id).into_iter().flatten().copied();
        let bulk = self.bulks.iter().flat_map(|bulk| bulk.of_batch(batch_id));
        Some(own.chain(bulk).collect())
    }

    /// The tasks of a batch, in the order they were added.
    pub(crate) fn of_batch(&self, batch_id: &str) -> Vec<String> {
        let seqs = self.batches.get(batch_id).into_iter().flatten();
        seqs.filter_map(|seq| Some(self.own.get(seq)?.shown.task_id.clone()))
            .collect()
    }

    /// Of a list: the id of the first task at or behind `rank` (newest first) for which `is` holds; it
    /// looks at no more than `most`.
    pub(crate) fn find(
        &self,
        instance_id: &str,
        rank: usize,
        most: usize,
        is: impl Fn(&Task) -> bool,
    ) -> Option<String> {
        let shelf = self.shelves.get(instance_id)?;
        let mut tasks = shelf
            .by_age
            .descending(rank)
            .take(most)
            .filter_map(|key| self.by_seq(key.1));
        Some(tasks.find(|task| is(task))?.shown.task_id.clone())
    }

    pub(crate) fn n_listed(&self, instance_id: &str) -> usize {
        self.shelves
            .get(instance_id)
            .map_or(0, |shelf| shelf.by_age.len())
    }

    /// All there are.
    pub(crate) fn len(&self) -> usize {
        let bulk: u64 = self.bulks.iter().map(|bulk| bulk.n).sum();
        let is_bulk = |seq: &&u64| self.bulks.iter().any(|bulk| bulk.has(**seq));
        let changed = self.own.keys().filter(is_bulk).count();
        let bulk = usize::try_from(bulk).unwrap_or(usize::MAX);
        bulk.saturating_sub(self.gone.len()).saturating_sub(changed) + self.own.len()
    }

    /// All but the unchanged ones of static loads.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Task> {
        self.own.values()
    }
}

impl Shelf {
    fn insert(&mut self, key: Key, matches: impl Fn(&Filters) -> bool) {
        self.by_age.insert(key);
        if let Some((seed, shuffled)) = &mut self.shuffled {
            shuffled.insert(shuffle(*seed, key));
        }
        for (filters, view) in &mut self.views {
            if matches(filters) {
                view.insert(key);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        self.by_age.remove(key);
        if let Some((seed, shuffled)) = &mut self.shuffled {
            shuffled.remove(shuffle(*seed, key));
        }
        for (_, view) in &mut self.views {
            view.remove(key);
        }
    }

    fn slice(
        &mut self,
        filters: &Filters,
        slice: Slice,
        candidates: Option<&HashSet<u64>>,
        matches: impl Fn(u64) -> bool,
    ) -> (usize, Vec<u64>) {
        let Slice { order, skip, take } = slice;
        if !filters.is_empty() && !self.views.iter().any(|(known, _)| known == filters) {
            let is_candidate = |seq| candidates.is_none_or(|some| some.contains(&seq));
            let keys = self.by_age.iter();
            let keys = keys.filter(|key| is_candidate(key.1) && matches(key.1));
            let view = Ordered::of(keys.collect());
            if self.views.len() >= MAX_VIEWS {
                self.views.remove(0);
            }
            self.views.push((filters.clone(), view));
        }
        if let Order::Shuffled { seed } = order
            && self
                .shuffled
                .as_ref()
                .is_none_or(|(known, _)| *known != seed)
        {
            let keys = self.by_age.iter().map(|key| shuffle(seed, key));
            self.shuffled = Some((seed, Ordered::of(keys.collect())));
        }
        let view = self.views.iter().find(|(known, _)| known == filters);
        let list = view.map_or(&self.by_age, |(_, view)| view);
        let seqs = match (order, view, &self.shuffled) {
            (Order::Shuffled { .. }, None, Some((_, shuffled))) => {
                seqs(shuffled.ascending(skip), take)
            }
            (Order::Shuffled { seed }, _, _) => {
                let mut keys: Vec<Key> = list.iter().map(|key| shuffle(seed, key)).collect();
                keys.sort_unstable();
                seqs(keys.into_iter().skip(skip), take)
            }
            (Order::NewestFirst, _, _) => seqs(list.descending(skip), take),
            (Order::OldestFirst, _, _) => seqs(list.ascending(skip), take),
        };
        (list.len(), seqs)
    }
}

fn seqs(keys: impl Iterator<Item = Key>, take: usize) -> Vec<u64> {
    keys.take(take).map(|key| key.1).collect()
}

fn key(task: &Task) -> Key {
    (task.shown.created_ms, task.seq)
}

/// A place that only `seed` and the task decide (SplitMix64's last steps).
fn shuffle(seed: u64, key: Key) -> Key {
    let mut place = (key.1 ^ seed.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    place = (place ^ (place >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    place = (place ^ (place >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((place ^ (place >> 31)).cast_signed(), key.1)
}

/// `now` less `age`, as far as there is such a time.
pub(crate) fn before(now: Timestamp, age: SignedDuration) -> Timestamp {
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
