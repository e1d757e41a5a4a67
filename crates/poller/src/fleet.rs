//! The instances that are watched: begun at the start and when they are found, ended when they go.
//!
//! In: instances of the configuration, what discoveries find. Out: a loop for each. Must never happen:
//! two loops for one instance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use syncbell_config::Instance;
use syncbell_event::Source;
use syncbell_service::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::accounts::{Account, Accounts};
use crate::baseline::{Baseline, filters_digest};
use crate::blind::Blind;
use crate::budget::{Budget, Budgets};
use crate::discovery::{Discovery, Found};
use crate::enrich::Enrich;
use crate::instance::Watcher;
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::run::Parts;
use crate::schedule::Schedule;
use crate::sightings::{Sighting, Sightings};
use crate::state::State;
use crate::upstream::{Upstream, client};
use crate::watch::Watch;

/// A loop of an instance or of a discovery.
pub(crate) type Loop = JoinHandle<Result<(), Error>>;

/// Which instances are watched now, and how each is stopped. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Arc<Mutex<BTreeMap<String, CancellationToken>>>);

impl Watched {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn of(ids: &[&str]) -> Self {
        let tokens = ids
            .iter()
            .map(|id| ((*id).to_owned(), CancellationToken::new()));
        Self(Arc::new(Mutex::new(tokens.collect())))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins and ends the loops.
pub(crate) struct Fleet {
    baseline: syncbell_config::Baseline,
    blind_after: std::time::Duration,
    store: syncbell_store::Store,
    sightings: Sightings,
    accounts: Accounts,
    status: crate::Status,
    outbox: Arc<Outbox>,
    metrics: PollerMetrics,
    budgets: Budgets,
    shutdown: Shutdown,
    stop: CancellationToken,
    watched: Watched,
    started: Vec<Loop>,
}

impl Fleet {
    pub(crate) fn new(
        parts: &Parts,
        shutdown: &Shutdown,
        stop: &CancellationToken,
        outbox: &Arc<Outbox>,
        metrics: PollerMetrics,
    ) -> Self {
        let budgets = Budgets::default();
        budgets.show(&parts.metrics);
        Self {
            baseline: parts.baseline.clone(),
            blind_after: parts.blind_after,
            store: parts.store.clone(),
            sightings: parts.sightings.clone(),
            accounts: Accounts::new(Arc::clone(&parts.credentials), parts.surroundings.clone()),
            status: parts.status.clone(),
            outbox: Arc::clone(outbox),
            metrics,
            budgets,
            shutdown: shutdown.clone(),
            stop: stop.clone(),
            watched: Watched::default(),
            started: Vec::new(),
        }
    }

    pub(crate) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// The loops begun since the last call.
    pub(crate) fn started(&mut self) -> Vec<Loop> {
        std::mem::take(&mut self.started)
    }

    /// Watches `instance` from now on, unless it is watched already.
    pub(crate) async fn watch(&mut self, instance: &Instance) -> Result<(), Error> {
        if self.watched.lock().contains_key(&instance.id) {
            return Ok(());
        }
        let account = self.account(instance)?;
        let budget = self.budgets.of(account.key, &instance.region);
        let watcher = self.watcher(instance, account, budget).await?;
        let token = self.stop.child_token();
        self.watched
            .lock()
            .insert(instance.id.clone(), token.clone());
        self.started
            .push(self.shutdown.spawn("poll", watcher.run(token)));
        Ok(())
    }

    /// Looks for instances from now on; what it finds goes to `found`.
    pub(crate) fn discover(
        &mut self,
        config: &syncbell_config::Discovery,
        found: mpsc::Sender<Found>,
    ) -> Result<(), Error> {
        let account = self.account(&config.like)?;
        let budget = self.budgets.of(account.key, &config.like.region);
        let client = client(&config.like, account.credentials, &budget)?;
        let discovery = Discovery {
            config: config.clone(),
            client,
            budget,
            store: self.store.clone(),
            outbox: Arc::clone(&self.outbox),
            blind_after: self.blind_after,
            found,
        };
        let running = discovery.run(self.stop.clone());
        self.started.push(self.shutdown.spawn("discover", running));
        Ok(())
    }

    /// Does what a discovery says.
    pub(crate) async fn apply(&mut self, found: Found) -> Result<(), Error> {
        match found {
            Found::Watch(instance) => self.watch(&instance).await,
            Found::Gone(id) => {
                let token = self.watched.lock().remove(&id);
                if let Some(token) = token {
                    token.cancel();
                    self.status.forget_instance(&id);
                }
                Ok(())
            }
        }
    }

    /// Who asks about `instance`.
    pub(crate) fn account(&self, instance: &Instance) -> Result<Account, Error> {
        self.accounts.of(instance)
    }

    /// Reads what the store knows of `instance`.
    pub(crate) async fn watcher(
        &self,
        instance: &Instance,
        account: Account,
        budget: Arc<Budget>,
    ) -> Result<Watcher, Error> {
        let filters = filters_digest(&instance.filters);
        let source = Source {
            region: instance.region.clone(),
            instance: instance.id.clone(),
        };
        let (store, alert) = (&self.store, self.baseline.alert);
        let outbox = &self.outbox;
        let blind_after = self.blind_after.max(instance.poll_every * 2);
        let upstream = Upstream::new(instance, account.credentials, budget)?;
        let sighting = Sighting::new(&self.sightings, &instance.id, &filters);
        let baseline =
            Baseline::load(store, &self.sightings, &instance.id, &filters, alert).await?;
        let state = State::load(store.clone(), Arc::clone(outbox), source.clone(), filters).await?;
        Ok(Watcher {
            source,
            upstream,
            state,
            baseline,
            sighting,
            watch: Watch::default(),
            blind: Blind::load(store, &instance.id, blind_after).await?,
            enrich: Enrich::default(),
            pace: Pace::new(instance.poll_every),
            schedule: Schedule::new(instance.poll_every, instance.sweep_every, Instant::now()),
            sweeping: None,
            outbox: Arc::clone(outbox),
            metrics: self.metrics.of(&instance.id, Timestamp::now()),
            status: self.status.clone(),
            last_sweep: None,
            failing: None,
        })
    }
}
