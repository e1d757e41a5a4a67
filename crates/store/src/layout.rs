//! How a row lies in sled's tree (formats 1 and 2), so that sled never writes a blob file.
//!
//! sled 0.34 writes whole pages (up to 17 rows, 19 after a merge of neighbours) and moves one that
//! is larger than a quarter of a segment into a file of its own, which nobody ever syncs. Measured:
//! with segments of 512 KiB, values of 16 KiB already end there. So a value over
//! [`CHUNK_BYTES`] is split over further rows, and keys are bounded too, since pages of the index
//! hold up to 257 of them.
//!
//! - `r` key → `0` value, or `1` and the value's length (`u32`, big-endian)
//! - `c` key number (`u16`, big-endian) → a chunk of it
//! - `s` → the number of the last batch (`u64`, big-endian; from format 2 on)
//!
//! Largest page: 19 rows × (4 KiB + 896 B) = 93 KiB of leaf, 258 × 910 B = 229 KiB of index; a
//! quarter of a segment of 1 MiB is 256 KiB.

use crate::rows::Failure;
use crate::{KEY_LIMIT_BYTES, VALUE_LIMIT_BYTES};

/// Size of sled's log segments, for the life of a database. One is held in memory, so it is as
/// small as the pages above allow (8 MiB, which would make chunks needless, costs 8 MiB and 25 ms
/// at each open).
pub(crate) const SEGMENT_BYTES: usize = 1024 * 1024;

/// The largest part of a value in one row of the tree.
pub(crate) const CHUNK_BYTES: usize = 4 * 1024;

const ROW: u8 = b'r';
const CHUNK: u8 = b'c';
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

// What the module doc promises about pages, checked by the compiler.
const _: () = assert!(19 * (CHUNK_BYTES + KEY_LIMIT_BYTES + 32) < SEGMENT_BYTES / 4);
const _: () = assert!(258 * (KEY_LIMIT_BYTES + 32) < SEGMENT_BYTES / 4);
const _: () = assert!(VALUE_LIMIT_BYTES / CHUNK_BYTES < u16::MAX as usize);

/// The tree's prefix of all rows.
pub(crate) const ROWS: &[u8] = &[ROW];

/// The tree's key of the last batch's number.
pub(crate) const NUMBER: &[u8] = b"s";

/// What the tree holds for a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Inline(&'a [u8]),
    /// Split over chunks; its length in bytes.
    Chunked(usize),
}

pub(crate) fn row_key(key: &[u8]) -> Vec<u8> {
    [ROWS, key].concat()
}

/// The key as the caller knows it.
pub(crate) fn caller_key(row_key: &[u8]) -> Vec<u8> {
    row_key.get(1..).unwrap_or_default().to_vec()
}

pub(crate) fn chunk_key(key: &[u8], number: u16) -> Vec<u8> {
    [&[CHUNK], key, &number.to_be_bytes()].concat()
}

/// What the row itself holds, and the chunks that go with it.
pub(crate) fn encode(value: &[u8]) -> (Vec<u8>, std::slice::Chunks<'_, u8>) {
    if value.len() <= CHUNK_BYTES {
        return ([&[INLINE], value].concat(), [].chunks(CHUNK_BYTES));
    }
    let length = u32::try_from(value.len()).expect("commit refuses values over 64 KiB");
    (
        [&[CHUNKED][..], &length.to_be_bytes()].concat(),
        value.chunks(CHUNK_BYTES),
    )
}

pub(crate) fn decode(stored: &[u8]) -> Result<Stored<'_>, Failure> {
    match stored {
        [INLINE, value @ ..] => Ok(Stored::Inline(value)),
        [CHUNKED, length @ ..] => {
            let length = length
                .try_into()
                .map_err(|_| damaged("its length is cut"))?;
            Ok(Stored::Chunked(u32::from_be_bytes(length) as usize))
        }
        _ => Err(damaged("its first byte is unknown")),
    }
}

impl Stored<'_> {
    /// How many chunks belong to the row.
    pub(crate) fn n_chunks(&self) -> u16 {
        match self {
            Self::Inline(_) => 0,
            Self::Chunked(length) => {
                u16::try_from(length.div_ceil(CHUNK_BYTES)).unwrap_or(u16::MAX)
            }
        }
    }
}

pub(crate) fn damaged(what: &str) -> Failure {
    Failure::damaged(format!("a row is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_back_from_its_row_and_chunks() {
        for n_bytes in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, VALUE_LIMIT_BYTES] {
            let value: Vec<u8> = (0..=250).cycle().take(n_bytes).collect();
            let (stored, chunks) = encode(&value);
            let chunks: Vec<&[u8]> = chunks.collect();
            match decode(&stored).unwrap() {
                Stored::Inline(inline) => {
                    assert_eq!(inline, value);
                    assert!(chunks.is_empty());
                }
                chunked @ Stored::Chunked(length) => {
                    assert_eq!(length, n_bytes);
                    assert_eq!(usize::from(chunked.n_chunks()), chunks.len());
                    assert_eq!(chunks.concat(), value);
                }
            }
        }
    }

    #[test]
    fn damaged_rows_are_refused() {
        assert!(decode(b"").is_err());
        assert!(decode(&[9, 1]).is_err());
        assert!(decode(&[CHUNKED, 0, 1]).is_err());
    }

    #[test]
    fn chunks_of_two_keys_never_share_a_key() {
        assert_ne!(chunk_key(b"a", 0x0100), chunk_key(b"a\x01", 0));
        assert_ne!(chunk_key(b"a\x00", 1), chunk_key(b"a", 1));
    }
}
