//! The reading side of the log, the same on every backend.

use crate::{BoxFuture, Error, Next, Read};

/// One reader of one stream. It is told where to start and keeps its own position; two readers
/// know nothing of each other.
pub trait Subscriber: Send + 'static {
    /// Waits for at least one record and gives at most `max` of them (0 counts as 1), in order
    /// within a partition, each once. A batch stays near 1 MiB.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has consumed nothing; the next call
    /// goes on at the same record.
    ///
    /// After [`Error::OutOfRange`], [`Error::Corrupt`] or [`Error::Closed`] the reader stays where it
    /// is; subscribe again to go on elsewhere.
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Read>, Error>>;

    /// This reader has durably recorded everything before `next` and will never ask for it again.
    /// The embedded log may then unlink it; on Kafka it is the group offset that lag tools show. Not
    /// where the reader starts again: that is a row of its own ledger.
    fn acknowledge(&mut self, next: &Next) -> BoxFuture<'_, Result<(), Error>>;

    /// The end of the stream now, for lag and for reading up to it.
    fn ends(&self) -> BoxFuture<'_, Result<Next, Error>>;
}
