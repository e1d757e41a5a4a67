//! A whole house for a test: registry, webhook receiver, mailbox, and the built binary between them.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Got, Handle, NewTask, Options, Simulator};
use syncbell_testkit::binary::Source;
use syncbell_testkit::{
    Binary, Launch, MailSink, MailSinkOptions, Rng, WebhookReceiver, eventually,
};
use tokio::sync::Mutex;

use crate::mailbox::told_by;

/// Longer than anything takes here, even on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Where the event log is, if it is no folder.
struct Kafka {
    brokers: String,
    topic_prefix: String,
}

pub(crate) struct House {
    pub(crate) simulator: Handle,
    pub(crate) webhook: WebhookReceiver,
    pub(crate) mailbox: MailSink,
    pub(crate) folder: tempfile::TempDir,
    /// The one that runs both services, or the poller.
    pub(crate) binary: Mutex<Option<Binary>>,
    /// The notifier, where it is a process of its own.
    notifier: Mutex<Option<Binary>>,
    /// Over Kafka poller and notifier are two processes.
    kafka: Option<Kafka>,
    /// Who is told, in YAML.
    pub(crate) receivers: &'static str,
    pub(crate) access_key_secret: String,
    /// Where the registry is asked; what stands between goes here.
    pub(crate) endpoint: String,
    /// Further keys, in YAML: lines of their own.
    pub(crate) more: &'static str,
    /// Further receivers, in YAML: items of the list.
    pub(crate) extra_receivers: String,
    /// What the route says about groups, in YAML.
    pub(crate) grouping: &'static str,
}

impl House {
    /// The same over Kafka: poller and notifier as two processes, on topics of the house's own.
    pub(crate) async fn over_kafka(bootstrap: &str, name: &str) -> Self {
        let kafka = Kafka {
            brokers: bootstrap.to_owned(),
            topic_prefix: syncbell_testkit::kafka::unique_prefix(name),
        };
        Self {
            kafka: Some(kafka),
            ..Self::build().await
        }
    }

    /// 150 quiet tasks over many pages, receivers that verify, a configuration.
    pub(crate) async fn build() -> Self {
        Self::with_pages_of(30).await
    }

    /// The same with other pages.
    pub(crate) async fn with_pages_of(max_page_size: usize) -> Self {
        let options = Options {
            max_page_size,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.expect("a free port");
        for n in 0..150 {
            let task = NewTask::of(&format!("quiet/image-{n}"), "v1").status(Status::Success);
            simulator
                .world()
                .add_task(task.aged(Duration::from_mins(n + 60)));
        }
        Self {
            endpoint: simulator.url(),
            more: "",
            extra_receivers: String::new(),
            simulator,
            webhook: WebhookReceiver::start(SECRET).await,
            mailbox: MailSink::start(MailSinkOptions::default()).await,
            folder: tempfile::tempdir().expect("a folder"),
            binary: Mutex::new(None),
            notifier: Mutex::new(None),
            kafka: None,
            receivers: "[ops, mail]",
            access_key_secret: Options::default().access_key_secret,
            grouping: "group_by: ['...']",
        }
    }

    /// The binary on this house's folder, running.
    pub(crate) fn launch(&self, admin: &str) -> Binary {
        self.launcher("run", admin).start()
    }

    /// The binary on this house's folder, to be started as `service`.
    pub(crate) fn launcher(&self, service: &str, admin: &str) -> Launch {
        let config = self.config(admin);
        let options = Options::default();
        Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args([service, "-c", config.to_str().expect("a plain path")])
            .env("HOOK_SECRET", SECRET)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &self.access_key_secret)
    }

