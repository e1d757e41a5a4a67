//! `syncbell notifier` over Kafka, fed as a poller feeds it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_bus::{Bus, KafkaOptions, Publisher, Record, Stream};
use syncbell_event::{Change, Image, Kind, Source, Status, SyncTask};
use syncbell_testkit::{Binary, kafka};
use tokio::time::Instant;

use crate::receiver::MARK;

/// Namespaces, one after the other by the number of an alert.
pub(crate) const TEAMS: usize = 100;

const INSTANCE: &str = "cri-kmsiwlxxdcva0001";
const REGION: &str = "cn-shanghai";
const WAIT: Duration = Duration::from_mins(1);
/// Between looks whether it runs.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Syncbell {
    folder: tempfile::TempDir,
    binary: Binary,
    bus: Bus,
    publisher: Arc<dyn Publisher>,
}

impl Syncbell {
    /// With one receiver. None where no Kafka is to be had.
    pub(crate) async fn start(receiver: &str) -> Option<Self> {
        let receivers = format!(
            "receivers: [{{name: ops, webhook: {{url: '{receiver}'}}}}]\nroute: {{receivers: [ops]}}\n"
        );
        Self::start_with(&receivers).await
    }

    /// With a webhook for each namespace `team-NN`, by its number. None where no Kafka is to be had.
    pub(crate) async fn start_with_one_each(urls: &[String]) -> Option<Self> {
        let teams = || (0_usize..).zip(urls);
        let receiver =
            |(team, url)| format!("  - {{name: t{team:02}, webhook: {{url: '{url}'}}}}\n");
        let route = |(team, _)| {
            format!("    - {{match: ['from.namespace=team-{team:02}'], receivers: [t{team:02}]}}\n")
        };
        let receivers: String = teams().map(receiver).collect();
        let routes: String = teams().map(route).collect();
        let config =
            format!("receivers:\n{receivers}route:\n  receivers: [t00]\n  routes:\n{routes}");
        Self::start_with(&config).await
    }

    async fn start_with(receivers: &str) -> Option<Self> {
        let broker = kafka::shared().await?.bootstrap();
        let prefix = kafka::unique_prefix("delivery");
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "data_dir: {}\ninstances: [{{id: {INSTANCE}, region: {REGION}}}]\n{receivers}\
             rules: {{blind: {{enabled: false}}}}\nadmin: {{notifier_listen: '127.0.0.1:0'}}\n\
             bus: {{kafka: {{brokers: ['{broker}'], topic_prefix: '{prefix}'}}}}\n",
            folder.path().join("data").display(),
        );
        std::fs::write(folder.path().join("syncbell.yaml"), text).expect("a configuration");
        let binary = launch(folder.path()).await;
        let mut options = KafkaOptions::new([broker]);
        options.topic_prefix = prefix;
        let bus = Bus::kafka(options).expect("a bus");
        let publisher = bus.publisher();
        Some(Self {
            folder,
            binary,
            bus,
            publisher,
        })
    }

    pub(crate) async fn feed(&self, numbers: Range<usize>, status: &str) {
        let records = numbers.map(|number| record(number, status)).collect();
        let appended = self.publisher.append(Stream::Changes, records).await;
        appended.expect("the log takes it");
    }

    pub(crate) async fn kill_and_start_again(&mut self) {
        self.binary.kill().await;
        self.binary = launch(self.folder.path()).await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.binary.pid()
    }

    pub(crate) async fn stop(mut self) {
        self.binary.kill().await;
        self.bus.close().await;
    }
}

/// Returns when it runs. Its logs go to a file.
async fn launch(folder: &Path) -> Binary {
    let log = folder.join("log.json");
    // Of the one before it.
    std::fs::remove_file(&log).ok();
    let mut binary = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .args(["notifier", "-c", "syncbell.yaml"])
        .current_dir(folder)
        .stderr_file(&log)
        .start();
    let began = Instant::now();
    loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if said.contains("syncbell runs") {
            return binary;
        }
        let goes_on = binary.is_running() && began.elapsed() < WAIT;
        assert!(goes_on, "it does not run: {said}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A task that fails, or the same one when it is well again, as the poller's event.
fn record(number: usize, status: &str) -> Record {
    let at =
        |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000 + seconds);
    let state = |status: Status, seconds: i64| {
        let mut task = SyncTask::new(format!("rst-{MARK}{number:06}"), status);
        let image = |region: &str, instance: &str| Image {
            region_id: Some(region.to_owned()),
            instance_id: Some(instance.to_owned()),
            namespace: Some(format!("team-{:02}", number % TEAMS)),
            repo: Some(format!("shop-{number}")),
            tag: Some("v1.8.2".to_owned()),
        };
        task.batch_id = Some("15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001".to_owned());
        task.sync_rule_id = Some("crsr-7lph66uloi6h0001".to_owned());
        task.trigger = Some("PASSIVE".to_owned());
        task.from = Some(image(REGION, INSTANCE));
        task.to = Some(image("cn-shenzhen", "cri-k77rd2eo9zttneqo"));
        task.created_at = Some(at(0));
        task.modified_at = Some(at(seconds));
        task
    };
    let (before, after) = if status == "ERROR" {
        (state(Status::Synchronizing, 60), state(Status::Error, 120))
    } else {
        (state(Status::Error, 120), state(Status::Success, 180))
    };
    let change = Change {
        kind: Kind::Updated,
        task_id: after.task_id.clone(),
        before: Some(before),
        after: Some(after),
        changed: vec!["status".to_owned(), "modified_at".to_owned()],
        n: 0,
    };
    let source = Source {
        region: REGION.to_owned(),
        instance: INSTANCE.to_owned(),
    };
    let envelope = change.into_envelope(&source, Timestamp::now(), None);
    Record::new(INSTANCE, envelope.encode())
}
