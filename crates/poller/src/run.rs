//! The poller as a service: one poll loop for each instance, one publish loop for all.
//!
//! In: the parts, shutdown. Out: nothing until it ends. Must never happen: a loop that ends by itself
//! while the others go on as if nothing were.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use syncbell_acr::CredentialsProvider;
use syncbell_bus::{Bus, Publisher};
use syncbell_config::Instance;
use syncbell_event::Source;
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::baseline::{Baseline, filters_digest};
use crate::blind::Blind;
use crate::budget::{Budget, Budgets};
use crate::enrich::Enrich;
use crate::instance::Watcher;
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::publish::Relay;
use crate::requests::Requests;
use crate::schedule::Schedule;
use crate::state::State;
use crate::upstream::Upstream;
use crate::watch::Watch;
use crate::{Error, Status};

/// What a poller is made of.
pub struct Parts {
    /// The instances to watch.
    pub instances: Vec<Instance>,
    /// What the first look at an instance tells.
    pub baseline: syncbell_config::Baseline,
    /// How long an instance may not be read before that is told; at least two intervals.
    pub blind_after: Duration,
    /// The poller's own store.
    pub store: Store,
    /// The log that events go to.
    pub publisher: Arc<dyn Publisher>,
    /// The same log, to read from it what the notifier asks.
    pub bus: Bus,
    /// Who we are to the upstream.
    pub credentials: Arc<dyn CredentialsProvider>,
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
    parts.status.set_outbox(Arc::clone(&outbox));
    metrics.set_outbox(outbox.depth());

    let mut polls = FuturesUnordered::new();
    let budgets = Budgets::default();
    budgets.show(&parts.metrics);
    for instance in &parts.instances {
        let budget = budgets.of(&instance.region);
        let watcher = watcher(&parts, instance, budget, &outbox, &metrics).await?;
        polls.push(shutdown.spawn("poll", watcher.run(stop.clone())));
    }
    let requests = Requests {
        bus: parts.bus.clone(),
        store: parts.store.clone(),
        instances: parts.instances.iter().map(|one| one.id.clone()).collect(),
    };
    polls.push(shutdown.spawn("requests", requests.run(stop.clone())));
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

async fn watcher(
    parts: &Parts,
    instance: &Instance,
    budget: Arc<Budget>,
    outbox: &Arc<Outbox>,
    metrics: &PollerMetrics,
) -> Result<Watcher, Error> {
    let filters = filters_digest(&instance.filters);
    let source = Source {
        region: instance.region.clone(),
        instance: instance.id.clone(),
    };
    let (store, alert) = (&parts.store, parts.baseline.alert);
    let blind_after = parts.blind_after.max(instance.poll_every * 2);
    let upstream = Upstream::new(instance, Arc::clone(&parts.credentials), budget)?;
    let baseline = Baseline::load(store, &instance.id, &filters, alert).await?;
    let state = State::load(store.clone(), Arc::clone(outbox), source.clone(), filters).await?;
    Ok(Watcher {
        source,
        upstream,
        state,
        baseline,
        watch: Watch::default(),
        blind: Blind::load(store, &instance.id, blind_after).await?,
        enrich: Enrich::default(),
        pace: Pace::new(instance.poll_every),
        schedule: Schedule::new(instance.poll_every, instance.sweep_every, Instant::now()),
        sweeping: None,
        outbox: Arc::clone(outbox),
        metrics: metrics.of(&instance.id, Timestamp::now()),
        status: parts.status.clone(),
        last_sweep: None,
        failing: None,
    })
}

/// Opens the poller's own store, `poller/` under `data_dir`. Blocking: call it on a blocking thread.
pub fn open_store(data_dir: &std::path::Path) -> Result<Store, Error> {
    Ok(Store::open(
        &data_dir.join("poller"),
        syncbell_store::Options::default(),
    )?)
}

/// For `syncbell check`: prepares a client for each instance, asks nothing and keeps nothing.
pub async fn check(
    instances: &[Instance],
    credentials: Arc<dyn CredentialsProvider>,
) -> Result<(), Error> {
    for instance in instances {
        Upstream::new(instance, Arc::clone(&credentials), Arc::new(Budget::new()))?;
    }
    Ok(())
}

/// Credentials from the variables of the process, read at each use.
pub fn credentials_from_environment() -> Arc<dyn CredentialsProvider> {
    credentials_from(|name| std::env::var(name).ok())
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
