//! A whole house under faults: registry, webhook receiver, mailbox, and the built binary between them, on
//! one folder that is kept from one start to the next.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Got, Handle, NewTask, Options, Simulator};
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Binary, Launch, MailSink, MailSinkOptions, WebhookReceiver, kafka};

use crate::mailbox::told_by;

/// Longer than anything takes here, even on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Where the event log is, if it is no folder.
#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    topic_prefix: String,
}

pub(crate) struct House {
    pub(crate) simulator: Handle,
    pub(crate) webhook: WebhookReceiver,
    pub(crate) mailbox: MailSink,
    folder: tempfile::TempDir,
    /// Over Kafka poller and notifier are two processes.
    pub(crate) kafka: Option<Kafka>,
    /// Those that run, by the command that each was started with.
    pub(crate) running: BTreeMap<&'static str, Binary>,
    /// Where the stores and the log lie.
    pub(crate) data_dir: PathBuf,
    /// Where the registry, the webhook and the mail server are asked; what stands between goes here.
    pub(crate) endpoint: String,
    pub(crate) hook: String,
    pub(crate) smtp_port: u16,
    /// Further keys, in YAML: lines of their own.
    pub(crate) more: String,
    /// Whether the webhook's signatures must be right by the receiver's own clock.
    pub(crate) verify: bool,
    /// What every process of the house finds in its environment.
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// What a service finds in its environment beside that, where each has a disk of its own: its data lie
    /// in [`House::disk_of`] it, and not in `data_dir`.
    pub(crate) disks: Option<BTreeMap<&'static str, Vec<(&'static str, OsString)>>>,
}

impl House {
    /// Forty quiet tasks over two pages, receivers that verify; nothing runs yet. The log is embedded.
    pub(crate) async fn build() -> Self {
        let options = Options {
            max_page_size: 30,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.expect("a free port");
        for n in 0..40 {
            let task = NewTask::of(&format!("quiet/image-{n}"), "v1").status(Status::Success);
            simulator
                .world()
                .add_task(task.aged(Duration::from_mins(n + 60)));
        }
        let webhook = WebhookReceiver::start(SECRET).await;
        let mailbox = MailSink::start(MailSinkOptions::default()).await;
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            endpoint: simulator.url(),
            hook: webhook.url().to_owned(),
            smtp_port: mailbox.addr().port(),
            data_dir: folder.path().join("disk/data"),
            simulator,
            webhook,
            mailbox,
            folder,
            kafka: None,
            running: BTreeMap::new(),
            more: String::new(),
            verify: true,
            env: Vec::new(),
            disks: None,
        }
    }

    /// The disk of a service that has one of its own.
    pub(crate) fn disk_of(&self, service: &str) -> PathBuf {
        self.folder().join("disk").join(service)
    }

    /// The same over Kafka, on topics of the house's own.
    pub(crate) async fn over_kafka(bootstrap: &str, name: &str) -> Self {
        let mut house = Self::build().await;
        house.kafka = Some(Kafka {
            brokers: bootstrap.to_owned(),
            topic_prefix: kafka::unique_prefix(name),
        });
        house
    }

