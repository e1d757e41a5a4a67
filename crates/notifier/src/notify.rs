//! From entries to deliveries: groups, their timers, and the lanes' new rows.
//!
//! In: an entry to be told, or a group whose time has come; a draft. Out: rows of groups and deliveries in
//! that draft, and when the groups want to be looked at. Must never happen: an entry that is in no
//! delivery and waits in no group, or is in two deliveries of a target.

mod order;
mod timers;

use std::collections::BTreeMap;

use jiff::Timestamp;
use syncbell_store::Error;

use crate::decide::{Incident, repeat_entries};
use crate::delivery::{Delivery, Entry, Made, Target};
use crate::done::Done;
use crate::draft::Draft;
use crate::fallback;
use crate::group::{self, Group, GroupKey, Recent};
use crate::route::{Recipient, Routes};
use crate::rows::{self, Key};
use crate::setup::Setup;
use crate::sources;

use order::{To, Waits};
pub(crate) use timers::{Timers, load_timers};

/// Entries of one notification; what waits beyond goes with the next. Ten thousand failures are a handful of mails.
const ENTRIES_A_NOTIFICATION: usize = 2_000;

/// Tells `entry` to everybody it routes to: at once, or when its group is due. Gives what was made at once.
pub(crate) fn tell(
    draft: &mut Draft<'_>,
    entry: &Entry,
    routes: &Routes,
    now: Timestamp,
    done: &mut Done,
) -> Result<Vec<Made>, Error> {
    let mut made = Vec::new();
    for recipient in routes.of(entry) {
        let to = To {
            receiver: &recipient.name,
            instead_of: [None, None],
        };
        made.extend(tell_one(draft, entry, to, recipient, routes, now, done)?);
    }
    Ok(made)
}

/// Tells `entry`, which `not_taken` did not take, to its fallback `recipient`.
pub(crate) fn tell_instead(
    draft: &mut Draft<'_>,
    entry: &Entry,
    not_taken: &Target,
    recipient: &Recipient,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let to = To {
        receiver: &recipient.name,
        instead_of: [Some(&not_taken.receiver), not_taken.address.as_deref()],
    };
    let made = tell_one(draft, entry, to, recipient, &setup.routes, now, done)?;
    index(draft, &made, std::slice::from_ref(entry), now);
    Ok(())
}

/// Tells `entry` to one receiver, behind what it must not overtake.
fn tell_one(
    draft: &mut Draft<'_>,
    entry: &Entry,
    to: To<'_>,
    recipient: &Recipient,
    routes: &Routes,
    now: Timestamp,
    done: &mut Done,
) -> Result<Vec<Made>, Error> {
    let last = order::last(draft, to, &entry.item.incident)?;
    let labels = labels(entry, to, recipient, last.as_ref());
    let digest = group::group_digest(&recipient.path, &labels);
    if let Some((key, mut group)) = order::followed(draft, to, entry, &digest, last.as_ref())? {
        let recipient = routes.at(group.route(), to.receiver).unwrap_or(recipient);
        group.add(&recipient.policy, now);
        wait(draft, entry, &group, recipient.hours.mute_until(now), done);
        draft.put_group(key, group);
        return Ok(Vec::new());
    }
    let before = order::overtaken(draft, to, entry, &digest, last.as_ref(), done)?;
    let key = rows::group(to.receiver, &digest);
    let known = draft.take_group(&key)?;
    let group = known.unwrap_or_else(|| Group::new(to.receiver, &recipient.path, labels));
    let parts = (before, entry);
    if recipient.policy.group_by.is_none() {
        alone(draft, parts, recipient, (key, group), now, done)
    } else {
        grouped(draft, parts, recipient, (key, group), now, done)
    }
}

/// Entries that are told before one, with their numbers, and that one.
type Parts<'a> = (Vec<(u64, Entry)>, &'a Entry);

/// Each by itself, at once; while its route is mute, in the order in which they came when that is over.
fn alone(
    draft: &mut Draft<'_>,
    (before, entry): Parts<'_>,
    recipient: &Recipient,
    (key, mut group): (Key, Group),
    now: Timestamp,
    done: &mut Done,
) -> Result<Vec<Made>, Error> {
    let mute = recipient.hours.mute_until(now);
    // What waits goes first, else an end may be told before its beginning.
    if mute.is_none() && group.waiting == 0 {
        let alone = std::slice::from_ref;
        for told in before.iter().map(|(_, entry)| alone(entry)) {
            enqueue_later(draft, recipient, &group.labels, told, 0, now, done)?;
        }
        let made = enqueue(draft, recipient, &group.labels, alone(entry), 0, now, done)?;
        order::keep(draft, key, group);
        return Ok(made);
    }
    group.due_at.get_or_insert(now);
    wait_all(draft, (before, entry), &mut group, mute, done);
    draft.put_group(key, group);
    Ok(Vec::new())
}

