//! Of one incident nothing overtakes what waits for its receiver, whichever groups its entries are of.
//!
//! Where routes match on what an end says differently, or groups are of what a task says (`batch_id`), an end is of
//! another group than the one in which its beginning waits. It goes there, behind it; a beginning is not held up by an
//! end that waits elsewhere, but takes it along, if that is not more than one message holds. Both are found by a row for
//! each entry that waits; of thousands of one incident only the last is looked at.
//!
//! Must never happen: an end that is told before its beginning, or after the next one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syncbell_store::Error;

use crate::delivery::Entry;
use crate::done::Done;
use crate::draft::Draft;
use crate::group::{ADDRESS, Group, INSTEAD_OF};

use crate::rows::{self, Key};

/// Entries of one incident that a beginning takes along at most; as many as one notification holds.
const ENTRIES_TAKEN: usize = 2_000;

/// Rows of one incident that are read at a time.
const ROWS_A_PAGE: usize = 256;

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

/// The last entry of an incident that waits for one receiver. All ends that wait, wait in its group, or go there.
pub(super) fn last(draft: &Draft<'_>, to: To<'_>, incident: &str) -> Result<Option<Waits>, Error> {
    let prefix = to.rows(incident);
    let until = rows::numbered(prefix.clone(), u64::MAX);
    match draft.last_key(&prefix, &until)? {
        Some(key) => read(draft, &key),
        None => Ok(None),
    }
}

/// What waits of an incident for one receiver, in the order in which it came: up to `limit`.
fn waiting(
    draft: &Draft<'_>,
    to: To<'_>,
    incident: &str,
    limit: usize,
) -> Result<Vec<Waits>, Error> {
    let prefix = to.rows(incident);
    let until = rows::numbered(prefix.clone(), u64::MAX);
    let keys = draft.keys(&prefix, &until, limit)?;
    let found = keys.iter().map(|key| read(draft, key));
    found.filter_map(Result::transpose).collect()
}

/// Whether all that waits of an incident waits in the group `digest`.
pub(super) fn waits_only_in(
    draft: &Draft<'_>,
    to: To<'_>,
    incident: &str,
    digest: &str,
) -> Result<bool, Error> {
    let waiting = waiting(draft, to, incident, ENTRIES_TAKEN)?;
    Ok(waiting.iter().all(|one| one.group == digest))
}

fn read(draft: &Draft<'_>, key: &[u8]) -> Result<Option<Waits>, Error> {
    let row: Option<Row> = draft.get(key)?;
    Ok(row.map(|Row { group, fires }| Waits {
        number: rows::number(key),
        group,
        fires,
    }))
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
/// an end; or where more waits than a beginning may take along.
pub(super) fn followed(
    draft: &mut Draft<'_>,
    to: To<'_>,
    entry: &Entry,
    digest: &str,
    last: Option<&Waits>,
) -> Result<Option<(Key, Group)>, Error> {
    let Some(last) = last else {
        return Ok(None);
    };
    if entry.fires() {
        if last.group == digest {
            return Ok(None);
        }
        let waiting = waiting(draft, to, &entry.item.incident, ENTRIES_TAKEN + 1)?;
        if waiting.len() <= ENTRIES_TAKEN {
            return Ok(None);
        }
    }
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
    last: Option<&Waits>,
    done: &mut Done,
) -> Result<Vec<(u64, Entry)>, Error> {
    // Where the last one waits, no end waits elsewhere.
    if !entry.fires() || last.is_none_or(|last| last.group == digest) {
        return Ok(Vec::new());
    }
    let waiting = waiting(draft, to, &entry.item.incident, ENTRIES_TAKEN)?;
    let Some(end) = waiting.iter().rposition(|one| !one.fires) else {
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

/// Of `page`, which waits in `group` and is to be told now, what may be. What something of its incident waits for in
/// another group, that has to be told first, goes there with all of `page` behind it. Gives how many went.
pub(super) fn behind_others(
    draft: &mut Draft<'_>,
    group: &Group,
    mut page: Vec<(u64, Entry)>,
) -> Result<(Vec<(u64, Entry)>, u64), Error> {
    let (to, digest) = (To::of(group), group.digest());
    let mut lines: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (number, entry) in &page {
        let line = lines.entry(entry.item.incident.clone()).or_default();
        line.insert(*number);
    }
    let mut moved: BTreeSet<u64> = BTreeSet::new();
    for (incident, line) in &lines {
        let Some((from, other)) = first_behind(draft, to, incident, &digest, line)? else {
            continue;
        };
        let key = rows::group(to.receiver, &other);
        let Some(mut there) = draft.take_group(&key)? else {
            continue;
        };
        for number in line.range(from..) {
            let one = Waits {
                number: *number,
                group: digest.clone(),
                fires: false,
            };
            if let Some(entry) = take(draft, to, incident, &one)? {
                put(draft, &there, *number, &entry);
                there.waiting += 1;
                moved.insert(*number);
            }
        }
        draft.put_group(key, there);
    }
    page.retain(|(number, _)| !moved.contains(number));
    Ok((page, moved.len() as u64))
}

/// The first of `line`, what waits of an incident in the group `digest`, that is behind one of the other kind in another
/// group, and that group.
fn first_behind(
    draft: &Draft<'_>,
    to: To<'_>,
    incident: &str,
    digest: &str,
    line: &BTreeSet<u64>,
) -> Result<Option<(u64, String)>, Error> {
    let prefix = to.rows(incident);
    let until = rows::numbered(prefix.clone(), line.last().copied().unwrap_or_default());
    let (mut beginning, mut end): (Option<String>, Option<String>) = (None, None);
    let mut after: Option<Key> = None;
    loop {
        let keys = draft.keys_after(&prefix, after.as_deref(), &until, ROWS_A_PAGE)?;
        let Some(last) = keys.last().cloned() else {
            return Ok(None);
        };
        for key in keys {
            let Some(one) = read(draft, &key)? else {
                continue;
            };
            if line.contains(&one.number) {
                let first = if one.fires { &end } else { &beginning };
                if let Some(other) = first {
                    return Ok(Some((one.number, other.clone())));
                }
            } else if one.group != digest {
                let latest = if one.fires { &mut beginning } else { &mut end };
                *latest = Some(one.group);
            }
        }
        after = Some(last);
    }
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
