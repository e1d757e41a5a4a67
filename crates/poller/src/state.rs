//! What we know of the tasks of one instance: rows in the store, and an index of them in memory, so
//! that a page on which nothing changed costs no read and no write.
//!
//! In: the tasks of a page; the end of a complete sweep. Out: one durable batch each, with the rows
//! and the events that tell of them. Must never happen: a row without its event, or the reverse; an
//! index that knows more than the store.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use syncbell_event::{Change, Detail, Envelope, Kind, Source, SyncTask, TaskId, TraceParent};
use syncbell_service::crash_point;
use syncbell_store::{Batch, Store};

use crate::Error;
use crate::diff::{KEEP_ABSENT, Missed, Sight, diff, missed};
use crate::outbox::Outbox;
use crate::requests::Wanted;
use crate::row::{Row, task_key, task_prefix};

/// Rows that are read, or written, at once where there may be very many.
pub(crate) const CHUNK_ROWS: usize = 256;

/// The tasks of one instance.
pub(crate) struct State {
    store: Store,
    outbox: Arc<Outbox>,
    source: Source,
    /// Digest of the filters that are asked with.
    filters: String,
    prefix: Vec<u8>,
    index: HashMap<TaskId, Entry>,
    /// The poll under way, for the events that it finds.
    traceparent: TraceParent,
    /// Counts the polls, so that an entry can say in which it was last listed.
    turn: u32,
}

/// What the index keeps of a row.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Hash of the row's task. Never stored.
    fingerprint: u64,
    /// The turn that last listed it; 0 for none of this process.
    turn: u32,
    open: bool,
    /// Listed under these filters and never missed since: an equal task needs no write.
    settled: bool,
    absent_since: Option<Timestamp>,
}

/// Tasks that were listed, by one answer.
pub(crate) struct Listed {
    pub(crate) tasks: Vec<SyncTask>,
    /// Listed too, but refused: they are not absent.
    pub(crate) refused: Vec<TaskId>,
    /// What the changes found in it carry.
    pub(crate) detail: Option<Detail>,
    /// When it was seen, by our clock.
    pub(crate) now: Timestamp,
}

/// How many tasks a turn listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) tasks: u64,
    pub(crate) open: u64,
}

impl State {
    /// Reads the rows of the instance and builds the index.
    pub(crate) async fn load(
        store: Store,
        outbox: Arc<Outbox>,
        source: Source,
        filters: String,
    ) -> Result<Self, Error> {
        let prefix = task_prefix(&source.instance);
        let mut index = HashMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (prefix, from) = (prefix.clone(), after.clone());
            let rows = store
                .read(move |reader| reader.scan(&prefix, from.as_deref(), CHUNK_ROWS))
                .await?;
            for (key, value) in &rows {
                let row = Row::decode(key, value)?;
                index.insert(row.task.task_id.clone(), Entry::of(&row, &filters, 0));
            }
            match rows.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        Ok(Self {
            store,
            outbox,
            source,
            filters,
            prefix,
            index,
            traceparent: TraceParent::new(0, 0),
            turn: 0,
        })
    }

    /// A new poll begins: nothing is listed yet.
    pub(crate) fn begin_turn(&mut self, traceparent: TraceParent) {
        self.traceparent = traceparent;
        self.turn += 1;
    }