fn grouped(
    draft: &mut Draft<'_>,
    (before, entry): Parts<'_>,
    recipient: &Recipient,
    (key, mut group): (Key, Group),
    now: Timestamp,
    done: &mut Done,
) -> Result<Vec<Made>, Error> {
    let mut made = Vec::new();
    let mut recent = recent(draft, recipient)?;
    let is_quiet = group.waiting == 0;
    let due = group.due(&recipient.policy, now);
    let mute = recipient.hours.mute_until(now);
    let cap = recipient.policy.cap;
    if mute.is_none() && due <= now && is_quiet && recent.allows_at(cap, now) <= now {
        let before = before.into_iter().map(|(_, entry)| entry);
        let told: Vec<Entry> = before.chain([entry.clone()]).collect();
        group.notified(&told, 0, &recipient.policy, now);
        recent.note(cap, now);
        draft.put(rows::receiver(&recipient.name), &recent);
        made = enqueue(draft, recipient, &group.labels, &told, 0, now, done)?;
        // The trails of those before it are written.
        index(draft, &made, &told[..told.len() - 1], now);
        let group_key = (recipient.name.clone(), group.digest());
        done.timers.insert(group_key, group.wakes_at());
    } else {
        wait_all(draft, (before, entry), &mut group, mute, done);
    }
    draft.put_group(key, group);
    Ok(made)
}

/// The labels of the group of `entry`: what flaps, and what must not overtake what waits of its incident because it
/// flapped, has one of its own.
fn labels(
    entry: &Entry,
    to: To<'_>,
    recipient: &Recipient,
    last: Option<&Waits>,
) -> BTreeMap<String, String> {
    let Some(by) = &recipient.policy.group_by else {
        return BTreeMap::new();
    };
    let mut labels = group::labels(by, entry);
    for (label, value) in [group::INSTEAD_OF, group::ADDRESS]
        .iter()
        .zip(to.instead_of)
    {
        labels.extend(value.map(|value| ((*label).to_owned(), value.to_owned())));
    }
    if recipient.policy.flapping_interval.is_none() {
        return labels;
    }
    let mut flapping = labels.clone();
    flapping.insert(group::FLAPPING.to_owned(), "true".to_owned());
    let waits_there = |last: &Waits| last.group == group::group_digest(&recipient.path, &flapping);
    let flaps = entry.flapping || last.is_some_and(waits_there);
    if flaps { flapping } else { labels }
}

/// Puts these entries behind what waits in `group`.
fn wait_all(
    draft: &mut Draft<'_>,
    (before, entry): Parts<'_>,
    group: &mut Group,
    mute: Option<Timestamp>,
    done: &mut Done,
) {
    for (number, entry) in before {
        group.waiting += 1;
        order::put(draft, group, number, &entry);
    }
    group.waiting += 1;
    wait(draft, entry, group, mute, done);
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
    order::put(draft, group, draft.next_number(), entry);
    let wakes_at = group.wakes_at().max(mute);
    let group_key = (group.receiver.clone(), group.digest());
    done.timers.insert(group_key, wakes_at);
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
        return give_up(draft, row, group, setup, now, done);
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
        let told = take_waiting(draft, &mut group)?;
        let left = group.waiting.saturating_sub(told.len() as u64);
        if policy.group_by.is_none() {
            group.flushed(left, now);
            for entry in &told {
                let one = std::slice::from_ref(entry);
                enqueue_later(draft, recipient, &BTreeMap::new(), one, 0, now, done)?;
            }
        } else if !told.is_empty() {
            group.notified(&told, left, policy, now);
            recent.note(cap, now);
            enqueue_later(draft, recipient, &group.labels, &told, 0, now, done)?;
        }
    } else if group.repeat_at.is_some_and(|at| at <= now) {
        let told = still_open(draft, &mut group, setup, now)?;
        group.repeats = group.repeats.saturating_add(1);
        let repeats = group.repeats;
        group.notified(&told, group.waiting, policy, now);
        if !told.is_empty() {
            recent.note(cap, now);
            enqueue_later(draft, recipient, &group.labels, &told, repeats, now, done)?;
        }
    }
    draft.put(rows::receiver(name), &recent);
    done.timers.insert(key.clone(), group.wakes_at());
    order::keep(draft, row, group);
    Ok(())
}

/// No route leads to the receiver of `group` any more. What waits goes out all the same where the configuration still has
/// it, else to its fallback and the dead letters; what is open is not repeated until a route leads there again.
fn give_up(
    draft: &mut Draft<'_>,
    key: Key,
    mut group: Group,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let told = take_waiting(draft, &mut group)?;
    let receiver = group.receiver.clone();
    let targets: Vec<Target> = setup.targets_of(&receiver).cloned().collect();
    let gone = Target {
        receiver,
        address: None,
    };
    // Groups without labels are of a receiver that is told each by itself.
    let at_once = if group.labels.is_empty() {
        1
    } else {
        told.len().max(1)
    };
    for entries in told.chunks(at_once) {
        for target in targets.iter().chain(targets.is_empty().then_some(&gone)) {
            let delivery = delivery(draft, target, (&group.labels, entries), &[], 0, now);
            if draft.has(&rows::place(&delivery.id))? {
                continue;
            }
            let made = Made {
                receiver: target.receiver.clone(),
                id: delivery.id.clone(),
            };
            index(draft, &[made], entries, now);
            if targets.is_empty() {
                fallback::give_up_waiting(draft, delivery, setup, now, done)?;
            } else {
                draft.enqueue_new(&delivery);
                done.lanes.insert(target.clone());
            }
        }
    }
    group.withdraw(told.len() as u64);
    let wakes_at = (group.waiting > 0).then_some(now);
    let group_key = (group.receiver.clone(), group.digest());
    done.timers.insert(group_key, wakes_at);
    order::keep(draft, key, group);
    Ok(())
}

