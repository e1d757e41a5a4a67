//! The whole path, measured on the built binary: start to ready, idle memory, and from a change that the
//! registry served to the webhook that has it, at 50 changes a second.
//!
//! `cargo bench -p syncbell-cli --bench whole_path`. Prints; asserts nothing.

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
    let simulator = Simulator::start(Options::default())
        .await
        .expect("a free port");
    simulator.world().load(Script::quiet());
    let webhook = Receiver::start(receiver::Options::default())
        .await
        .expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(folder.path(), &simulator.url(), &webhook.url());

    let mut starts_ms = Vec::new();
    let mut binary = None;
    for _ in 0..STARTS {
        if let Some(mut running) = binary.take() {
            stop(&mut running).await;
        }
        let began = Instant::now();
        let started = launch(&config);
        started.wait_for_line("syncbell runs", WAIT).await;
        starts_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
        binary = Some(started);
    }
    let mut binary = binary.expect("it was started");
    println!(
        "start to running, {STARTS} starts: median {:.0} ms",
        quantile(&mut starts_ms, 0.5)
    );

    let answers = simulator.world().counts().answers;
    simulator
        .world()
        .until(|world| world.counts().answers > answers + 5)
        .await;
    println!(
        "idle memory: {:.1} MiB resident",
        resident_mib(binary.pid())
    );

    simulator.world().baseline_done();
    let running = simulator.world().generate(lively());
    tokio::time::sleep(MEASURED).await;
    running.stop();
    let answers = simulator.world().counts().answers;
    simulator
        .world()
        .until(|world| world.counts().answers > answers + 30)
        .await;

    let mut latencies_ms = latencies_ms(&simulator.world(), &webhook);
    println!(
        "change served -> webhook has it, 50 changes/s for {} s: {} alerts, p50 {:.1} ms, p99 {:.1} ms",
        MEASURED.as_secs(),
        latencies_ms.len(),
        quantile(&mut latencies_ms, 0.5),
        quantile(&mut latencies_ms, 0.99),
    );
    println!(
        "memory after it: {:.1} MiB resident",
        resident_mib(binary.pid())
    );
    stop(&mut binary).await;
    webhook.stop().await;
    simulator.stop().await;
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

fn configuration(folder: &Path, registry: &str, webhook: &str) -> PathBuf {
    let config = folder.join("syncbell.yaml");
    let text = format!(
        "data_dir: {}\n\
         instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{registry}', poll_every: 1s}}\n\
         receivers:\n  - {{name: ops, webhook: {{url: '{webhook}'}}}}\n\
         route: {{receivers: [ops]}}\nadmin: {{listen: '127.0.0.1:0'}}\n",
        folder.join("data").display(),
    );
    std::fs::write(&config, text).expect("a configuration");
    config
}

fn launch(config: &Path) -> Binary {
    let options = Options::default();
    Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .args(["run", "-c", config.to_str().expect("a plain path")])
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

async fn stop(binary: &mut Binary) {
    binary.terminate();
    binary.wait_for_exit(WAIT).await;
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
