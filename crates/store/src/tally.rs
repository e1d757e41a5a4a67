//! How many rows live and how large they are, without asking the database.
//!
//! In: each row's size as it is put, removed, or found at open. Out: counts. 8 bytes a row (11 to 20 with
//! the table around them): the hash of its key, whether it has chunks, its size. Two keys that share
//! 46 bits of hash are one here: the counts are then wrong by a row, and a chunk may stay behind that
//! nobody reads. Must never happen: anything that is written or read depending on it otherwise.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};

const SIZE_BITS: u32 = 17;
const CHUNKED_BIT: u64 = 1 << SIZE_BITS;
const SIZE_MASK: u64 = CHUNKED_BIT - 1;
const HASH_SHIFT: u32 = SIZE_BITS + 1;

// The largest row: its key, its value, and its key again with each chunk.
const _: () = assert!(
    (crate::KEY_LIMIT_BYTES + 8) * (2 + crate::VALUE_LIMIT_BYTES / crate::layout::CHUNK_BYTES)
        + crate::VALUE_LIMIT_BYTES
        < 1 << SIZE_BITS
);

#[derive(Default)]
pub(crate) struct Tally {
    rows: HashSet<Entry, BuildHasherDefault<Mix>>,
    hasher: RandomState,
    live_bytes: u64,
}

/// One row; equal to every other entry of its key.
#[derive(Clone, Copy)]
pub(crate) struct Entry(u64);

impl Tally {
    /// The row of `key` now takes `size_bytes` in the database.
    pub(crate) fn put(&mut self, key: &[u8], size_bytes: usize, chunked: bool) {
        self.put_entry(self.entry_of(key, size_bytes, chunked));
    }

    /// What [`Tally::put`] notes of a row, to be put with [`Tally::put_all`].
    pub(crate) fn entry_of(&self, key: &[u8], size_bytes: usize, chunked: bool) -> Entry {
        let size = (size_bytes as u64).min(SIZE_MASK);
        let chunked = if chunked { CHUNKED_BIT } else { 0 };
        Entry(self.entry(key).0 | chunked | size)
    }

    /// Puts many rows at once.
    pub(crate) fn put_all(&mut self, entries: &[Entry]) {
        self.rows.reserve(entries.len());
        for entry in entries {
            self.put_entry(*entry);
        }
    }

    fn put_entry(&mut self, entry: Entry) {
        let old = self.rows.replace(entry);
        self.live_bytes += entry.size_bytes();
        self.live_bytes -= old.map_or(0, Entry::size_bytes);
    }

    /// There is no row of `key` any more.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let old = self.rows.take(&self.entry(key));
        self.live_bytes -= old.map_or(0, Entry::size_bytes);
    }

    /// Whether the row of `key` has chunks.
    pub(crate) fn is_chunked(&self, key: &[u8]) -> bool {
        let known = self.rows.get(&self.entry(key));
        known.is_some_and(|entry| entry.0 & CHUNKED_BIT != 0)
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Keys and values, with those of chunks.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn entry(&self, key: &[u8]) -> Entry {
        Entry(self.hasher.hash_one(key) >> HASH_SHIFT << HASH_SHIFT)
    }
}

impl Entry {
    fn size_bytes(self) -> u64 {
        self.0 & SIZE_MASK
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 >> HASH_SHIFT == other.0 >> HASH_SHIFT
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 >> HASH_SHIFT);
    }
}

/// Spreads bits that are a hash already over the whole word.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_once_with_their_last_size() {
        let mut tally = Tally::default();
        tally.put(b"a", 100, false);
        tally.put(b"b", 70_000, true);
        tally.put(b"a", 30, false);
        assert_eq!((tally.n_rows(), tally.live_bytes()), (2, 70_030));
        assert!(tally.is_chunked(b"b"));
        assert!(!tally.is_chunked(b"a"));
        assert!(!tally.is_chunked(b"c"));
        tally.remove(b"b");
        tally.remove(b"c");
        assert_eq!((tally.n_rows(), tally.live_bytes()), (1, 30));
        assert!(!tally.is_chunked(b"b"));
    }

    #[test]
    fn a_hundred_thousand_rows_are_told_apart() {
        let mut tally = Tally::default();
        for number in 0..100_000u32 {
            tally.put(&number.to_be_bytes(), 10, number % 7 == 0);
        }
        assert_eq!((tally.n_rows(), tally.live_bytes()), (100_000, 1_000_000));
        for number in 0..100_000u32 {
            assert_eq!(tally.is_chunked(&number.to_be_bytes()), number % 7 == 0);
        }
    }
}