    /// For ledgers.
    pub(crate) fn bus(&self) -> &'static str {
        match self.kafka {
            Some(_) => "kafka",
            None => "embedded",
        }
    }

    /// The commands that make up a whole Syncbell here.
    pub(crate) fn services(&self) -> &'static [&'static str] {
        match self.kafka {
            Some(_) => &["poller", "notifier"],
            None => &["run"],
        }
    }

    /// The one of them that polls, and the one that delivers.
    pub(crate) fn poller(&self) -> &'static str {
        self.services()[0]
    }

    pub(crate) fn notifier(&self) -> &'static str {
        self.services()[self.services().len() - 1]
    }

    /// The folder of the house, gone with it. The data lie in `disk/data` of it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The built binary, to be started as `service` on this house's data.
    pub(crate) fn launcher(&self, service: &str) -> Launch {
        let config = self.config(service);
        let options = Options::default();
        let mut launch = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args([service, "-c", config.to_str().expect("a plain path")])
            .env("HOOK_SECRET", SECRET)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", options.access_key_secret)
            .log_file(self.folder().join(format!("{service}.log")));
        let own = self.disks.as_ref().and_then(|disks| disks.get(service));
        for (name, value) in self.env.iter().chain(own.into_iter().flatten()) {
            launch = launch.env(name, value);
        }
        launch
    }

    /// A configuration of this house.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        let config = self.folder().join(format!("{name}.yaml"));
        let data_dir = match self.disks {
            Some(_) => self.disk_of(name).join("data"),
            None => self.data_dir.clone(),
        };
        let text = format!(
            "data_dir: {}\n\
             instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
             receivers:\n\
             \x20 - name: ops\n    webhook: {{url: '{}', secret: {{env: HOOK_SECRET}}}}\n\
             \x20 - name: mail\n    email: {{from: syncbell@example.test, to: [oncall@example.test], \
             smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}\n\
             route: {{receivers: [ops, mail], group_by: ['...']}}\n\
             admin: {{listen: '127.0.0.1:0', notifier_listen: '127.0.0.1:0'}}\n{}{}",
            data_dir.display(),
            self.endpoint,
            self.hook,
            self.smtp_port,
            self.more,
            self.bus_yaml(),
        );
        std::fs::write(&config, text).expect("a configuration");
        config
    }

    fn bus_yaml(&self) -> String {
        let Some(kafka) = &self.kafka else {
            return String::new();
        };
        let brokers = kafka.brokers.split(',').map(|one| format!("'{one}'"));
        let (brokers, prefix) = (brokers.collect::<Vec<_>>().join(", "), &kafka.topic_prefix);
        format!("bus: {{kafka: {{brokers: [{brokers}], topic_prefix: '{prefix}'}}}}\n")
    }

    /// Starts what does not run, and waits until the first look is complete: what comes from now on is told.
    pub(crate) async fn start_and_baseline(&mut self) {
        self.start_all();
        let poller = &self.running[self.poller()];
        poller.wait_for_line("the baseline is complete", WAIT).await;
        self.simulator.world().baseline_done();
        for binary in self.running.values() {
            binary.wait_for_line("syncbell runs", WAIT).await;
        }
    }

    /// Starts each service that does not run.
    pub(crate) fn start_all(&mut self) {
        for service in self.services() {
            if !self.running.contains_key(service) {
                self.start(service);
            }
        }
    }

    pub(crate) fn start(&mut self, service: &'static str) {
        let binary = self.launcher(service).start();
        self.running.insert(service, binary);
    }

    /// SIGKILL to those of `services` that run.
    pub(crate) async fn kill(&mut self, services: &[&'static str]) {
        for service in services {
            if let Some(mut binary) = self.running.remove(service) {
                binary.kill().await;
            }
        }
    }

    /// SIGTERM to all, which must end well.
    pub(crate) async fn stop(&mut self) {
        for (service, mut binary) in std::mem::take(&mut self.running) {
            binary.wait_for_line("syncbell runs", WAIT).await;
            binary.terminate();
            let status = binary.wait_for_exit(WAIT).await;
            assert!(status.success(), "{service}: SIGTERM drains: {status}");
        }
    }

    /// The last lines that `service` wrote, over all its lives.
    pub(crate) fn said(&self, service: &str) -> String {
        let said = std::fs::read_to_string(self.folder().join(format!("{service}.log")));
        said.unwrap_or_default()
    }

    /// What the webhook took.
    pub(crate) fn webhook_got(&self) -> Vec<Got> {
        let accepted = self.webhook.accepted();
        let got = accepted.iter().flat_map(|request| {
            assert!(
                request.verified || !self.verify,
                "a signature is wrong: {}",
                request.id
            );
            Got::of_alert(&request.id, &request.body)
        });
        got.collect()
    }

    /// What lies in the mailbox.
    pub(crate) fn mail_got(&self) -> Vec<Got> {
        self.mailbox.mails().iter().flat_map(told_by).collect()
    }

    /// `status reason` of each alert of the rule `blind` that the webhook took, in its order.
    pub(crate) fn blindness(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let mut told = Vec::new();
        for request in self.webhook.accepted() {
            let alerts = request.body["data"]["alerts"].as_array().cloned();
            let blind = alerts.into_iter().flatten();
            told.extend(
                blind
                    .filter(|alert| alert["rule"] == "blind")
                    .map(|alert| format!("{} {}", text(&alert["status"]), text(&alert["reason"]))),
            );
        }
        told
    }

    /// What a command about the running service prints, as JSON; None where it could not be asked.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Option<Value> {
        let admin = self.admin(self.notifier()).await?;
        let mut asking = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(arguments)
            .args(["--admin", &admin])
            .start();
        let status = asking.wait_for_exit(WAIT).await;
        let text = asking.text(Source::Stdout);
        status
            .success()
            .then(|| serde_json::from_str(&text).expect("it answers in JSON"))
    }

    /// The address that a service that runs says its API has.
    pub(crate) async fn admin(&self, service: &str) -> Option<String> {
        let binary = self.running.get(service)?;
        let line = binary.wait_for_line("syncbell runs", WAIT).await.text;
        let admin = line.split("\"admin\":\"").nth(1)?.split('"').next()?;
        Some(admin.to_owned())
    }
}

impl Drop for House {
    /// What a failed run leaves is looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            println!(
                "the folder of the house is kept: {}",
                self.folder().display()
            );
        }
    }
}
