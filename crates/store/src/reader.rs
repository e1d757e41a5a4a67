//! Reading several rows on a blocking thread.

use std::sync::Arc;

use crate::rows::{Failure, Rows};
use crate::{Error, Row};

/// Reads rows, inside the closure given to [`Store::read`](crate::Store::read).
///
/// Each call sees a batch whole or not at all; two calls may see the store before and after a
/// commit. A reader may see rows of a commit that is not answered yet.
pub struct Reader {
    pub(crate) rows: Arc<dyn Rows>,
}

impl Reader {
    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.told(self.rows.get(key))
    }

    /// At most `limit` rows whose keys start with `prefix`, in key order, strictly after `after`
    /// (from the first when it is `None`).
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.told(self.rows.scan(prefix, after, limit))
    }

    /// At most `limit` rows whose keys start with `prefix`, in descending key order, strictly
    /// before `before` (from the last when it is `None`).
    pub fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.told(self.rows.scan_back(prefix, before, limit))
    }

    fn told<T>(&self, read: Result<T, Failure>) -> Result<T, Error> {
        read.map_err(|failure| failure.told(self.rows.dir()))
    }
}
