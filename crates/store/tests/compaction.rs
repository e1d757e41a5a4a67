//! Space that comes back while the store runs, with readers, commits and kills in between.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use syncbell_store::{Batch, Options, Row, Store};
use tokio::time::Instant;

const N_KEYS: u16 = 200;
const COMPACT_FROM_BYTES: u64 = 6 * 1024 * 1024;
const VALUE_BYTES: usize = 1000;
/// Tells `a_killed_writer_never_loses_or_mixes` that it is the writer, and its folder.
const WRITER_DIR: &str = "SYNCBELL_STORE_COMPACTION_DIR";
const SEED: &str = "SYNCBELL_TEST_SEED";
const N_KILLS: u64 = 12;

fn open(dir: &Path, compact_from_bytes: u64) -> Store {
    let options = Options {
        min_free_bytes: 0,
        compact_from_bytes,
        ..Options::default()
    };
    Store::open(dir, options).unwrap()
}

/// All keys at once, each with the number of the turn.
fn turn(number: u64) -> Batch {
    let mut batch = Batch::new();
    for key in 0..N_KEYS {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(VALUE_BYTES, 7);
        batch.put(key.to_be_bytes(), value);
    }
    batch
}

/// The turn that all rows are of.
fn turn_of(rows: &[Row]) -> u64 {
    let number = |(_, value): &Row| u64::from_be_bytes(value[..8].try_into().unwrap());
    let first = rows.first().map_or(0, number);
    assert!(
        rows.iter().all(|row| number(row) == first),
        "rows of several turns"
    );
    first
}

/// A closed store with turn 1, and room in its files left by rows that came and went.
async fn with_room(dir: &Path) {
    let store = open(dir, u64::MAX);
    store.commit(turn(1)).await.unwrap();
    for delete in [false, true] {
        for number in 0..20u16 {
            let mut batch = Batch::new();
            for row in 0..500u16 {
                let key = [
                    b"gone".as_slice(),
                    &number.to_be_bytes(),
                    &row.to_be_bytes(),
                ]
                .concat();
                if delete {
                    batch.delete(key);
                } else {
                    batch.put(key, vec![7; VALUE_BYTES]);
                }
            }
            store.commit(batch).await.unwrap();
        }
    }
    store.close().await.unwrap();
}

/// Commits turns until a compaction is done; gives the last one.
async fn churn_until_compacted(store: &Store, from: u64) -> u64 {
    let before = store.size().await.unwrap().compactions;
    let deadline = Instant::now() + Duration::from_mins(2);
    for number in from.. {
        store.commit(turn(number)).await.unwrap();
        if store.size().await.unwrap().compactions > before {
            return number;
        }
        assert!(Instant::now() < deadline, "it is never compacted");
    }
    unreachable!()
}

