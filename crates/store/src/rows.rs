//! What a backend can do. The writer and the readers know no more of it than this.
//!
//! In: keys, ranges, operations. Out: rows in key order. Must never happen: an `apply` that is
//! seen, or that survives, in part.

use std::io;
use std::ops::Bound;
use std::path::Path;

use crate::batch::Operation;
use crate::{Error, Row};

/// One set of ordered rows.
pub(crate) trait Rows: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure>;

    /// At most `limit` rows that start with `prefix`, ascending, strictly after `after`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Failure>;

    /// At most `limit` rows that start with `prefix`, descending, strictly before `before`.
    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure>;

    /// Makes all operations, in order, visible at once and durable before it returns. After an
    /// error this value must be dropped: whether they are durable is not known.
    fn apply(&self, operations: &[Operation]) -> Result<(), Failure>;

    /// The rows after `after`, up to about `limit_bytes` of them, for a copy; at least one if there
    /// is one.
    fn slice(&self, after: Option<&[u8]>, limit_bytes: usize) -> Result<Vec<Row>, Failure>;

    /// As `apply`, but durable only after `sync`: for a copy.
    fn apply_unsynced(&self, operations: &[Operation]) -> Result<(), Failure>;

    /// Makes all that was applied durable.
    fn sync(&self) -> Result<(), Failure>;

    fn size(&self) -> Result<RowsSize, Failure>;

    /// The store's folder, for errors; empty for a store in memory.
    fn dir(&self) -> &Path;
}

/// How large they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsSize {
    /// All files in the store's folder.
    pub(crate) files_bytes: u64,
    /// Keys and values, as they are stored.
    pub(crate) live_bytes: u64,
    pub(crate) rows: u64,
}

/// Why a backend could not do it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) what: String,
}

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The disk or the quota is full: it can work again when there is space.
    Full,
    /// What was read is not what was written.
    Damaged,
    /// Anything else: opening again may help.
    Broken,
}

impl Failure {
    pub(crate) fn io(action: &str, source: &io::Error) -> Self {
        let kind = if is_full(source) {
            FailureKind::Full
        } else {
            FailureKind::Broken
        };
        Self {
            kind,
            what: format!("{action}: {source}"),
        }
    }

    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Broken,
            what: what.into(),
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Damaged,
            what: what.into(),
        }
    }

    /// True when it can work again once there is space.
    pub(crate) fn is_full(&self) -> bool {
        self.kind == FailureKind::Full
    }

    /// What the caller of a store in `dir` is told.
    pub(crate) fn told(self, dir: &Path) -> Error {
        match self.kind {
            FailureKind::Damaged => Error::Corrupt {
                dir: dir.to_owned(),
                what: self.what,
            },
            // How much is free is for the writer to find out.
            FailureKind::Full => Error::DiskFull {
                free_bytes: 0,
                min_bytes: 0,
            },
            FailureKind::Broken => Error::Failed { what: self.what },
        }
    }
}

pub(crate) fn is_full(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Lower and upper end of a scan.
pub(crate) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that start with `prefix`, strictly between `after` and `before`. `None` when no key
/// can be between (a `BTreeMap` panics when it is asked for such a range).
pub(crate) fn range(prefix: &[u8], after: Option<&[u8]>, before: Option<&[u8]>) -> Option<Range> {
    let end = prefix_end(prefix);
    let lower = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
        _ => Bound::Included(prefix.to_vec()),
    };
    let upper = match (before, end) {
        (Some(before), Some(end)) => Bound::Excluded(end.min(before.to_vec())),
        (Some(before), None) => Bound::Excluded(before.to_vec()),
        (None, Some(end)) => Bound::Excluded(end),
        (None, None) => Bound::Unbounded,
    };
    let empty = match (&lower, &upper) {
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        _ => false,
    };
    (!empty).then_some((lower, upper))
}

/// The first key after all that start with `prefix`; `None` when there is none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_skips_bytes_that_cannot_grow() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn a_range_that_can_hold_no_key_is_none() {
        assert_eq!(range(b"b", Some(b"c"), None), None);
        assert_eq!(range(b"b", None, Some(b"a")), None);
        assert_eq!(range(b"", Some(b"k"), Some(b"k")), None);
        assert!(range(b"b", Some(b"a"), Some(b"z")).is_some());
    }
}
