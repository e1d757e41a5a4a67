#![doc = include_str!("../README.md")]

mod batch;
mod store;
mod writer;
mod reader;
mod rows;
mod copying;
mod place;
mod disk;
mod tally;
mod witness;
mod opening;
mod reading;
mod layout;
mod folder;
mod set_aside;
mod memory;
mod error;

pub use batch::Batch;
pub use error::{Error, Retry};
pub use reader::Reader;
pub use set_aside::SetAside;
pub use store::Store;

/// The largest value a row may have, in bytes.
pub const VALUE_LIMIT_BYTES: usize = 64 * 1024;

/// The longest key a row may have, in bytes: so long that sled's pages stay within its log.
pub const KEY_LIMIT_BYTES: usize = 896;

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for pages that were read, in bytes.
    pub cache_bytes: u64,
    /// Below this much free space on the disk, in bytes, commits are refused; 0 never refuses.
    pub min_free_bytes: u64,
    /// Files of less than this, in bytes, are never compacted.
    pub compact_from_bytes: u64,
}

impl Default for Options {
    /// A cache of 3 MiB; 256 MiB of the disk are kept free; from 16 MiB on files
    /// are compacted that have more than three times what lives in them.
    fn default() -> Self {
        Self {
            cache_bytes: 3 * 1024 * 1024,
            min_free_bytes: 256 * 1024 * 1024,
            compact_from_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How large a store is, and how it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Length of all files in the folder, in bytes (of keys and values, in memory).
    pub files_bytes: u64,
    /// Keys and values as they are stored, in bytes.
    pub live_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// How often the files were compacted since the store was opened.
    pub compactions: u64,
    /// Free space on its disk, in bytes; `None` where that is not known.
    pub free_bytes: Option<u64>,
    /// False while commits are refused, since too little of the disk is free.
    pub takes_rows: bool,
}
