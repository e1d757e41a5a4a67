//! Files that are cut or changed: what was acknowledged is there, or the store says that it is damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]
#![expect(clippy::print_stdout, reason = "the seed and the ledger of a run")]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use syncbell_store::{Batch, Error, Options, Row, Store};
use tokio::runtime::Runtime;

const SEED: &str = "SYNCBELL_TEST_SEED";
const N_COMMITS: u8 = 40;
/// No opening takes that long, unless it hangs.
const WAIT: Duration = Duration::from_mins(1);
const OPTIONS: Options = Options {
    cache_bytes: 1 << 20,
    min_free_bytes: 0,
    compact_from_bytes: u64::MAX,
};

/// A closed store, and its rows after each commit.
struct Whole {
    dir: PathBuf,
    states: Vec<Vec<Row>>,
}

/// How often what was seen.
#[derive(Debug, Default)]
struct Ledger {
    intact: usize,
    /// sled noticed, or what we keep beside it.
    corrupt: usize,
    /// sled noticed nothing; the number of the last batch did.
    corrupt_by_witness: usize,
    newer: usize,
    older: usize,
}

fn whole(runtime: &Runtime, parent: &Path) -> Whole {
    let dir = parent.join("whole");
    let mut store = Store::open(&dir, OPTIONS).unwrap();
    let mut states = vec![Vec::new()];
    for number in 0..N_COMMITS {
        let mut batch = Batch::new();
        batch.put([number % 16], vec![number; 300]);
        batch.put([100], vec![number; if number % 8 == 0 { 9000 } else { 50 }]);
        if number % 5 == 0 {
            batch.delete([number % 16 + 1]);
        }
        runtime.block_on(store.commit(batch)).unwrap();
        states.push(runtime.block_on(store.scan("", None, usize::MAX)).unwrap());
        if number == N_COMMITS / 2 {
            // sled writes a snapshot at each opening: half of the log is before it.
            runtime.block_on(store.close()).unwrap();
            store = Store::open(&dir, OPTIONS).unwrap();
        }
    }
    runtime.block_on(store.close()).unwrap();
    Whole { dir, states }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files of the folder but the lock, as paths in it, and their content.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                let content = std::fs::read(&path).unwrap();
                found.push((path.strip_prefix(dir).unwrap().to_owned(), content));
            }
        }
    }
    found.sort();
    found
}

impl Whole {
    /// Opens a copy in which `file` has `content`, on a thread of its own: a hang must show.
    fn check(&self, ledger: &mut Ledger, what: &str, file: &Path, content: &[u8]) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("store");
        copy_folder(&self.dir, &dir);
        std::fs::write(dir.join(file), content).unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let opened = Store::open(&dir, OPTIONS).map(|store| {
                let rows = runtime.block_on(store.scan("", None, usize::MAX));
                drop(store);
                rows
            });
            tell.send(opened).unwrap();
        });
        let opened = told.recv_timeout(WAIT);
        let opened = opened.unwrap_or_else(|error| panic!("{what}: it hangs or panics: {error}"));
        match opened {
            Err(Error::Corrupt { what, .. }) if what.contains("are missing at its end") => {
                ledger.corrupt_by_witness += 1;
            }
            Err(Error::Corrupt { .. }) => ledger.corrupt += 1,
            Err(Error::NewerFormat { .. }) if file.ends_with("format") => ledger.newer += 1,
            Ok(Ok(rows)) if Some(&rows) == self.states.last() => ledger.intact += 1,
            Ok(Ok(rows)) => {
                let older = self.states.contains(&rows);
                assert!(older, "{what}: it opens with rows that never were together");
                let witness = file.ends_with("acknowledged");
                assert!(witness, "{what}: it opens without what was acknowledged");
                ledger.older += 1;
            }
            other => panic!(
                "{what}: {:?}",
                other.map(|rows| rows.map(|rows| rows.len()))
            ),
        }
    }
}

fn seed() -> u64 {
    let seed = std::env::var(SEED).map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().unwrap(),
    );
    println!("{SEED}={seed}");
    seed
}

/// The next of a row of numbers that `seed` begins.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *seed;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Lengths at which a file is cut: all of a small one, of a large one its ends and some between.
fn cuts(length: usize, seed: &mut u64) -> Vec<usize> {
    if length <= 200 {
        return (0..length).collect();
    }
    let mut cuts: Vec<usize> = (0..8).chain(length - 60..length).collect();
    for _ in 0..60 {
        cuts.push(usize::try_from(random(seed) % length as u64).unwrap());
    }
    cuts
}

#[test]
fn a_file_that_is_cut_at_any_length_is_whole_or_told() {
    let mut seed = seed();
    let runtime = Runtime::new().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let whole = whole(&runtime, parent.path());
    for (file, content) in files(&whole.dir) {
        let mut ledger = Ledger::default();
        for cut in cuts(content.len(), &mut seed) {
            let what = format!("{} cut at {cut} of {}", file.display(), content.len());
            whole.check(&mut ledger, &what, &file, &content[..cut]);
        }
        println!(
            "{} of {} bytes, cut: {ledger:?}",
            file.display(),
            content.len()
        );
    }
}

#[test]
fn a_bit_that_is_flipped_anywhere_changes_nothing_or_is_told() {
    let mut seed = seed();
    let runtime = Runtime::new().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let whole = whole(&runtime, parent.path());
    for (file, content) in files(&whole.dir) {
        let mut ledger = Ledger::default();
        // Where the database holds anything; after it there are zeros only.
        let used = content
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for _ in 0..used.min(150) {
            let bit = random(&mut seed) % (used as u64 * 8);
            let mut changed = content.clone();
            changed[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            let what = format!("{} with bit {bit} flipped", file.display());
            whole.check(&mut ledger, &what, &file, &changed);
        }
        println!("{}, {used} bytes used, flipped: {ledger:?}", file.display());
    }
}
