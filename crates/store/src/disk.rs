//! Rows in sled.
//!
//! In: a locked folder, operations. Out: rows; an `apply` that is on the disk when it returns.
//! Must never happen: `flush_async` (concurrent calls hang), a page over a quarter of a segment
//! (see [`layout`](crate::layout)), a panic of sled that reaches the caller of `open`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::batch::Operation;
use crate::folder::Folder;
use crate::layout::{self, Stored};
use crate::rows::{Failure, Rows, range};
use crate::{Error, Row, Size, opening};

pub(crate) struct SledRows {
    tree: sled::Db,
    /// `flush` of sled calls sync_file_range only, which neither syncs the file's length nor the
    /// drive's cache: this second handle does.
    file: File,
    folder: Arc<Folder>,
    n_rows: AtomicU64,
    /// Held for writing while a batch is applied: one `get` or `scan` sees all of it or nothing.
    applying: RwLock<()>,
}

impl SledRows {
    /// Opens the database in `folder`, creates it if it is not there, and reads all of it once
    /// (to count it, and to find damage now rather than later).
    pub(crate) fn open(folder: &Arc<Folder>, cache_bytes: u64) -> Result<Self, Error> {
        let (tree, n_rows) = opening::open_and_read(folder, cache_bytes)?;
        let file = opening::sync_names(folder)?;
        let n_rows = AtomicU64::new(n_rows);
        Ok(Self {
            tree,
            file,
            folder: Arc::clone(folder),
            n_rows,
            applying: RwLock::new(()),
        })
    }

    fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.applying.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value that `stored` of `key` stands for.
    fn value(&self, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, Failure> {
        let stored = layout::decode(stored)?;
        let length = match stored {
            Stored::Inline(value) => return Ok(value.to_vec()),
            Stored::Chunked(length) => length,
        };
        let mut value = Vec::with_capacity(length.min(crate::VALUE_LIMIT_BYTES));
        for number in 0..stored.n_chunks() {
            let chunk = self
                .tree
                .get(layout::chunk_key(key, number))
                .map_err(failure)?;
            value.extend_from_slice(&chunk.ok_or_else(|| layout::damaged("a chunk is missing"))?);
        }
        if value.len() == length {
            Ok(value)
        } else {
            Err(layout::damaged("a chunk is cut"))
        }
    }

    fn rows(
        &self,
        pairs: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Vec<Row>, Failure> {
        pairs
            .map(|pair| {
                let (key, stored) = pair.map_err(failure)?;
                let key = layout::caller_key(&key);
                let value = self.value(&key, &stored)?;
                Ok((key, value))
            })
            .collect()
    }

    /// The tree's operations, and the change in the number of rows.
    fn batch(&self, operations: &[Operation]) -> Result<(sled::Batch, u64, u64), Failure> {
        let last: BTreeMap<&[u8], Option<&[u8]>> = operations
            .iter()
            .map(|operation| (operation.key.as_slice(), operation.value.as_deref()))
            .collect();
        let mut batch = sled::Batch::default();
        let (mut n_added, mut n_removed) = (0, 0);
        for (key, value) in last {
            let row_key = layout::row_key(key);
            let old = self.tree.get(&row_key).map_err(failure)?;
            let n_old_chunks = match &old {
                Some(stored) => layout::decode(stored)?.n_chunks(),
                None => 0,
            };
            let mut n_chunks = 0;
            if let Some(value) = value {
                let (stored, chunks) = layout::encode(value);
                n_added += u64::from(old.is_none());
                batch.insert(row_key, stored);
                for chunk in chunks {
                    batch.insert(layout::chunk_key(key, n_chunks), chunk);
                    n_chunks += 1;
                }
            } else if old.is_some() {
                n_removed += 1;
                batch.remove(row_key);
            }
            for number in n_chunks..n_old_chunks {
                batch.remove(layout::chunk_key(key, number));
            }
        }
        Ok((batch, n_added, n_removed))
    }
}

impl Rows for SledRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let _reading = self.reading();
        match self.tree.get(layout::row_key(key)).map_err(failure)? {
            Some(stored) => self.value(key, &stored).map(Some),
            None => Ok(None),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Failure> {
        let after = after.map(layout::row_key);
        let Some(range) = range(&layout::row_key(prefix), after.as_deref(), None) else {
            return Ok(Vec::new());
        };
        let _reading = self.reading();
        self.rows(self.tree.range(range).take(limit))
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        let before = before.map(layout::row_key);
        let Some(range) = range(&layout::row_key(prefix), None, before.as_deref()) else {
            return Ok(Vec::new());
        };
        let _reading = self.reading();
        self.rows(self.tree.range(range).rev().take(limit))
    }

    fn apply(&self, operations: &[Operation]) -> Result<(), Failure> {
        let (batch, n_added, n_removed) = self.batch(operations)?;
        {
            let _applying = self
                .applying
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.tree.apply_batch(batch).map_err(failure)?;
        }
        self.tree.flush().map_err(failure)?;
        self.file
            .sync_data()
            .map_err(|error| Failure::io("cannot sync the database", &error))?;
        // Only the writer's thread changes it.
        self.n_rows.fetch_add(n_added, Ordering::Relaxed);
        self.n_rows.fetch_sub(n_removed, Ordering::Relaxed);
        Ok(())
    }

    fn size(&self) -> Result<Size, Failure> {
        let files_bytes = self
            .folder
            .files_bytes()
            .map_err(|error| Failure::io("cannot measure the store's folder", &error))?;
        Ok(Size {
            files_bytes,
            rows: self.n_rows.load(Ordering::Relaxed),
        })
    }

    fn dir(&self) -> &Path {
        self.folder.dir()
    }
}

fn failure(error: sled::Error) -> Failure {
    match error {
        sled::Error::Io(source) => Failure::io("input or output of the database", &source),
        error @ sled::Error::Corruption { .. } => Failure::damaged(error.to_string()),
        error => Failure::broken(error.to_string()),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panic: {}",
        text.unwrap_or_else(|| "without a text".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_value_or_a_delete_leaves_no_chunk_behind() {
        let dir = tempfile::tempdir().unwrap();
        let rows = SledRows::open(&Arc::new(Folder::open(dir.path()).unwrap()), 1 << 20).unwrap();
        let apply = |value: Option<usize>| {
            let value = value.map(|size_bytes| vec![7; size_bytes]);
            rows.apply(&[Operation {
                key: b"k".to_vec(),
                value,
            }])
            .unwrap();
            rows.tree.len()
        };
        assert_eq!(apply(Some(5 * layout::CHUNK_BYTES)), 1 + 5);
        assert_eq!(apply(Some(2 * layout::CHUNK_BYTES)), 1 + 2);
        assert_eq!(apply(Some(10)), 1);
        assert_eq!(apply(Some(16 * layout::CHUNK_BYTES)), 1 + 16);
        assert_eq!(apply(None), 0);
    }
}
