//! The notifier as a service: one consume loop, a lane for each target, a relay for dead letters.
//!
//! In: the parts, shutdown. Out: nothing until it ends. Must never happen: a loop that ends by itself
//! while the others go on as if nothing were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use syncbell_bus::Bus;
use syncbell_config::{
    Config, Console, Disk, Instance, Problems, Receiver, Retention, Route, RuleSwitches, Templates,
};
use syncbell_service::{Condition, Health, Metrics, Shutdown};
use syncbell_store::Store;
use tokio::sync::Notify;

use crate::Error;
use crate::begin::{self, LedgerLost};
use crate::consume::{Consumer, Wake};
use crate::dead_letters::{self, LetterBox, Relay};
use crate::deliver::{Budgets, Channel, Lane, LaneSignal, LaneState};
use crate::delivery::Target;
use crate::heartbeat::{Heartbeat, Pulse};
use crate::lag;
use crate::ledger::Ledger;
use crate::metrics::NotifierMetrics;
use crate::reader::Reader;
use crate::render::Renderers;
use crate::retention::Kept;
use crate::route::targets;
use crate::setup::Setup;
use crate::watchdog::Watchdog;

/// What a notifier is made of.
pub struct Parts {
    /// The configured instances: each is expected to be heard of.
    pub instances: Vec<Instance>,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told what.
    pub route: Route,
    /// What is told.
    pub rules: RuleSwitches,
    /// In which form: the operator's templates.
    pub templates: Templates,
    /// Links to the registry's console.
    pub console: Console,
    /// Where a dead man's switch waits for pings.
    pub heartbeat: Option<syncbell_config::Heartbeat>,
    /// When it is told that a receiver fails.
    pub watchdog: syncbell_config::Watchdog,
    /// How long is kept what is over.
    pub retention: Retention,
    /// The notifier's own store.
    pub store: Store,
    /// The ledger that was there before and could not be read.
    pub lost: Option<LedgerLost>,
    /// The event log.
    pub bus: Bus,
    /// Where to count.
    pub metrics: Metrics,
    /// Gets the condition `notifier`.
    pub health: Health,
}

/// A notifier that is ready to run; its [`Handle`] answers the API.
pub struct Notifier {
    reader: Reader,
    consumer: Consumer,
    lanes: Vec<Lane>,
    relay: Relay,
    watchdog: Watchdog,
    heartbeat: Option<(Heartbeat, Pulse)>,
    condition: Condition,
    handle: Handle,
}

/// What the API works with.
#[derive(Clone)]
pub struct Handle {
    pub(crate) ledger: Ledger,
    pub(crate) bus: Bus,
    pub(crate) signals: Arc<BTreeMap<Target, Arc<LaneSignal>>>,
    /// None where no notifier runs.
    consuming: Option<Consuming>,
    /// Held while events are replayed.
    pub(crate) replaying: Arc<tokio::sync::Mutex<()>>,
    /// How long dead letters are listed.
    letters_kept: SignedDuration,
}

/// The consume loop of a notifier that runs.
#[derive(Clone)]
struct Consuming {
    /// Woken when something is asked of it: a dead letter's record is to be decided again, a fallback to be told.
    attend: Arc<Notify>,
    setup: Arc<Setup>,
}

impl Consuming {
    fn of(parts: &Parts) -> Self {
        let (route, receivers) = (&parts.route, &parts.receivers);
        let setup = Setup::new(route, receivers, &parts.rules, &parts.instances);
        Self {
            attend: Arc::default(),
            setup: Arc::new(setup),
        }
    }
}

/// Opens the notifier's own store, `notifier/` under `data_dir`, to run on it: one that is damaged is set
/// aside by name, and what was in it is read again. Blocking: call it on a blocking thread.
pub fn open(data_dir: &std::path::Path, disk: Disk) -> Result<(Store, Option<LedgerLost>), Error> {
    let opened = Store::open_or_start_over(&data_dir.join("notifier"), options(disk));
    let (store, lost) = opened?;
    let lost = lost.map(|lost| LedgerLost {
        why: lost.why,
        kept_as: lost.dir.display().to_string(),
    });
    Ok((store, lost))
}

/// Opens the notifier's own store, for a look at it. Blocking: call it on a blocking thread.
pub fn open_store(data_dir: &std::path::Path, disk: Disk) -> Result<Store, Error> {
    Ok(Store::open(&data_dir.join("notifier"), options(disk))?)
}

/// A ledger of less is never compacted: five thousand alerts at once leave thirty MiB of files, and are not to wait for
/// the copy.
const COMPACT_FROM_BYTES: u64 = 64 * 1024 * 1024;

