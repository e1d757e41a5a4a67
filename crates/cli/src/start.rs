//! Starting poller and notifier: what `run`, `poller`, `notifier` and `demo` have in common.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use syncbell_config::{Config, Part};
use syncbell_notifier::{Bus, LedgerLost, Notifier, Store};
use syncbell_service::{Admin, Health, Metrics, Shutdown};
use tokio::task::JoinHandle;

use crate::exit::{self, Failure};
use crate::{bus, kafka_metrics, service, store_metrics};

/// How long a shutdown may take.
const DRAIN: Duration = Duration::from_secs(25);

/// How long the log and the stores may take to close after it.
const CLOSE: Duration = Duration::from_secs(8);

/// How soon a service that ended by itself is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which services a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Services {
    /// Both, with any log.
    Both,
    /// The poller alone, over Kafka.
    Poller,
    /// The notifier alone, over Kafka.
    Notifier,
}

/// The services, running.
pub(crate) struct Started {
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    services: Vec<(&'static str, JoinHandle<anyhow::Result<()>>)>,
    opened: Opened,
}

/// What was opened, to be closed at the end.
struct Opened {
    poller: Option<syncbell_poller::Opened>,
    notifier: Option<(Store, Option<LedgerLost>)>,
    bus: Bus,
}

/// What every service of a process hands its state to.
#[derive(Clone)]
struct Common {
    metrics: Metrics,
    health: Health,
    shutdown: Shutdown,
    bus: Bus,
}

impl Services {
    fn poll(self) -> bool {
        self != Self::Notifier
    }

    fn notify(self) -> bool {
        self != Self::Poller
    }

    /// What must work of the configuration.
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Both => Part::All,
            Self::Poller => Part::Poller,
            Self::Notifier => Part::Notifier,
        }
    }

    /// The names by which commands look for them.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["poller", "notifier"],
            Self::Poller => &["poller"],
            Self::Notifier => &["notifier"],
        }
    }

    /// For log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "poller and notifier",
            Self::Poller => "poller",
            Self::Notifier => "notifier",
        }
    }

    fn client_id(self) -> &'static str {
        match self {
            Self::Both => "syncbell",
            Self::Poller => "syncbell-poller",
            Self::Notifier => "syncbell-notifier",
        }
    }
}

/// Takes the admin address and the folders, then starts the loops. An error is told by what to do next.
pub(crate) async fn start(
    config: Config,
    credentials: Arc<dyn syncbell_poller::CredentialsProvider>,
    services: Services,
) -> anyhow::Result<Started> {
    if services != Services::Both && matches!(config.bus, syncbell_config::Bus::Embedded) {
        let one = anyhow::anyhow!(
            "the embedded event log joins poller and notifier in one process: use `syncbell run`, \
             or set `bus.kafka`"
        );
        return Err(one).context(Failure::Configuration);
    }
    syncbell_service::open_files::raise();
    let listen = match services {
        Services::Both | Services::Poller => config.admin.listen,
        Services::Notifier => config.admin.notifier_listen,
    };
    let admin = Admin::bind(listen).await.context(Failure::TryAgain)?;
    let address = admin.local_addr();
    let opened = Opened::open(&config, services).await?;
    let common = Common {
        metrics: Metrics::new(),
        health: Health::new(),
        shutdown: Shutdown::new(),
        bus: opened.bus.clone(),
    };
    let Common {
        metrics,
        health,
        shutdown,
        bus,
    } = common.clone();
    kafka_metrics::observe(&bus, &metrics);
    store_metrics::observe(opened.stores(), &metrics, &shutdown);

    let tail = syncbell_notifier::tail::api(bus.clone(), shutdown.clone());
    let mut api = service::api(services).merge(tail);
    let mut notifier = None;
    if let Some((store, lost)) = opened.notifier.clone() {
        let opened = open_notifier(&config, store, lost, &common).await?;
        api = api.merge(syncbell_notifier::api(opened.handle()));
        notifier = Some(opened);
    }
    let status = syncbell_poller::Status::new();
    if opened.poller.is_some() {
        api = api.merge(syncbell_poller::api(status.clone()));
    }
    let serve = admin.serve(health, metrics.clone(), api, shutdown.clone());
    shutdown.spawn("admin", serve);
    let mut running = Vec::new();
    if let Some(notifier) = notifier {
        let run = notifier.run(shutdown.clone());
        let run = async { run.await.context(Failure::TryAgain) };
        running.push(("notifier", shutdown.spawn("notifier", run)));
    }
    if let Some(opened) = opened.poller.clone() {
        let parts = poller_parts(config, opened, credentials, status, &common);
        let run = syncbell_poller::run(parts, shutdown.clone());
        let run = async { run.await.context(Failure::TryAgain) };
        running.push(("poller", shutdown.spawn("poller", run)));
    }
    Ok(Started {
        admin: address,
        metrics,
        shutdown,
        services: running,
        opened,
    })
}