/// Takes out what waits in `group`, in order, as much as one notification holds; what must go behind something else
/// goes there.
fn take_waiting(draft: &mut Draft<'_>, group: &mut Group) -> Result<Vec<Entry>, Error> {
    let prefix = rows::waiting(&group.receiver, &group.digest());
    let mut page = Vec::new();
    for (key, first) in draft
        .reader
        .scan(&prefix, None, ENTRIES_A_NOTIFICATION * 2)?
    {
        if !rows::is_piece(&key) && page.len() < ENTRIES_A_NOTIFICATION {
            let entry = rows::read::<Entry>(draft.reader, &key, &first)?;
            page.push((rows::number(&key), entry));
        }
    }
    if page.is_empty() {
        // Its count was wrong.
        group.withdraw(group.waiting);
        return Ok(Vec::new());
    }
    let (page, moved) = order::behind_others(draft, group, page)?;
    group.withdraw(moved);
    let to = To::of(group);
    for (number, entry) in &page {
        draft.delete(rows::numbered(prefix.clone(), *number));
        order::forget(draft, to, *number, entry);
    }
    Ok(page.into_iter().map(|(_, entry)| entry).collect())
}

/// What of a group is still open, and not held back now; what is not open is taken out of it. Of each incident the newest
/// causes, as many as one notification holds, and one at least: so its counts are right.
fn still_open(
    draft: &mut Draft<'_>,
    group: &mut Group,
    setup: &Setup,
    now: Timestamp,
) -> Result<Vec<Entry>, Error> {
    let (receiver, digest) = (group.receiver.clone(), group.digest());
    let to = To {
        receiver: &receiver,
        instead_of: [None, None],
    };
    let mut open = Vec::new();
    for id in std::mem::take(&mut group.open) {
        let incident = draft.get::<Incident>(&rows::incident(&id))?;
        let Some(incident) = incident.filter(Incident::is_open) else {
            continue;
        };
        group.open.insert(id.clone());
        // Where its end was told elsewhere, it is open again and that is still to be told.
        if order::waits_only_in(draft, to, &id, &digest)? {
            open.push(incident);
        }
    }
    let causes = (ENTRIES_A_NOTIFICATION / open.len().max(1)).max(1);
    let mut told = Vec::new();
    for incident in &open {
        let entries = repeat_entries(incident);
        let older = entries.len().saturating_sub(causes);
        for entry in entries.into_iter().skip(older) {
            if sources::find(draft, setup, &entry, now)?.is_none() {
                told.push(entry);
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

/// As [`enqueue`], of entries whose trails are written.
fn enqueue_later(
    draft: &mut Draft<'_>,
    recipient: &Recipient,
    labels: &BTreeMap<String, String>,
    entries: &[Entry],
    repeat: u32,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let made = enqueue(draft, recipient, labels, entries, repeat, now, done)?;
    index(draft, &made, entries, now);
    Ok(())
}

/// Says in rows what tells of these entries: their trails do not.
fn index(draft: &mut Draft<'_>, made: &[Made], entries: &[Entry], now: Timestamp) {
    for made in made {
        for entry in entries {
            let index = rows::delivery_of_event(&entry.event_id, &made.id);
            draft.put_bytes(index, rows::second_bytes(now));
        }
    }
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
) -> Result<Vec<Made>, Error> {
    let mut made = Vec::new();
    let stands_in = labels.contains_key(group::INSTEAD_OF);
    let fallback: &[Target] = if stands_in { &[] } else { &recipient.fallback };
    for target in &recipient.targets {
        let told = (labels, entries);
        let delivery = delivery(draft, target, told, fallback, repeat, now);
        made.push(Made {
            receiver: recipient.name.clone(),
            id: delivery.id.clone(),
        });
        if draft.has(&rows::place(&delivery.id))? {
            continue;
        }
        draft.enqueue_new(&delivery);
        done.lanes.insert(target.clone());
    }
    Ok(made)
}

/// A delivery to `target` that is due now, of the labels and entries of `told`.
fn delivery(
    draft: &Draft<'_>,
    target: &Target,
    told: (&BTreeMap<String, String>, &[Entry]),
    fallback: &[Target],
    repeat: u32,
    now: Timestamp,
) -> Delivery {
    Delivery {
        fallback: fallback.to_vec(),
        instead_of: told.0.get(group::INSTEAD_OF).cloned(),
        ..Delivery::due_now(target, told, repeat, draft.next_number(), now)
    }
}

#[cfg(test)]
mod tests;
