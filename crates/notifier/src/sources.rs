//! What hides something: the open incidents that are sources of a pair of inhibition, as rows, and what holds an entry.
//!
//! In: an entry; a draft. Out: what holds it now, a silence or a source; rows of the sources. Must never happen: a source
//! that hides after its incident is over.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_store::Error;

use crate::decide::{Incident, repeat_entries};
use crate::delivery::Entry;
use crate::draft::Draft;
use crate::hold::{self, Holder, Source};
use crate::rows::{self, Key};
use crate::setup::Setup;

/// Sources of one pair that are looked at at once.
const SOURCES_A_LOOK: usize = 16;

/// Incidents looked at in one batch once the pairs are others; few in tests, so that there is always a rest.
const OPEN_A_SLICE: usize = if cfg!(test) { 48 } else { 1_024 };

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
        .scan(rows::INCIDENTS, after.map(Vec::as_slice), OPEN_A_SLICE)?;
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
