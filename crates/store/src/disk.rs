//! Rows in sled.
//!
//! In: a locked folder, operations. Out: rows; an `apply` that is on the disk when it returns.
//! Must never happen: `flush_async` (concurrent calls hang), a page over a quarter of a segment
//! (see [`layout`](crate::layout)), a panic of sled that reaches the caller of `open`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::batch::Operation;
use crate::folder::Folder;
use crate::layout::{self, Stored};
use crate::rows::{Failure, Rows, is_full, range};
use crate::{Error, Row, Size};

/// How often and how long to wait for the last of sled's own threads to let go of a database that
/// this process just closed. Another process cannot hold it: we hold the folder's lock.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

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
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let tree = open_tree(folder, cache_bytes)?;
            let mut n_rows = 0;
            for key in tree.scan_prefix(layout::ROWS).keys() {
                key?;
                n_rows += 1;
            }
            Ok((tree, n_rows))
        }));
        let (tree, n_rows) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(open_error(folder, error)),
            Err(panic) => return Err(folder.corrupt(panic_text(panic.as_ref()))),
        };
        let file = sync_names(folder).map_err(|error| open_error(folder, error.into()))?;
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
}

fn open_tree(folder: &Folder, cache_bytes: u64) -> sled::Result<sled::Db> {
    let config = sled::Config::new()
        .path(folder.dir())
        .mode(sled::Mode::LowSpace)
        .cache_capacity(cache_bytes)
        .segment_size(layout::SEGMENT_BYTES)
        // Every commit flushes. Measured with churn: the background thread (the only one that
        // moves pages out of nearly empty segments) did not make the files smaller.
        .flush_every_ms(None);
    let mut tries = 0;
    loop {
        match config.open() {
            Err(error) if is_sled_lock(&error) && tries < REOPEN_TRIES => {
                tries += 1;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "open is called on blocking threads"
                )]
                std::thread::sleep(REOPEN_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Makes the database's own files and their names durable, and gives a handle to sync it by.
fn sync_names(folder: &Folder) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .open(folder.database_file())?;
    file.sync_all()?;
    File::open(folder.dir().join("conf"))?.sync_all()?;
    folder.sync()?;
    Ok(file)
}

/// sled has no error kind of its own for its lock.
fn is_sled_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().contains("could not acquire lock"))
}

fn open_error(folder: &Folder, error: sled::Error) -> Error {
    use io::ErrorKind::{
        InvalidData, InvalidInput, PermissionDenied, ReadOnlyFilesystem, UnexpectedEof,
    };

    let dir = folder.dir().to_owned();
    if is_sled_lock(&error) {
        return Error::Locked { dir };
    }
    match error {
        sled::Error::Io(source)
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem)
                || is_full(&source) =>
        {
            Error::Unwritable {
                dir,
                source: Arc::new(source),
            }
        }
        // Damage must show in what was read; an input or output error may pass.
        sled::Error::Io(source)
            if !matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
        {
            Error::Failed {
                what: format!("cannot open {}: {source}", dir.display()),
            }
        }
        error => Error::Corrupt {
            dir,
            what: error.to_string(),
        },
    }
}

fn failure(error: sled::Error) -> Failure {
    match error {
        sled::Error::Io(source) => Failure::io("input or output of the database", &source),
        error => Failure {
            full: false,
            what: error.to_string(),
        },
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
