//! The poller as a service: one poll loop for each instance, one publish loop for all.
//!
//! In: the parts, shutdown. Out: nothing until it ends. Must never happen: a loop that ends by itself
//! while the others go on as if nothing were.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use syncbell_acr::{CredentialsProvider, Surroundings};
use syncbell_bus::{Bus, Publisher};
use syncbell_config::{Discovery, Disk, Instance};
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::budget::Budget;
use crate::fleet::Fleet;
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::publish::Relay;
use crate::requests::Requests;
use crate::upstream::client;
use crate::{Error, Sightings, Status};

/// Instances found and not yet watched, at most; then discoveries wait.
const FOUND_LIMIT: usize = 64;

/// What a poller is made of.
pub struct Parts {
    /// The instances to watch.
    pub instances: Vec<Instance>,
    /// Instances to look for, and then to watch too.
    pub discoveries: Vec<Discovery>,
    /// What the first look at an instance tells.
    pub baseline: syncbell_config::Baseline,
    /// How long an instance may not be read before that is told; at least two intervals.
    pub blind_after: Duration,
    /// The poller's own store.
    pub store: Store,
    /// How far the lists were seen, beside the store: see [`open`].
    pub sightings: Sightings,
    /// The log that events go to.
    pub publisher: Arc<dyn Publisher>,
    /// The same log, to read from it what the notifier asks.
    pub bus: Bus,
    /// Who we are to the upstream where the configuration says nothing else.
    pub credentials: Arc<dyn CredentialsProvider>,
    /// What the credentials of the configuration are got from.
    pub surroundings: Surroundings,
    /// Where to count.
    pub metrics: Metrics,
    /// Gets the condition `poller`: its state is read and the log has answered.
    pub health: Health,
    /// Filled as it goes; give a clone of it to [`api`](crate::api).
    pub status: Status,
}

/// Watches all instances until shutdown, then sends what is in the outbox once and ends.
///
/// `Err` means that the store or the log is broken, or that a loop panicked: the process stops and
/// its supervisor starts it again. Failures of the upstream never end it.
pub async fn run(parts: Parts, shutdown: Shutdown) -> Result<(), Error> {
    let stop = shutdown.token().child_token();
    let no_more = CancellationToken::new();
    let metrics = PollerMetrics::new(&parts.metrics);
    let condition = parts.health.condition("poller");
    let outbox = Arc::new(Outbox::load(parts.store.clone()).await?);
    if parts.store.set_aside().is_some() {
        // That stands in the file beside it since it was opened.
        parts.store.forget_set_aside().await?;
    }
    parts.status.set_outbox(Arc::clone(&outbox));
    parts.status.set_store(parts.store.clone());
    metrics.set_outbox(outbox.depth());

    let (found_sender, mut found) = mpsc::channel(FOUND_LIMIT);
    let mut fleet = Fleet::new(&parts, &shutdown, &stop, &outbox, metrics.clone());
    for instance in &parts.instances {
        fleet.watch(instance).await?;
    }
    for discovery in &parts.discoveries {
        fleet.discover(discovery, found_sender.clone())?;
    }
    let requests = Requests {
        bus: parts.bus.clone(),
        store: parts.store.clone(),
        watched: fleet.watched(),
    };
    let mut polls = FuturesUnordered::new();
    polls.push(shutdown.spawn("requests", requests.run(stop.clone())));
    polls.extend(fleet.started());
    let relay = Relay {
        outbox,
        publisher: parts.publisher,
        metrics,
        condition,
        stop: stop.clone(),
        no_more: no_more.clone(),
    };
    let mut publish = shutdown.spawn("publish", relay.run());

    // The first error stops the rest; a second one has the same cause.
    let mut ended = Ok(());
    let published = loop {
        tokio::select! {
            Some(poll) = polls.next() => {
                let poll = poll.unwrap_or(Err(Error::Panicked { task: "poll" }));
                if poll.is_err() {
                    stop.cancel();
                    ended = ended.and(poll);
                }
            }
            Some(found) = found.recv(), if !stop.is_cancelled() => {
                if let Err(error) = fleet.apply(found).await {
                    stop.cancel();
                    ended = ended.and(Err(error));
                }
                polls.extend(fleet.started());
            }
            published = &mut publish => break published,
            () = stop.cancelled(), if polls.is_empty() && !no_more.is_cancelled() => no_more.cancel(),
        }
    };
    // It ends first only where it failed.
    stop.cancel();
    while let Some(poll) = polls.next().await {
        ended = ended.and(poll.unwrap_or(Err(Error::Panicked { task: "poll" })));
    }
    ended.and(published.unwrap_or(Err(Error::Panicked { task: "publish" })))
}

/// Opens the store alone, for a look at it. Blocking: call it on a blocking thread.
pub fn open_store(data_dir: &Path) -> Result<Store, Error> {
    let options = syncbell_store::Options {
        // A look is answered while nothing more is taken in.
        min_free_bytes: 0,
        ..syncbell_store::Options::default()
    };
    Ok(Store::open(&data_dir.join("poller"), options)?)
}

/// What a poller keeps on the disk, open.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its own store.
    pub store: Store,
    /// What outlives it.
    pub sightings: Sightings,
}

/// Opens the poller's own store, `poller/` under `data_dir`, and the file `poller-seen.json` beside it. A
/// store that is damaged is set aside by name, and what was in it is read again. Blocking: call it on a
/// blocking thread.
pub fn open(data_dir: &Path, disk: Disk) -> Result<Opened, Error> {
    let options = syncbell_store::Options {
        min_free_bytes: disk.min_free_bytes,
        ..syncbell_store::Options::default()
    };
    let (store, lost) = Store::open_or_start_over(&data_dir.join("poller"), options)?;
    let path = data_dir.join("poller-seen.json");
    let sightings =
        Sightings::open(&path, lost.map(|lost| lost.at)).map_err(|error| Error::Sightings {
            path,
            source: Arc::new(error),
        })?;
    Ok(Opened { store, sightings })
}

/// For `syncbell check`: prepares the credentials and a client for each instance, asks nothing and keeps
/// nothing.
pub async fn check(
    instances: &[Instance],
    discoveries: &[Discovery],
    credentials: Arc<dyn CredentialsProvider>,
    surroundings: Surroundings,
) -> Result<(), Error> {
    let accounts = Accounts::new(credentials, surroundings);
    let like = discoveries.iter().map(|discovery| &discovery.like);
    for instance in instances.iter().chain(like) {
        let account = accounts.of(instance)?;
        client(instance, account.credentials, &Arc::new(Budget::new()))?;
    }
    Ok(())
}

/// The vendor's default chain in the surroundings of the process: what its SDKs would use here.
pub fn default_credentials() -> Arc<dyn CredentialsProvider> {
    Surroundings::of_process().default_chain()
}

/// Credentials from `variables`, which are named as in the environment
/// (`ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, `ALIBABA_CLOUD_SECURITY_TOKEN`).
pub fn credentials_from(
    variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Arc<dyn CredentialsProvider> {
    Arc::new(syncbell_acr::Environment::new(variables))
}

#[cfg(test)]
mod tests;
