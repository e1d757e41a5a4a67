//! What was decided is told, or held back.
//!
//! In: entries in order; a draft. Out: rows of groups and deliveries, or of what is held, and the trail that says which.
//! Must never happen: an entry that is neither told, nor held, nor over, or of which the trail says something else.

use jiff::Timestamp;
use syncbell_store::Error;

use crate::delivery::Entry;
use crate::done::Done;
use crate::draft::Draft;
use crate::held::{self, Verdict};
use crate::notify;
use crate::setup::Setup;
use crate::sources;
use crate::trail::{self, Ending};

/// Tells `entries`, in order, or holds them back; what the ledger before this one told is known and not told again.
/// Then tells what was held back by what ended.
pub(crate) fn tell(
    draft: &mut Draft<'_>,
    setup: &Setup,
    entries: &[Entry],
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    for entry in entries {
        sources::note_sources(draft, setup, entry)?;
        if entry.observed_at < done.tells_from {
            let deciding = done.deciding.as_mut();
            trail::note(draft, deciding, entry, Ending::Before, now)?;
            continue;
        }
        let task = entry.item.task.as_ref().map(|task| task.task_id.as_str());
        tracing::info!(
            task.id = task, event.id = %entry.event_id, instance.id = entry.instance,
            rule = entry.item.rule, status = entry.item.status.as_str(), "{}", entry.item.summary
        );
        let ending = match held::admit(draft, setup, entry, now, done.deciding.as_mut())? {
            Verdict::Told => {
                done.told += 1;
                let made = notify::tell(draft, entry, &setup.routes, now, done)?;
                Ending::Told(trail::ways(setup, entry, &made))
            }
            Verdict::Held(by) => {
                tracing::info!(event.id = %entry.event_id, "held back: {}", by.words());
                done.untold += 1;
                Ending::Held(by)
            }
            Verdict::Over => {
                done.untold += 1;
                Ending::Over
            }
        };
        trail::note(draft, done.deciding.as_mut(), entry, ending, now)?;
    }
    held::release_ended(draft, setup, now, done)
}
