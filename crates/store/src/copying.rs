//! Copying live rows into another database, in slices, while commits go on.
//!
//! In: the rows as they are, and what is committed in between. Out: a database that holds the same.
//! A commit to a row that was copied already is written to the copy as well; any other row will be
//! copied as it is when its turn comes. Must never happen: a row of one moment beside another row of
//! an earlier one when the copy is done; more than a slice in memory.

use std::sync::Arc;

use crate::batch::Operation;
use crate::rows::{Failure, Rows};

/// How much is copied at once: commits wait that long.
const SLICE_BYTES: usize = 16 * 1024;
/// How much may wait to be synced, so that the last sync is short too.
const UNSYNCED_LIMIT_BYTES: u64 = 1024 * 1024;

pub(crate) struct Copying {
    copy: Arc<dyn Rows>,
    /// The last row that was copied.
    after: Option<Vec<u8>>,
    unsynced_bytes: u64,
    copied_bytes: u64,
}

/// How far a copy is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more rows.
    Going,
    /// The copy holds the same, durably, until the next commit.
    Done,
}

impl Copying {
    /// `copy` must be empty.
    pub(crate) fn new(copy: Arc<dyn Rows>) -> Self {
        Self {
            copy,
            after: None,
            unsynced_bytes: 0,
            copied_bytes: 0,
        }
    }

    /// Keys and values of the slices so far.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Copies the next slice of `from`.
    pub(crate) fn step(&mut self, from: &dyn Rows) -> Result<Progress, Failure> {
        let slice = from.slice(self.after.as_deref(), SLICE_BYTES)?;
        let Some((last, _)) = slice.last() else {
            self.copy.sync()?;
            return Ok(Progress::Done);
        };
        let last = last.clone();
        let operations: Vec<Operation> = slice
            .into_iter()
            .map(|(key, value)| Operation {
                key,
                value: Some(value),
            })
            .collect();
        self.copied_bytes += size_bytes(&operations);
        self.write(&operations)?;
        self.after = Some(last);
        Ok(Progress::Going)
    }

    /// Writes what was committed of the rows that are copied already.
    pub(crate) fn mirror(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        let Some(after) = self.after.as_deref() else {
            return Ok(());
        };
        let copied: Vec<Operation> = operations
            .iter()
            .filter(|operation| operation.key.as_slice() <= after)
            .cloned()
            .collect();
        if copied.is_empty() {
            return Ok(());
        }
        self.write(&copied)
    }

    pub(crate) fn into_copy(self) -> Arc<dyn Rows> {
        self.copy
    }

    fn write(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        self.copy.apply_unsynced(operations)?;
        self.unsynced_bytes += size_bytes(operations);
        if self.unsynced_bytes >= UNSYNCED_LIMIT_BYTES {
            self.copy.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }
}

fn size_bytes(operations: &[Operation]) -> u64 {
    let sizes = operations.iter().map(Operation::size_bytes);
    sizes.map(|size_bytes| size_bytes as u64).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryRows;

    fn operation(key: u16, value: Option<usize>) -> Operation {
        Operation {
            key: key.to_be_bytes().to_vec(),
            value: value.map(|size_bytes| vec![7; size_bytes]),
        }
    }

    proptest! {
        #[test]
        fn commits_before_and_behind_the_copy_reach_it(
            before in prop::collection::vec((any::<u16>(), 1..30_000usize), 0..40),
            steps in prop::collection::vec(
                prop::option::of(prop::collection::vec((any::<u16>(), prop::option::of(0..9000usize)), 1..6)),
                0..60,
            ),
        ) {
            let from = MemoryRows::default();
            let rows: Vec<_> = before.into_iter().map(|(key, size)| operation(key, Some(size))).collect();
            from.apply(&rows).unwrap();
            let copy: Arc<dyn Rows> = Arc::new(MemoryRows::default());
            let mut copying = Copying::new(Arc::clone(&copy));
            for step in steps {
                // A commit, or a slice.
                if let Some(commit) = step {
                    let commit: Vec<_> = commit.into_iter().map(|(key, size)| operation(key, size)).collect();
                    from.apply(&commit).unwrap();
                    copying.mirror(&commit).unwrap();
                } else {
                    copying.step(&from).unwrap();
                }
            }
            while copying.step(&from).unwrap() == Progress::Going {}
            prop_assert_eq!(from.scan(b"", None, usize::MAX).unwrap(), copy.scan(b"", None, usize::MAX).unwrap());
        }
    }
}
