//! The whole path, measured on the built binary: start to ready, idle memory, and from a change that the
//! registry served to the webhook that has it, at 50 changes a second.
//!
//! `cargo bench -p syncbell-cli --bench whole_path`, on the embedded log and over Kafka. Prints; asserts
//! nothing.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use syncbell_simulator::receiver::{self, Receiver};
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Load, Options, Script, Simulator, World};
use syncbell_testkit::Binary;
use tokio::time::Instant;

const WAIT: Duration = Duration::from_mins(1);
const MEASURED: Duration = Duration::from_secs(20);
const STARTS: usize = 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    println!("profile: {profile}");
    measure("embedded log, one process", &["run"], "").await;
    let Some(kafka) = syncbell_testkit::kafka::shared().await else {
        println!("kafka: left out");
        return;
    };
    let (broker, prefix) = (
        kafka.bootstrap(),
        syncbell_testkit::kafka::unique_prefix("bench"),
    );
    let bus = format!("bus: {{kafka: {{brokers: ['{broker}'], topic_prefix: '{prefix}'}}}}\n");
    measure("kafka, two processes", &["poller", "notifier"], &bus).await;
}

/// Everything, with `services` as processes and `bus` as the file's words on the event log.
async fn measure(name: &str, services: &[&str], bus: &str) {
    println!("== {name}");
    let simulator = Simulator::start(Options::default())
        .await
        .expect("a free port");
    simulator.world().load(Script::quiet());
    let webhook = Receiver::start(receiver::Options::default())
        .await
        .expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(folder.path(), &simulator.url(), &webhook.url(), bus);

    let mut starts_ms = Vec::new();
    let mut running: Vec<Binary> = Vec::new();
    for _ in 0..STARTS {
        stop(&mut running).await;
        for service in services {
            let began = Instant::now();
            let started = launch(&config, service);
            started.wait_for_line("syncbell runs", WAIT).await;
            starts_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
            running.push(started);
        }
    }
    println!(
        "start to running, {STARTS} starts: median {:.0} ms",
        quantile(&mut starts_ms, 0.5)
    );

    until_more_answers(&simulator.world(), 5).await;
    print_memory("idle memory", services, &running);

    simulator.world().baseline_done();
    let load = simulator.world().generate(lively());
    tokio::time::sleep(MEASURED).await;
    load.stop();
    until_more_answers(&simulator.world(), 30).await;

    let mut latencies_ms = latencies_ms(&simulator.world(), &webhook);
    println!(
        "change served -> webhook has it, 50 changes/s for {} s: {} alerts, p50 {:.1} ms, p99 {:.1} ms",
        MEASURED.as_secs(),
        latencies_ms.len(),
        quantile(&mut latencies_ms, 0.5),
        quantile(&mut latencies_ms, 0.99),
    );
    print_memory("memory after it", services, &running);
    stop(&mut running).await;
    webhook.stop().await;
    simulator.stop().await;
}

async fn until_more_answers(world: &World, n: u64) {
    let answers = world.counts().answers;
    world
        .until(|world| world.counts().answers > answers + n)
        .await;
}

fn print_memory(when: &str, services: &[&str], running: &[Binary]) {
    for (service, binary) in services.iter().zip(running) {
        println!(
            "{when}, {service}: {:.1} MiB resident",
            resident_mib(binary.pid())
        );
    }
}

/// Fifty changes a second; half of the tasks that end fail.
fn lively() -> Load {
    Load {
        changes_per_second: 50.0,
        failure_share: 0.5,
        keep: 200,
        ..Load::default()
    }
}

fn configuration(folder: &Path, registry: &str, webhook: &str, bus: &str) -> PathBuf {
    let config = folder.join("syncbell.yaml");
    let text = format!(
        "data_dir: {}\n\
         instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{registry}', poll_every: 1s}}\n\
         receivers:\n  - {{name: ops, webhook: {{url: '{webhook}'}}}}\n\
         route: {{receivers: [ops]}}\nadmin: {{listen: '127.0.0.1:0', notifier_listen: '127.0.0.1:0'}}\n{bus}",
        folder.join("data").display(),
    );
    std::fs::write(&config, text).expect("a configuration");
    config
}

fn launch(config: &Path, service: &str) -> Binary {
    let options = Options::default();
    Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .args([service, "-c", config.to_str().expect("a plain path")])
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", options.access_key_secret)
        .start()
}

/// From the answer that carried a state in full to the webhook that told it.
fn latencies_ms(world: &World, webhook: &Receiver) -> Vec<f64> {
    let expected = world.ledger().expected();
    let mut latencies_ms = Vec::new();
    for receipt in webhook.receipts() {
        for got in receipt.got() {
            let told = expected.iter().find(|told| {
                told.task_id == got.task_id
                    && told.rule.as_str() == got.rule
                    && told.status == got.status
            });
            if let Some(served_at) = told.and_then(|told| told.served_at) {
                let late = receipt.received_at.duration_since(served_at);
                latencies_ms.push(late.as_secs_f64() * 1_000.0);
            }
        }
    }
    latencies_ms
}

async fn stop(running: &mut Vec<Binary>) {
    for mut binary in running.drain(..) {
        binary.terminate();
        binary.wait_for_exit(WAIT).await;
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let at = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1_024.0
}