    /// Tasks listed since the turn began.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.index.values() {
            if entry.turn == self.turn {
                counts.tasks += 1;
                counts.open += u64::from(entry.open);
            }
        }
        counts
    }

    /// Diffs the tasks of one answer and commits what changed, with `also`, in one batch. Says what
    /// was told.
    pub(crate) async fn commit_listed(
        &mut self,
        listed: Listed,
        sight: impl Fn(&SyncTask) -> Sight,
        also: Batch,
    ) -> Result<Vec<Kind>, Error> {
        let ids = listed.tasks.iter().map(|task| &task.task_id);
        for id in ids.chain(&listed.refused) {
            if let Some(entry) = self.index.get_mut(id) {
                entry.turn = self.turn;
            }
        }
        let mut suspects = listed.tasks;
        suspects.retain(|task| !self.is_unchanged(task));
        let mut rows = self.rows(suspects.iter().map(|task| &task.task_id)).await?;

        let mut batch = also;
        let mut changes = Vec::new();
        for task in suspects {
            let (id, sight) = (task.task_id.clone(), sight(&task));
            let found = diff(rows.get(&id), task, &self.filters, listed.now, sight);
            changes.extend(found.change);
            if let Some(row) = found.row {
                batch.put(task_key(&self.prefix, &id), row.encode());
                rows.insert(id, row);
            }
        }
        // Within a page what happened first is told first, whatever the order of the list.
        changes.sort_by_key(|change| change.after.as_ref().and_then(SyncTask::touched_at));
        let told = self
            .commit(batch, changes, listed.detail.as_ref(), listed.now)
            .await?;
        for (id, row) in rows {
            let entry = Entry::of(&row, &self.filters, self.turn);
            self.index.insert(id, entry);
        }
        Ok(told)
    }

    /// The tasks that the turn did not list and about which there is something to decide. Only after
    /// a complete sweep that proves absence.
    pub(crate) fn absent(&self, now: Timestamp) -> Vec<TaskId> {
        let absent = self
            .index
            .iter()
            .filter(|(_, entry)| entry.turn != self.turn && entry.is_due(now));
        absent.map(|(id, _)| id.clone()).collect()
    }

    /// Decides about some of the tasks that [`State::absent`] named.
    pub(crate) async fn commit_absent(
        &mut self,
        absent: &[TaskId],
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        let rows = self.rows(absent.iter()).await?;
        let mut batch = Batch::new();
        let mut changes = Vec::new();
        let mut decided = Vec::new();
        for (id, row) in rows {
            match missed(&row, &self.filters, now) {
                Missed::Unchanged => {}
                Missed::Keep(row, change) => {
                    batch.put(task_key(&self.prefix, &id), row.encode());
                    changes.extend(change.map(|change| *change));
                    decided.push((id, Some(row)));
                }
                Missed::Forget => {
                    batch.delete(task_key(&self.prefix, &id));
                    decided.push((id, None));
                }
            }
        }
        changes.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        let told = self.commit(batch, changes, None, now).await?;
        for (id, row) in decided {
            match row {
                Some(row) => {
                    let turn = self.index.get(&id).map_or(0, |entry| entry.turn);
                    self.index.insert(id, Entry::of(&row, &self.filters, turn));
                }
                None => {
                    self.index.remove(&id);
                }
            }
        }
        Ok(told)
    }

    /// Commits changes that alter no row, with `also`.
    pub(crate) async fn commit_told(
        &self,
        changes: Vec<Change>,
        also: Batch,
        detail: Option<&Detail>,
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        self.commit(also, changes, detail, now).await
    }

    /// The next rows behind `after`, at most [`CHUNK_ROWS`] of them, with the last one's key; `None`
    /// at the end.
    pub(crate) async fn rows_after(
        &self,
        after: Option<Vec<u8>>,
    ) -> Result<Option<(Vec<Row>, Vec<u8>)>, Error> {
        let found = self.store.scan(self.prefix.clone(), after, CHUNK_ROWS);
        let found = found.await?;
        let Some((last, _)) = found.last() else {
            return Ok(None);
        };
        let last = last.clone();
        let rows = found.iter().map(|(key, value)| Row::decode(key, value));
        Ok(Some((rows.collect::<Result<_, _>>()?, last)))
    }

    /// What the notifier asks of this instance.
    pub(crate) async fn wanted(&self) -> Result<Option<Wanted>, Error> {
        Wanted::load(&self.store, &self.source.instance).await
    }

    /// Puts a watch event behind all that was told before.
    pub(crate) async fn commit_watch(&self, mut envelope: Envelope) -> Result<(), Error> {
        envelope.traceparent = Some(self.traceparent);
        self.commit_batch(Batch::new(), &[envelope]).await
    }

    async fn commit(
        &self,
        batch: Batch,
        changes: Vec<Change>,
        detail: Option<&Detail>,
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        let told = changes.iter().map(|change| change.kind).collect();
        let envelopes: Vec<Envelope> = changes
            .into_iter()
            .map(|change| {
                let mut envelope = change.into_envelope(&self.source, now, detail.cloned());
                envelope.traceparent = Some(self.traceparent);
                envelope
            })
            .collect();
        self.commit_batch(batch, &envelopes).await?;
        Ok(told)
    }

    async fn commit_batch(&self, mut batch: Batch, envelopes: &[Envelope]) -> Result<(), Error> {
        let added = self.outbox.add(&mut batch, envelopes);
        if batch.is_empty() {
            return Ok(());
        }
        crash_point("poller.diffed");
        match self.store.commit(batch).await {
            Ok(()) => {
                crash_point("poller.committed");
                self.outbox.committed(&added);
                Ok(())
            }
            Err(error) => {
                self.outbox.abandoned(&added);
                Err(error.into())
            }
        }
    }

    fn is_unchanged(&self, task: &SyncTask) -> bool {
        self.index
            .get(&task.task_id)
            .is_some_and(|entry| entry.settled && entry.fingerprint == fingerprint(task))
    }

    /// The rows of those of `ids` that have one.
    async fn rows<'a>(
        &self,
        ids: impl Iterator<Item = &'a TaskId>,
    ) -> Result<HashMap<TaskId, Row>, Error> {
        let keys: Vec<(TaskId, Vec<u8>)> = ids
            .filter(|id| self.index.contains_key(*id))
            .map(|id| (id.clone(), task_key(&self.prefix, id)))
            .collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self
            .store
            .read(move |reader| {
                keys.into_iter()
                    .map(|(id, key)| Ok((id, reader.get(&key)?, key)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        found
            .into_iter()
            .filter_map(|(id, value, key)| Some((id, value?, key)))
            .map(|(id, value, key)| Ok((id, Row::decode(&key, &value)?)))
            .collect()
    }
}

impl Entry {
    fn of(row: &Row, filters: &str, turn: u32) -> Self {
        let never_missed = row.misses == 0 && row.absent_since.is_none() && !row.vanished;
        Self {
            fingerprint: fingerprint(&row.task),
            turn,
            open: row.open(),
            settled: never_missed && row.filters == filters,
            absent_since: row.absent_since,
        }
    }

    /// Whether there is something to decide about its absence.
    fn is_due(&self, now: Timestamp) -> bool {
        self.absent_since
            .is_none_or(|since| now.duration_since(since) >= KEEP_ABSENT)
    }
}

fn fingerprint(task: &SyncTask) -> u64 {
    let bytes = serde_json::to_vec(task).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
