//! What a receiver did not take, told to its fallback, as whoever reads that one wants it: grouped and within its cap.
//!
//! In: deliveries that the lanes handed over, each in a row that was written with its outcome. Out: their entries in
//! groups of the fallback; where that one is told each by itself, the deliveries themselves. The consume loop alone
//! does it, as groups are its own.
//!
//! A fallback or a receiver may have left the configuration since: what was for it is told to whoever is the fallback
//! now, and is a dead letter where nobody is.
//!
//! Must never happen: a delivery that is handed over, and told to nobody or twice; a turn without a bound.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use syncbell_store::Error;

use crate::deliver::record::give_up;
use crate::delivery::{Delivery, DeliveryId, Entry, Target};
use crate::done::Done;
use crate::draft::Draft;
use crate::group::{ADDRESS, INSTEAD_OF, Policy};
use crate::notify;
use crate::route::Recipient;
use crate::rows;
use crate::setup::Setup;

/// Rows looked at in one batch.
const ROWS_A_TURN: usize = 64;

/// Entries told in one batch, about.
const ENTRIES_A_TURN: usize = 1_000;

/// Tells the fallbacks of the deliveries that were handed over first. True if there may be more.
pub(crate) fn hand_on(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let page = draft.reader.scan(rows::HANDED_OVER, None, ROWS_A_TURN)?;
    let mut entries = 0;
    for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
        if entries >= ENTRIES_A_TURN {
            break;
        }
        let delivery: Delivery = rows::read(draft.reader, key, row)?;
        draft.delete(key.clone());
        entries += delivery.entries.len();
        tell(draft, &delivery, setup, now, done)?;
    }
    Ok(!page.is_empty())
}

/// Tells `delivery`, which its receiver did not take, to its fallback. One that left the configuration since it was handed
/// over hears nothing: whoever is the fallback now is told.
pub(crate) fn tell(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let names: BTreeSet<&str> = names(&delivery.fallback).collect();
    let (here, gone): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| setup.has_receiver(name));
    if here.is_empty() && !gone.is_empty() {
        return tell_whoever(draft, delivery, setup, now, done);
    }
    for name in here {
        let recipient = setup.routes.fallback(&delivery.target.receiver, name);
        tell_one(draft, delivery, name, recipient, setup, now, done)?;
    }
    Ok(())
}

fn names(targets: &[Target]) -> impl Iterator<Item = &str> {
    targets.iter().map(|target| target.receiver.as_str())
}

/// Tells it to the fallback `name`, as `recipient` says where a route has it.
fn tell_one(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    name: &str,
    recipient: Option<&Recipient>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    // What lists again all that is open stays one message.
    let groups = |policy: &Policy| policy.group_by.is_some() && !delivery.repeat;
    if let Some(recipient) = recipient.filter(|recipient| groups(&recipient.policy)) {
        for entry in &delivery.entries {
            let not_taken = &delivery.target;
            notify::tell_instead(draft, entry, not_taken, recipient, setup, now, done)?;
        }
        return Ok(());
    }
    let decided = delivery.fallback.iter();
    let decided = decided.filter(|target| target.receiver == name && setup.has(target));
    let mut targets: Vec<&Target> = decided.collect();
    if targets.is_empty() {
        targets = setup.targets_of(name).collect();
    }
    for target in targets {
        let instead = delivery.instead(target);
        if draft.has(&rows::place(&instead.id))? {
            continue;
        }
        draft.enqueue(&Delivery {
            seq: draft.next_number(),
            created_at: now,
            due_at: now,
            ..instead
        });
        done.lanes.insert(target.clone());
    }
    Ok(())
}

