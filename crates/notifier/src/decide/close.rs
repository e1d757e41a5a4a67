//! An incident that somebody closes by hand. Pure.

use jiff::Timestamp;
use syncbell_event::AlertStatus;

use super::incident::{ClosedBy, Incident};
use super::{Rules, flap, notice, turn};
use crate::delivery::Entry;

/// Closes the incident, whatever holds it open, because of `reason`. Gives its all-clear, by its newest cause that was
/// told; none where nothing was. A later failure opens it anew.
pub(crate) fn close(
    mut incident: Incident,
    reason: &str,
    rules: &Rules,
    now: Timestamp,
) -> (Incident, Option<Entry>) {
    let told = incident.causes.iter().filter(|cause| cause.told);
    let newest = told.max_by_key(|cause| (cause.task.created_at, cause.task.task_id.clone()));
    // What it was told by may be over already.
    let newest = newest.or(incident.causes.last()).cloned();
    let why = ClosedBy::Hand {
        reason: reason.to_owned(),
    };
    incident.close(why, now);
    incident.causes.clear();
    let what = incident.subject.name();
    let summary = match reason {
        "" => format!("{what}: closed by hand"),
        reason => format!("{what}: closed by hand: {reason}"),
    };
    let mut entry = match &newest {
        _ if incident.occurrences == 0 => None,
        Some(cause) => Some(turn::entry(
            &incident,
            cause,
            AlertStatus::Resolved,
            summary,
        )),
        None => notice::entry(&incident, AlertStatus::Resolved).map(|mut entry| {
            entry.item.summary = summary;
            entry
        }),
    };
    if let Some(entry) = &mut entry {
        flap::note(&mut incident, entry, rules.flapping);
    }
    (incident, entry)
}
