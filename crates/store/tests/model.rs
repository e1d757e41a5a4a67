//! Random commits and reopenings on sled against a map.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use syncbell_store::{Batch, Options, Row, Store};
use tokio::runtime::Runtime;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key, and its value or `None` to delete it.
type Operation = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone)]
enum Step {
    /// Batches, one after another.
    Commit(Vec<Vec<Operation>>),
    Scan {
        prefix: Vec<u8>,
        bound: Option<Vec<u8>>,
        limit: usize,
    },
    Close,
    Drop,
}

/// Few keys, so that they meet; with bytes at the ends of the range.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xfe), Just(0xff)];
    prop::collection::vec(byte, 0..4)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let size_bytes = prop_oneof![8 => 0..700usize, 2 => 4000..9000usize, 1 => 9000..=65_536usize];
    (size_bytes, any::<u8>()).prop_map(|(size_bytes, byte)| vec![byte; size_bytes])
}

fn step() -> impl Strategy<Value = Step> {
    let operation = (key(), prop::option::weighted(0.7, value()));
    let batch = prop::collection::vec(operation, 0..20);
    prop_oneof![
        8 => prop::collection::vec(batch, 1..4).prop_map(Step::Commit),
        4 => (key(), prop::option::of(key()), 0..30usize)
            .prop_map(|(prefix, bound, limit)| Step::Scan { prefix, bound, limit }),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
    ]
}

/// With compactions, the first commit after an opening begins one, which goes on between the others.
fn open(dir: &Path, compacts: bool) -> Store {
    let compact_from_bytes = if compacts { 0 } else { u64::MAX };
    Store::open(
        dir,
        Options {
            min_free_bytes: 0,
            compact_from_bytes,
            ..Options::default()
        },
    )
    .unwrap()
}

/// Blob files in all databases of the folder.
fn n_blobs(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let databases = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    databases
        .filter_map(|database| std::fs::read_dir(database.path().join("blobs")).ok())
        .map(Iterator::count)
        .sum()
}

fn commit(runtime: &Runtime, store: &Store, model: &mut Model, batches: Vec<Vec<Operation>>) {
    for operations in batches {
        let mut batch = Batch::new();
        for (key, value) in operations {
            if let Some(value) = value {
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            } else {
                batch.delete(key.clone());
                model.remove(&key);
            }
        }
        runtime.block_on(store.commit(batch)).unwrap();
    }
}

fn scan(
    runtime: &Runtime,
    store: &Store,
    model: &Model,
    prefix: &[u8],
    bound: Option<&[u8]>,
    limit: usize,
) {
    let row = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    let under = || model.iter().filter(|(key, _)| key.starts_with(prefix));
    let after: Vec<Row> = under()
        .filter(|(key, _)| bound.is_none_or(|bound| key.as_slice() > bound))
        .take(limit)
        .map(row)
        .collect();
    let before: Vec<Row> = under()
        .rev()
        .filter(|(key, _)| bound.is_none_or(|bound| key.as_slice() < bound))
        .take(limit)
        .map(row)
        .collect();
    let found = runtime
        .block_on(store.scan(prefix, bound.map(<[u8]>::to_vec), limit))
        .unwrap();
    assert!(
        found == after,
        "a scan of {prefix:?} after {bound:?} differs"
    );
    let (prefix, bound) = (prefix.to_vec(), bound.map(<[u8]>::to_vec));
    let read = store.read(move |reader| reader.scan_back(&prefix, bound.as_deref(), limit));
    assert!(
        runtime.block_on(read).unwrap() == before,
        "a scan back differs"
    );
}

fn compare(runtime: &Runtime, store: &Store, model: &Model) {
    scan(runtime, store, model, b"", None, usize::MAX);
    let size = runtime.block_on(store.size()).unwrap();
    assert_eq!(size.rows, model.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sled_is_a_map_that_survives_reopening(
        steps in prop::collection::vec(step(), 1..40),
        compacts in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let mut store = open(dir.path(), compacts);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Commit(batches) => commit(&runtime, &store, &mut model, batches),
                Step::Scan { prefix, bound, limit } => {
                    scan(&runtime, &store, &model, &prefix, bound.as_deref(), limit);
                }
                Step::Close => {
                    runtime.block_on(store.close()).unwrap();
                    store = open(dir.path(), compacts);
                    compare(&runtime, &store, &model);
                }
                Step::Drop => {
                    drop(store);
                    store = open(dir.path(), compacts);
                    compare(&runtime, &store, &model);
                }
            }
        }
        compare(&runtime, &store, &model);
        prop_assert_eq!(n_blobs(dir.path()), 0, "sled wrote blob files, which nobody syncs");
    }
}
