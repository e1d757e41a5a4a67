//! The notifier as a service: one consume loop, a lane for each target, a relay for dead letters.
//!
//! In: the parts, shutdown. Out: nothing until it ends. Must never happen: a loop that ends by itself
//! while the others go on as if nothing were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use syncbell_bus::{Bus, Publisher, Stream};
use syncbell_config::{Receiver, Route, RuleSwitches};
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::consume::Consumer;
use crate::decide::Rules;
use crate::deliver::{Channel, Lane, LaneSignal};
use crate::delivery::{Delivery, Target};
use crate::ledger::{DeadLetter, Ledger};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::render::Renderer;
use crate::route::{Routes, targets};
use crate::rows;

/// What a notifier is made of.
pub struct Parts {
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told what.
    pub route: Route,
    /// What is told.
    pub rules: RuleSwitches,
    /// The notifier's own store.
    pub store: Store,
    /// The event log.
    pub bus: Bus,
    /// Where to count.
    pub metrics: Metrics,
    /// Gets the condition `notifier`.
    pub health: Health,
}

/// A notifier that is ready to run; its [`Handle`] answers the API.
pub struct Notifier {
    consumer: Consumer,
    lanes: Vec<Lane>,
    relay: Relay,
    health: Health,
    handle: Handle,
}

/// What the API works with.
#[derive(Clone)]
pub struct Handle {
    pub(crate) ledger: Ledger,
    pub(crate) bus: Bus,
    pub(crate) signals: Arc<BTreeMap<Target, Arc<LaneSignal>>>,
}

/// Opens the notifier's own store, `notifier/` under `data_dir`. Blocking: call it on a blocking thread.
pub fn open_store(data_dir: &std::path::Path) -> Result<Store, Error> {
    Ok(Store::open(
        &data_dir.join("notifier"),
        syncbell_store::Options::default(),
    )?)
}

/// Opens the embedded event log, `log/` under `data_dir`. Blocking: call it on a blocking thread.
pub fn open_bus(data_dir: &std::path::Path) -> Result<Bus, Error> {
    Ok(Bus::embedded(
        &data_dir.join("log"),
        syncbell_bus::EmbeddedOptions::default(),
    )?)
}

/// For `syncbell check`: prepares every receiver, sends nothing.
pub fn check(receivers: &[Receiver]) -> Result<(), Error> {
    let (renderer, metrics) = (
        Arc::new(Renderer::new()),
        NotifierMetrics::new(&Metrics::new()),
    );
    for receiver in receivers {
        Channel::try_new(receiver, renderer.clone(), metrics.clone())?;
    }
    Ok(())
}

impl Handle {
    /// For the command line when no service runs: the same answers, from the folders themselves.
    pub async fn offline(store: Store, bus: Bus) -> Result<Self, Error> {
        let ledger = Ledger::open(store).await?;
        Ok(Self {
            ledger,
            bus,
            signals: Arc::default(),
        })
    }
}

impl Notifier {
    /// Opens the ledger and prepares every receiver. Must run on the runtime that it will run on.
    pub async fn open(parts: Parts) -> Result<Self, Error> {
        let metrics = NotifierMetrics::new(&parts.metrics);
        let ledger = Ledger::open(parts.store).await?;
        let (renderer, buried) = (Arc::new(Renderer::new()), Arc::new(Notify::new()));
        let (mut lanes, mut signals) = (Vec::new(), BTreeMap::new());
        for receiver in &parts.receivers {
            let channel = Channel::try_new(receiver, renderer.clone(), metrics.clone())?;
            metrics.prepare(&receiver.name, channel.name());
            let channel = Arc::new(channel);
            for target in targets(receiver) {
                let signal = Arc::new(LaneSignal::default());
                signals.insert(target.clone(), signal.clone());
                lanes.push(Lane {
                    target,
                    channel: channel.clone(),
                    ledger: ledger.clone(),
                    metrics: metrics.clone(),
                    signal,
                    buried: buried.clone(),
                    state: Lane::fresh(),
                });
            }
        }
        let signals = Arc::new(signals);
        let handle = Handle {
            ledger: ledger.clone(),
            bus: parts.bus.clone(),
            signals: signals.clone(),
        };
        let woken = buried.clone();
        let consumer = Consumer {
            bus: parts.bus.clone(),
            ledger: ledger.clone(),
            routes: Arc::new(Routes::new(&parts.route, &parts.receivers)),
            rules: Rules {
                failed: parts.rules.failed,
                issue: parts.rules.issue,
                canceled: parts.rules.canceled,
            },
            expire_after: jiff::SignedDuration::try_from(parts.rules.expire_after)
                .unwrap_or(jiff::SignedDuration::MAX),
            metrics: metrics.clone(),
            wake: Arc::new(move |lanes: &BTreeSet<Target>, dead| {
                for signal in lanes.iter().filter_map(|target| signals.get(target)) {
                    signal.wake();
                }
                if dead {
                    woken.notify_one();
                }
            }),
        };
        let relay = Relay {
            ledger,
            publisher: parts.bus.publisher(),
            buried,
            metrics,
        };
        Ok(Self {
            consumer,
            lanes,
            relay,
            health: parts.health,
            handle,
        })
    }

