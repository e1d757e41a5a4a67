//! From entries to deliveries: groups, their timers, and the lanes' new rows.
//!
//! In: an entry to be told, or a group whose time has come; a draft. Out: rows of groups and deliveries in
//! that draft, and when the groups want to be looked at. Must never happen: an entry that is in no
//! delivery and waits in no group, or is in two deliveries of a target.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_store::{Error, Store};

use crate::consume::Done;
use crate::decide::{Incident, repeat_entries};
use crate::delivery::{Delivery, DeliveryId, Entry};
use crate::draft::Draft;
use crate::group::{self, Group, Recent};
use crate::held;
use crate::route::{Recipient, Routes};
use crate::rows;
use crate::setup::Setup;

/// Entries of one notification; what waits beyond goes with the next. Ten thousand failures are a handful of mails.
const ENTRIES_A_NOTIFICATION: usize = 2_000;

/// Entries of what flaps that are looked through for an incident.
const FLAPPING_ENTRIES: usize = 500;

/// Incidents that a repeat lists.
const REPEATED_INCIDENTS: usize = 100;

/// A group: (receiver, digest of its route and labels).
pub(crate) type GroupKey = (String, String);

/// When groups, or instances, want to be looked at; a cache of what stands in their rows.
#[derive(Debug)]
pub(crate) struct Timers<K>(BTreeMap<K, Timestamp>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub(crate) fn apply(&mut self, changes: BTreeMap<K, Option<Timestamp>>) {
        for (key, wakes_at) in changes {
            match wakes_at {
                Some(at) => self.0.insert(key, at),
                None => self.0.remove(&key),
            };
        }
    }

    /// Those whose time has come; a few at a time.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<K> {
        let due = self.0.iter().filter(|(_, at)| **at <= now);
        due.take(64).map(|(key, _)| key.clone()).collect()
    }

    /// The first one whose time has come, and when that is.
    pub(crate) fn first(&self, now: Timestamp) -> Option<(K, Timestamp)> {
        let due = self.0.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(_, at)| **at)
            .map(|(key, at)| (key.clone(), *at))
    }

    /// When the first one's time comes.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.0.values().min().copied()
    }

    /// How long until the next one is due.
    pub(crate) fn sleep(&self, now: Timestamp) -> Duration {
        let next = self.0.values().min();
        let wait = next.map_or(SignedDuration::MAX, |at| at.duration_since(now));
        Duration::try_from(wait).unwrap_or(Duration::ZERO)
    }
}

/// Reads the timers back: rows are the truth, memory is a cache.
pub(crate) async fn load_timers(store: &Store) -> Result<Timers<GroupKey>, Error> {
    store
        .read(|reader| {
            let mut timers = Timers::default();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = reader.scan(b"g/", after.as_deref(), 1_000)?;
                let Some((last, _)) = page.last() else {
                    return Ok(timers);
                };
                after = Some(last.clone());
                for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                    let group: Group = rows::read(reader, key, row)?;
                    if let Some(at) = group.wakes_at() {
                        let digest = group.digest();
                        timers.0.insert((group.receiver, digest), at);
                    }
                }
            }
        })
        .await
}

/// Tells `entry` to everybody it routes to: at once, or when its group is due.
pub(crate) fn tell(
    draft: &mut Draft<'_>,
    entry: &Entry,
    routes: &Routes,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    for recipient in routes.of(entry) {
        match &recipient.policy.group_by {
            None => alone(draft, entry, recipient, now, done)?,
            Some(by) => grouped(draft, entry, recipient, group::labels(by, entry), now, done)?,
        }
    }
    Ok(())
}

/// Each by itself, at once; while its route is mute, in the order in which they came when that is over.
fn alone(
    draft: &mut Draft<'_>,
    entry: &Entry,
    recipient: &Recipient,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let none = BTreeMap::new();
    let mute = recipient.hours.mute_until(now);
    let key = rows::group(
        &recipient.name,
        &group::group_digest(&recipient.path, &none),
    );
    // What waits goes first, else an end may be told before its beginning.
    if mute.is_none() && draft.waiting_in(&key)? == 0 {
        let told = std::slice::from_ref(entry);
        return enqueue(draft, recipient, &none, told, 0, now, done);
    }
    let known = draft.take_group(&key)?;
    let mut group = known.unwrap_or_else(|| Group::new(&recipient.name, &recipient.path, none));
    group.waiting += 1;
    group.due_at.get_or_insert(now);
    wait(draft, entry, &group, mute, done);
    draft.put_group(key, group);
    Ok(())
}

