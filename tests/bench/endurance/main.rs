//! Ten million events through outbox, log and ledger: what they leave on the disk and in memory.
//!
//! `cargo bench -p syncbell-cli --bench endurance`, fewer or more by `SYNCBELL_EVENTS`. Prints both over time,
//! with the bounds that they are to stay within (issue 6: 512 MiB of disk, 150 MiB of memory); asserts that
//! nothing is missing at the end.
//!
//! Everything is what `syncbell run` is made of, in one process, on its own folders and by the wall clock: the
//! poller's outbox and publish loop, the embedded log, the notifier with a webhook. Only the registry is left
//! out. The events are those of 200,000 tasks which are begun, run and end over and over, 2,000 at a time; one
//! end of a thousand is a failure that the next one heals.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod lives;
#[expect(dead_code, reason = "the CPU is for the other benchmark")]
#[path = "../scale/process.rs"]
mod process;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::StatusCode;
use syncbell_config::{Config, Disk};
use syncbell_notifier::{Handle, Notifier};
use syncbell_poller::measure::Feed;
use syncbell_service::{Health, Metrics, Shutdown};
use tokio::time::{Duration, Instant};

use crate::lives::Lives;
use crate::process::memory_mib;
use crate::watch::{Peaks, Watch, size_of};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const EVENTS: u64 = 10_000_000;
/// As many as a poll of several pages finds at once.
const AT_ONCE: usize = 500;
/// The reader is let come as near as this before more is put, or the log would hold what is unread.
const BEHIND_LIMIT: u64 = 100_000;
const LINES: u64 = 40;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(endure());
}

async fn endure() {
    let n_events = std::env::var("SYNCBELL_EVENTS").ok();
    let n_events = n_events.map_or(EVENTS, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let (url, alerts) = receiver().await;
    let config = config(folder.path(), &url);
    let shutdown = Shutdown::new();

    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let feed = syncbell_poller::open_store(&data_dir, Disk::default()).expect("it opens");
        let (ledger, _) = syncbell_notifier::open(&data_dir, Disk::default()).expect("it opens");
        let bus = syncbell_notifier::open_bus(&data_dir, &config.retention, config.disk);
        (feed, ledger, bus.expect("it opens"), config)
    });
    let (outbox, ledger, bus, config) = opened.await.expect("it does not panic");
    let feed = Feed::open(outbox).await.expect("it opens");
    let notifier = Notifier::open(syncbell_notifier::Parts {
        instances: config.instances,
        receivers: config.receivers,
        route: config.route,
        rules: config.rules,
        retention: config.retention,
        templates: config.templates,
        console: config.console,
        heartbeat: config.heartbeat,
        watchdog: config.watchdog,
        store: ledger,
        lost: None,
        bus: bus.clone(),
        metrics: Metrics::new(),
        health: Health::new(),
    });
    let notifier = notifier.await.expect("it opens");
    let handle = notifier.handle();
    let running = shutdown.spawn("notifier", notifier.run(shutdown.clone()));
    let (relayed, publisher) = (feed.clone(), bus.publisher());
    let relaying = shutdown.spawn("relay", async move { relayed.relay(publisher).await });

    let mut lives = Lives::default();
    let mut log = Log::new(folder.path(), feed.clone(), handle, alerts.clone());
    let a_line = (n_events / LINES).max(1);
    let mut put = 0;
    while put < n_events {
        let events = lives.next(AT_ONCE);
        feed.put(&events).await.expect("the outbox takes it");
        let before = put / a_line;
        put += events.len() as u64;
        if put / a_line > before {
            log.line(put).await;
        }
        if put.is_multiple_of(BEHIND_LIMIT / 2) {
            log.behind_at_most(BEHIND_LIMIT).await;
        }
    }
    feed.end();
    let relayed = relaying.await.expect("it does not panic");
    relayed.expect("the log takes everything");
    log.behind_at_most(0).await;
    log.until_told(lives.n_told()).await;
    log.line(put).await;
    log.summary();
    shutdown.trigger();
    let ran = running.await.expect("it does not panic");
    ran.expect("the notifier ends well");
    bus.close().await;
    let (told, expected) = (alerts.load(Ordering::Relaxed), lives.n_told());
    println!("alerts: {told} of {expected}");
    assert_eq!(told, expected);
}

