#![doc = include_str!("../README.md")]

mod batch;
mod store;
mod writer;
mod reader;
mod rows;
mod disk;
mod opening;
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
}

impl Default for Options {
    /// A cache of 8 MiB; 256 MiB of the disk are kept free.
    fn default() -> Self {
        Self {
            cache_bytes: 8 * 1024 * 1024,
            min_free_bytes: 256 * 1024 * 1024,
        }
    }
}

/// How large a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Length of all files in the folder, in bytes (of keys and values, in memory).
    pub files_bytes: u64,
    /// Number of rows.
    pub rows: u64,
}
