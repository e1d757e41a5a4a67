//! The delivery engine of the built binary beside a real Alertmanager, on the same work, from one feeder to one
//! receiver (issue 8; `peers.md`, "Measured").
//!
//! `cargo bench -p syncbell-cli --bench delivery`; Alertmanager is Debian's `prometheus-alertmanager`, and is left out
//! with a word where it is missing. Prints; asserts nothing. Syncbell is `syncbell notifier` over a real Kafka, fed as
//! a poller feeds it: each alert is an event of the log, durable before it is sent, its outcome recorded.
//!
//! `SYNCBELL_WORK=burst,paced,500,429,kill,slow,targets,open` (all of them by default) leaves the others out,
//! `SYNCBELL_ENGINE=syncbell` or `alertmanager` the other one.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to be printed, of thousands"
)]

mod alertmanager;
mod receiver;
mod syncbell;
mod targets;

use std::time::Duration;

use tokio::time::Instant;

use crate::alertmanager::Alertmanager;
use crate::receiver::{Mode, Receiver};
use crate::syncbell::Syncbell;

/// Alerts handed over in one request, or one append.
const A_REQUEST: usize = 75;
const LONGEST: Duration = Duration::from_mins(1);
const DISTANT: Mode = Mode::Slow(Duration::from_millis(100));

/// What is measured.
enum Engine {
    Syncbell(Box<Syncbell>),
    Alertmanager(Box<Alertmanager>),
}

impl Engine {
    async fn start(name: &str, receiver: &Receiver) -> Option<Self> {
        match name {
            "syncbell" => Some(Self::Syncbell(Box::new(
                Syncbell::start(receiver.url()).await?,
            ))),
            _ => Some(Self::Alertmanager(Box::new(
                Alertmanager::start(receiver.url()).await?,
            ))),
        }
    }

    /// Hands the alerts over; they are accepted when it returns.
    async fn feed(&self, numbers: std::ops::Range<usize>) {
        match self {
            Self::Syncbell(it) => it.feed(numbers, "ERROR").await,
            Self::Alertmanager(it) => it.feed(numbers).await,
        }
    }

