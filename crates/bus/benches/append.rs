//! What the embedded log does on this disk, beside what the disk does by itself in the same run:
//! `cargo bench -p syncbell-bus`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use syncbell_bus::{Bus, EmbeddedOptions, Record, StartAt, Stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

const VALUE_BYTES: usize = 600;
const CALLERS: usize = 64;
const APPENDS_PER_CALLER: usize = 1000;
const SINGLE_APPENDS: usize = 3000;
const WAKES: usize = 1000;

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
        read(&bus).await;
        bus.close().await;
    });
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

async fn read(bus: &Bus) {
    let begun = Instant::now();
    let mut reader = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .expect("the stream can be read");
    let mut n = 0;
    while n < CALLERS * APPENDS_PER_CALLER {
        n += reader
            .next(1000)
            .await
            .expect("the stream can be read")
            .len();
    }
    say_rate("read, one reader", n, begun.elapsed());
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:<28} p50 {:>9.1?}   p99 {:>9.1?}", at(50), at(99));
}

fn say_rate(what: &str, n: usize, elapsed: Duration) {
    let events = u32::try_from(n).map_or(f64::MAX, f64::from);
    println!(
        "{what:<28} {:>9.0} events/s ({n} in {elapsed:.2?})",
        events / elapsed.as_secs_f64()
    );
}
