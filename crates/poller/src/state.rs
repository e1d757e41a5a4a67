//! What we know of the tasks of one instance: rows in the store, and an [`Index`] of them in memory.
//!
//! In: the rows of a page; the end of a complete sweep. Out: one durable batch each, with the rows
//! and the events that tell of them. Must never happen: a row without its event, or the reverse.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use syncbell_event::{Change, Detail, Envelope, Kind, Source, SyncTask, TraceParent};
use syncbell_store::{Batch, Store};

use crate::Error;
use crate::diff::{Missed, Sight, diff, missed};
use crate::index::Index;
use crate::outbox::Outbox;
use crate::requests::Wanted;
use crate::row::{Fingerprint, IdHash, Row, task_key, task_prefix};
use crate::snapshot::snapshot_of;

/// Rows that are read, or written, at once where there may be very many.
pub(crate) const CHUNK_ROWS: usize = 256;

/// Rows that are read at once at the start, when nothing else waits for the store.
const LOAD_ROWS: usize = 8_192;

/// The tasks of one instance.
pub(crate) struct State {
    store: Store,
    outbox: Arc<Outbox>,
    source: Source,
    /// Digest of the filters that are asked with.
    filters: String,
    prefix: Vec<u8>,
    pub(crate) index: Index,
    /// The turn under way, for the events that it finds.
    traceparent: TraceParent,
    turn: u64,
}

/// A task as it was listed, or answered by its id.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: IdHash,
    pub(crate) task: SyncTask,
    /// Hash of its text in a list; 0 where it did not come from one.
    pub(crate) text: u64,
}

/// A change with what is told beside it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) change: Change,
    pub(crate) detail: Option<Detail>,
}

