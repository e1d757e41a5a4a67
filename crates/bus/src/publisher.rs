//! The writing side of the log, the same on every backend.

use crate::{BoxFuture, Error, Record, Stream};

/// Appends records. Shared by all writers of a process.
pub trait Publisher: Send + Sync + 'static {
    /// Appends all of `records`, in order. They are durable, and visible to readers, when this is
    /// `Ok`; an empty append is `Ok`.
    ///
    /// On [`Error::TooLarge`] nothing was written. On any other error, and where the future is
    /// dropped, an unknown prefix may have been written or may still be: send again from the oldest
    /// record that was not acknowledged. The repeated records carry the same event ids, so the
    /// reader knows them again.
    fn append(&self, stream: Stream, records: Vec<Record>) -> BoxFuture<'_, Result<(), Error>>;

    /// `Ok` when the log answers and could take an append now.
    fn ready(&self) -> BoxFuture<'_, Result<(), Error>>;
}
