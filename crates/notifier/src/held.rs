//! What is held back, as rows: it is kept while something holds it, and told when nothing does any more.
//!
//! In: an entry that is to be told, or what held others and is over; a draft. Out: whether it is told now; rows in
//! that draft; what is told after all. See `hold.rs` for the rules.
//!
//! Must never happen: an entry that is neither told nor held, while what it tells of goes on; an all-clear for what
//! nobody was told.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_store::Error;

use crate::consume::Done;
use crate::decide::{Incident, repeat_entries};
use crate::delivery::Entry;
use crate::draft::Draft;
use crate::hold::{self, Holder, Source};
use crate::notify;
use crate::rows::{self, Key};
use crate::setup::Setup;
use crate::trail::{self, Deciding, Ending};

/// Entries held of one incident; the oldest go first, as its causes do.
const ENTRIES_LIMIT: usize = 32;

/// Lines that say what was held back last.
const LINES_LIMIT: usize = 10;

/// Incidents that are looked at again in one batch; few in tests, so that there is always a rest.
pub(crate) const INCIDENTS_A_SLICE: usize = if cfg!(test) { 3 } else { 64 };

/// Sources of one pair that are looked at at once.
const SOURCES_A_LOOK: usize = 16;

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

/// What a silence, or an incident, held back so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    pub(crate) held: u64,
    /// Of them: told when nothing held them any more.
    pub(crate) told: u64,
    /// Of them: over before that.
    pub(crate) over: u64,
    /// The newest first.
    pub(crate) last: VecDeque<HeldLine>,
    /// Its end was looked at: it holds nothing any more.
    #[serde(default)]
    pub(crate) released: bool,
}

/// One alert that was held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldLine {
    /// When.
    pub at: Timestamp,
    /// Its incident.
    pub incident: String,
    /// Its rule.
    pub rule: String,
    /// What it would have said.
    pub summary: String,
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
    let Some(by) = find(draft, setup, entry, now)? else {
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

/// What holds `entry` now, if anything does.
pub(crate) fn find(
    draft: &mut Draft<'_>,
    setup: &Setup,
    entry: &Entry,
    now: Timestamp,
) -> Result<Option<Holder>, Error> {
    let mut sources = Vec::new();
    for meeting in setup.pairs.targets(entry) {
        let hides = |source: &Source| {
            let only = std::slice::from_ref(source);
            hold::holder(entry, &[], only, now).is_some()
        };
        sources.extend(open_source(draft, &meeting, hides)?);
    }
    let silences = draft.mutes(&setup.compiled, now)?;
    Ok(hold::holder(entry, silences, &sources, now))
}

/// The first open source of a meeting that hides. Those that are over are forgotten on the way.
fn open_source(
    draft: &mut Draft<'_>,
    meeting: &hold::Meeting,
    hides: impl Fn(&Source) -> bool,
) -> Result<Option<Source>, Error> {
    let (prefix, until) = rows::within(rows::sources(&meeting.digest));
    loop {
        let keys = draft.keys(&prefix, &until, SOURCES_A_LOOK)?;
        let mut forgotten = 0;
        for key in &keys {
            let Some(row) = draft.get::<SourceRow>(key)? else {
                continue;
            };
            let incident = draft.get::<Incident>(&rows::incident(&row.incident))?;
            if !incident.is_some_and(|incident| row.is_of(&incident)) {
                draft.delete(key.clone());
                forgotten += 1;
                continue;
            }
            let source = Source {
                incident: row.incident,
                both_sides: row.both_sides && meeting.both_sides,
            };
            if hides(&source) {
                return Ok(Some(source));
            }
        }
        if keys.len() < SOURCES_A_LOOK || forgotten == 0 {
            return Ok(None);
        }
    }
}

/// That an open incident is a source of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceRow {
    incident: String,
    opened_at: Timestamp,
    both_sides: bool,
}

impl SourceRow {
    /// Whether it says so of this opening, which goes on.
    fn is_of(&self, incident: &Incident) -> bool {
        incident.is_open() && incident.opened_at == self.opened_at
    }

    /// Whether what it says goes on.
    pub(crate) fn goes_on(&self, draft: &Draft<'_>) -> Result<bool, Error> {
        let incident = draft.get::<Incident>(&rows::incident(&self.incident))?;
        Ok(incident.is_some_and(|incident| self.is_of(&incident)))
    }
}

/// Notes of which pairs `entry` is a source; whether it is told or held itself does not matter.
pub(crate) fn note_sources(
    draft: &mut Draft<'_>,
    setup: &Setup,
    entry: &Entry,
) -> Result<(), Error> {
    for meeting in setup.pairs.sources(entry) {
        let id = &entry.item.incident;
        if let Some(incident) = draft.get::<Incident>(&rows::incident(id))? {
            let row = SourceRow {
                incident: id.clone(),
                opened_at: incident.opened_at,
                both_sides: meeting.both_sides,
            };
            draft.put(rows::source(&meeting.digest, id), &row);
        }
    }
    Ok(())
}

/// Notes the sources that open incidents are, a slice of those behind `after`: the pairs are others than before.
/// Gives where the next slice begins.
pub(crate) fn note_open_sources(
    draft: &mut Draft<'_>,
    setup: &Setup,
    after: Option<&Key>,
) -> Result<Option<Key>, Error> {
    let page = draft
        .reader
        .scan(b"i/", after.map(Vec::as_slice), 16 * INCIDENTS_A_SLICE)?;
    for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
        let incident: Incident = rows::read(draft.reader, key, row)?;
        if incident.is_open() {
            for entry in repeat_entries(&incident) {
                note_sources(draft, setup, &entry)?;
            }
        }
    }
    let last = page.into_iter().next_back().map(|(key, _)| key);
    if last.is_none() {
        draft.put(rows::PAIRS.to_vec(), &setup.pairs.digest());
    }
    Ok(last)
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
        } else if let Some(by) = find(draft, setup, &one.entry, now)? {
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