/// What an answer changes, decided and not yet written.
#[derive(Default)]
pub(crate) struct Pending {
    batch: Batch,
    rows: Vec<(IdHash, Row, u64)>,
    pub(crate) told: Vec<Told>,
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
        let (of, filters_now) = (prefix.clone(), filters.clone());
        // In one go on the blocking pool: a million rows are read in two seconds.
        let index = store.read(move |reader| {
            let mut index = Index::default();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let rows = reader.scan(&of, after.as_deref(), LOAD_ROWS)?;
                for (key, value) in &rows {
                    let row = match Row::decode(key, value) {
                        Ok(row) => row,
                        Err(error) => return Ok(Err(error)),
                    };
                    let id = IdHash::of(row.task.task_id.as_str());
                    index.put(id, &row, &filters_now, 0, false);
                }
                match rows.into_iter().next_back() {
                    Some((key, _)) => after = Some(key),
                    None => return Ok(Ok(index)),
                }
            }
        });
        Ok(Self {
            index: index.await??,
            store,
            outbox,
            source,
            filters,
            prefix,
            traceparent: TraceParent::new(0, 0),
            turn: 0,
        })
    }

    /// A new turn begins.
    pub(crate) fn begin_turn(&mut self, traceparent: TraceParent) {
        self.traceparent = traceparent;
        self.turn += 1;
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// Decides what `seen` changes; `also` goes into the same batch.
    pub(crate) async fn diff(
        &self,
        seen: Vec<Seen>,
        sight: impl Fn(&SyncTask) -> Sight,
        also: Batch,
        now: Timestamp,
    ) -> Result<Pending, Error> {
        let known = seen.iter().map(|seen| seen.id);
        let mut rows = self.rows(known).await?;
        let mut pending = Pending {
            batch: also,
            ..Pending::default()
        };
        for Seen { id, task, text } in seen {
            let sight = sight(&task);
            let found = diff(rows.get(&id), task, &self.filters, now, sight);
            pending.tell(found.change);
            if let Some(row) = found.row {
                pending.batch.put(task_key(&self.prefix, id), row.encode());
                rows.insert(id, row.clone());
                pending.rows.push((id, row, text));
            }
        }
        // Within a page what happened first is told first, whatever the order of the list.
        pending
            .told
            .sort_by_key(|told| told.change.after.as_ref().and_then(SyncTask::touched_at));
        Ok(pending)
    }

    /// Writes what was decided, in one batch. Says what was told.
    pub(crate) async fn commit(
        &mut self,
        pending: Pending,
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        let kinds = pending.told.iter().map(|told| told.change.kind).collect();
        self.commit_batch(pending.batch, pending.told, now).await?;
        for (id, row, text) in pending.rows {
            self.index.put(id, &row, &self.filters, text, true);
        }
        Ok(kinds)
    }

    /// The open ones of some of the tasks that [`Index::absent`] named.
    pub(crate) async fn open_rows(&self, absent: &[IdHash]) -> Result<Vec<(IdHash, Row)>, Error> {
        let open = absent.iter().copied().filter(|id| self.index.is_open(*id));
        let rows = self.rows(open).await?;
        Ok(rows.into_iter().collect())
    }

    /// Decides about some of the tasks that [`Index::absent`] named, and commits it.
    pub(crate) async fn commit_absent(
        &mut self,
        absent: &[IdHash],
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        let rows = self.rows(absent.iter().copied()).await?;
        let mut pending = Pending::default();
        let mut decided = Vec::new();
        for (id, row) in rows {
            match missed(&row, &self.filters, now) {
                Missed::Unchanged => {}
                Missed::Keep(row, change) => {
                    pending.batch.put(task_key(&self.prefix, id), row.encode());
                    pending.tell(change.map(|change| *change));
                    decided.push((id, Some(row)));
                }
                Missed::Forget => {
                    pending.batch.delete(task_key(&self.prefix, id));
                    decided.push((id, None));
                }
            }
        }
        pending
            .told
            .sort_by(|a, b| a.change.task_id.cmp(&b.change.task_id));
        let kinds = pending.told.iter().map(|told| told.change.kind).collect();
        self.commit_batch(pending.batch, pending.told, now).await?;
        for (id, row) in decided {
            match row {
                Some(row) => self.index.put(id, &row, &self.filters, 0, false),
                None => self.index.forget(id),
            }
        }
        Ok(kinds)
    }

    /// Commits changes that alter no row, with `also`.
    pub(crate) async fn commit_told(
        &self,
        changes: Vec<Change>,
        also: Batch,
        detail: Option<&Detail>,
        now: Timestamp,
    ) -> Result<Vec<Kind>, Error> {
        let kinds = changes.iter().map(|change| change.kind).collect();
        let told = changes.into_iter().map(|change| Told {
            change,
            detail: detail.cloned(),
        });
        self.commit_batch(also, told.collect(), now).await?;
        Ok(kinds)
    }

    /// Snapshots of `tasks`, each as it stands now: of one that moved on since it was listed an event tells
    /// already, and what it was before must not be told behind that. Of one that is over and well by now, of
    /// which little is kept, there is none.
    pub(crate) async fn snapshots(&self, tasks: Vec<SyncTask>) -> Result<Vec<Change>, Error> {
        let id = |task: &SyncTask| IdHash::of(task.task_id.as_str());
        let rows = self.rows(tasks.iter().map(id)).await?;
        let of = |task: SyncTask| {
            let row = rows.get(&id(&task))?;
            let task = if row.fingerprint() == Fingerprint::of(&task) {
                task
            } else if row.compacted.is_none() {
                row.task.clone()
            } else {
                return None;
            };
            Some(snapshot_of(task, row.times_before()))
        };
        Ok(tasks.into_iter().filter_map(of).collect())
    }

    /// What the notifier asks of this instance.
    pub(crate) async fn wanted(&self) -> Result<Option<Wanted>, Error> {
        Wanted::load(&self.store, &self.source.instance).await
    }

    /// Puts a watch event behind all that was told before, with `also` in its batch.
    pub(crate) async fn commit_watch(
        &self,
        mut envelope: Envelope,
        also: Batch,
    ) -> Result<(), Error> {
        envelope.traceparent = Some(self.traceparent);
        self.outbox.put(also, &[envelope]).await
    }

    async fn commit_batch(
        &self,
        batch: Batch,
        told: Vec<Told>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let envelope = |told: Told| {
            let mut envelope = told.change.into_envelope(&self.source, now, told.detail);
            envelope.traceparent = Some(self.traceparent);
            envelope
        };
        let envelopes: Vec<Envelope> = told.into_iter().map(envelope).collect();
        self.outbox.put(batch, &envelopes).await
    }

    /// The rows of those of `ids` that have one.
    async fn rows(&self, ids: impl Iterator<Item = IdHash>) -> Result<HashMap<IdHash, Row>, Error> {
        let keys: Vec<(IdHash, Vec<u8>)> = ids
            .filter(|id| self.index.contains(*id))
            .map(|id| (id, task_key(&self.prefix, id)))
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

impl Pending {
    fn tell(&mut self, change: Option<Change>) {
        self.told.extend(change.map(|change| Told {
            change,
            detail: None,
        }));
    }
}

#[cfg(test)]
mod tests;
