//! One turn's changes of the ledger: read through, and written as one batch.
//!
//! In: rows to read and to change. Out: a batch. Must never happen: a row of this turn that the turn itself
//! does not see.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syncbell_bus::{Next, Stream};
use syncbell_event::{EventId, SnapshotRequest, TaskId};
use syncbell_store::{Error, Reader};

use crate::compact;
use crate::dead_letters::DeadLetter;
use crate::decide::timers::TimerChange;
use crate::decide::{Decision, Incident, Rules, Subject, View};
use crate::delivery::{Closed, Delivery, DeliveryId, DeliveryState};
use crate::group::Group;
use crate::hold::{Compiled, Mute};
use crate::incidents;
use crate::mirror::Mirrors;
use crate::numbers::Drawn;
use crate::read_ids::{self, IdChanges};
use crate::rows::{self, Key};
use crate::silence;
use crate::standing::{PARTITIONS_LIMIT, Standing, positions};
use crate::trail::Trails;

use rare::Rare;

mod batch;
mod rare;

/// Attempts at one delivery that are forgotten in one turn.
const ATTEMPTS_A_TURN: usize = 1_000;

/// Rows read at a time, where the first few may be changed by this turn.
const PAGE_ROWS: usize = 256;

/// One turn's changes.
pub(crate) struct Draft<'a> {
    pub(crate) reader: &'a Reader,
    /// JSON by key; `None` is deleted.
    changed: BTreeMap<Key, Option<Vec<u8>>>,
    /// Rows that this turn read from the store: in how many pieces each stood, or that there was none. What this turn
    /// changes is not read once more for that.
    stood: RefCell<BTreeMap<Key, Option<usize>>>,
    rare: Rare,
    numbers: &'a Drawn,
    /// Groups that this turn changed, by key: written once, however many entries come to one. Nobody else reads or
    /// changes these rows within a turn.
    groups: BTreeMap<Key, Group>,
    /// Read once a turn, where an entry asks for them.
    mutes: OnceCell<Vec<Mute>>,
    /// Incidents that ended in this turn, or before it and were written again.
    ended: BTreeSet<String>,
    mirrors: &'a Mirrors,
    /// Events that this turn read, and ids that it forgets.
    pub(crate) ids: IdChanges,
    /// Trails that this turn leaves.
    pub(crate) trails: Trails,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(reader: &'a Reader, numbers: &'a Drawn, mirrors: &'a Mirrors) -> Self {
        Self {
            reader,
            changed: BTreeMap::new(),
            stood: RefCell::default(),
            rare: Rare::default(),
            numbers,
            groups: BTreeMap::new(),
            mutes: OnceCell::new(),
            ended: BTreeSet::new(),
            mirrors,
            ids: IdChanges::default(),
            trails: Trails::default(),
        }
    }

    /// Whether the event was read, in this turn or before.
    pub(crate) fn was_read(&self, id: &EventId) -> Result<bool, Error> {
        let event = rows::event_digest(id);
        let known = &self.mirrors.read_ids;
        Ok(self.ids.has_read(&event) || known.has(&event, || read_ids::all(self.reader))?)
    }

    /// Whether the incident stands, open or closed.
    fn has_incident(&self, id: &str) -> Result<bool, Error> {
        let key = rows::incident(id);
        let known = &self.mirrors.incidents;
        match (self.changed.get(&key), rows::incident_digest(&key)) {
            (Some(change), _) => Ok(change.is_some()),
            (None, Some(digest)) => known.has(&digest, || incidents::all(self.reader)),
            // Nothing in memory says so: it is looked for.
            (None, None) => Ok(true),
        }
    }

    /// What stands in the store under `key`.
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if self.rare.is_none(self.reader, key)? {
            return Ok(None);
        }
        let row = self.reader.get(key)?;
        let stood = row.as_deref().map(rows::n_pieces);
        self.stood.borrow_mut().insert(key.to_vec(), stood);
        Ok(row)
    }

    /// The silences that may hold something back.
    pub(crate) fn mutes(&self, compiled: &Compiled, now: Timestamp) -> Result<&[Mute], Error> {
        if let Some(mutes) = self.mutes.get() {
            return Ok(mutes);
        }
        let read = silence::mutes(self.reader, compiled, now)?;
        Ok(self.mutes.get_or_init(|| read))
    }

    /// Puts an incident, and notes whether it is over: it hides nothing any more.
    pub(crate) fn put_incident(&mut self, incident: &Incident) {
        if !incident.is_open() {
            self.ended.insert(incident.id.clone());
        }
        self.put(rows::incident(&incident.id), incident);
    }

    /// Takes out the group under `key`, to be changed and put back with [`Draft::put_group`].
    pub(crate) fn take_group(&mut self, key: &[u8]) -> Result<Option<Group>, Error> {
        match self.groups.remove(key) {
            Some(group) => Ok(Some(group)),
            None => self.get(key),
        }
    }

    /// Puts a group; written at the end of the turn.
    pub(crate) fn put_group(&mut self, key: Key, group: Group) {
        self.groups.insert(key, group);
    }

    /// The group under `key`.
    pub(crate) fn group(&self, key: &[u8]) -> Result<Option<Group>, Error> {
        match self.groups.get(key) {
            Some(group) => Ok(Some(group.clone())),
            None => self.get(key),
        }
    }

    /// The incidents that ended, to be looked at once.
    pub(crate) fn take_ended(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.ended)
    }

    /// The value under `key`, with this turn's changes.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        match self.changed.get(key) {
            Some(None) => Ok(None),
            Some(Some(json)) => {
                serde_json::from_slice(json)
                    .map(Some)
                    .map_err(|error| Error::Failed {
                        what: format!("row of this turn cannot be read: {error}"),
                    })
            }
            None => match self.stored(key)? {
                Some(row) => rows::read(self.reader, key, &row).map(Some),
                None => Ok(None),
            },
        }
    }

    /// As [`Draft::get`], of what is no JSON.
    fn get_by<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let stored;
        let bytes = match self.changed.get(key) {
            Some(None) => return Ok(None),
            Some(Some(bytes)) => bytes,
            None => match self.stored(key)? {
                Some(row) => {
                    stored = rows::bytes(self.reader, key, &row)?;
                    &stored
                }
                None => return Ok(None),
            },
        };
        let known = read(bytes).ok_or_else(|| rows::unreadable(key, "it is of another version"));
        known.map(Some)
    }

    /// The bytes under `key`, of what is no JSON.
    pub(crate) fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.get_by(key, |bytes| Some(bytes.to_vec()))
    }

    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, Error> {
        match self.changed.get(key) {
            Some(change) => Ok(change.is_some()),
            None => Ok(self.stored(key)?.is_some()),
        }
    }

    /// The first `limit` keys under `prefix` up to `until`, with this turn's changes. Where there is none,
    /// that takes one row's read.
    pub(crate) fn keys(
        &self,
        prefix: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<Key>, Error> {
        self.keys_after(prefix, None, until, limit)
    }

    /// As [`Draft::keys`], of those that come after `after`, which is one of them.
    pub(crate) fn keys_after(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<Key>, Error> {
        let from = after.map_or_else(|| Bound::Included(prefix), Bound::Excluded);
        if after.is_some_and(|after| after >= until) {
            return Ok(Vec::new());
        }
        let changed = self
            .changed
            .range::<[u8], _>((from, Bound::Included(until)));
        let mut keys: BTreeSet<Key> = changed
            .filter(|(_, change)| change.is_some())
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect();
        let (mut found, mut page_rows) = (0, 1);
        let mut after: Option<Key> = after.map(<[u8]>::to_vec);
        while found < limit {
            let page = self.reader.scan(prefix, after.as_deref(), page_rows)?;
            let Some((last, _)) = page.last() else { break };
            let ends = last.as_slice() > until;
            after = Some(last.clone());
            for (key, _) in page {
                let stands = !rows::is_piece(&key) && !self.changed.contains_key(&key);
                if stands && key.as_slice() <= until {
                    keys.insert(key);
                    found += 1;
                }
            }
            if ends {
                break;
            }
            page_rows = limit;
        }
        Ok(keys.into_iter().take(limit).collect())
    }

    /// The last key under `prefix` up to `until`, with this turn's changes.
    pub(crate) fn last_key(&self, prefix: &[u8], until: &[u8]) -> Result<Option<Key>, Error> {
        let changed = self.changed.range(prefix.to_vec()..=until.to_vec());
        let mut changed = changed.filter(|(_, change)| change.is_some());
        let changed = changed.next_back().map(|(key, _)| key.clone());
        if self.rare.is_none(self.reader, prefix)? {
            return Ok(changed);
        }
        let (mut before, mut page_rows): (Option<Key>, usize) = (None, 1);
        loop {
            let page = self
                .reader
                .scan_back(prefix, before.as_deref(), page_rows)?;
            let is_known = |key: &Key| rows::is_piece(key) || self.changed.contains_key(key);
            let mut keys = page.iter().map(|(key, _)| key);
            let stored = keys.find(|key| key.as_slice() <= until && !is_known(key));
            if stored.is_some() || page.is_empty() {
                return Ok(changed.max(stored.cloned()));
            }
            before = page.last().map(|(key, _)| key.clone());
            page_rows = PAGE_ROWS;
        }
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: Key, value: &T) {
        self.changed.insert(key, Some(rows::json(value)));
    }

    /// As [`Draft::put`], of what is no JSON.
    pub(crate) fn put_bytes(&mut self, key: Key, bytes: Vec<u8>) {
        self.changed.insert(key, Some(bytes));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.changed.insert(key, None);
    }

    /// A number above all that were ever given to rows that still stand.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.next()
    }

    /// What the ledger knows that matters for a task: its last state, its subject, the incidents.
    pub(crate) fn view(
        &self,
        task_id: &TaskId,
        subject: &Subject,
        rules: &Rules,
    ) -> Result<View, Error> {
        let task = self.get_by(&rows::task(task_id), compact::read_task)?;
        let of_rule = |rule| subject.incident_id(rule);
        let mut ids: Vec<String> = rules.of_tasks().map(of_rule).collect();
        for id in task.iter().flat_map(|task| &task.incidents) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        let mut incidents = Vec::new();
        for id in ids {
            if self.has_incident(&id)? {
                incidents.extend(self.get(&rows::incident(&id))?);
            }
        }
        let key = rows::subject(&subject.digest());
        let subject = self
            .get_by(&key, |row| compact::read_subject(subject, row))?
            .unwrap_or_default();
        Ok(View {
            task,
            subject,
            incidents,
        })
    }

    /// Puts what was decided. The entries told are the caller's to group.
    pub(crate) fn put_decision(
        &mut self,
        task_id: &TaskId,
        subject: &Subject,
        decision: &Decision,
    ) {
        if let Some(task) = &decision.task {
            self.put_bytes(rows::task(task_id), compact::task(task));
        }
        if let Some(state) = &decision.subject {
            let row = compact::subject(subject, state);
            self.put_bytes(rows::subject(&subject.digest()), row);
        }
        for incident in &decision.incidents {
            self.put_incident(incident);
        }
        for change in &decision.timers {
            match change {
                TimerChange::Wait(timer, armed) => {
                    let key = rows::open_task(&timer.instance, timer.since, task_id);
                    self.put(key, armed);
                }
                TimerChange::Forget(timer) => {
                    self.delete(rows::open_task(&timer.instance, timer.since, task_id));
                }
                TimerChange::Hold(held, armed) => {
                    let (rule, instance) = (held.rule.as_str(), &held.instance);
                    self.put(
                        rows::remaining_task(rule, instance, held.since, task_id),
                        armed,
                    );
                }
                TimerChange::Release(held) => {
                    let (rule, instance) = (held.rule.as_str(), &held.instance);
                    self.delete(rows::remaining_task(rule, instance, held.since, task_id));
                }
                TimerChange::Ended(armed) => {
                    self.put(rows::ended_task(&armed.instance, task_id), armed);
                }
            }
        }
    }

    /// Puts a delivery with a number that was just drawn into its target's lane: nothing stands there.
    pub(crate) fn enqueue_new(&mut self, delivery: &Delivery) {
        let key = rows::numbered(rows::lane(&delivery.target), delivery.seq);
        self.stood.get_mut().insert(key, None);
        self.enqueue(delivery);
    }

    /// Puts a delivery into its target's lane, over the row that it may have there.
    pub(crate) fn enqueue(&mut self, delivery: &Delivery) {
        let key = rows::numbered(rows::lane(&delivery.target), delivery.seq);
        self.put_bytes(rows::place(&delivery.id), key.clone());
        self.put(key, delivery);
    }

    /// How the delivery of this id stands.
    pub(crate) fn delivery(&self, id: &DeliveryId) -> Result<Option<DeliveryState>, Error> {
        let Some(key) = self.bytes(&rows::place(id))? else {
            return Ok(None);
        };
        let pending: Option<Delivery> = self.get(&key)?;
        if let Some(delivery) = pending.filter(|delivery| delivery.id == *id) {
            return Ok(Some(DeliveryState::Pending(delivery)));
        }
        let closed: Option<Closed> = self.get(&rows::closed(rows::number(&key)))?;
        let closed = closed.filter(|closed| closed.delivery.id == *id);
        Ok(closed.map(DeliveryState::Over))
    }

    /// Forgets the attempts at the delivery of this number, a bounded many of them. True if there may be more.
    pub(crate) fn forget_attempts(&mut self, seq: u64) -> Result<bool, Error> {
        let attempts = self
            .reader
            .scan(&rows::attempts(seq), None, ATTEMPTS_A_TURN)?;
        let more = attempts.len() == ATTEMPTS_A_TURN;
        for (key, _) in attempts {
            self.delete(key);
        }
        Ok(more)
    }

    pub(crate) fn bury(&mut self, letter: &DeadLetter) {
        let key = rows::numbered(rows::DEAD_LETTERS.to_vec(), self.next_number());
        self.put_bytes(key, letter.row());
    }

    /// Asks the poller how everything stands; relayed like a dead letter.
    pub(crate) fn request(&mut self, request: &SnapshotRequest) {
        let key = rows::numbered(rows::REQUESTS.to_vec(), self.next_number());
        let text = String::from_utf8_lossy(&request.encode()).into_owned();
        self.put(key, &text);
    }

    /// The reader of `stream` has taken what lies before these, by partition.
    pub(crate) fn stand(&mut self, stream: Stream, read_to: &BTreeMap<u32, Standing>) {
        for (partition, standing) in read_to {
            self.put(rows::position(stream, *partition), standing);
        }
    }

    /// Forgets where the reader of `stream` stood: it begins at `start`, which names every partition.
    pub(crate) fn stand_at_start(&mut self, stream: Stream, start: &Next) -> Result<(), Error> {
        let prefix = positions(stream);
        for (key, _) in self.reader.scan(&prefix, None, PARTITIONS_LIMIT)? {
            self.delete(key);
        }
        for (partition, next) in start.iter() {
            let standing = Standing {
                next,
                observed_at: None,
                event_id: None,
            };
            self.put(rows::position(stream, partition), &standing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
