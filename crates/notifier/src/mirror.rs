//! Digests of rows that stand in the ledger, in memory: of what is asked for with each event, and mostly is not there.
//!
//! In: what stands, asked of the store once; what each batch changes. Out: whether something stands.
//!
//! That holds as one task alone, the consume loop, asks and changes these rows, one turn after the other: a load beside a
//! commit of another task might miss what that one puts.
//!
//! Must never happen: something that is not durable and is said to stand; something that stands and is not known.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncbell_store::Error;

/// 16 bytes that stand for an id.
pub(crate) type Digest = [u8; 16];

/// Of one kind of rows; `None`: to be asked of the store first.
#[derive(Debug, Default)]
pub(crate) struct Mirror(Mutex<Option<HashSet<Digest>>>);

/// What one batch changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) came: BTreeSet<Digest>,
    pub(crate) went: BTreeSet<Digest>,
}

/// Changes whose batch is being committed. Where that is not known to have gone well, the store is asked again.
#[derive(Debug)]
#[must_use = "say when the batch is durable"]
struct Committing<'a> {
    mirror: &'a Mirror,
    changes: Option<Changes>,
}

/// What is known of one ledger.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    /// Events that were read (`read_ids.rs`).
    pub(crate) read_ids: Mirror,
    /// Incidents, open or closed.
    pub(crate) incidents: Mirror,
}

/// What one batch changes of that.
#[derive(Debug, Default)]
pub(crate) struct AllChanges {
    pub(crate) read_ids: Changes,
    pub(crate) incidents: Changes,
}

/// As [`Committing`], of all.
#[derive(Debug)]
#[must_use = "say when the batch is durable"]
pub(crate) struct CommittingAll<'a>([Committing<'a>; 2]);

impl Mirrors {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// To be called before the batch of `changes` is committed.
    pub(crate) fn committing(&self, changes: AllChanges) -> CommittingAll<'_> {
        CommittingAll([
            self.read_ids.committing(changes.read_ids),
            self.incidents.committing(changes.incidents),
        ])
    }
}

impl CommittingAll<'_> {
    /// The batch is durable.
    pub(crate) fn committed(self) {
        self.0.into_iter().for_each(Committing::committed);
    }
}

impl Mirror {
    /// Whether the row of `digest` stands, as far as is durable. `load` gives all that do, where they are not known.
    pub(crate) fn has(
        &self,
        digest: &Digest,
        load: impl FnOnce() -> Result<HashSet<Digest>, Error>,
    ) -> Result<bool, Error> {
        let mut known = self.known();
        if let Some(known) = known.as_ref() {
            return Ok(known.contains(digest));
        }
        Ok(known.insert(load()?).contains(digest))
    }

    fn committing(&self, changes: Changes) -> Committing<'_> {
        Committing {
            mirror: self,
            changes: Some(changes),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<HashSet<Digest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty()
    }
}

impl Committing<'_> {
    fn committed(mut self) {
        // Most turns are of lanes, which change nothing here and are not to wait for a load.
        let changes = self.changes.take().filter(|changes| !changes.is_empty());
        let Some(changes) = changes else {
            return;
        };
        if let Some(known) = self.mirror.known().as_mut() {
            for digest in &changes.went {
                known.remove(digest);
            }
            known.extend(changes.came);
        }
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        let changes = self.changes.take();
        if changes.is_some_and(|changes| !changes.is_empty()) {
            *self.mirror.known() = None;
        }
    }
}
