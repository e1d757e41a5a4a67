//! A consumer over a real log and a ledger that outlives it, driven step by step.

use syncbell_bus::{Bus, EmbeddedOptions, Record};
use syncbell_config::{Instance, Receiver, ReceiverKind, Route, RuleSwitches, Webhook};
use syncbell_event::{Change, Failing, Image, Kind, Recovered, Source, SweepKind, Swept};
use syncbell_service::{Health, Metrics};
use syncbell_store::Store;

use super::super::*;
use crate::begin::begun;
use crate::delivery::Delivery;
use crate::ledger::Clock;
use crate::rows;
use crate::run::Handle;
use crate::silence::Silence;
use crate::silences::SilenceWanted;

pub(super) const INSTANCE: &str = "cri-a";

/// Seconds after a fixed moment.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_322_800 + second).unwrap()
}

pub(super) fn setup(rules: &RuleSwitches, instances: &[&str]) -> Arc<Setup> {
    routed(Route::default(), rules, instances)
}

/// As [`setup`], by this route.
pub(super) fn routed(route: Route, rules: &RuleSwitches, instances: &[&str]) -> Arc<Setup> {
    let webhook = Webhook::new(&"http://127.0.0.1:1/".parse().unwrap());
    let receiver = Receiver {
        name: "ops".into(),
        language: syncbell_config::Language::En,
        kind: ReceiverKind::Webhook(Box::new(webhook)),
    };
    let route = Route {
        receivers: vec!["ops".into()],
        ..route
    };
    let instances: Vec<Instance> = instances
        .iter()
        .map(|id| Instance::try_new(*id, "cn-shanghai").unwrap())
        .collect();
    Arc::new(Setup::new(&route, &[receiver], rules, &instances))
}

pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) bus: Bus,
    _folder: tempfile::TempDir,
    pub(super) setup: Arc<Setup>,
    clock: Clock,
    pub(super) consumer: Consumer,
    clocks: Clocks,
    reader: Reader,
}

impl Bench {
    pub(super) async fn new(rules: &RuleSwitches) -> Self {
        Self::over(Store::memory(), setup(rules, &[INSTANCE])).await
    }

    pub(super) async fn over(store: Store, setup: Arc<Setup>) -> Self {
        Self::by(store, setup, Arc::new(Timestamp::now)).await
    }

    /// By this clock, over restarts too.
    pub(super) async fn by(store: Store, setup: Arc<Setup>, clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap();
        let (consumer, reader) = open(&store, &bus, &setup, &clock).await;
        let clocks = consumer.start().await.unwrap();
        Self {
            store,
            bus,
            _folder: folder,
            setup,
            clock,
            consumer,
            clocks,
            reader,
        }
    }

    /// As after a crash: nothing but the rows is left.
    pub(super) async fn restart(&mut self) {
        let (consumer, reader) = open(&self.store, &self.bus, &self.setup, &self.clock).await;
        self.clocks = consumer.start().await.unwrap();
        (self.consumer, self.reader) = (consumer, reader);
    }

    pub(super) async fn append(&self, events: Vec<Envelope>) {
        let records = events
            .iter()
            .map(|event| Record::new(event.source.instance.clone(), event.encode()));
        let publisher = self.bus.publisher();
        publisher
            .append(Stream::Changes, records.collect())
            .await
            .unwrap();
    }

    /// Appends `events`, and reads all that the log holds.
    pub(super) async fn read(&mut self, events: Vec<Envelope>) -> Vec<String> {
        self.append(events).await;
        self.read_all().await
    }

    pub(super) async fn read_all(&mut self) -> Vec<String> {
        let before = self.told().await.len();
        self.read_quietly().await;
        self.told().await.split_off(before)
    }

    /// As [`Bench::read_all`], without saying what was told.
    pub(super) async fn read_quietly(&mut self) {
        loop {
            let records = self.reader.next(RECORDS_A_TURN).await.unwrap();
            self.consumer.take(records, &mut self.clocks).await.unwrap();
            self.reader.acknowledge().await.unwrap();
            if self.reader.is_at_end().await {
                return;
            }
        }
    }

    /// Lets the reader find that there is nothing more to read.
    pub(super) async fn open_log(&mut self) {
        let wait = Duration::from_mins(1);
        let opened = tokio::time::timeout(wait, async {
            while !self.reader.is_at_end().await {
                let next = self.reader.next(RECORDS_A_TURN);
                let soon = tokio::time::timeout(Duration::from_millis(20), next);
                assert!(soon.await.is_err(), "a record is left");
            }
        });
        opened.await.expect("the log answers");
    }

    /// What this moment of the wall clock brings.
    pub(super) async fn look(&mut self, second: i64) -> Vec<String> {
        self.look_at(at(second)).await
    }

    pub(super) async fn look_at(&mut self, now: Timestamp) -> Vec<String> {
        let before = self.told().await.len();
        let look = self.consumer.look(&mut self.reader, now, &mut self.clocks);
        look.await.unwrap();
        self.told().await.split_off(before)
    }

    /// As [`Bench::look_at`], without saying what it brought.
    pub(super) async fn pass_by(&mut self, now: Timestamp) {
        let look = self.consumer.look(&mut self.reader, now, &mut self.clocks);
        look.await.unwrap();
    }

    /// What the API works with.
    pub(super) async fn handle(&self) -> Handle {
        let (store, bus) = (self.store.clone(), self.bus.clone());
        let kept = syncbell_config::Retention::default();
        let mut handle = Handle::offline(store, bus, &kept).await.unwrap();
        handle.ledger = self.consumer.ledger.clone();
        handle
    }

