//! The twin in memory, for tests: the same meaning, nothing on the disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::Row;
use crate::batch::Operation;
use crate::rows::{Failure, Rows, RowsSize, range};

#[derive(Default)]
pub(crate) struct MemoryRows {
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryRows {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.read().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Failure> {
        let Some(range) = range(prefix, after, None) else {
            return Ok(Vec::new());
        };
        let rows = self.read();
        Ok(rows
            .range(range)
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        let Some(range) = range(prefix, None, before) else {
            return Ok(Vec::new());
        };
        let rows = self.read();
        Ok(rows
            .range(range)
            .rev()
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }

    fn apply(&self, operations: &[Operation]) -> Result<(), Failure> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for Operation { key, value } in operations {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        Ok(())
    }

    fn slice(&self, after: Option<&[u8]>, limit_bytes: usize) -> Result<Vec<Row>, Failure> {
        let mut size_bytes = 0;
        let mut slice = self.scan(b"", after, usize::MAX)?;
        slice.retain(|(key, value)| {
            let fits = size_bytes < limit_bytes;
            size_bytes += key.len() + value.len();
            fits
        });
        Ok(slice)
    }

    fn apply_unsynced(&self, operations: &[Operation]) -> Result<(), Failure> {
        self.apply(operations)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn size(&self) -> Result<RowsSize, Failure> {
        let rows = self.read();
        let bytes: usize = rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        Ok(RowsSize {
            files_bytes: bytes as u64,
            live_bytes: bytes as u64,
            rows: rows.len() as u64,
        })
    }

    fn dir(&self) -> &Path {
        Path::new("")
    }
}