    async fn kill_and_start_again(&mut self) {
        match self {
            Self::Syncbell(it) => it.kill_and_start_again().await,
            Self::Alertmanager(it) => it.kill_and_start_again().await,
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Syncbell(it) => it.pid(),
            Self::Alertmanager(it) => it.pid(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Syncbell(it) => it.stop().await,
            Self::Alertmanager(it) => it.stop().await,
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let only = std::env::var("SYNCBELL_WORK").unwrap_or_default();
    let wanted = |work: &str| only.is_empty() || only.split(',').any(|one| one == work);
    let engine = std::env::var("SYNCBELL_ENGINE").unwrap_or_default();
    let measures = |name: &str| engine.is_empty() || engine == name;
    if measures("syncbell") {
        warm_broker().await;
    }
    for name in ["alertmanager", "syncbell"] {
        if !measures(name) {
            continue;
        }
        if wanted("burst") {
            for n in [5_000, 20_000] {
                burst(name, n).await;
            }
        }
        if wanted("paced") {
            for a_second in [50, 200, 500] {
                paced(name, a_second).await;
            }
        }
        if wanted("500") {
            failing(name).await;
        }
        if wanted("429") {
            throttled(name).await;
        }
        if wanted("kill") {
            killed(name).await;
        }
    }
    if !measures("syncbell") {
        return;
    }
    if wanted("slow") {
        distant(DISTANT, "from the beginning").await;
        distant(Mode::Takes, "after it was near").await;
    }
    if wanted("targets") {
        targets::targets().await;
    }
    if wanted("open") {
        many_open().await;
    }
}

/// Kafka is no part of what is measured, and its JVM compiles what it runs often: on the cores that are measured, while
/// it is young.
async fn warm_broker() {
    let n = 20_000;
    if let Some((receiver, engine)) = warm("syncbell", n).await {
        feed_at(&engine, n, 7_500).await;
        receiver.until_taken(0..n, LONGEST).await;
        engine.stop().await;
    }
}

/// What is to be alike in every work: a receiver, an engine that was warmed up.
async fn warm(name: &str, n: usize) -> Option<(Receiver, Engine)> {
    warm_with(name, n, Mode::Takes).await
}

/// As [`warm`], with a receiver that is so from the beginning.
async fn warm_with(name: &str, n: usize, mode: Mode) -> Option<(Receiver, Engine)> {
    let receiver = Receiver::start(n).await;
    receiver.set(mode);
    let Some(engine) = Engine::start(name, &receiver).await else {
        println!("{name}: left out");
        return None;
    };
    let warmed = n..n + 50;
    engine.feed(warmed.clone()).await;
    receiver.until_taken(warmed, LONGEST).await;
    receiver.forget();
    Some((receiver, engine))
}

async fn burst(name: &str, n: usize) {
    let Some((receiver, engine)) = warm(name, n).await else {
        return;
    };
    let (began, cpu_before_us) = (Instant::now(), cpu_us(engine.pid()));
    let fed = feed_at(&engine, n, 7_500).await;
    let fed_in = began.elapsed();
    receiver.until_taken(0..n, LONGEST).await;
    let cpu_us = (cpu_us(engine.pid()) - cpu_before_us) / n as f64;
    let (rate, latencies) = (receiver.a_second(began), receiver.latencies_ms(&fed));
    println!(
        "{name}: burst of {n}, fed in {fed_in:.2?}: {rate:.0}/s, {}, peak {:.0} MiB, {cpu_us:.0} us of CPU each",
        quantiles(latencies),
        peak_mib(engine.pid()),
    );
    engine.stop().await;
}

async fn paced(name: &str, a_second: usize) {
    let n = a_second * 10;
    let Some((receiver, engine)) = warm(name, n).await else {
        return;
    };
    let mut fed = Vec::with_capacity(n);
    let began = Instant::now();
    for number in 0..n {
        let due = Duration::from_secs_f64(number as f64 / a_second as f64);
        tokio::time::sleep_until(began + due).await;
        fed.push(Instant::now());
        engine.feed(number..number + 1).await;
    }
    receiver.until_taken(0..n, LONGEST).await;
    let latencies = receiver.latencies_ms(&fed);
    println!("{name}: paced {a_second}/s: {}", quantiles(latencies));
    engine.stop().await;
}

async fn failing(name: &str) {
    let n = 500;
    let Some((receiver, engine)) = warm(name, n).await else {
        return;
    };
    receiver.set(Mode::Fails);
    engine.feed(0..n).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let useless = receiver.refused();
    let recovered = Instant::now();
    receiver.set(Mode::Takes);
    let all = receiver.until_taken(0..n, LONGEST).await;
    println!(
        "{name}: 500 for 15 s, {n} alerts: {useless} useless tries; {all} of {n}, the last {:.1} s after recovery",
        recovered.elapsed().as_secs_f64()
    );
    engine.stop().await;
}

async fn throttled(name: &str) {
    let n = 500;
    let Some((receiver, engine)) = warm(name, n).await else {
        return;
    };
    let pause = Duration::from_secs(5);
    receiver.set(Mode::Throttles(Instant::now() + pause));
    engine.feed(0..n).await;
    let all = receiver.until_taken(0..n, Duration::from_secs(30)).await;
    let (refused, early, first) = receiver.after_throttling(pause);
    println!(
        "{name}: 429 with Retry-After 5, {n} alerts: {refused} refused, {early} tries while asked to wait, first try \
         {first:.0} ms after it; {all} of {n} delivered"
    );
    engine.stop().await;
}

async fn killed(name: &str) {
    let n = 5_000;
    let Some((receiver, mut engine)) = warm(name, n).await else {
        return;
    };
    receiver.set(Mode::Fails);
    feed_at(&engine, n, 100_000).await;
    engine.kill_and_start_again().await;
    receiver.set(Mode::Takes);
    let all = receiver.until_taken(0..n, Duration::from_secs(30)).await;
    println!(
        "{name}: kill -9 after {n} accepted, receiver failing: {} lost, {} twice",
        n - all,
        receiver.repeated()
    );
    engine.stop().await;
}

/// Each incident begins and ends: the order of the two is looked at. One that was near at first looks like a busy one.
async fn distant(before: Mode, since: &str) {
    let n = 20_000;
    let warmed = warm_with("syncbell", n, before).await;
    let Some((receiver, engine)) = warmed else {
        return;
    };
    receiver.set(DISTANT);
    let Engine::Syncbell(it) = &engine else {
        return;
    };
    let began = Instant::now();
    for status in ["ERROR", "SUCCESS"] {
        for from in (0..n / 2).step_by(A_REQUEST) {
            it.feed(from..(from + A_REQUEST).min(n / 2), status).await;
        }
    }
    receiver.until_ended(0..n / 2, LONGEST).await;
    println!(
        "syncbell: 100 ms in the receiver {since}, {n} alerts of {} incidents: {:.0}/s, {:.0}/s in the best second; {} out of order, peak {:.0} MiB",
        n / 2,
        receiver.a_second(began),
        receiver.best_second(),
        receiver.out_of_order(),
        peak_mib(engine.pid()),
    );
    engine.stop().await;
}

/// So many incidents open, every one of them told: memory, and how soon it is there again after a kill.
async fn many_open() {
    let n = 100_000;
    let Some((receiver, mut engine)) = warm("syncbell", n).await else {
        return;
    };
    let began = Instant::now();
    feed_at(&engine, n, 100_000).await;
    let all = receiver.until_taken(0..n, Duration::from_mins(3)).await;
    let (rate, peak) = (receiver.a_second(began), peak_mib(engine.pid()));
    let again = Instant::now();
    engine.kill_and_start_again().await;
    println!(
        "syncbell: {all} incidents open, all told at {rate:.0}/s, peak {peak:.0} MiB; started again in {:.2} s, with {:.0} MiB",
        again.elapsed().as_secs_f64(),
        peak_mib(engine.pid()),
    );
    engine.stop().await;
}

/// Feeds `n` alerts in requests, as near to `a_second` as the engine accepts them. Gives when each was handed over.
async fn feed_at(engine: &Engine, n: usize, a_second: usize) -> Vec<Instant> {
    let mut fed = Vec::with_capacity(n);
    let began = Instant::now();
    for from in (0..n).step_by(A_REQUEST) {
        let due = Duration::from_secs_f64(from as f64 / a_second as f64);
        tokio::time::sleep_until(began + due).await;
        let to = (from + A_REQUEST).min(n);
        fed.resize(to, Instant::now());
        engine.feed(from..to).await;
    }
    fed
}

fn quantiles(latencies_ms: Vec<f64>) -> String {
    let [half, most] = p50_and_p99(latencies_ms);
    format!("p50 {half:.1} ms, p99 {most:.1} ms")
}

fn p50_and_p99(mut latencies_ms: Vec<f64>) -> [f64; 2] {
    latencies_ms.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|part| {
        let place = (latencies_ms.len() as f64 * part) as usize;
        latencies_ms
            .get(place.min(latencies_ms.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    })
}

/// What the process used of the CPUs, in microseconds (proc(5): its ticks, of which there are a hundred a second).
fn cpu_us(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold spaces: the state is the first, user and system time the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10_000.0
}

/// The most memory that the process had.
fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