    /// For the API.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until shutdown. `Err` is a broken ledger or log: the process stops. Receivers never end it.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let condition = self.health.condition("notifier");
        self.relay.bury_orphans(&self.handle.signals).await?;
        let stop = shutdown.token().child_token();
        let mut loops = FuturesUnordered::new();
        for lane in self.lanes {
            loops.push(shutdown.spawn("deliver", lane.run(stop.clone())));
        }
        loops.push(shutdown.spawn("consume", self.consumer.run(stop.clone())));
        loops.push(shutdown.spawn("dead-letters", self.relay.run(stop.clone())));
        condition.ready();
        let mut ended = Ok(());
        while let Some(done) = loops.next().await {
            // One that ends before the shutdown takes the others with it.
            stop.cancel();
            if let Ok(Err(error)) = done
                && ended.is_ok()
            {
                condition.fail(error.to_string());
                ended = Err(error);
            }
        }
        ended
    }
}

/// Puts dead letters on the bus, as the outbox does with events: written first, deleted when taken.
struct Relay {
    ledger: Ledger,
    publisher: Arc<dyn Publisher>,
    buried: Arc<Notify>,
    metrics: NotifierMetrics,
}

impl Relay {
    async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            while self.turn().await? {}
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.buried.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
        }
    }

    /// Relays the oldest ones. True if there may be more.
    async fn turn(&self) -> Result<bool, Error> {
        let letters = self.ledger.store.read(|reader| {
            let mut letters: Vec<(Vec<u8>, DeadLetter)> = Vec::new();
            for (key, row) in reader.scan(rows::DEAD_LETTERS, None, 64)? {
                if !rows::is_piece(&key) {
                    let letter = rows::read(reader, &key, &row)?;
                    letters.push((key, letter));
                }
            }
            Ok(letters)
        });
        let letters = letters.await?;
        if letters.is_empty() {
            return Ok(false);
        }
        let records = letters.iter().map(|(_, letter)| letter.record()).collect();
        if let Err(error) = self.publisher.append(Stream::DeadLetters, records).await {
            tracing::error!(%error, "dead letters could not be put on the log: they are kept");
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(false);
        }
        let keys: Vec<Vec<u8>> = letters.into_iter().map(|(key, _)| key).collect();
        self.ledger
            .patiently(move |draft, _| {
                for key in &keys {
                    draft.delete(key.clone());
                }
                Ok(())
            })
            .await?;
        Ok(true)
    }

    /// Deliveries to targets that left the configuration can go nowhere: to the dead letters.
    async fn bury_orphans(&self, known: &BTreeMap<Target, Arc<LaneSignal>>) -> Result<(), Error> {
        let known: BTreeSet<Target> = known.keys().cloned().collect();
        let orphans = self.ledger.store.read(move |reader| {
            let (mut orphans, mut after): (Vec<Delivery>, Option<Vec<u8>>) = (Vec::new(), None);
            loop {
                let page = reader.scan(b"d/", after.as_deref(), 500)?;
                let Some((last, _)) = page.last() else {
                    return Ok(orphans);
                };
                after = Some(last.clone());
                for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                    let delivery: Delivery = rows::read(reader, key, row)?;
                    if !known.contains(&delivery.target) {
                        orphans.push(delivery);
                    }
                }
            }
        });
        for delivery in orphans.await? {
            tracing::error!(
                delivery.id = %delivery.id, receiver = delivery.target.receiver,
                "a pending delivery's receiver left the configuration: to the dead letters"
            );
            let finish = move |draft: &mut crate::ledger::Draft<'_>, now: Timestamp| {
                crate::deliver::record::give_up(draft, &delivery, now);
                Ok(())
            };
            self.ledger.patiently(finish).await?;
            self.metrics.dead(DeadKind::Delivery, 1);
        }
        Ok(())
    }
}
