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

pub(crate) struct House {
    pub(crate) simulator: Handle,
    pub(crate) webhook: WebhookReceiver,
    pub(crate) mailbox: MailSink,
    folder: tempfile::TempDir,
    pub(crate) binary: Mutex<Option<Binary>>,
    pub(crate) access_key_secret: String,
    /// What the route says about groups, in YAML.
    pub(crate) grouping: &'static str,
}

impl House {
    /// 150 quiet tasks over many pages, receivers that verify, a configuration.
    pub(crate) async fn build() -> Self {
        let options = Options {
            max_page_size: 30,
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
            simulator,
            webhook: WebhookReceiver::start(SECRET).await,
            mailbox: MailSink::start(MailSinkOptions::default()).await,
            folder: tempfile::tempdir().expect("a folder"),
            binary: Mutex::new(None),
            access_key_secret: Options::default().access_key_secret,
            grouping: "group_by: ['...']",
        }
    }

    /// The binary on this house's folder, running.
    pub(crate) fn launch(&self, admin: &str) -> Binary {
        self.launcher(admin).start()
    }

    /// The binary on this house's folder, to be started.
    pub(crate) fn launcher(&self, admin: &str) -> Launch {
        let config = self.config(admin);
        let options = Options::default();
        Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(["run", "-c", config.to_str().expect("a plain path")])
            .env("HOOK_SECRET", SECRET)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &self.access_key_secret)
    }

    fn config(&self, admin: &str) -> PathBuf {
        let folder = self.folder.path();
        let config = folder.join(format!("{}.yaml", admin.replace(':', "-")));
        let (data, smtp, grouping) = (folder.join("data"), self.mailbox.addr(), self.grouping);
        let text = format!(
            "data_dir: {}\n\
             instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
             receivers:\n\
             \x20 - name: ops\n    webhook: {{url: '{}', secret: {{env: HOOK_SECRET}}}}\n\
             \x20 - name: mail\n    email: {{from: syncbell@example.test, to: [oncall@example.test], \
             smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}\n\
             route: {{receivers: [ops, mail], {grouping}}}\n\
             admin: {{listen: '{admin}'}}\n",
            data.display(),
            self.simulator.url(),
            self.webhook.url(),
            smtp.port(),
        );
        std::fs::write(&config, text).expect("a configuration");
        config
    }

    pub(crate) async fn start(&self) {
        let binary = self.launch("127.0.0.1:0");
        binary.wait_for_line("syncbell runs", WAIT).await;
        *self.binary.lock().await = Some(binary);
    }

    /// Waits until the first look is complete: what comes from now on is told.
    pub(crate) async fn baseline(&self) {
        let binary = self.binary.lock().await;
        let binary = binary.as_ref().expect("it was started");
        binary.wait_for_line("the baseline is complete", WAIT).await;
        self.simulator.world().baseline_done();
    }

    /// SIGKILL after random moments, then a start on the same folder. Gives the number of kills.
    pub(crate) async fn kill_and_restart(&self, kills: usize, rng: &mut Rng) -> usize {
        for _ in 0..kills {
            tokio::time::sleep(rng.duration(50..1_200)).await;
            let mut binary = self.binary.lock().await;
            binary.as_mut().expect("it runs").kill().await;
            *binary = Some(self.launch("127.0.0.1:0"));
        }
        kills
    }

    /// SIGKILL, and no new start.
    pub(crate) async fn kill(&self) {
        let mut binary = self.binary.lock().await.take().expect("it runs");
        binary.kill().await;
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

    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let mut binary = self.binary.lock().await.take().expect("it runs");
        eventually("the binary to be up", WAIT, async || {
            binary
                .lines()
                .iter()
                .any(|line| line.text.contains("syncbell runs"))
                .then_some(())
        })
        .await;
        binary.terminate();
        binary.wait_for_exit(WAIT).await
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
