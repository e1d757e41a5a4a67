//! What is held back, as rows: it is kept while something holds it, and told when nothing does any more.
//!
//! In: an entry that is to be told, or what held others and is over; a draft. Out: whether it is told now; rows in
//! that draft; what is told after all. See `hold.rs` for the rules.
//!
//! Must never happen: an entry that is neither told nor held, while what it tells of goes on; an all-clear for what
//! nobody was told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_store::Error;

use crate::decide::Incident;
use crate::delivery::Entry;
use crate::done::Done;
use crate::draft::Draft;
use crate::hold::{HeldLine, HoldRecord, Holder};
use crate::notify;
use crate::rows::{self, Key};
use crate::setup::Setup;
use crate::sources;
use crate::trail::{self, Deciding, Ending};

/// Entries held of one incident; the oldest go first, as its causes do.
const ENTRIES_LIMIT: usize = 32;

/// Lines that say what was held back last.
const LINES_LIMIT: usize = 10;

/// Incidents that are looked at again in one batch; few in tests, so that there is always a rest.
pub(crate) const INCIDENTS_A_SLICE: usize = if cfg!(test) { 3 } else { 64 };

/// What is held of one opening of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    incident: String,
    opened_at: Timestamp,
    /// Something of this opening was told: so is its end.
    told: bool,
    /// Oldest first.
    entries: Vec<HeldEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HeldEntry {
    entry: Entry,
    by: Holder,
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Told,
    Held(Holder),
    /// It is the end of what was never told.
    Over,
}

/// Whether `entry` is told now. It is noted where it is not.
pub(crate) fn admit(
    draft: &mut Draft<'_>,
    setup: &Setup,
    entry: &Entry,
    now: Timestamp,
    mut deciding: Option<&mut Deciding>,
) -> Result<Verdict, Error> {
    let key = rows::held(&entry.item.incident);
    let held = draft.get::<Held>(&key)?;
    // So it is with most: nothing else needs to be read of them.
    if held.is_none() && !(entry.fires() && sources::find(draft, setup, entry, now)?.is_some()) {
        return Ok(Verdict::Told);
    }
    let incident = draft.get::<Incident>(&rows::incident(&entry.item.incident))?;
    let opened_at = incident
        .as_ref()
        .map_or(entry.item.since, |incident| incident.opened_at);
    // What is held of an opening that ended without a word is over.
    let (held, stale): (Option<Held>, Option<Held>) = match held {
        Some(held) if held.opened_at == opened_at => (Some(held), None),
        held => (None, held),
    };
    if let Some(stale) = stale {
        drop_held(draft, &stale, now, deciding.as_deref_mut())?;
    }
    if !entry.fires() {
        let Some(held) = held else {
            return Ok(Verdict::Told);
        };
        drop_held(draft, &held, now, deciding)?;
        return Ok(if held.told {
            Verdict::Told
        } else {
            Verdict::Over
        });
    }
    let Some(by) = sources::find(draft, setup, entry, now)? else {
        if let Some(held) = held.filter(|held| !held.told) {
            draft.put(key, &Held { told: true, ..held });
        }
        return Ok(Verdict::Told);
    };
    let told_before = incident.is_some_and(|incident| incident.occurrences > 1);
    let mut held = held.unwrap_or_else(|| Held {
        incident: entry.item.incident.clone(),
        opened_at,
        told: told_before,
        entries: Vec::new(),
    });
    held.entries.push(HeldEntry {
        entry: entry.clone(),
        by: by.clone(),
    });
    if held.entries.len() > ENTRIES_LIMIT {
        let oldest = held.entries.remove(0);
        count(draft, &oldest.by, |record| record.over += 1)?;
        trail::note(draft, deciding, &oldest.entry, Ending::Over, now)?;
    }
    draft.put(key, &held);
    note_held(draft, &by, entry, now)?;
    Ok(Verdict::Held(by))
}

/// `by` holds `entry` from now on.
fn note_held(
    draft: &mut Draft<'_>,
    by: &Holder,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), Error> {
    draft.put(rows::held_by(by, &entry.item.incident), &());
    let line = HeldLine {
        at: now,
        incident: entry.item.incident.clone(),
        rule: entry.item.rule.clone(),
        summary: entry.item.summary.clone(),
    };
    count(draft, by, |record| {
        record.held += 1;
        record.last.push_front(line);
        record.last.truncate(LINES_LIMIT);
    })
}

/// Tells what `holder` held and nothing else holds, a slice of it. True if there is more.
pub(crate) fn release(
    draft: &mut Draft<'_>,
    setup: &Setup,
    holder: &Holder,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let (prefix, until) = rows::within(rows::all_held_by(holder));
    let keys = draft.keys(&prefix, &until, INCIDENTS_A_SLICE)?;
    for key in &keys {
        let id = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        draft.delete(key.clone());
        reconsider(draft, setup, &id, Some(holder), now, done)?;
    }
    let more = keys.len() == INCIDENTS_A_SLICE;
    if !more && matches!(holder, Holder::Silence(_)) {
        count(draft, holder, |record| record.released = true)?;
    }
    Ok(more)
}

