//! What a durable commit costs: one caller, 64 callers, and a bare loop over sled beside them; what
//! commits wait while the store compacts; and with `SYNCBELL_BENCH_MILLION=1` what a million rows need.
//!
//! `cargo bench -p syncbell-store --bench commit`. Prints; asserts nothing.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use syncbell_store::{Batch, Options, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const VALUE_BYTES: usize = 600;
const N_ALONE: u64 = 600;
const N_CALLERS: u64 = 64;
const N_EACH: u64 = 400;
const N_GROUPED: u64 = 64;
/// Batches and their rows before most of them are deleted.
const N_FILLED: u64 = 100;
const ROWS_FILLED: u64 = 1000;
/// Set: a million rows as well.
const MILLION: &str = "SYNCBELL_BENCH_MILLION";

fn key(caller: u64, number: u64) -> Vec<u8> {
    [caller.to_be_bytes(), number.to_be_bytes()].concat()
}

fn batch(caller: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(caller, number), vec![7; VALUE_BYTES]);
    batch
}

/// A line of this process's status, where the system tells it.
fn status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or("unknown").trim().to_owned()
}

fn resident_memory() -> String {
    status("VmRSS:")
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

/// Alternating rounds, each in a fresh folder: the bare loop, then the store.
const ROUNDS: usize = 7;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn median_time(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// One caller, one row a commit: how many times as long as the bare loop at the median.
fn alone(runtime: &Runtime, dir: &Path) {
    let (mut bare, mut store, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let at_bare = median_time(bare_loop(&dir.join(format!("bare-{round}")), N_ALONE, 1));
        let opened = open(&dir.join(format!("store-{round}")));
        let at_store = median_time(runtime.block_on(one_caller(&opened)));
        runtime.block_on(opened.close()).expect("the store closes");
        ratios.push(at_store.as_secs_f64() / at_bare.as_secs_f64());
        bare.push(at_bare);
        store.push(at_store);
    }
    println!(
        "one caller, 1 row a commit: bare {:.1?}, store {:.1?}, {:.2} times (median of {ROUNDS} rounds)",
        median_time(bare),
        median_time(store),
        median(ratios)
    );
}

/// Many callers against a bare loop with as many rows a batch.
fn grouped(runtime: &Runtime, dir: &Path) {
    let n_rows = N_CALLERS * N_EACH;
    let (mut bare, mut store, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        let started = Instant::now();
        bare_loop(
            &dir.join(format!("bare-{round}")),
            n_rows / N_GROUPED,
            N_GROUPED,
        );
        let at_bare = per_second(n_rows, started.elapsed());
        let opened = open(&dir.join(format!("store-{round}")));
        let started = Instant::now();
        waits.extend(runtime.block_on(many_callers(&opened)));
        let at_store = per_second(n_rows, started.elapsed());
        runtime.block_on(opened.close()).expect("the store closes");
        ratios.push(at_store / at_bare);
        bare.push(at_bare);
        store.push(at_store);
    }
    println!(
        "{N_CALLERS} callers, 1 row a commit: bare loop of {N_GROUPED} rows {:.0} rows/s, store {:.0} rows/s, \
         {:.2} of it (median of {ROUNDS} rounds)",
        median(bare),
        median(store),
        median(ratios)
    );
    print_latencies("  of which each waits", waits);
}

/// What callers wait while the store compacts, and what it is for.
fn compacting(runtime: &Runtime, dir: &Path) {
    let options = Options {
        min_free_bytes: 0,
        ..Options::default()
    };
    let kept = Options {
        compact_from_bytes: u64::MAX,
        ..options
    };
    let store = Store::open(dir, kept).expect("the store opens");
    runtime.block_on(async {
        for number in 0..N_FILLED {
            let mut batch = Batch::new();
            for row in 0..ROWS_FILLED {
                batch.put(key(row, number), vec![7; VALUE_BYTES]);
            }
            store.commit(batch).await.expect("the store commits");
        }
        for number in 0..N_FILLED {
            let mut batch = Batch::new();
            for row in 0..ROWS_FILLED * 9 / 10 {
                batch.delete(key(row, number));
            }
            store.commit(batch).await.expect("the store commits");
        }
        store.close().await.expect("the store closes");
    });
    let memory = resident_memory();
    let store = Store::open(dir, options).expect("the store opens");
    runtime.block_on(async {
        let before = store.size().await.expect("the store is measured");
        let opened = resident_memory();
        let started = Instant::now();
        let mut took = Vec::new();
        let mut number = 0;
        while store.size().await.expect("the store is measured").compactions == 0 {
            let started = Instant::now();
            store.commit(batch(u64::MAX, number)).await.expect("the store commits");
            took.push(started.elapsed());
            number += 1;
        }
        let lasted = started.elapsed();
        let after = store.size().await.expect("the store is measured");
        println!(
            "compacted in {lasted:.1?} with {number} commits in between: files {} KiB to {} KiB, {} KiB live; \
             memory closed {memory}, open {opened}, then {}",
            before.files_bytes / 1024,
            after.files_bytes / 1024,
            after.live_bytes / 1024,
            resident_memory()
        );
        let longest = took.iter().max().copied().unwrap_or_default();
        print_latencies("  commits in between", took);
        println!("  the longest {longest:.1?}");
    });
}

fn open(dir: &Path) -> Store {
    let options = Options {
        min_free_bytes: 0,
        ..Options::default()
    };
    Store::open(dir, options).expect("the store opens")
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
    let runtime = Runtime::new().expect("a runtime");
    alone(&runtime, &dir.path().join("alone"));
    grouped(&runtime, &dir.path().join("grouped"));
    compacting(&runtime, &dir.path().join("compacting"));
    if std::env::var_os(MILLION).is_some() {
        million(&runtime, &dir.path().join("million"));
    }
    println!("peak memory {}", status("VmHWM:"));
}

/// A million rows: memory while they are written, and after they were found again.
fn million(runtime: &Runtime, dir: &Path) {
    let store = open(dir);
    runtime.block_on(async {
        for number in 0..1_000_000 / 1000 {
            let mut batch = Batch::new();
            for row in 0..1000 {
                batch.put(key(number, row), vec![7; 80]);
            }
            store.commit(batch).await.expect("the store commits");
        }
        println!(
            "1,000,000 rows of 96 bytes written: memory {}",
            resident_memory()
        );
        store.close().await.expect("the store closes");
    });
    drop(store);
    println!("  closed: memory {}", resident_memory());
    let started = Instant::now();
    let store = open(dir);
    let took = started.elapsed();
    let size = runtime
        .block_on(store.size())
        .expect("the store is measured");
    println!(
        "  opened in {took:.1?}: memory {}, {size:?}",
        resident_memory()
    );
}
