//! What a durable commit costs: one caller, 64 callers, and a bare loop over sled beside them.
//!
//! `cargo bench -p syncbell-store --bench commit`. Prints; asserts nothing.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use syncbell_store::{Batch, Options, Store};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const VALUE_BYTES: usize = 600;
const N_ALONE: u64 = 3_000;
const N_CALLERS: u64 = 64;
const N_EACH: u64 = 1_500;
const N_GROUPED: u64 = 64;

fn key(caller: u64, number: u64) -> Vec<u8> {
    [caller.to_be_bytes(), number.to_be_bytes()].concat()
}

fn batch(caller: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(caller, number), vec![7; VALUE_BYTES]);
    batch
}

/// Largest resident size of this process so far, where the system tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn print_latencies(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!("{name:<44} p50 {:>9.1?}  p99 {:>9.1?}", at(50), at(99));
}

/// `n_rows` a batch, as sled alone does it.
fn bare_loop(dir: &Path, n_batches: u64, n_rows: u64) -> Vec<Duration> {
    let tree = sled::Config::new()
        .path(dir)
        .cache_capacity(Options::default().cache_bytes)
        .flush_every_ms(None)
        .open()
        .expect("sled opens in a fresh folder");
    let file = OpenOptions::new()
        .write(true)
        .open(dir.join("db"))
        .expect("sled made its file");
    let mut took = Vec::new();
    for number in 0..n_batches {
        let started = Instant::now();
        let mut batch = sled::Batch::default();
        for row in 0..n_rows {
            batch.insert(key(row, number), vec![7; VALUE_BYTES]);
        }
        tree.apply_batch(batch).expect("sled applies");
        tree.flush().expect("sled flushes");
        file.sync_data().expect("the file syncs");
        took.push(started.elapsed());
    }
    took
}

async fn one_caller(store: &Store) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0..N_ALONE {
        let started = Instant::now();
        store
            .commit(batch(0, number))
            .await
            .expect("the store commits");
        took.push(started.elapsed());
    }
    took
}

async fn many_callers(store: &Store) -> Vec<Duration> {
    let tracker = TaskTracker::new();
    let callers: Vec<_> = (1..=N_CALLERS)
        .map(|caller| {
            let store = store.clone();
            tracker.spawn(async move {
                let mut took = Vec::new();
                for number in 0..N_EACH {
                    let started = Instant::now();
                    store
                        .commit(batch(caller, number))
                        .await
                        .expect("the store commits");
                    took.push(started.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.expect("a caller does not panic"));
    }
    took
}

#[expect(
    clippy::cast_precision_loss,
    reason = "printed with no digits after the point"
)]
fn per_second(n_rows: u64, took: Duration) -> f64 {
    n_rows as f64 / took.as_secs_f64()
}

fn main() {
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    println!(
        "profile {profile}, rows of {VALUE_BYTES} bytes, every commit on the disk before it is answered"
    );
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = Options {
        min_free_bytes: 0,
        ..Options::default()
    };

    print_latencies(
        "bare loop, 1 row a batch",
        bare_loop(&dir.path().join("bare"), N_ALONE, 1),
    );
    let store = Store::open(&dir.path().join("store"), options).expect("the store opens");
    print_latencies(
        "one caller, 1 row a commit",
        runtime.block_on(one_caller(&store)),
    );

    let n_rows = N_CALLERS * N_EACH;
    let n_batches = n_rows / N_GROUPED;
    let started = Instant::now();
    bare_loop(&dir.path().join("grouped"), n_batches, N_GROUPED);
    let rate = per_second(n_rows, started.elapsed());
    println!(
        "{:<44} {rate:.0} rows/s",
        format!("bare loop, {N_GROUPED} rows a batch")
    );

    let started = Instant::now();
    let took = runtime.block_on(many_callers(&store));
    let rate = per_second(n_rows, started.elapsed());
    println!(
        "{:<44} {rate:.0} rows/s",
        format!("{N_CALLERS} callers, 1 row a commit")
    );
    print_latencies("  of which each", took);

    let size = runtime
        .block_on(store.size())
        .expect("the store is measured");
    runtime.block_on(store.close()).expect("the store closes");
    let started = Instant::now();
    let store = Store::open(&dir.path().join("store"), options).expect("the store opens again");
    println!(
        "reopened with {} rows in {:.1?}",
        size.rows,
        started.elapsed()
    );
    println!(
        "files {} KiB, peak memory {}",
        size.files_bytes / 1024,
        peak_memory()
    );
    drop(store);
}