/// Of a ledger, in which an event reads and writes rows all over the place: with three MiB a burst is a tenth slower.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

fn options(disk: Disk) -> syncbell_store::Options {
    syncbell_store::Options {
        cache_bytes: CACHE_BYTES,
        min_free_bytes: disk.min_free_bytes,
        compact_from_bytes: COMPACT_FROM_BYTES,
    }
}

/// Opens the embedded event log, `log/` under `data_dir`; dead letters are kept as long as `retention` says.
/// Blocking: call it on a blocking thread.
pub fn open_bus(
    data_dir: &std::path::Path,
    retention: &Retention,
    disk: Disk,
) -> Result<Bus, Error> {
    let options = syncbell_bus::EmbeddedOptions {
        dead_letters_age: retention.dead_letters,
        min_free_bytes: disk.min_free_bytes,
        ..syncbell_bus::EmbeddedOptions::default()
    };
    Ok(Bus::embedded(&data_dir.join("log"), options)?)
}

/// For `syncbell check`: compiles the templates and renders samples with them, and prepares every receiver and
/// the heartbeat; sends nothing.
pub fn check(config: &Config) -> Result<(), Error> {
    let renderers =
        Renderers::try_new(&config.templates, &config.console).map_err(Error::Templates)?;
    renderers.check().map_err(Error::Templates)?;
    let metrics = NotifierMetrics::new(&Metrics::new());
    let mut problems = Vec::new();
    for receiver in &config.receivers {
        problems.extend(Channel::try_new(receiver, &renderers, metrics.clone())?.problem());
    }
    if !problems.is_empty() {
        return Err(Error::Templates(Problems(problems)));
    }
    config
        .heartbeat
        .as_ref()
        .map(Heartbeat::try_new)
        .transpose()?;
    Ok(())
}

impl Handle {
    /// For the command line when no service runs: the same answers, from the folders themselves.
    pub async fn offline(store: Store, bus: Bus, retention: &Retention) -> Result<Self, Error> {
        let ledger = Ledger::open(store).await?;
        Ok(Self {
            ledger,
            bus,
            signals: Arc::default(),
            consuming: None,
            replaying: Arc::default(),
            letters_kept: dead_letters::kept(retention),
        })
    }

    /// Closes the ledger and the log; for a handle that was opened by [`Handle::offline`].
    pub async fn close(self) {
        self.bus.close().await;
        if let Err(error) = self.ledger.store.close().await {
            tracing::error!(%error, "the ledger did not close");
        }
    }

    /// Whether a notifier works on this ledger: what is put into it is seen at once.
    pub(crate) fn is_running(&self) -> bool {
        self.consuming.is_some()
    }

    /// How a notifier that runs decides.
    pub(crate) fn setup(&self) -> Option<&Arc<Setup>> {
        self.consuming.as_ref().map(|consuming| &consuming.setup)
    }

    /// A dead letter's record is to be decided again.
    pub(crate) fn wake_consumer(&self) {
        if let Some(consuming) = &self.consuming {
            consuming.attend.notify_one();
        }
    }

    /// The dead letters of this notifier.
    pub fn letter_box(&self) -> LetterBox {
        LetterBox {
            bus: self.bus.clone(),
            ledger: Some(self.ledger.clone()),
            kept: self.letters_kept,
        }
    }
}

impl Notifier {
    /// Opens the ledger and prepares every receiver. Must run on the runtime that it will run on.
    pub async fn open(parts: Parts) -> Result<Self, Error> {
        let metrics = NotifierMetrics::new(&parts.metrics);
        let consuming = Consuming::of(&parts);
        let ledger = Ledger::open(parts.store).await?;
        let begun = begin::begun(&ledger, Timestamp::now()).await?;
        let renderers =
            Renderers::try_new(&parts.templates, &parts.console).map_err(Error::Templates)?;
        let buried = Arc::new(Notify::new());
        let calls = (&buried, &consuming.attend);
        let (lanes, signals) = lanes(&parts.receivers, &ledger, &renderers, &metrics, calls)?;
        let handle = Handle {
            ledger: ledger.clone(),
            bus: parts.bus.clone(),
            signals: signals.clone(),
            consuming: Some(consuming.clone()),
            replaying: Arc::default(),
            letters_kept: dead_letters::kept(&parts.retention),
        };
        let condition = parts.health.condition("notifier");
        let reader = Reader::new(
            parts.bus.clone(),
            ledger.clone(),
            metrics.clone(),
            buried.clone(),
            condition.clone(),
        );
        let wake = waking(signals, buried.clone());
        let consumer = Consumer {
            ledger: ledger.clone(),
            setup: consuming.setup.clone(),
            begun,
            lost: parts.lost,
            kept: Kept::of(&parts.retention, parts.rules.expire_after),
            metrics: metrics.clone(),
            attend: consuming.attend,
            wake: wake.clone(),
        };
        let watchdog = Watchdog {
            ledger: ledger.clone(),
            setup: consuming.setup.clone(),
            targets: handle.signals.keys().cloned().collect(),
            after: parts.watchdog.receiver_failing_for,
            metrics: metrics.clone(),
            wake,
        };
        let heartbeat = heartbeat(parts.heartbeat.as_ref(), &watchdog)?;
        let relay = Relay {
            ledger,
            publisher: parts.bus.publisher(),
            buried,
            metrics,
        };
        Ok(Self {
            reader,
            consumer,
            lanes,
            relay,
            watchdog,
            heartbeat,
            condition,
            handle,
        })
    }

