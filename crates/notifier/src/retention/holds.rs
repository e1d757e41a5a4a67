//! What is held back, and what holds it back: when it may be forgotten.

use jiff::Timestamp;
use syncbell_store::Error;

use super::Kept;
use crate::draft::Draft;
use crate::held::{self, HoldRecord, SourceRow};
use crate::hold::Holder;
use crate::metrics::RowKind;
use crate::rows;
use crate::silence::Silence;

/// Whether a row of these kinds is over.
pub(super) fn holds_nothing(
    draft: &mut Draft<'_>,
    kind: RowKind,
    (key, row): (&[u8], &[u8]),
    kept: Kept,
    now: Timestamp,
) -> Result<bool, Error> {
    match kind {
        RowKind::Held => held::drop_if_over(draft, key, now),
        RowKind::Source => {
            let source: SourceRow = rows::read(draft.reader, key, row)?;
            Ok(!source.goes_on(draft)?)
        }
        _ => {
            let silence: Silence = rows::read(draft.reader, key, row)?;
            let record = rows::hold_record(&Holder::Silence(silence.id.clone()));
            let released = draft.get::<HoldRecord>(&record)?;
            let is_over = released.is_some_and(|record| record.released)
                && now.duration_since(silence.end()) >= kept.incidents;
            if is_over {
                draft.delete(record);
            }
            Ok(is_over)
        }
    }
}
