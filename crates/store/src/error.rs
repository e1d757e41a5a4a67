//! What can go wrong, shaped by what the caller does next.
//!
//! In: causes from the file system and from sled. Out: one small enum. Must never happen: a value
//! (it may hold anything) in an error's text; keys are shown, escaped.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a call on the store failed. [`Error::retry`] says what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another store, of this process or of another one, has the folder open. Choose another
    /// folder, or stop the other process.
    #[error("cannot open store {dir}: another process has it open", dir = dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// A newer version of this program wrote the folder. Run that version.
    #[error(
        "cannot open store {dir}: it has format {found}, this version knows up to {known}",
        dir = dir.display()
    )]
    NewerFormat {
        /// The store's folder.
        dir: PathBuf,
        /// The format number found in the folder.
        found: u32,
        /// The newest format number this version can read.
        known: u32,
    },
    /// The folder cannot be created or written. Correct its path, owner or mount.
    #[error("cannot write in store folder {dir}: {source}{hint}", dir = dir.display())]
    Unwritable {
        /// The store's folder.
        dir: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
        /// Whose it is and what to do, as the rest of the sentence; empty where that is not known.
        hint: String,
    },
    /// The files are damaged. At open: [`Store::open_or_start_over`](crate::Store::open_or_start_over)
    /// sets them aside. Later: stop the process; the next open reads everything and finds it too.
    #[error("store {dir} is damaged: {what}", dir = dir.display())]
    Corrupt {
        /// The store's folder.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// The store broke and could not be opened again, or an input or output error stays. Nothing
    /// that was acknowledged is lost: stop the process and start it again.
    #[error("store failed: {what}")]
    Failed {
        /// What failed, with its cause.
        what: String,
    },
    /// A value or a key is larger than it may be; nothing of the batch was written. Split it.
    #[error("cannot write row \"{key}\": {size_bytes} bytes are over the limit of {limit}")]
    TooLarge {
        /// The row's key, escaped so that it can be printed.
        key: String,
        /// Size of the value (or of the key) in bytes.
        size_bytes: usize,
        /// The largest size allowed, in bytes.
        limit: usize,
    },
    /// The disk is too full; nothing of the batch was written. Wait and send it again: it works
    /// again by itself when there is space.
    #[error("store takes no rows: {free_bytes} bytes are free on its disk, it needs {min_bytes}")]
    DiskFull {
        /// Free space on the store's disk in bytes, as last looked at.
        free_bytes: u64,
        /// The least free space at which the store takes rows, in bytes.
        min_bytes: u64,
    },
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

/// What the caller of a failed call does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call can succeed later, with no change: wait and call again.
    Later,
    /// The same call will fail again: see the error's own documentation.
    Never,
}

impl Error {
    /// Whether the same call can succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::DiskFull { .. } => Retry::Later,
            Self::Locked { .. }
            | Self::NewerFormat { .. }
            | Self::Unwritable { .. }
            | Self::Corrupt { .. }
            | Self::Failed { .. }
            | Self::TooLarge { .. }
            | Self::Closed => Retry::Never,
        }
    }
}
