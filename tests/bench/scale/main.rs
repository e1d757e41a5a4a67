//! What looking costs: a page on which nothing changed, a million known tasks, ten thousand changes at
//! once, and how cost grows with what is known and with what changes.
//!
//! `cargo bench -p syncbell-cli --bench scale`. Prints; asserts nothing about time. The registry is a
//! process of its own, so that CPU and memory here are the poller's; the request budget is switched off.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod page;
mod process;
mod registry;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use syncbell_config::{Disk, Retention};
use syncbell_poller::measure::{Scale, parts, timed};
use syncbell_poller::{CredentialsProvider, open_store};
use tokio::time::Instant;

use crate::process::{cpu, cpu_since, memory_mib};
use crate::registry::Registry;

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
const CHANGED_AT_ONCE: usize = 10_000;
const ROUNDS: usize = 7;
const CHANGES: u64 = 100;
const POLLS_A_MINUTE: u32 = 4;
/// `sweep_every` is half an hour.
const SWEEPS_A_MINUTE: f64 = 1.0 / 30.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // A process of its own for each size: memory is measured.
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "learn", url, folder] => runtime.block_on(learn(url, Path::new(folder))),
        [_, "known", url, folder] => runtime.block_on(known(url, Path::new(folder))),
        _ => {
            let profile = if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            };
            println!("profile: {profile}");
            // On one thread, as the script that it is compared with.
            let one = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            one.expect("a runtime").block_on(unchanged_pages());
            runtime.block_on(changed_at_once());
            sizes();
        }
    }
}

fn credentials() -> Arc<dyn CredentialsProvider> {
    syncbell_poller::credentials_from(registry::variable)
}

async fn open(url: &str, folder: &Path) -> Scale {
    let (data_dir, log) = (folder.to_owned(), folder.join("log"));
    let store = tokio::task::spawn_blocking(move || open_store(&data_dir, Disk::default()));
    let store = store.await.expect("it does not panic").expect("it opens");
    let bus = syncbell_notifier::open_bus(&log, &Retention::default(), Disk::default())
        .expect("it opens");
    Scale::open(&parts(registry::instance(url), credentials(), store, bus))
        .await
        .expect("it opens")
}

/// A page's bytes to "nothing changed", and with HTTP and signing beside the vendor's SDK.
async fn unchanged_pages() {
    println!("== a page of 100 unchanged tasks");
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(CHANGED_AT_ONCE as u64);
    let mut scale = open(&registry.url, folder.path()).await;
    let body = page::body(0, "SUCCESS");
    scale.begin_turn();
    scale.take(&body, 1).await;
    assert_eq!(scale.sift(&body), 0, "nothing changed");
    let mut rounds: Vec<f64> = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        for _ in 0..500 {
            assert_eq!(scale.sift(&body), 0);
        }
        rounds.push(began.elapsed().as_secs_f64() * 1_000.0 / 500.0);
    }
    let best = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let median = median(rounds);
    println!(
        "{} bytes to nothing changed: median {median:.3} ms ({:.0} tasks/s), best {best:.3} ms",
        body.len(),
        100_000.0 / median,
    );
    scale.sweep().await;
    compared(&mut scale, &registry).await;
}

