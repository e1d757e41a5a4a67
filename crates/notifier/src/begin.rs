//! A ledger that begins anew: at the first start, or because the one before was lost.
//!
//! In: an empty store. Out: the row that says so, a request to the poller, `blind` where one was lost. It reads
//! the log from its start, but tells only what was seen in the last 24 h: what is older was told by the ledger
//! before, and is only to be known, so that its end is told. Must never happen: a failure of the last 24 h that is
//! on the log, or with the poller, and is not told.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_bus::Stream;
use syncbell_event::SnapshotRequest;
use syncbell_store::Error;

use crate::draft::Draft;
use crate::ledger::Ledger;
use crate::rows;
use crate::standing::LATE;

/// So far back an empty ledger tells.
const TELLS_BACK: SignedDuration = SignedDuration::from_hours(24);

/// A ledger that was set aside because it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLost {
    /// What was wrong with it; one line.
    pub why: String,
    /// Where it is kept.
    pub kept_as: String,
}

/// How a ledger began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) at: Timestamp,
    /// What was seen before is not told.
    pub(crate) tells_from: Timestamp,
    /// Not in the store yet.
    #[serde(skip)]
    pub(crate) is_new: bool,
}

/// How the ledger began; one that has no row yet begins `now`.
pub(crate) async fn begun(ledger: &Ledger, now: Timestamp) -> Result<Begun, Error> {
    let known = ledger.store.read(|reader| {
        let row = reader.get(rows::BEGUN)?;
        let row = row.map(|row| rows::read::<Begun>(reader, rows::BEGUN, &row));
        row.transpose()
    });
    if let Some(begun) = known.await? {
        return Ok(begun);
    }
    // It read before such rows were kept.
    let has_read = !ledger.standings(Stream::Changes).await?.is_empty();
    let tells_from = if has_read {
        Timestamp::MIN
    } else {
        now.saturating_sub(TELLS_BACK).unwrap_or(Timestamp::MIN)
    };
    Ok(Begun {
        at: now,
        tells_from,
        is_new: !has_read,
    })
}

/// Writes down that the ledger begins, and asks the poller for what the log may not hold.
pub(crate) fn begin(draft: &mut Draft<'_>, begun: &Begun, lost: Option<&LedgerLost>) {
    draft.put(rows::BEGUN.to_vec(), begun);
    let why = match lost {
        Some(lost) => format!("the ledger was lost: {}", lost.why),
        None => "the ledger is new".to_owned(),
    };
    let since = begun.tells_from.saturating_sub(LATE);
    let since = since.unwrap_or(Timestamp::MIN);
    draft.request(&SnapshotRequest::new(why, since, begun.at).fresh());
}