    /// A configuration of this house, in which the services answer at `admin`.
    pub(crate) fn config(&self, admin: &str) -> PathBuf {
        let folder = self.folder.path();
        let config = folder.join(format!("{}.yaml", admin.replace(':', "-")));
        let (data, smtp, grouping) = (folder.join("data"), self.mailbox.addr(), self.grouping);
        let text = format!(
            "data_dir: {}\n\
             instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
             receivers:\n\
             \x20 - name: ops\n    webhook: {{url: '{}', secret: {{env: HOOK_SECRET}}}}\n\
             \x20 - name: mail\n    email: {{from: syncbell@example.test, to: [oncall@example.test], \
             smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}\n{}\
             route: {{receivers: {}, {grouping}}}\n\
             admin: {{listen: '{admin}', notifier_listen: '{admin}'}}\n{}{}",
            data.display(),
            self.endpoint,
            self.webhook.url(),
            smtp.port(),
            self.extra_receivers,
            self.receivers,
            self.more,
            self.bus(),
        );
        std::fs::write(&config, text).expect("a configuration");
        config
    }

    /// What the file says of the event log.
    fn bus(&self) -> String {
        let Some(kafka) = &self.kafka else {
            return String::new();
        };
        let brokers: Vec<String> = kafka
            .brokers
            .split(',')
            .map(|one| format!("'{one}'"))
            .collect();
        let (brokers, prefix) = (brokers.join(", "), &kafka.topic_prefix);
        format!("bus: {{kafka: {{brokers: [{brokers}], topic_prefix: '{prefix}'}}}}\n")
    }

    /// The topic of the events.
    pub(crate) fn changes_topic(&self) -> String {
        let kafka = self.kafka.as_ref().expect("this house is over Kafka");
        format!("{}.changes", kafka.topic_prefix)
    }

    /// Every event on the log, in the order in which it is read, as `events tail` prints it.
    pub(crate) async fn events(&self) -> Vec<serde_json::Value> {
        let config = self.config("127.0.0.1:0");
        let config = config.to_str().expect("a plain path");
        let arguments = [
            "events",
            "tail",
            "--from",
            "start",
            "--no-follow",
            "-o",
            "jsonl",
            "-c",
            config,
        ];
        let mut tail = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(arguments)
            .env("HOOK_SECRET", SECRET)
            .start();
        let status = tail.wait_for_exit(WAIT).await;
        let text = tail.text(Source::Stdout);
        assert!(status.success(), "{:?}", tail.lines());
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("an event a line"))
            .collect()
    }

    pub(crate) async fn start(&self) {
        for (service, place) in self.services() {
            let binary = self.launcher(service, "127.0.0.1:0").start();
            binary.wait_for_line("syncbell runs", WAIT).await;
            *place.lock().await = Some(binary);
        }
    }

    /// The processes of this house, by the command that each is started with.
    fn services(&self) -> Vec<(&'static str, &Mutex<Option<Binary>>)> {
        match self.kafka {
            None => vec![("run", &self.binary)],
            Some(_) => vec![("poller", &self.binary), ("notifier", &self.notifier)],
        }
    }

    /// Waits until the first look is complete: what comes from now on is told.
    pub(crate) async fn baseline(&self) {
        let binary = self.binary.lock().await;
        let binary = binary.as_ref().expect("it was started");
        binary.wait_for_line("the baseline is complete", WAIT).await;
        self.simulator.world().baseline_done();
    }

    /// SIGKILL after random moments, each time of one of the processes by chance, then its start on the
    /// same folder. Gives the number of kills.
    pub(crate) async fn kill_and_restart(&self, kills: usize, rng: &mut Rng) -> usize {
        for _ in 0..kills {
            tokio::time::sleep(rng.duration(50..1_200)).await;
            let services = self.services();
            let (service, place) = *rng.pick(&services);
            let mut binary = place.lock().await;
            binary.as_mut().expect("it runs").kill().await;
            *binary = Some(self.launcher(service, "127.0.0.1:0").start());
        }
        kills
    }

    /// SIGKILL, and no new start.
    pub(crate) async fn kill(&self) {
        let mut binary = self.binary.lock().await.take().expect("it runs");
        binary.kill().await;
    }

    /// Starts again what [`House::kill`] killed.
    pub(crate) async fn start_again(&self) {
        let (service, place) = self.services()[0];
        let binary = self.launcher(service, "127.0.0.1:0").start();
        binary.wait_for_line("syncbell runs", WAIT).await;
        *place.lock().await = Some(binary);
    }

    /// Waits until the poller and the notifier have said these.
    pub(crate) async fn say(&self, poller: &str, notifier: &str) {
        for (place, what) in [(&self.binary, poller), (&self.notifier, notifier)] {
            let binary = place.lock().await;
            let binary = binary.as_ref().expect("it runs");
            binary.wait_for_line(what, WAIT).await;
        }
    }

    /// SIGKILL to the notifier, where it is a process of its own.
    pub(crate) async fn kill_notifier(&self) {
        let mut notifier = self.notifier.lock().await.take().expect("it runs");
        notifier.kill().await;
    }

