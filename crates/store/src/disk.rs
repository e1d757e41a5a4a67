//! Rows in sled.
//!
//! In: a locked folder, operations. Out: rows; an `apply` that is on the disk when it returns.
//! Must never happen: `flush_async` (concurrent calls hang), a page over a quarter of a segment
//! (see [`layout`](crate::layout)), a panic of sled that reaches the caller of `open`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::batch::Operation;
use crate::folder::Folder;
use crate::layout::{self, Stored};
use crate::rows::{Failure, Rows, RowsSize, range};
use crate::tally::Tally;
use crate::witness::Witness;
use crate::{Error, Row, opening};

pub(crate) struct SledRows {
    tree: sled::Db,
    /// `flush` of sled calls sync_file_range only, which neither syncs the file's length nor the
    /// drive's cache: this second handle does.
    file: File,
    folder: Arc<Folder>,
    witness: Witness,
    /// Changed by the writer's thread alone.
    written: Mutex<Written>,
    /// Held for writing while a batch is applied: one `get` or `scan` sees all of it or nothing.
    applying: RwLock<()>,
}

/// What is known of what is in the tree.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) tally: Tally,
    /// The number of the last batch.
    pub(crate) number: u64,
}

/// What a batch changes in the tally: a row's key, and its size or that it is gone.
type Changes<'a> = Vec<(&'a [u8], Option<(usize, bool)>)>;

impl SledRows {
    /// Opens the database in `dir`, which is the store's `folder` or in it, creates it if it is not
    /// there, and reads all of it once (to count it, and to find damage now rather than later).
    pub(crate) fn open(folder: &Arc<Folder>, dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|source| folder.unwritable(source))?;
        let (witness, seen) = Witness::open(dir).map_err(|source| folder.unwritable(source))?;
        let opened = opening::open_and_read(folder, dir, cache_bytes, seen)?;
        // Also what a killed process had written and not told its witness.
        witness.saw(opened.written.number);
        witness.sync().map_err(|source| folder.unwritable(source))?;
        Ok(Self {
            tree: opened.tree,
            file: opening::sync_names(folder, dir)?,
            folder: Arc::clone(folder),
            witness,
            written: Mutex::new(opened.written),
            applying: RwLock::new(()),
        })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The tree's operations, and what they change in the tally.
    fn batch<'a>(
        &self,
        operations: &'a [Operation],
        tally: &Tally,
    ) -> Result<(sled::Batch, Changes<'a>), Failure> {
        let last: BTreeMap<&[u8], Option<&[u8]>> = operations
            .iter()
            .map(|operation| (operation.key.as_slice(), operation.value.as_deref()))
            .collect();
        let mut batch = sled::Batch::default();
        let mut changes = Vec::with_capacity(last.len());
        for (key, value) in last {
            let row_key = layout::row_key(key);
            let n_old_chunks = self.n_chunks(tally, key, &row_key)?;
            let mut n_chunks = 0;
            if let Some(value) = value {
                let (stored, chunks) = layout::encode(value);
                let mut size_bytes = row_key.len() + stored.len();
                batch.insert(row_key, stored);
                for chunk in chunks {
                    let chunk_key = layout::chunk_key(key, n_chunks);
                    size_bytes += chunk_key.len() + chunk.len();
                    batch.insert(chunk_key, chunk);
                    n_chunks += 1;
                }
                changes.push((key, Some((size_bytes, n_chunks > 0))));
            } else {
                batch.remove(row_key);
                changes.push((key, None));
            }
            for number in n_chunks..n_old_chunks {
                batch.remove(layout::chunk_key(key, number));
            }
        }
        Ok((batch, changes))
    }

    /// How many chunks the row has now. Asking the tree costs as much as writing the row, so that only
    /// rows with chunks are asked for.
    fn n_chunks(&self, tally: &Tally, key: &[u8], row_key: &[u8]) -> Result<u16, Failure> {
        if !tally.is_chunked(key) {
            return Ok(0);
        }
        match self.tree.get(row_key).map_err(failure)? {
            Some(stored) => Ok(layout::decode(&stored)?.n_chunks()),
            None => Ok(0),
        }
    }

    /// Writes and shows the operations; gives the number of the batch.
    fn write(&self, written: &mut Written, operations: &[Operation]) -> Result<(), Failure> {
        let (mut batch, changes) = self.batch(operations, &written.tally)?;
        let number = written.number + 1;
        batch.insert(layout::NUMBER, &number.to_be_bytes());
        {
            let _applying = self
                .applying
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.tree.apply_batch(batch).map_err(failure)?;
        }
        written.number = number;
        for (key, row) in changes {
            match row {
                Some((size_bytes, chunked)) => written.tally.put(key, size_bytes, chunked),
                None => written.tally.remove(key),
            }
        }
        Ok(())
    }

    fn sync_written(&self, written: &Written) -> Result<(), Failure> {
        self.tree.flush().map_err(failure)?;
        self.file
            .sync_data()
            .map_err(|error| Failure::io("cannot sync the database", &error))?;
        self.witness.saw(written.number);
        Ok(())
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

    fn slice(&self, after: Option<&[u8]>, limit_bytes: usize) -> Result<Vec<Row>, Failure> {
        let after = after.map(layout::row_key);
        let Some(range) = range(layout::ROWS, after.as_deref(), None) else {
            return Ok(Vec::new());
        };
        let _reading = self.reading();
        let mut size_bytes = 0;
        let mut slice = Vec::new();
        for pair in self.tree.range(range) {
            let (key, stored) = pair.map_err(failure)?;
            let key = layout::caller_key(&key);
            let value = self.value(&key, &stored)?;
            size_bytes += key.len() + value.len();
            slice.push((key, value));
            if size_bytes >= limit_bytes {
                break;
            }
        }
        Ok(slice)
    }

    fn apply(&self, operations: &[Operation]) -> Result<(), Failure> {
        let mut written = self.written();
        self.write(&mut written, operations)?;
        self.sync_written(&written)
    }

    fn apply_unsynced(&self, operations: &[Operation]) -> Result<(), Failure> {
        self.write(&mut self.written(), operations)
    }

    fn sync(&self) -> Result<(), Failure> {
        self.sync_written(&self.written())
    }

    fn size(&self) -> Result<RowsSize, Failure> {
        let files_bytes = self
            .folder
            .files_bytes()
            .map_err(|error| Failure::io("cannot measure the store's folder", &error))?;
        let written = self.written();
        Ok(RowsSize {
            files_bytes,
            live_bytes: written.tally.live_bytes(),
            rows: written.tally.n_rows(),
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
        let folder = Arc::new(Folder::open(dir.path()).unwrap());
        let rows = SledRows::open(&folder, &dir.path().join("rows-1"), 1 << 20).unwrap();
        let apply = |value: Option<usize>| {
            let value = value.map(|size_bytes| vec![7; size_bytes]);
            rows.apply(&[Operation {
                key: b"k".to_vec(),
                value,
            }])
            .unwrap();
            // Without the row that numbers the batches.
            rows.tree.len() - 1
        };
        assert_eq!(apply(Some(5 * layout::CHUNK_BYTES)), 1 + 5);
        assert_eq!(apply(Some(2 * layout::CHUNK_BYTES)), 1 + 2);
        assert_eq!(apply(Some(10)), 1);
        assert_eq!(apply(Some(16 * layout::CHUNK_BYTES)), 1 + 16);
        assert_eq!(apply(None), 0);
    }
}
