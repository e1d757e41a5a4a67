//! How the log can fail, shaped by what the caller does next.

use std::path::PathBuf;

use crate::Stream;

/// Why the log did not do what it was asked. [`Error::retry`] says whether to ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or another handle of this one, has the folder open. The process stops with
    /// "try again" (exit 75).
    #[error("cannot open the log in {}: another process has it locked", dir.display())]
    Locked {
        /// The folder of the log.
        dir: PathBuf,
    },
    /// The reader stands where the log does not reach: read-out segments were unlinked, or the log
    /// lost its end. The reader decides where to start again, and tells.
    #[error(
        "cannot read {stream} partition {partition} at {wanted}: it holds {start} to before {end}"
    )]
    OutOfRange {
        /// The stream.
        stream: Stream,
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        wanted: u64,
        /// The oldest offset held.
        start: u64,
        /// One past the newest offset held.
        end: u64,
    },
    /// A disk or a broker does not answer, or is full. Ask again later, with backoff: the log
    /// itself is whole.
    #[error("the log is unavailable: {what}")]
    Unavailable {
        /// The action and its cause.
        what: String,
    },
    /// What the operator set cannot be used. The process stops with "configuration" (exit 78).
    #[error("cannot use the settings of the event log: {what}")]
    Options {
        /// Which one, and what is wrong with it. No secrets.
        what: String,
    },
    /// A record over the limit. Nothing of the append was written; drop or shrink that record.
    #[error("cannot append to {stream}: a record of {size_bytes} bytes is over {limit_bytes}")]
    TooLarge {
        /// The stream.
        stream: Stream,
        /// What the record would take.
        size_bytes: usize,
        /// What a record may take.
        limit_bytes: usize,
    },
    /// Durable bytes are not what was written. A human has to look at the file; nothing of it is
    /// changed or skipped.
    #[error("cannot read {} at byte {byte}: {what}", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it, from 0.
        byte: u64,
        /// What was found there.
        what: String,
    },
    /// The log was closed. The caller is being shut down too.
    #[error("the log is closed")]
    Closed,
}

/// What the caller does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call may succeed later.
    Later,
    /// The same call will fail again.
    Never,
}

impl Error {
    /// Whether to ask again.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Locked { .. } | Error::Unavailable { .. } => Retry::Later,
            Error::OutOfRange { .. }
            | Error::Options { .. }
            | Error::TooLarge { .. }
            | Error::Corrupt { .. }
            | Error::Closed => Retry::Never,
        }
    }

    /// An I/O error behind an action that names its object.
    pub(crate) fn io(action: impl std::fmt::Display, source: &std::io::Error) -> Error {
        Error::Unavailable {
            what: format!("{action}: {source}"),
        }
    }
}
