//! Of one incident nothing overtakes what waits for its receiver, whichever groups its entries are of.
//!
//! Where routes match on what an end says differently, or groups are of what a task says (`batch_id`), an end is of
//! another group than the one in which its beginning waits. It goes there, behind it; a beginning is not held up by an
//! end that waits elsewhere, but takes it along. Both are found by a row for each entry that waits.
//!
//! Must never happen: an end that is told before its beginning, or after the next one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use syncbell_store::Error;

use crate::consume::Done;
use crate::delivery::Entry;
use crate::draft::Draft;
use crate::group::{ADDRESS, Group, INSTEAD_OF};

use crate::rows::{self, Key};

/// Entries of one incident that are looked at; as many as wait of one that fails all night.
const ENTRIES_A_LOOK: usize = 512;

/// That an entry waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    /// The digest of its group.
    group: String,
    /// It tells that its incident began.
    fires: bool,
}

/// An entry that waits, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    number: u64,
    /// The digest of its group.
    pub(super) group: String,
    fires: bool,
}

/// Who is told: what a fallback hears for another receiver has an order of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'a> {
    pub(super) receiver: &'a str,
    /// The receiver that did not take it, and the address, where it is mail.
    pub(super) instead_of: [Option<&'a str>; 2],
}

impl<'a> To<'a> {
    /// Whom `group` is for.
    pub(super) fn of(group: &'a Group) -> Self {
        Self {
            receiver: &group.receiver,
            instead_of: [INSTEAD_OF, ADDRESS]
                .map(|label| group.labels.get(label).map(String::as_str)),
        }
    }

    fn rows(self, incident: &str) -> Key {
        rows::waits(self.receiver, self.instead_of, incident)
    }

    fn row(self, number: u64, incident: &str) -> Key {
        rows::numbered(self.rows(incident), number)
    }
}

/// What waits of an incident for one receiver, in the order in which it came.
pub(super) fn waiting(draft: &Draft<'_>, to: To<'_>, incident: &str) -> Result<Vec<Waits>, Error> {
    let prefix = to.rows(incident);
    let until = rows::numbered(prefix.clone(), u64::MAX);
    let mut found = Vec::new();
    for key in draft.keys(&prefix, &until, ENTRIES_A_LOOK)? {
        if let Some(Row { group, fires }) = draft.get(&key)? {
            let number = rows::number(&key);
            found.push(Waits {
                number,
                group,
                fires,
            });
        }
    }
    Ok(found)
}

/// Puts `entry` into `group`, which counts it, under its number.
pub(super) fn put(draft: &mut Draft<'_>, group: &Group, number: u64, entry: &Entry) {
    let digest = group.digest();
    let waiting = rows::waiting(&group.receiver, &digest);
    draft.put(rows::numbered(waiting, number), entry);
    let row = Row {
        group: digest,
        fires: entry.fires(),
    };
    draft.put(To::of(group).row(number, &entry.item.incident), &row);
}

/// Forgets that `entry` waits under `number`.
pub(super) fn forget(draft: &mut Draft<'_>, to: To<'_>, number: u64, entry: &Entry) {
    draft.delete(to.row(number, &entry.item.incident));
}

/// The group behind whose entries `entry` is to wait, with its key: that of the last entry of its incident, where it is
/// an end.
pub(super) fn followed(
    draft: &mut Draft<'_>,
    to: To<'_>,
    entry: &Entry,
    waiting: &[Waits],
) -> Result<Option<(Key, Group)>, Error> {
    let Some(last) = waiting.last().filter(|_| !entry.fires()) else {
        return Ok(None);
    };
    let key = rows::group(to.receiver, &last.group);
    let group = draft.take_group(&key)?;
    Ok(group.map(|group| (key, group)))
}

/// What is told before the beginning `entry`, whose group is `digest`: the last end that waits, and all that waits of
/// the incident before it. It is taken out of its groups.
pub(super) fn overtaken(
    draft: &mut Draft<'_>,
    to: To<'_>,
    entry: &Entry,
    digest: &str,
    waiting: &[Waits],
    done: &mut Done,
) -> Result<Vec<(u64, Entry)>, Error> {
    let end = waiting.iter().rposition(|one| !one.fires);
    let Some(end) = end.filter(|_| entry.fires()) else {
        return Ok(Vec::new());
    };
    let mut taken = Vec::new();
    for one in waiting[..=end].iter().filter(|one| one.group != digest) {
        if let Some(entry) = take(draft, to, &entry.item.incident, one)? {
            taken.push((one.number, entry));
        }
        let key = rows::group(to.receiver, &one.group);
        if let Some(mut group) = draft.take_group(&key)? {
            group.withdraw(1);
            let wakes_at = group.wakes_at();
            let group_key = (to.receiver.to_owned(), one.group.clone());
            done.timers.insert(group_key, wakes_at);
            keep(draft, key, group);
        }
    }
    Ok(taken)
}

/// Of `page`, which waits in `group` and is to be told now, what may be. An end of which a beginning waits in another
/// group goes there, with what waits of its incident behind it. Gives how many went.
pub(super) fn behind_beginnings(
    draft: &mut Draft<'_>,
    group: &Group,
    mut page: Vec<(u64, Entry)>,
) -> Result<(Vec<(u64, Entry)>, u64), Error> {
    let (to, digest) = (To::of(group), group.digest());
    let mut moved: BTreeSet<u64> = BTreeSet::new();
    for (number, entry) in &page {
        if entry.fires() || moved.contains(number) {
            continue;
        }
        let incident = &entry.item.incident;
        let waiting = waiting(draft, to, incident)?;
        let is_before = |one: &&Waits| one.number < *number && one.fires && one.group != digest;
        let Some(beginning) = waiting.iter().rfind(is_before) else {
            continue;
        };
        let key = rows::group(to.receiver, &beginning.group);
        let Some(mut there) = draft.take_group(&key)? else {
            continue;
        };
        let goes = |one: &&Waits| one.number >= *number && one.group == digest;
        for one in waiting.iter().filter(goes) {
            if let Some(entry) = take(draft, to, incident, one)? {
                put(draft, &there, one.number, &entry);
                there.waiting += 1;
                moved.insert(one.number);
            }
        }
        draft.put_group(key, there);
    }
    page.retain(|(number, _)| !moved.contains(number));
    Ok((page, moved.len() as u64))
}

fn take(
    draft: &mut Draft<'_>,
    to: To<'_>,
    incident: &str,
    one: &Waits,
) -> Result<Option<Entry>, Error> {
    let row = rows::numbered(rows::waiting(to.receiver, &one.group), one.number);
    let entry = draft.get::<Entry>(&row)?;
    draft.delete(row);
    draft.delete(to.row(one.number, incident));
    Ok(entry)
}

/// Puts `group`, or forgets it where nothing was ever told of it and nothing waits any more.
pub(super) fn keep(draft: &mut Draft<'_>, key: Key, group: Group) {
    if group.is_idle() && group.notified_at.is_none() {
        draft.delete(key);
    } else {
        draft.put_group(key, group);
    }
}