fn config(folder: &Path, url: &str) -> Config {
    let text = format!(
        "data_dir: {}\ninstances: [{{id: {}, region: {}}}]\n\
         receivers: [{{name: ops, webhook: {{url: '{url}'}}}}]\nroute: {{receivers: [ops]}}\n",
        folder.display(),
        lives::INSTANCE,
        lives::REGION,
    );
    let read = syncbell_config::parse(&text, "bench", folder, &|_| None);
    let mut config = read.expect("a configuration");
    // Nobody sees it: nobody is to be told of that.
    config.instances.clear();
    config
}

/// A webhook that takes everything and counts it.
async fn receiver() -> (String, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = taken.clone();
    let app = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::NO_CONTENT }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = Shutdown::new();
    let served = server.spawn("receiver", async move { axum::serve(listener, app).await });
    drop(served);
    (format!("http://{address}/"), taken)
}

/// What is printed, and the most of it.
struct Log<'a> {
    folder: &'a Path,
    feed: Feed,
    handle: Handle,
    alerts: Arc<AtomicU64>,
    began: Instant,
    watch: Watch,
    peaks: Peaks,
}

impl<'a> Log<'a> {
    fn new(folder: &'a Path, feed: Feed, handle: Handle, alerts: Arc<AtomicU64>) -> Self {
        println!(
            "{:>10} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7} {:>7}",
            "events",
            "s",
            "events/s",
            "memory",
            "most",
            "disk",
            "most",
            "poller",
            "log",
            "notifier",
            "live",
            "unread",
            "alerts"
        );
        let began = Instant::now();
        Self {
            folder,
            feed,
            handle,
            alerts,
            began,
            watch: Watch::begin(folder.to_owned(), began),
            peaks: Peaks::default(),
        }
    }

    async fn line(&mut self, put: u64) {
        let status = self.handle.status().await.expect("the ledger answers");
        let [poller, log, notifier] =
            ["poller", "log", "notifier"].map(|name| mib(size_of(&self.folder.join(name))));
        let (disk, memory) = (poller + log + notifier, memory_mib("VmRSS"));
        let Peaks {
            memory: most_memory,
            disk: most_disk,
        } = self.watch.take();
        self.peaks.memory = self.peaks.memory.most(most_memory);
        self.peaks.disk = self.peaks.disk.most(most_disk);
        let seconds = self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = put as f64 / seconds;
        println!(
            "{put:>10} {seconds:>8.0} {rate:>9.0} {memory:>8.0} {:>8.0} {disk:>8.0} {:>8.0} {poller:>8.0} \
             {log:>8.0} {notifier:>8.0} {:>9.0} {:>7} {:>7}",
            most_memory.mib,
            most_disk.mib,
            mib(status.ledger.live_bytes),
            self.feed.waiting() + status.log.lag.unwrap_or_default(),
            self.alerts.load(Ordering::Relaxed),
        );
    }

    /// Waits until no more than `limit` events are put and not yet decided.
    async fn behind_at_most(&self, limit: u64) {
        loop {
            let status = self.handle.status().await.expect("the ledger answers");
            if self.feed.waiting() + status.log.lag.unwrap_or(u64::MAX / 2) <= limit {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_told(&self, n: u64) {
        let until = Instant::now() + Duration::from_mins(2);
        while self.alerts.load(Ordering::Relaxed) < n && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn summary(&self) {
        for (name, peak, bound) in [
            ("disk", self.peaks.disk, 512),
            ("memory", self.peaks.memory, 150),
        ] {
            println!(
                "{name}: {:.0} MiB at most (bound {bound}), after {:.0} s, stores being compacted: {}",
                peak.mib, peak.at_s, peak.compacting
            );
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