/// As [`release`], of the incidents that ended in this turn. Where that is more than a slice, the rest is noted, to be
/// released before the next event is decided.
pub(crate) fn release_ended(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let ended = draft.take_ended();
    let (prefix, until) = rows::within(rows::HELD_BY_INCIDENTS.to_vec());
    if ended.is_empty() || draft.keys(&prefix, &until, 1)?.is_empty() {
        return Ok(());
    }
    for id in ended {
        let holder = Holder::Incident(id.clone());
        if release(draft, setup, &holder, now, done)? {
            done.releasing.insert(id);
        }
    }
    Ok(())
}

/// Looks again at all that is held, a slice of what lies behind `after`: for the start, when silences, pairs and
/// incidents may be others than they were. Gives where the next slice begins.
pub(crate) fn look_again(
    draft: &mut Draft<'_>,
    setup: &Setup,
    after: Option<&Key>,
    now: Timestamp,
    done: &mut Done,
) -> Result<Option<Key>, Error> {
    let page = draft
        .reader
        .scan(rows::HELD, after.map(Vec::as_slice), INCIDENTS_A_SLICE)?;
    for (key, _) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
        let id = String::from_utf8_lossy(&key[rows::HELD.len()..]).into_owned();
        reconsider(draft, setup, &id, None, now, done)?;
    }
    Ok(page.into_iter().next_back().map(|(key, _)| key))
}

/// Looks again at what is held of an incident, by `holder` or by whatever.
fn reconsider(
    draft: &mut Draft<'_>,
    setup: &Setup,
    id: &str,
    holder: Option<&Holder>,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let key = rows::held(id);
    let Some(mut held) = draft.get::<Held>(&key)? else {
        return Ok(());
    };
    let incident = draft.get::<Incident>(&rows::incident(id))?;
    let incident = incident.filter(|one| one.is_open() && one.opened_at == held.opened_at);
    let Some(incident) = incident else {
        return drop_held(draft, &held, now, done.deciding.as_mut());
    };
    let before = held.clone();
    for one in std::mem::take(&mut held.entries) {
        if holder.is_some_and(|holder| *holder != one.by) {
            held.entries.push(one);
            continue;
        }
        let task = one.entry.item.task.as_ref();
        if task.is_some_and(|task| !incident.may_hold(&task.task_id)) {
            count(draft, &one.by, |record| record.over += 1)?;
            let deciding = done.deciding.as_mut();
            trail::note(draft, deciding, &one.entry, Ending::Over, now)?;
        } else if let Some(by) = sources::find(draft, setup, &one.entry, now)? {
            if by == one.by {
                draft.put(rows::held_by(&by, id), &());
            } else {
                note_held(draft, &by, &one.entry, now)?;
                let (deciding, ending) = (done.deciding.as_mut(), Ending::Held(by.clone()));
                trail::note(draft, deciding, &one.entry, ending, now)?;
            }
            held.entries.push(HeldEntry { by, ..one });
        } else {
            count(draft, &one.by, |record| record.told += 1)?;
            held.told = true;
            tell_late(draft, setup, one.entry, now, done)?;
        }
    }
    for gone in before.entries.iter().map(|one| &one.by) {
        if !held.entries.iter().any(|one| one.by == *gone) {
            draft.delete(rows::held_by(gone, id));
        }
    }
    if held.entries.is_empty() && held.told {
        draft.delete(key);
    } else if held != before {
        draft.put(key, &held);
    }
    Ok(())
}

/// Nothing holds `entry` any more, and what it tells of goes on.
fn tell_late(
    draft: &mut Draft<'_>,
    setup: &Setup,
    mut entry: Entry,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    tracing::info!(
        incident = entry.item.incident, event.id = %entry.event_id,
        "told now, nothing holds it any more: {}", entry.item.summary
    );
    // Latency is from what lets it through to the receiver.
    entry.observed_at = now;
    done.told += 1;
    let made = notify::tell(draft, &entry, &setup.routes, now, done)?;
    let ending = Ending::Told(trail::ways(setup, &entry, &made));
    trail::note(draft, done.deciding.as_mut(), &entry, ending, now)
}

/// What is held of an incident is over.
fn drop_held(
    draft: &mut Draft<'_>,
    held: &Held,
    now: Timestamp,
    mut deciding: Option<&mut Deciding>,
) -> Result<(), Error> {
    for one in &held.entries {
        draft.delete(rows::held_by(&one.by, &held.incident));
        count(draft, &one.by, |record| record.over += 1)?;
        trail::note(
            draft,
            deciding.as_deref_mut(),
            &one.entry,
            Ending::Over,
            now,
        )?;
    }
    draft.delete(rows::held(&held.incident));
    Ok(())
}

/// Drops what is held under `key` if it is of an opening that is over. True if it is.
pub(crate) fn drop_if_over(
    draft: &mut Draft<'_>,
    key: &[u8],
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(held) = draft.get::<Held>(key)? else {
        return Ok(false);
    };
    let incident = draft.get::<Incident>(&rows::incident(&held.incident))?;
    let goes_on = incident.is_some_and(|one| one.is_open() && one.opened_at == held.opened_at);
    if !goes_on {
        drop_held(draft, &held, now, None)?;
    }
    Ok(!goes_on)
}

fn count(
    draft: &mut Draft<'_>,
    holder: &Holder,
    change: impl FnOnce(&mut HoldRecord),
) -> Result<(), Error> {
    let key = rows::hold_record(holder);
    let mut record: HoldRecord = draft.get(&key)?.unwrap_or_default();
    change(&mut record);
    draft.put(key, &record);
    Ok(())
}