fn grouped(
    draft: &mut Draft<'_>,
    entry: &Entry,
    recipient: &Recipient,
    labels: BTreeMap<String, String>,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let labels = with_flapping(draft, entry, recipient, labels)?;
    let digest = group::group_digest(&recipient.path, &labels);
    let key = rows::group(&recipient.name, &digest);
    let mut recent = recent(draft, recipient)?;
    let mut group = draft
        .take_group(&key)?
        .unwrap_or_else(|| Group::new(&recipient.name, &recipient.path, labels));
    let due = group.add(&recipient.policy, now);
    let mute = recipient.hours.mute_until(now);
    let cap = recipient.policy.cap;
    let goes = mute.is_none() && due <= now && group.waiting == 1;
    if goes && recent.allows_at(cap, now) <= now {
        let told = vec![entry.clone()];
        group.notified(&told, 0, &recipient.policy, now);
        recent.note(cap, now);
        draft.put(rows::receiver(&recipient.name), &recent);
        enqueue(draft, recipient, &group.labels, &told, 0, now, done)?;
        done.timers
            .insert((recipient.name.clone(), digest), group.wakes_at());
    } else {
        wait(draft, entry, &group, mute, done);
    }
    draft.put_group(key, group);
    Ok(())
}

/// The labels of the group of `entry`: what flaps, and what must not overtake what waits of its incident because it
/// flapped, has one of its own.
fn with_flapping(
    draft: &Draft<'_>,
    entry: &Entry,
    recipient: &Recipient,
    labels: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    if recipient.policy.flapping_interval.is_none() {
        return Ok(labels);
    }
    let mut flapping = labels.clone();
    flapping.insert(group::FLAPPING.to_owned(), "true".to_owned());
    if entry.flapping {
        return Ok(flapping);
    }
    let digest = group::group_digest(&recipient.path, &flapping);
    if draft.waiting_in(&rows::group(&recipient.name, &digest))? == 0 {
        return Ok(labels);
    }
    let prefix = rows::waiting(&recipient.name, &digest);
    for key in draft.keys(
        &prefix,
        &rows::numbered(prefix.clone(), u64::MAX),
        FLAPPING_ENTRIES,
    )? {
        let waits: Option<Entry> = draft.get(&key)?;
        if waits.is_some_and(|waits| waits.item.incident == entry.item.incident) {
            return Ok(flapping);
        }
    }
    Ok(labels)
}

/// Puts `entry` behind what waits in `group`, which is looked at when it is due and not `mute` any more.
/// What it waits for stands in its row; until when it is mute does not, so that the windows of now decide.
fn wait(
    draft: &mut Draft<'_>,
    entry: &Entry,
    group: &Group,
    mute: Option<Timestamp>,
    done: &mut Done,
) {
    let digest = group.digest();
    let prefix = rows::waiting(&group.receiver, &digest);
    let row = rows::numbered(prefix, draft.next_number());
    draft.put(row, entry);
    let wakes_at = group.wakes_at().max(mute);
    done.timers
        .insert((group.receiver.clone(), digest), wakes_at);
}

