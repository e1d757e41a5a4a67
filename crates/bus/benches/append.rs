//! What the embedded log does on this disk, beside what the disk does by itself in the same run:
//! `cargo bench -p syncbell-bus`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use syncbell_bus::{Bus, EmbeddedOptions, Record, StartAt, Stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

const VALUE_BYTES: usize = 1000;
const CALLERS: usize = 64;
const APPENDS_PER_CALLER: usize = 1000;
const SINGLE_APPENDS: usize = 3000;
const WAKES: usize = 1000;
/// Events an append in the rounds against the bare loop.
const APPEND_EVENTS: usize = 16;
const ROUND_APPENDS: usize = 30;
const ROUNDS: usize = 7;

fn record() -> Record {
    Record::new("cri-kmsiwlxxdcva0001", vec![b'x'; VALUE_BYTES])
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let dir = tempfile::tempdir().expect("a folder can be made");
    println!("values of {VALUE_BYTES} bytes, in {}", dir.path().display());
    bare(dir.path());
    runtime.block_on(async {
        let bus = Bus::embedded(&dir.path().join("log"), EmbeddedOptions::default())
            .expect("the log opens");
        one_caller(&bus).await;
        woken(&bus).await;
        many_callers(&bus).await;
        read(&bus, CALLERS * APPENDS_PER_CALLER).await;
        bus.close().await;
    });
    rounds(&runtime, dir.path());
}

/// The disk by itself: as many bytes as one frame, written and synced.
fn bare(dir: &std::path::Path) {
    let mut file = File::create(dir.join("bare")).expect("a file can be made");
    let bytes = vec![b'x'; record().size_bytes() + 8];
    let times = (0..SINGLE_APPENDS).map(|_| {
        let begun = Instant::now();
        file.write_all(&bytes).expect("the disk takes it");
        file.sync_data().expect("the disk takes it");
        begun.elapsed()
    });
    say("bare write + fdatasync", times.collect());
}

async fn one_caller(bus: &Bus) {
    let publisher = bus.publisher();
    let mut times = Vec::new();
    for _ in 0..SINGLE_APPENDS {
        let begun = Instant::now();
        publisher
            .append(Stream::DeadLetters, vec![record()])
            .await
            .expect("the append is taken");
        times.push(begun.elapsed());
    }
    say("append, one caller", times);
}

/// From the call of an append to the record at a reader that waits for it.
async fn woken(bus: &Bus) {
    let publisher = bus.publisher();
    let mut reader = bus
        .subscribe(Stream::Requests, StartAt::Start)
        .await
        .expect("the stream can be read");
    let mut times = Vec::new();
    for _ in 0..WAKES {
        let begun = Instant::now();
        let append = publisher.append(Stream::Requests, vec![record()]);
        let (read, appended) = tokio::join!(
            async {
                reader.next(1).await.expect("the stream can be read");
                begun.elapsed()
            },
            append
        );
        appended.expect("the append is taken");
        times.push(read);
    }
    say("append to a waiting reader", times);
}

async fn many_callers(bus: &Bus) {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let publisher = bus.publisher();
        tasks.spawn(async move {
            for _ in 0..APPENDS_PER_CALLER {
                let records = vec![record()];
                publisher
                    .append(Stream::Changes, records)
                    .await
                    .expect("the append is taken");
            }
        });
    }
    tasks.join_all().await;
    say_rate(
        &format!("append, {CALLERS} callers"),
        CALLERS * APPENDS_PER_CALLER,
        begun.elapsed(),
    );
}

/// Alternating rounds of the log and of a bare loop that writes and syncs as many bytes in groups of
/// the size that the callers' appends make: others use this machine too.
fn rounds(runtime: &tokio::runtime::Runtime, dir: &std::path::Path) {
    let (mut bare, mut log, mut reader) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(bare_groups(&dir.join(format!("bare-{round}"))));
        let dir = dir.join(format!("log-{round}"));
        let (appended, read) = runtime.block_on(async {
            let bus = Bus::embedded(&dir, EmbeddedOptions::default()).expect("the log opens");
            let appended = append_groups(&bus).await;
            let read = read(&bus, CALLERS * ROUND_APPENDS * APPEND_EVENTS).await;
            bus.close().await;
            (appended, read)
        });
        log.push(appended);
        reader.push(read);
        std::fs::remove_dir_all(&dir).expect("the round's log is there");
    }
    println!(
        "median of {ROUNDS} alternating rounds, {CALLERS} callers, {APPEND_EVENTS} events an append:"
    );
    let (bare, log) = (median(bare), median(log));
    println!("  bare write + fdatasync {bare:>9.0} events/s");
    println!(
        "  append                 {log:>9.0} events/s, {:.2} of it",
        log / bare
    );
    println!("  read                   {:>9.0} events/s", median(reader));
}

fn bare_groups(path: &std::path::Path) -> f64 {
    let mut file = File::create(path).expect("a file can be made");
    let group = vec![b'x'; CALLERS * APPEND_EVENTS * (record().size_bytes() + 8)];
    let begun = Instant::now();
    for _ in 0..ROUND_APPENDS {
        file.write_all(&group).expect("the disk takes it");
        file.sync_data().expect("the disk takes it");
    }
    let rate = per_second(CALLERS * ROUND_APPENDS * APPEND_EVENTS, begun.elapsed());
    std::fs::remove_file(path).expect("the file is there");
    rate
}

async fn append_groups(bus: &Bus) -> f64 {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let publisher = bus.publisher();
        tasks.spawn(async move {
            for _ in 0..ROUND_APPENDS {
                let records = vec![record(); APPEND_EVENTS];
                let appended = publisher.append(Stream::Changes, records);
                appended.await.expect("the append is taken");
            }
        });
    }
    tasks.join_all().await;
    per_second(CALLERS * ROUND_APPENDS * APPEND_EVENTS, begun.elapsed())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn read(bus: &Bus, n_expected: usize) -> f64 {
    let begun = Instant::now();
    let mut reader = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .expect("the stream can be read");
    let mut n = 0;
    while n < n_expected {
        n += reader
            .next(1000)
            .await
            .expect("the stream can be read")
            .len();
    }
    let elapsed = begun.elapsed();
    if n == CALLERS * APPENDS_PER_CALLER {
        say_rate("read, one reader", n, elapsed);
    }
    per_second(n, elapsed)
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:<28} p50 {:>9.1?}   p99 {:>9.1?}", at(50), at(99));
}

fn say_rate(what: &str, n: usize, elapsed: Duration) {
    println!(
        "{what:<28} {:>9.0} events/s ({n} in {elapsed:.2?})",
        per_second(n, elapsed)
    );
}

fn per_second(n: usize, elapsed: Duration) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from) / elapsed.as_secs_f64()
}
