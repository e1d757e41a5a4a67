//! Flapping: a condition that begins and ends over and over.
//!
//! Pure. In: an entry that is to be told, and its incident, which knows when it began and ended of late. Out: whether it
//! flaps. What flaps is said so, and goes to people in a group of its own, which waits longer between two messages
//! (`notify.rs`): the first message says that it flaps, the next ones list what happened meanwhile. A receiver whose
//! entries go alone, as those of a generic webhook, is told each at once all the same.
//!
//! Time is that of the events, so that what flaps does not depend on when they are read. Must never happen: an entry
//! that is not told because it flaps.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::incident::Incident;
use crate::delivery::Entry;

/// Turns that are remembered of an incident; the configuration allows no more.
const TURNS_LIMIT: usize = 100;

/// When an incident flaps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flapping {
    /// Beginnings and ends.
    pub(crate) changes: usize,
    /// In so long a time.
    pub(crate) within: SignedDuration,
}

/// When an incident began and ended of late, in the order in which that was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turns(Vec<Timestamp>);

impl Turns {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes what `entry` says. Gives how often it turned within the time, if that is flapping.
    fn note(&mut self, entry: &Entry, flapping: Flapping) -> Option<usize> {
        let now = entry.observed_at;
        self.0
            .retain(|at| now.duration_since(*at) < flapping.within);
        if is_turn(entry) {
            self.0.push(now);
            let over = self.0.len().saturating_sub(TURNS_LIMIT);
            self.0.drain(..over);
        }
        (self.0.len() >= flapping.changes).then_some(self.0.len())
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.0.last().copied()
    }
}

/// A further failing task while the incident is open turns nothing.
fn is_turn(entry: &Entry) -> bool {
    !entry.fires() || entry.occurrence <= 1
}

/// Notes with `incident` what its `entry` tells; marks that, where it flaps.
pub(crate) fn note(incident: &mut Incident, entry: &mut Entry, flapping: Option<Flapping>) {
    let Some(flapping) = flapping else {
        return;
    };
    if let Some(n) = incident.turns.note(entry, flapping) {
        entry.flapping = true;
        let within = flapping.within.as_mins();
        entry.item.summary = format!(
            "flapping, {n} changes in {within} minutes: {}",
            entry.item.summary
        );
    }
}

#[cfg(test)]
mod tests {
    use syncbell_event::AlertStatus;

    use super::*;
    use crate::label::entry_with;

    const FLAPPING: Flapping = Flapping {
        changes: 4,
        within: SignedDuration::from_hours(1),
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_767_322_800 + minute * 60).unwrap()
    }

    fn entry(fires: bool, occurrence: u32, minute: i64) -> Entry {
        let mut entry = entry_with("rule=failed");
        entry.item.status = if fires {
            AlertStatus::Firing
        } else {
            AlertStatus::Resolved
        };
        (entry.occurrence, entry.observed_at) = (occurrence, at(minute));
        entry
    }

    #[test]
    fn beginnings_and_ends_within_the_time_are_flapping_and_further_failures_are_not() {
        let mut turns = Turns::default();
        let mut note =
            |fires, occurrence, minute| turns.note(&entry(fires, occurrence, minute), FLAPPING);
        assert_eq!(note(true, 1, 0), None);
        assert_eq!(note(true, 2, 1), None);
        assert_eq!(note(true, 3, 2), None);
        assert_eq!(note(false, 1, 10), None);
        assert_eq!(note(true, 1, 20), None);
        assert_eq!(note(false, 1, 30), Some(4));
        assert_eq!(note(true, 1, 40), Some(5));
        assert_eq!(note(true, 2, 59), Some(5), "while it flaps");
        assert_eq!(note(true, 3, 85), None, "two of the last hour");
        assert_eq!(note(false, 1, 200), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut turns = Turns::default();
        for _ in 0..1_000 {
            turns.note(&entry(false, 1, 0), FLAPPING);
        }
        assert_eq!(turns.0.len(), TURNS_LIMIT);
    }
}
