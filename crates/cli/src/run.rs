//! `syncbell run`: poller and notifier in one process, until SIGTERM or SIGINT.

use std::path::Path;

use anyhow::Context as _;
use syncbell_config::Config;
use syncbell_service::{shutdown, telemetry};

use crate::exit::Failure;
use crate::start::start;

/// Runs the configuration in `file`.
pub(crate) fn run(file: &Path) -> anyhow::Result<()> {
    let config = load(file)?;
    telemetry::init(telemetry::Format::Auto, "info");
    for warning in &config.warnings {
        tracing::warn!(place = warning.place(), "{}", warning.message);
    }
    runtime()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let credentials = syncbell_poller::credentials_from_environment();
    let started = start(config, credentials).await?;
    tracing::info!(admin = %started.admin, version = env!("CARGO_PKG_VERSION"), "syncbell runs");
    tokio::select! {
        signal = shutdown::signalled() => {
            let signal = signal.context("listening for signals")?;
            tracing::info!(signal, "stopping");
        }
        () = started.broken() => tracing::error!("a service ended by itself: stopping"),
    }
    started.stop().await
}

/// The checked configuration, or every problem on stderr and exit 78.
pub(crate) fn load(file: &Path) -> anyhow::Result<Config> {
    syncbell_config::load(file, &|name| std::env::var(name).ok()).map_err(|problems| {
        anstream::eprintln!("{problems}");
        Failure::Configuration.into()
    })
}

/// A runtime for a service: two workers do for what waits on disks and sockets.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the runtime")
}