/// Ours and theirs by turns, so that a busy machine is busy for both.
async fn compared(scale: &mut Scale, registry: &Registry) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = cpu();
        let mut pages = 0;
        for _ in 0..4 {
            pages += scale.sweep().await.pages;
        }
        ours.push(cpu_since(began).as_secs_f64() * 1_000.0 / f64::from(pages));
        theirs.extend(registry.vendor_sdk(100));
    }
    let ours = median(ours);
    println!("CPU a page with HTTP, signing and comparing: median of {ROUNDS} {ours:.3} ms");
    if theirs.len() < ROUNDS {
        println!("the vendor's Python SDK is not there: left out");
        return;
    }
    let theirs = median(theirs);
    println!(
        "the same over the vendor's Python SDK: {theirs:.2} ms, {:.1} times as much",
        theirs / ours
    );
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// From the first changed page to the last event on the embedded log.
async fn changed_at_once() {
    println!("== {CHANGED_AT_ONCE} tasks change at once");
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(100);
    let mut scale = open(&registry.url, folder.path()).await;
    let bus = syncbell_notifier::open_bus(
        &folder.path().join("other"),
        &Retention::default(),
        Disk::default(),
    )
    .expect("it opens");
    let pages = u32::try_from(CHANGED_AT_ONCE / 100).expect("few");
    for page_no in 1..=pages {
        scale
            .take(&page::body(page_no, "SYNCHRONIZING"), page_no)
            .await;
    }
    scale
        .relay(bus.publisher())
        .await
        .expect("the log takes it");
    let changed: Vec<Vec<u8>> = (1..=pages).map(|no| page::body(no, "ERROR")).collect();
    let began = Instant::now();
    scale.begin_turn();
    let mut told = 0;
    for (body, page_no) in changed.iter().zip(1..) {
        told += scale.take(body, page_no).await;
    }
    let committed = began.elapsed();
    scale
        .relay(bus.publisher())
        .await
        .expect("the log takes it");
    println!(
        "{told} events: durable after {:.2} s, all on the log after {:.2} s",
        committed.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
}

/// Cost with what is known, and with what changes.
fn sizes() {
    println!("== known tasks, {CHANGES} changes a minute");
    let this = std::env::current_exe().expect("it has a path");
    for size in SIZES {
        let registry = Registry::start(size);
        let folder = tempfile::tempdir().expect("a folder");
        for step in ["learn", "known"] {
            let done = Command::new(&this)
                .arg(step)
                .arg(&registry.url)
                .arg(folder.path())
                .status();
            assert!(done.expect("it starts").success(), "{step} {size}");
        }
    }
}

/// Reads all tasks for the first time.
async fn learn(url: &str, folder: &Path) {
    let mut scale = open(url, folder).await;
    let turn = scale.sweep().await;
    println!(
        "{} tasks read for the first time in {:.1} s, {:.0} MiB at most",
        scale.tasks(),
        turn.took.as_secs_f64(),
        memory_mib("VmHWM")
    );
}

/// Knows all tasks: start, an unchanged sweep, a minute with changes.
async fn known(url: &str, folder: &Path) {
    let (mut scale, took) = timed(open(url, folder)).await;
    let n = scale.tasks();
    let at_rest = memory_mib("VmRSS");
    println!(
        "{n} tasks: cold start {:.2} s (CPU {:.2} s), {at_rest:.0} MiB",
        took.as_secs_f64(),
        cpu().as_secs_f64()
    );
    let (waiting, files) = (scale.waiting(), size_of(&folder.join("poller")));
    let began = cpu();
    let sweep = scale.sweep().await;
    let sweep_cpu = cpu_since(began);
    println!(
        "{n} tasks: unchanged sweep of {} pages: {:.1} s, CPU {:.1} s, {} events, files grew by {} \
         bytes; {:.0} MiB, {:.0} MiB at most",
        sweep.pages,
        sweep.took.as_secs_f64(),
        sweep_cpu.as_secs_f64(),
        scale.waiting() - waiting,
        size_of(&folder.join("poller")).saturating_sub(files),
        memory_mib("VmRSS"),
        memory_mib("VmHWM")
    );
    let (mut requests, mut polls_cpu) = (0, Duration::ZERO);
    for poll in 0..POLLS_A_MINUTE {
        registry::change(url, n, poll, CHANGES / u64::from(POLLS_A_MINUTE));
        registry::forget_calls(url);
        let began = cpu();
        scale.poll().await;
        polls_cpu += cpu_since(began);
        requests += registry::calls(url);
    }
    println!(
        "{n} tasks: a minute with {CHANGES} changes: {requests} requests and {:.0} ms of CPU by head \
         polls; {:.1} requests and {:.0} ms of CPU as its part of the full sweeps",
        polls_cpu.as_secs_f64() * 1_000.0,
        f64::from(sweep.pages) * SWEEPS_A_MINUTE,
        sweep_cpu.as_secs_f64() * 1_000.0 * SWEEPS_A_MINUTE
    );
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