/// A group's time has come: what waits goes out, or what stays open is told again.
pub(crate) fn tick(
    draft: &mut Draft<'_>,
    key: &GroupKey,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let (name, digest) = key;
    let row = rows::group(name, digest);
    let Some(mut group) = draft.group(&row)? else {
        done.timers.insert(key.clone(), None);
        return Ok(());
    };
    let Some(recipient) = setup.routes.at(group.route(), name) else {
        // The receiver left the configuration: what waits for it stays until it is back.
        done.timers.insert(key.clone(), None);
        return Ok(());
    };
    let (policy, cap) = (&recipient.policy, recipient.policy.cap);
    let mut recent = recent(draft, recipient)?;
    let mute = recipient.hours.mute_until(now);
    let allowed = mute.unwrap_or_else(|| recent.allows_at(cap, now));
    if allowed > now {
        done.timers.insert(key.clone(), Some(allowed));
        return Ok(());
    }
    if group.due_at.is_some_and(|due| due <= now) {
        let told = take_waiting(draft, name, digest)?;
        let left = group.waiting.saturating_sub(told.len() as u64);
        let left = if told.is_empty() { 0 } else { left };
        if policy.group_by.is_none() {
            group.flushed(left, now);
            for entry in &told {
                let one = std::slice::from_ref(entry);
                enqueue(draft, recipient, &BTreeMap::new(), one, 0, now, done)?;
            }
        } else {
            group.notified(&told, left, policy, now);
            if !told.is_empty() {
                recent.note(cap, now);
                enqueue(draft, recipient, &group.labels, &told, 0, now, done)?;
            }
        }
    } else if group.repeat_at.is_some_and(|at| at <= now) {
        let told = still_open(draft, &mut group, setup, now)?;
        group.repeats = group.repeats.saturating_add(1);
        let repeats = group.repeats;
        group.notified(&told, group.waiting, policy, now);
        if !told.is_empty() {
            recent.note(cap, now);
            enqueue(draft, recipient, &group.labels, &told, repeats, now, done)?;
        }
    }
    draft.put(rows::receiver(name), &recent);
    done.timers.insert(key.clone(), group.wakes_at());
    draft.put_group(row, group);
    Ok(())
}

/// What waits in a group, in order, as much as one notification holds.
fn take_waiting(draft: &mut Draft<'_>, name: &str, digest: &str) -> Result<Vec<Entry>, Error> {
    let prefix = rows::waiting(name, digest);
    let mut told = Vec::new();
    for (key, first) in draft
        .reader
        .scan(&prefix, None, ENTRIES_A_NOTIFICATION * 2)?
    {
        if !rows::is_piece(&key) && told.len() < ENTRIES_A_NOTIFICATION {
            told.push(rows::read::<Entry>(draft.reader, &key, &first)?);
            draft.delete(key);
        }
    }
    Ok(told)
}

/// What of a group is still open, and not held back now; what is not open is taken out of it.
fn still_open(
    draft: &mut Draft<'_>,
    group: &mut Group,
    setup: &Setup,
    now: Timestamp,
) -> Result<Vec<Entry>, Error> {
    let mut told = Vec::new();
    let open: Vec<String> = group.open.iter().cloned().collect();
    for id in open {
        match draft.get::<Incident>(&rows::incident(&id))? {
            Some(incident) if incident.is_open() => {
                if told.len() < REPEATED_INCIDENTS {
                    for entry in repeat_entries(&incident) {
                        if held::find(draft, setup, &entry, now)?.is_none() {
                            told.push(entry);
                        }
                    }
                }
            }
            _ => {
                group.open.remove(&id);
            }
        }
    }
    Ok(told)
}

fn recent(draft: &Draft<'_>, recipient: &Recipient) -> Result<Recent, Error> {
    Ok(draft
        .get(&rows::receiver(&recipient.name))?
        .unwrap_or_default())
}

/// One delivery for each target. An id that stands already is not put twice.
fn enqueue(
    draft: &mut Draft<'_>,
    recipient: &Recipient,
    labels: &BTreeMap<String, String>,
    entries: &[Entry],
    repeat: u32,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    for target in &recipient.targets {
        let id = DeliveryId::of(target, labels, entries, repeat);
        if draft.has(&rows::pending(&id))? || draft.has(&rows::closed(&id))? {
            continue;
        }
        for entry in entries {
            let index = rows::delivery_of_event(&entry.event_id, &id);
            draft.put_bytes(index, rows::second_bytes(now));
        }
        draft.enqueue(&Delivery {
            id,
            seq: draft.next_number(),
            target: target.clone(),
            group: labels.clone(),
            entries: entries.to_vec(),
            repeat: repeat > 0,
            created_at: now,
            due_at: now,
            attempts: 0,
            smaller: false,
            last_error: None,
            first_failure_at: None,
            replay: None,
            fallback: recipient.fallback.clone(),
            instead_of: None,
        });
        done.lanes.insert(target.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
