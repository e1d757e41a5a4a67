//! Starting poller and notifier in one process: what `run` and `demo` have in common.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use syncbell_config::Config;
use syncbell_notifier::Notifier;
use syncbell_service::{Admin, Health, Metrics, Shutdown};

use crate::exit::Failure;

/// How long a shutdown may take.
const DRAIN: Duration = Duration::from_secs(25);

/// How soon a service that ended by itself is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Both services, running.
pub(crate) struct Started {
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    poller: tokio::task::JoinHandle<Result<(), syncbell_poller::Error>>,
    notifier: tokio::task::JoinHandle<Result<(), syncbell_notifier::Error>>,
    close: Box<dyn FnOnce() -> Closing + Send>,
}

type Closing = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the admin address and the folders, then starts the loops. An error is told by what to do next.
pub(crate) async fn start(
    config: Config,
    credentials: Arc<dyn syncbell_poller::CredentialsProvider>,
) -> anyhow::Result<Started> {
    let (metrics, health, shutdown) = (Metrics::new(), Health::new(), Shutdown::new());
    let admin = Admin::bind(config.admin.listen)
        .await
        .context(Failure::TryAgain)?;
    let address = admin.local_addr();
    let (poller_store, notifier_store, bus) = open(config.data_dir.clone()).await?;

    let notifier = Notifier::open(syncbell_notifier::Parts {
        receivers: config.receivers,
        route: config.route,
        rules: config.rules,
        store: notifier_store.clone(),
        bus: bus.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
    });
    let notifier = notifier.await.context(Failure::Configuration)?;
    let status = syncbell_poller::Status::new();
    let api = syncbell_notifier::api(notifier.handle()).merge(syncbell_poller::api(status.clone()));
    let poller = syncbell_poller::run(
        syncbell_poller::Parts {
            instances: config.instances,
            baseline: config.baseline,
            store: poller_store.clone(),
            publisher: bus.publisher(),
            credentials,
            metrics: metrics.clone(),
            health: health.clone(),
            status,
        },
        shutdown.clone(),
    );
    shutdown.spawn(
        "admin",
        admin.serve(health, metrics.clone(), api, shutdown.clone()),
    );
    let notifier = shutdown.spawn("notifier", notifier.run(shutdown.clone()));
    let poller = shutdown.spawn("poller", poller);
    let close = move || -> Closing {
        Box::pin(async move {
            bus.close().await;
            for closed in [poller_store.close().await, notifier_store.close().await] {
                if let Err(error) = closed {
                    tracing::error!(%error, "a store did not close");
                }
            }
        })
    };
    Ok(Started {
        admin: address,
        metrics,
        shutdown,
        poller,
        notifier,
        close: Box::new(close),
    })
}

/// The three folders, each with its lock, opened on a blocking thread.
async fn open(data_dir: PathBuf) -> anyhow::Result<(Store, Store, Bus)> {
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let poller = syncbell_poller::open_store(&data_dir).context(Failure::TryAgain)?;
        let notifier = syncbell_notifier::open_store(&data_dir).context(Failure::TryAgain)?;
        let bus = syncbell_notifier::open_bus(&data_dir).context(Failure::TryAgain)?;
        Ok((poller, notifier, bus))
    });
    opened.await.context("opening the stores panicked")?
}

/// The services hand these out; the command line only passes them on.
pub(crate) use syncbell_notifier::{Bus, Store};

impl Started {
    /// Waits until one of the services ends by itself: something is broken.
    pub(crate) async fn broken(&self) {
        while !self.shutdown.is_triggered()
            && !self.poller.is_finished()
            && !self.notifier.is_finished()
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops everything within the deadline. An error is why a service ended by itself.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        let drained = self.shutdown.drained(DRAIN).await;
        if drained {
            (self.close)().await;
            self.poller
                .await
                .context("the poller panicked")?
                .context(Failure::TryAgain)?;
            self.notifier
                .await
                .context("the notifier panicked")?
                .context(Failure::TryAgain)?;
        }
        Ok(())
    }
}