    /// Starts the notifier again, and waits until it says `what`.
    pub(crate) async fn start_notifier(&self, what: &str) {
        let notifier = self.launcher("notifier", "127.0.0.1:0").start();
        notifier.wait_for_line(what, WAIT).await;
        *self.notifier.lock().await = Some(notifier);
    }

    /// Where the notifier answers.
    pub(crate) async fn notifier_admin(&self) -> String {
        let place = match self.kafka {
            None => &self.binary,
            Some(_) => &self.notifier,
        };
        admin_of(place.lock().await.as_ref().expect("it runs")).await
    }

    /// The folder of the stores.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the binary answers to these arguments: its exit code, stdout and stderr. It knows no secret.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut asking = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(arguments)
            .env_remove("HOOK_SECRET")
            .start();
        let status = asking.wait_for_exit(WAIT).await;
        let text = |source| asking.text(source);
        (status.code(), text(Source::Stdout), text(Source::Stderr))
    }

    /// All that the binary that runs has written.
    pub(crate) async fn log(&self) -> String {
        let binary = self.binary.lock().await;
        let binary = binary.as_ref().expect("it runs");
        let (out, err) = (binary.text(Source::Stdout), binary.text(Source::Stderr));
        format!("{out}{err}")
    }

    /// What `syncbell deliveries show` says about a delivery of the binary that runs.
    pub(crate) async fn delivery(&self, id: &str) -> serde_json::Value {
        let running = self.binary.lock().await;
        let admin = admin_of(running.as_ref().expect("it runs")).await;
        let mut asking = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(["deliveries", "show", id, "--admin", &admin])
            .start();
        let status = asking.wait_for_exit(WAIT).await;
        assert!(status.success(), "{:?}", asking.lines());
        serde_json::from_str(&asking.text(Source::Stdout)).expect("it answers in JSON")
    }

    /// SIGTERM to each process; the status of the last one that did not end well, or of the last.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let mut ended = ExitStatus::default();
        for (_, place) in self.services() {
            let mut binary = place.lock().await.take().expect("it runs");
            binary.wait_for_line("syncbell runs", WAIT).await;
            binary.terminate();
            let status = binary.wait_for_exit(WAIT).await;
            if ended.success() {
                ended = status;
            }
        }
        ended
    }

    /// Waits until each outcome is recorded. What a receiver took just before a kill comes again under its own id;
    /// a test that counts to the last one asks this before it kills.
    pub(crate) async fn recorded(&self) {
        let admin = self.notifier_admin().await;
        eventually("each outcome to be recorded", WAIT, async || {
            let (code, stdout, _) = self.ask(&["status", "-o", "json", "--admin", &admin]).await;
            let status: serde_json::Value = serde_json::from_str(&stdout).ok()?;
            let waits = status["notifier"]["pending"].as_array()?;
            (code == Some(0) && waits.is_empty()).then_some(())
        })
        .await;
    }

    /// What the webhook took.
    pub(crate) fn webhook_got(&self) -> Vec<Got> {
        let accepted = self.webhook.accepted();
        assert!(
            accepted.iter().all(|request| request.verified),
            "a signature is wrong"
        );
        accepted
            .iter()
            .flat_map(|request| Got::of_alert(&request.id, &request.body))
            .collect()
    }

    /// `status reason` of each alert of the rule `blind` that the webhook took, in its order.
    pub(crate) fn blindness(&self) -> Vec<String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        let mut told = Vec::new();
        for request in self.webhook.accepted() {
            let alerts = request.body["data"]["alerts"].as_array().cloned();
            let blind = alerts.into_iter().flatten();
            let blind = blind.filter(|alert| alert["rule"] == "blind");
            told.extend(blind.map(|alert| {
                let (status, reason) = (text(&alert["status"]), text(&alert["reason"]));
                format!("{status} {reason}")
            }));
        }
        told
    }

    /// What lies in the mailbox.
    pub(crate) fn mail_got(&self) -> Vec<Got> {
        self.mailbox.mails().iter().flat_map(told_by).collect()
    }
}

/// The address that the binary says its API has.
pub(crate) async fn admin_of(binary: &Binary) -> String {
    let line = binary.wait_for_line("syncbell runs", WAIT).await.text;
    let admin = line
        .split("\"admin\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    admin.expect("the line names the address").to_owned()
}
