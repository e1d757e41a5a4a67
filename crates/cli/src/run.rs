//! `syncbell run`, `poller` and `notifier`: services, until SIGTERM or SIGINT.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use syncbell_config::{Config, Part};
use syncbell_service::{shutdown, telemetry};

use crate::exit::Failure;
use crate::start::{Services, start};

/// How long the end waits for what blocks a thread.
const LEAVE: Duration = Duration::from_secs(1);

/// Runs `services` with the configuration in `file`.
pub(crate) fn run(file: &Path, services: Services) -> anyhow::Result<()> {
    let config = load(file, services.part())?;
    telemetry::init(telemetry::Format::Auto, "info");
    for warning in &config.warnings {
        tracing::warn!(place = warning.place(), "{}", warning.message);
    }
    block_on(serve(config, services))
}

async fn serve(config: Config, services: Services) -> anyhow::Result<()> {
    let signalled = shutdown::signalled();
    let credentials = syncbell_poller::default_credentials();
    let started = start(config, credentials, services).await?;
    tracing::info!(
        admin = %started.admin,
        version = env!("CARGO_PKG_VERSION"),
        services = services.name(),
        "syncbell runs"
    );
    tokio::select! {
        signal = signalled => {
            let signal = signal.context("listening for signals")?;
            tracing::info!(signal, "stopping");
        }
        () = started.broken() => tracing::error!("a service ended by itself: stopping"),
    }
    started.stop().await
}

/// The checked configuration, as far as `part` needs it, or every problem on stderr and exit 78.
pub(crate) fn load(file: &Path, part: Part) -> anyhow::Result<Config> {
    syncbell_config::load_part(file, part, &|name| std::env::var(name).ok()).map_err(|problems| {
        anstream::eprintln!("{problems}");
        Failure::Configuration.into()
    })
}

/// Runs `work` on a runtime: two workers do for what waits on disks and sockets. What still blocks a
/// thread at the end (a Kafka client that asks a broker which is gone) is waited for shortly, then left.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEAVE);
    done
}