fn databases(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("rows-"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_become_small_again_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    with_room(dir.path()).await;
    let store = open(dir.path(), COMPACT_FROM_BYTES);
    assert!(store.size().await.unwrap().files_bytes > COMPACT_FROM_BYTES);
    let last = churn_until_compacted(&store, 2).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while databases(dir.path()) != ["rows-2"] {
        assert!(Instant::now() < deadline, "the old rows are never removed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let size = store.size().await.unwrap();
    assert_eq!(size.rows, u64::from(N_KEYS));
    let stored_bytes = u64::from(N_KEYS) * (VALUE_BYTES as u64 + 2 + 1 + 1);
    assert_eq!(size.live_bytes, stored_bytes);
    assert!(size.files_bytes < COMPACT_FROM_BYTES, "{size:?}");
    let rows = store.scan("", None, usize::MAX).await.unwrap();
    assert_eq!(turn_of(&rows), last);
    store.close().await.unwrap();
    let store = open(dir.path(), u64::MAX);
    assert!(store.scan("", None, usize::MAX).await.unwrap() == rows);
    assert_eq!(store.size().await.unwrap().live_bytes, stored_bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_keeps_its_rows_through_a_swap_and_does_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    with_room(dir.path()).await;
    let store = open(dir.path(), COMPACT_FROM_BYTES);
    let (begun, wait) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let of = store.clone();
    let tracker = tokio_util::task::TaskTracker::new();
    let reading = tracker.spawn(async move {
        of.read(move |reader| {
            begun.send(()).unwrap();
            released.recv().unwrap();
            let rows = reader.scan(b"", None, usize::MAX)?;
            Ok((rows, reader.get(&0u16.to_be_bytes())?))
        })
        .await
    });
    tokio::task::block_in_place(|| wait.recv().unwrap());
    let last = churn_until_compacted(&store, 2).await;
    assert_eq!(databases(dir.path()), ["rows-1", "rows-2"]);
    // A commit after the swap is not in what the reader has.
    store.commit(turn(last + 1)).await.unwrap();
    let now = store.read(|reader| reader.scan(b"", None, usize::MAX));
    assert_eq!(turn_of(&now.await.unwrap()), last + 1);
    release.send(()).unwrap();
    let (rows, first) = reading.await.unwrap().unwrap();
    assert_eq!(rows.len(), usize::from(N_KEYS));
    let seen = turn_of(&rows);
    assert!((1..=last).contains(&seen), "the old rows end at the swap");
    assert_eq!(first.unwrap(), rows[0].1);
    store.close().await.unwrap();
    assert_eq!(databases(dir.path()), ["rows-2"]);
}

/// The writer: tells each turn that is acknowledged, until it is killed.
async fn write_for_ever(dir: &Path) {
    // Always compacting: a copy begins with each opening and whenever the files have doubled.
    let store = open(dir, 0);
    let rows = store.scan("", None, usize::MAX).await.unwrap();
    let mut out = std::io::stdout().lock();
    for number in turn_of(&rows) + 1.. {
        store.commit(turn(number)).await.unwrap();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_writer_never_loses_or_mixes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(dir) = std::env::var_os(WRITER_DIR) {
        runtime.block_on(write_for_ever(Path::new(&dir)));
        return;
    }
    let seed: u64 = std::env::var(SEED).map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().unwrap(),
    );
    println!("{SEED}={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    let mut n_compacted = 0;
    for round in 0..5 * N_KILLS {
        // On a slow machine some lives are too short for a copy.
        if round >= N_KILLS && n_compacted > 1 {
            break;
        }
        // A small generator of its own: spread over the first second.
        let random =
            (seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let life = Duration::from_millis(200 + (random >> 32) % 900);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_writer_never_loses_or_mixes",
                "--nocapture",
            ])
            .env(WRITER_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "a thread of the test")]
            std::thread::sleep(life);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in told.lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                last = number.parse().unwrap();
            }
        }
        killer.join().unwrap();
        let pointer = std::fs::read_to_string(dir.path().join("current")).unwrap_or_default();
        n_compacted = n_compacted.max(
            pointer
                .trim()
                .strip_prefix("rows-")
                .map_or(0, |n| n.parse().unwrap()),
        );
        let store = open(dir.path(), u64::MAX);
        let rows = runtime.block_on(store.scan("", None, usize::MAX)).unwrap();
        let found = turn_of(&rows);
        assert!(
            found == last || found == last + 1,
            "round {round}: {last} was acknowledged, {found} is there"
        );
        last = found;
        assert_eq!(databases(dir.path()).len(), 1, "round {round}");
    }
    println!("{last} turns, database {n_compacted}");
    assert!(n_compacted > 1, "no compaction in any round");
}

/// Bytes of all files under `dir`.
fn files_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => files_bytes(&entry.path()),
            Ok(found) => found.len(),
            // The old rows may be on their way out.
            Err(_) => 0,
        })
        .sum()
}

/// Commits of many rows all over the place make the files grow by a hundred times their bytes.
#[tokio::test]
async fn the_copy_keeps_up_with_commits_that_make_the_files_grow_fast() {
    const ROWS: u64 = 80_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), COMPACT_FROM_BYTES);
    let (mut number, mut most_bytes) = (0_u64, 0);
    // Each row once, then again and again, never in the order of the keys, until a copy is done: while sled finds room in
    // its files they do not grow, and the copy takes its time.
    while number < 3 * ROWS || store.size().await.unwrap().compactions == 0 {
        assert!(number < 12 * ROWS, "it is never compacted");
        let mut batch = Batch::new();
        for _ in 0..1_000 {
            let key = (number % ROWS).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            batch.put(key.to_be_bytes(), number.to_be_bytes().repeat(12));
            number += 1;
        }
        store.commit(batch).await.unwrap();
        if number > ROWS {
            most_bytes = most_bytes.max(files_bytes(dir.path()));
        }
    }
    let size = store.size().await.unwrap();
    assert_eq!(size.rows, ROWS);
    // Three times when a copy begins, the growth until it is done, and the copy in that.
    let times = most_bytes / size.live_bytes;
    assert!(
        times < 8,
        "{times} times the live bytes: {most_bytes}, {size:?}"
    );
    store.close().await.unwrap();
}