async fn open_notifier(
    config: &Config,
    store: Store,
    lost: Option<LedgerLost>,
    common: &Common,
) -> anyhow::Result<Notifier> {
    let notifier = Notifier::open(syncbell_notifier::Parts {
        instances: config.instances.clone(),
        receivers: config.receivers.clone(),
        route: config.route.clone(),
        rules: config.rules.clone(),
        templates: config.templates.clone(),
        console: config.console.clone(),
        heartbeat: config.heartbeat.clone(),
        watchdog: config.watchdog,
        retention: config.retention.clone(),
        store,
        lost,
        bus: common.bus.clone(),
        metrics: common.metrics.clone(),
        health: common.health.clone(),
    });
    notifier.await.context(Failure::Configuration)
}

fn poller_parts(
    config: Config,
    opened: syncbell_poller::Opened,
    credentials: Arc<dyn syncbell_poller::CredentialsProvider>,
    status: syncbell_poller::Status,
    common: &Common,
) -> syncbell_poller::Parts {
    syncbell_poller::Parts {
        instances: config.instances,
        discoveries: config.discoveries,
        baseline: config.baseline,
        blind_after: config.rules.blind_after,
        store: opened.store,
        sightings: opened.sightings,
        publisher: common.bus.publisher(),
        bus: common.bus.clone(),
        credentials,
        surroundings: syncbell_poller::Surroundings::of_process(),
        metrics: common.metrics.clone(),
        health: common.health.clone(),
        status,
    }
}

impl Opened {
    /// The folders of the services, each with its lock, and the log.
    async fn open(config: &Config, services: Services) -> anyhow::Result<Opened> {
        let (data_dir, disk) = (config.data_dir.clone(), config.disk);
        let stores = move |data_dir: PathBuf| -> anyhow::Result<_> {
            let (mut poller, mut notifier) = (None, None);
            if services.poll() {
                let opened = syncbell_poller::open(&data_dir, disk);
                poller = Some(opened.map_err(|error| exit::store(error.into()))?);
            }
            if services.notify() {
                let opened = syncbell_notifier::open(&data_dir, disk);
                notifier = Some(opened.map_err(|error| exit::store(error.into()))?);
            }
            Ok((poller, notifier))
        };
        let opened = tokio::task::spawn_blocking(move || stores(data_dir)).await;
        let (poller, notifier) = opened.context("opening the stores panicked")??;
        let bus = bus::open(config, disk, services.client_id());
        Ok(Opened {
            poller,
            notifier,
            bus: bus.await?,
        })
    }

    /// By the names that the metrics use.
    fn stores(&self) -> Vec<(&'static str, Store)> {
        let poller = self.poller.as_ref().map(|opened| opened.store.clone());
        let notifier = self.notifier.as_ref().map(|(store, _)| store.clone());
        let stores = [("poller", poller), ("notifier", notifier)].into_iter();
        stores
            .filter_map(|(name, store)| Some((name, store?)))
            .collect()
    }

    async fn close(self) {
        self.bus.close().await;
        let poller = self.poller.map(|opened| opened.store);
        let notifier = self.notifier.map(|(store, _)| store);
        for store in [poller, notifier].into_iter().flatten() {
            if let Err(error) = store.close().await {
                tracing::error!(%error, "a store did not close");
            }
        }
    }
}

impl Started {
    /// Waits until one of the services ends by itself: something is broken.
    pub(crate) async fn broken(&self) {
        let ended = || self.services.iter().any(|(_, one)| one.is_finished());
        while !self.shutdown.is_triggered() && !ended() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops everything within the deadline. An error is why a service ended by itself.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        let drained = self.shutdown.drained(DRAIN).await;
        if !drained {
            // What is under way is left as it is: the next start finds it. Who ended by itself says why.
            for (name, service) in self.services {
                if service.is_finished() {
                    ended(name, service.await)?;
                }
            }
            return Err(anyhow::anyhow!("the shutdown took too long")).context(Failure::TryAgain);
        }
        if tokio::time::timeout(CLOSE, self.opened.close())
            .await
            .is_err()
        {
            tracing::error!("the stores and the log did not close in time");
        }
        for (name, service) in self.services {
            ended(name, service.await)?;
        }
        Ok(())
    }
}

/// How a service ended, as the process's own end.
fn ended(
    name: &str,
    ended: Result<anyhow::Result<()>, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    match ended {
        Ok(ended) => ended,
        Err(_) => bail!("the {name} panicked"),
    }
}