    /// For the API.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until shutdown. `Err` is a broken ledger or log: the process stops. Receivers never end it.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let condition = self.condition;
        let stop = shutdown.token().child_token();
        let (bus, ledger) = (self.handle.bus.clone(), self.handle.ledger.clone());
        let lag = lag::watch(bus, ledger, self.relay.metrics.clone(), stop.clone());
        self.relay.bury_orphans(&self.consumer.setup).await?;
        // Before any of them sends: several may share a budget.
        for lane in &self.lanes {
            let budget = lane.channel.budget();
            budget.restore(&lane.ledger.store, &lane.target).await?;
        }
        let mut loops = FuturesUnordered::new();
        for lane in self.lanes {
            loops.push(shutdown.spawn("deliver", lane.run(stop.clone())));
        }
        loops.push(shutdown.spawn("consume", self.consumer.run(self.reader, stop.clone())));
        loops.push(shutdown.spawn("dead-letters", self.relay.run(stop.clone())));
        loops.push(shutdown.spawn("lag", lag));
        loops.push(shutdown.spawn("watchdog", self.watchdog.run(stop.clone())));
        if let Some((heartbeat, pulse)) = self.heartbeat {
            loops.push(shutdown.spawn("heartbeat", heartbeat.run(pulse, stop.clone())));
        }
        let mut ended = Ok(());
        while let Some(done) = loops.next().await {
            // One that ends before the shutdown takes the others with it.
            stop.cancel();
            let done = done.unwrap_or(Err(Error::Panicked));
            if let Err(error) = done
                && ended.is_ok()
            {
                condition.fail(error.to_string());
                ended = Err(error);
            }
        }
        ended
    }
}

/// The heartbeat, if one is wanted, and what it is decided by.
fn heartbeat(
    wanted: Option<&syncbell_config::Heartbeat>,
    watchdog: &Watchdog,
) -> Result<Option<(Heartbeat, Pulse)>, Error> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let pulse = Pulse {
        store: watchdog.ledger.store.clone(),
        setup: watchdog.setup.clone(),
        metrics: watchdog.metrics.clone(),
    };
    Ok(Some((Heartbeat::try_new(wanted)?, pulse)))
}

/// Wakes lanes with new rows, and the relay of dead letters.
fn waking(signals: Signals, buried: Arc<Notify>) -> Arc<Wake> {
    Arc::new(move |lanes: &BTreeSet<Target>, dead| {
        for signal in lanes.iter().filter_map(|target| signals.get(target)) {
            signal.wake();
        }
        if dead {
            buried.notify_one();
        }
    })
}

/// How the lanes are woken.
type Signals = Arc<BTreeMap<Target, Arc<LaneSignal>>>;

/// A lane for each target of each receiver, and how it is woken.
fn lanes(
    receivers: &[Receiver],
    ledger: &Ledger,
    renderers: &Renderers,
    metrics: &NotifierMetrics,
    (buried, handed_over): (&Arc<Notify>, &Arc<Notify>),
) -> Result<(Vec<Lane>, Signals), Error> {
    let all = receivers.iter().flat_map(targets);
    let signals: Signals = Arc::new(all.map(|target| (target, Arc::default())).collect());
    let (mut lanes, mut budgets) = (Vec::new(), Budgets::default());
    for receiver in receivers {
        let channel = Channel::try_new(receiver, renderers, metrics.clone())?;
        let channel = channel.sharing(&mut budgets);
        metrics.prepare(&receiver.name, channel.name());
        let channel = Arc::new(channel);
        for target in targets(receiver) {
            lanes.push(Lane {
                signal: signals[&target].clone(),
                handed_over: handed_over.clone(),
                target,
                channel: channel.clone(),
                ledger: ledger.clone(),
                metrics: metrics.clone(),
                buried: buried.clone(),
                state: LaneState::of(&channel),
            });
        }
    }
    Ok((lanes, signals))
}