/// Its fallback is gone: each entry goes to whoever is the fallback now; what is left of it then is a dead letter of the
/// one that is gone.
fn tell_whoever(
    draft: &mut Draft<'_>,
    delivery: &Delivery,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let receiver = &delivery.target.receiver;
    let mut told: BTreeMap<&str, (&Recipient, Vec<Entry>)> = BTreeMap::new();
    let mut left: Vec<Entry> = Vec::new();
    for entry in &delivery.entries {
        match setup.routes.fallback_now(receiver, entry) {
            Some(recipient) => {
                let of_name = told.entry(&recipient.name);
                let (_, entries) = of_name.or_insert_with(|| (recipient, Vec::new()));
                entries.push(entry.clone());
            }
            None => left.push(entry.clone()),
        }
    }
    let gone = &delivery.fallback[0];
    for (name, (recipient, entries)) in told {
        tracing::warn!(
            delivery.id = %delivery.id, receiver, gone = gone.receiver, fallback = name,
            "its fallback left the configuration: whoever is the fallback now is told"
        );
        let part = Delivery {
            entries,
            fallback: recipient.targets.clone(),
            ..delivery.clone()
        };
        tell_one(draft, &part, name, Some(recipient), setup, now, done)?;
    }
    let instead = Delivery {
        entries: left,
        seq: draft.next_number(),
        created_at: now,
        due_at: now,
        ..delivery.instead(gone)
    };
    if instead.entries.is_empty() || draft.has(&rows::place(&instead.id))? {
        return Ok(());
    }
    tracing::error!(
        delivery.id = %instead.id, receiver, gone = gone.receiver, entries = instead.entries.len(),
        "its fallback left the configuration, and there is none now: to the dead letters"
    );
    draft.enqueue(&instead);
    give_up(draft, &instead, false, now);
    done.buried += 1;
    Ok(())
}

/// What of `orphan`, whose receiver left the configuration, is to be told to a fallback: the one with which it was
/// decided, or, where it stood in for another receiver, whoever is the fallback of that one now. None where that was
/// told already, or nobody is there to be told.
pub(crate) fn of_orphan(orphan: &Delivery, setup: &Setup) -> Option<Delivery> {
    // A replay is for whom it was asked.
    if orphan.replay.is_some() {
        return None;
    }
    let mut handed = orphan.clone();
    if let Some(receiver) = handed.instead_of.take() {
        let address = handed.group.remove(ADDRESS);
        handed.group.remove(INSTEAD_OF);
        let not_taken = Target { receiver, address };
        handed.fallback = vec![std::mem::replace(&mut handed.target, not_taken)];
        // The same for each address of the one that is gone.
        let (group, entries) = (&handed.group, &handed.entries);
        handed.id = DeliveryId::of(&handed.target, group, entries, handed.repeat.into());
    }
    let receiver = &handed.target.receiver;
    let is_there = |name| setup.has_receiver(name);
    let hears_now = |entry| setup.routes.fallback_now(receiver, entry).is_some();
    let hears = names(&handed.fallback).any(is_there) || handed.entries.iter().any(hears_now);
    (hears && !handed.fallback.is_empty()).then_some(handed)
}

/// What waited in `group` of a receiver that left the configuration: a dead letter, and its fallback is told.
pub(crate) fn give_up_waiting(
    draft: &mut Draft<'_>,
    delivery: Delivery,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let receiver = &delivery.target.receiver;
    let of_entry = |entry| setup.routes.fallback_now(receiver, entry);
    let fallback = delivery.entries.iter().find_map(of_entry);
    let decided = Delivery {
        fallback: fallback.map_or_else(Vec::new, |fallback| fallback.targets.clone()),
        ..delivery
    };
    tracing::error!(
        delivery.id = %decided.id, target = %decided.target, entries = decided.entries.len(),
        "the receiver of what waited left the configuration: to the dead letters"
    );
    let handed = of_orphan(&decided, setup);
    draft.enqueue(&decided);
    give_up(draft, &decided, handed.is_some(), now);
    done.buried += 1;
    match handed {
        Some(handed) => tell(draft, &handed, setup, now, done),
        None => Ok(()),
    }
}