    /// A silence from now on, so many seconds long by the clock of this machine.
    pub(super) async fn silence(&mut self, matchers: &[&str], seconds: i64) -> Silence {
        let wanted = SilenceWanted {
            matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
            starts_at: None,
            ends_at: (self.clock)() + SignedDuration::from_secs(seconds),
            author: "ann".into(),
            reason: "a move".into(),
            all: false,
        };
        let silence = self.handle().await.add_silence(wanted).await.unwrap();
        self.attend().await;
        silence
    }

    /// Ends a silence by hand. Gives what is told then.
    pub(super) async fn expire(&mut self, silence: &Silence) -> Vec<String> {
        let handle = self.handle().await;
        assert!(handle.expire_silence(&silence.id).await.unwrap().is_some());
        self.attend().await;
        self.look_at(Timestamp::now()).await
    }

    /// As when somebody asked for something.
    pub(super) async fn attend(&mut self) {
        self.consumer.attend(&mut self.clocks).await.unwrap();
    }

    /// Reads `records` up to the end of the first batch, and dies before what is due beside it.
    pub(super) async fn read_and_die(&mut self, records: &Arc<Vec<Read>>, from: usize) -> usize {
        let (_, to) = self.consumer.turn(records.clone(), from).await.unwrap();
        self.restart().await;
        to
    }

    pub(super) async fn take(&mut self, records: Vec<Read>) {
        self.consumer.take(records, &mut self.clocks).await.unwrap();
    }

    /// What was queued by a replay of dead letters.
    pub(super) async fn decide_replays(&mut self) -> Vec<String> {
        let before = self.told().await.len();
        self.consumer.replay(&mut self.clocks).await.unwrap();
        self.told().await.split_off(before)
    }

    pub(super) async fn deliveries(&self) -> Vec<Delivery> {
        let read = self.store.read(|reader| {
            let rows = reader.scan(rows::PENDING, None, 10_000)?;
            rows.iter()
                .map(|(key, row)| rows::read(reader, key, row))
                .collect()
        });
        read.await.unwrap()
    }

    /// All that was told, in order: status, rule, reason and summary.
    pub(super) async fn told(&self) -> Vec<String> {
        let deliveries = self.deliveries().await;
        let entries = deliveries.iter().flat_map(|delivery| &delivery.entries);
        entries
            .map(|entry| {
                let item = &entry.item;
                let status = item.status.as_str();
                format!("{status} {} {}: {}", item.rule, item.reason, item.summary)
            })
            .collect()
    }

    /// Rows whose keys begin so.
    pub(super) async fn rows(&self, prefix: &str) -> usize {
        let rows = self.store.scan(prefix.as_bytes().to_vec(), None, 10_000);
        rows.await.unwrap().len()
    }
}

async fn open(store: &Store, bus: &Bus, setup: &Arc<Setup>, clock: &Clock) -> (Consumer, Reader) {
    let mut ledger = Ledger::open(store.clone()).await.unwrap();
    ledger.clock = clock.clone();
    let metrics = NotifierMetrics::new(&Metrics::new());
    let consumer = Consumer {
        ledger: ledger.clone(),
        setup: setup.clone(),
        begun: begun(&ledger, at(0)).await.unwrap(),
        lost: None,
        kept: Kept::of(
            &syncbell_config::Retention::default(),
            Duration::from_hours(24 * 7),
        ),
        metrics: metrics.clone(),
        attend: Arc::default(),
        wake: Arc::new(|_, _| {}),
    };
    let condition = Health::new().condition("notifier");
    let asked = Arc::new(tokio::sync::Notify::new());
    let reader = Reader::new(bus.clone(), ledger, metrics, asked, condition);
    (consumer, reader)
}

pub(super) fn source(instance: &str) -> Source {
    Source {
        region: "cn-shanghai".into(),
        instance: instance.into(),
    }
}

/// A heartbeat that saw all up to this second; the next one is due after 75 s.
pub(super) fn swept(instance: &str, second: i64) -> Envelope {
    let swept = Swept {
        seen_until: at(second),
        tasks: 1,
        open: 1,
        sweep: SweepKind::Head,
        next_by: at(second + 75),
    };
    Envelope::swept(&source(instance), at(second), swept)
}

pub(super) fn failing(reason: &str, since: i64, second: i64) -> Envelope {
    let failing = Failing {
        reason: reason.into(),
        message: format!("{reason} says the registry"),
        since: at(since),
    };
    Envelope::failing(&source(INSTANCE), at(second), failing)
}

pub(super) fn recovered(reason: &str, since: i64, second: i64) -> Envelope {
    let recovered = Recovered {
        reason: reason.into(),
        since: at(since),
    };
    Envelope::recovered(&source(INSTANCE), at(second), recovered)
}

/// Task `id`, created at second `created`, seen at `second` for the `n`-th time in this state.
pub(super) fn task(
    kind: Kind,
    instance: &str,
    id: &str,
    status: syncbell_event::Status,
    created: i64,
    second: i64,
    n: u32,
) -> Envelope {
    let image = |region: &str| Image {
        region_id: Some(region.into()),
        instance_id: Some(instance.into()),
        namespace: Some("team".into()),
        repo: Some(format!("repo-{}", id.len() % 2)),
        tag: Some(id.into()),
    };
    let mut task = syncbell_event::SyncTask::new(id, status);
    task.sync_rule_id = Some("crsr-1".into());
    task.created_at = Some(at(created));
    task.modified_at = Some(at(second));
    task.from = Some(image("cn-shanghai"));
    task.to = Some(image("cn-shenzhen"));
    let is_gone = kind == Kind::Vanished;
    let change = Change {
        kind,
        task_id: id.into(),
        before: is_gone.then(|| task.clone()),
        after: (!is_gone).then_some(task),
        changed: vec![],
        n,
    };
    change.into_envelope(&source(instance), at(second), None)
}
