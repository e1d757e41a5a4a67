//! Reading a tree once from its first row to its last, at an open, with several threads.
//!
//! In: a tree. Out: how much is in it, or what of it cannot be read. Its keys are cut into ranges, without knowing how
//! many rows lie in each: whoever is done with one takes the next. Must never happen: a row that is in no range, or
//! a panic of sled that is not the caller's to catch.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::Written;
use crate::layout::{self, Stored};
use crate::rows::Failure;
use crate::tally::{Entry, Tally};

/// More wait for the disk.
const THREADS_LIMIT: usize = 4;
/// So often a range of keys is halved: up to 256 of them, as rows lie close together under some prefixes.
const HALVINGS: usize = 8;

/// Why a tree could not be read to its end.
pub(crate) enum Unread {
    Sled(sled::Error),
    Row(Failure),
}

impl From<sled::Error> for Unread {
    fn from(error: sled::Error) -> Self {
        Self::Sled(error)
    }
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Row(failure)
    }
}

/// The first and the last key of a piece of the tree.
type Range = (sled::IVec, sled::IVec);

/// Counts the rows, and checks that each can be read: that its chunks are all there, too.
pub(crate) fn read(tree: &sled::Db) -> Result<Written, Unread> {
    let mut written = Written::default();
    let ranges = ranges(tree)?;
    let (tally, next) = (&written.tally, &AtomicUsize::new(0));
    let read_some = || {
        let mut entries = Vec::new();
        while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            read_range(tree, range, tally, &mut entries)
                // What comes behind need not be read.
                .inspect_err(|_| next.store(ranges.len(), Ordering::Relaxed))?;
        }
        Ok(entries)
    };
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let n_threads = n_threads.min(THREADS_LIMIT).min(ranges.len());
    let found: Vec<Result<Vec<Entry>, Unread>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(read_some)).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        // All of them end before the first panic goes on.
        let joined: Vec<_> = joined.collect();
        let found = joined
            .into_iter()
            .map(|one| one.unwrap_or_else(|panic| resume_unwind(panic)));
        found.collect()
    });
    for entries in found {
        written.tally.put_all(&entries?);
    }
    if let Some(number) = tree.get(layout::NUMBER)? {
        let number = number.as_ref().try_into();
        let number = number.map_err(|_| layout::damaged("the number of the last batch is cut"))?;
        written.number = u64::from_be_bytes(number);
    }
    Ok(written)
}

/// Ranges that hold every row, in order.
fn ranges(tree: &sled::Db) -> sled::Result<Vec<Range>> {
    let mut rows = tree.scan_prefix(layout::ROWS);
    let Some(first) = rows.next() else {
        return Ok(Vec::new());
    };
    let (first, _) = first?;
    let last = match tree.scan_prefix(layout::ROWS).next_back() {
        Some(last) => last?.0,
        None => first.clone(),
    };
    let mut ranges = vec![(first, last)];
    for _ in 0..HALVINGS {
        let mut halves = Vec::with_capacity(2 * ranges.len());
        for range in ranges {
            halves.extend(halve(tree, range)?);
        }
        ranges = halves;
    }
    Ok(ranges)
}

/// The same rows in two ranges, where there is a key between its ends.
fn halve(tree: &sled::Db, range: Range) -> sled::Result<Vec<Range>> {
    let (first, last) = &range;
    let Some(middle) = middle(first, last) else {
        return Ok(vec![range]);
    };
    let middle = middle.as_slice();
    let before = tree.range(&first[..]..middle).next_back();
    let behind = tree.range(middle..=&last[..]).next();
    match (before.transpose()?, behind.transpose()?) {
        (Some((before, _)), Some((behind, _))) => {
            Ok(vec![(first.clone(), before), (behind, last.clone())])
        }
        _ => Ok(vec![range]),
    }
}

/// A key behind `first` and before `last`, about half way; none where they are one or nearly so.
fn middle(first: &[u8], last: &[u8]) -> Option<Vec<u8>> {
    let same = first
        .iter()
        .zip(last)
        .take_while(|(one, other)| one == other);
    let n_same = same.count();
    let number = |key: &[u8]| {
        let mut bytes = [0; 8];
        for (byte, of_key) in bytes.iter_mut().zip(&key[n_same..]) {
            *byte = *of_key;
        }
        u64::from_be_bytes(bytes)
    };
    let (low, high) = (number(first), number(last));
    let middle = low.checked_add(high.checked_sub(low)? / 2)?;
    (low < middle).then(|| [&first[..n_same], &middle.to_be_bytes()].concat())
}

fn read_range(
    tree: &sled::Db,
    (first, last): &Range,
    tally: &Tally,
    entries: &mut Vec<Entry>,
) -> Result<(), Unread> {
    for pair in tree.range(&first[..]..=&last[..]) {
        let (row_key, stored) = pair?;
        let key = &row_key[layout::ROWS.len()..];
        let mut size_bytes = row_key.len() + stored.len();
        let row = layout::decode(&stored)?;
        let mut chunks_bytes = 0;
        for number in 0..row.n_chunks() {
            let chunk_key = layout::chunk_key(key, number);
            let chunk = tree.get(&chunk_key)?;
            let chunk = chunk.ok_or_else(|| layout::damaged("a chunk is missing"))?;
            chunks_bytes += chunk.len();
            size_bytes += chunk_key.len() + chunk.len();
        }
        match row {
            Stored::Chunked(length_bytes) if length_bytes != chunks_bytes => {
                return Err(layout::damaged("a chunk is cut").into());
            }
            _ => entries.push(tally.entry_of(key, size_bytes, row.n_chunks() > 0)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_ranges_hold_each_row_once_and_in_order(
            mut keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..12), 0..60),
            numbers in prop::collection::btree_set(0..5_000_u32, 0..200),
        ) {
            keys.extend(numbers.iter().map(|number| format!("c/{number:010}").into_bytes()));
            let tree = sled::Config::new().temporary(true).open().unwrap();
            for key in &keys {
                tree.insert(layout::row_key(key), layout::encode(b"v").0).unwrap();
            }
            tree.insert(layout::NUMBER, &7_u64.to_be_bytes()).unwrap();
            let ranges = ranges(&tree).unwrap();
            let rows = ranges.iter().flat_map(|(first, last)| tree.range(&first[..]..=&last[..]).keys());
            let read_keys: Vec<_> = rows.map(|key| layout::caller_key(&key.unwrap())).collect();
            let expected: Vec<_> = keys.iter().cloned().collect();
            prop_assert_eq!(read_keys, expected);
            let Ok(written) = read(&tree) else { panic!("all can be read") };
            prop_assert_eq!(written.tally.n_rows(), keys.len() as u64);
            prop_assert_eq!(written.number, 7);
        }
    }

    #[test]
    fn rows_under_numbers_that_grow_are_spread_over_many_ranges() {
        let tree = sled::Config::new().temporary(true).open().unwrap();
        for number in 0..10_000_u32 {
            let key = format!("c/{number:010}");
            tree.insert(layout::row_key(key.as_bytes()), layout::encode(b"v").0)
                .unwrap();
        }
        let ranges = ranges(&tree).unwrap();
        let sizes = ranges
            .iter()
            .map(|(first, last)| tree.range(&first[..]..=&last[..]).count());
        let largest = sizes.max().unwrap();
        assert!(
            ranges.len() > 50 && largest < 1_000,
            "{} ranges, {largest} rows",
            ranges.len()
        );
    }
}
