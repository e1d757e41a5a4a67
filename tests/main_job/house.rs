//! A whole house for a test: registry, webhook receiver, mailbox, and the built binary between them.

use std::process::ExitStatus;
use std::time::Duration;

use mail_parser::MessageParser;
use syncbell_event::{AlertStatus, Status};
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Got, Handle, NewTask, Options, Simulator};
use syncbell_testkit::{Binary, MailSink, MailSinkOptions, Rng, WebhookReceiver, eventually};
use tokio::sync::Mutex;

/// Longer than anything takes here, even on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct House {
    pub(crate) simulator: Handle,
    pub(crate) webhook: WebhookReceiver,
    mailbox: MailSink,
    folder: tempfile::TempDir,
    pub(crate) binary: Mutex<Option<Binary>>,
    pub(crate) access_key_secret: String,
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
        }
    }

    /// The binary on this house's folder.
    pub(crate) fn launch(&self, admin: &str) -> Binary {
        let config = self
            .folder
            .path()
            .join(format!("{}.yaml", admin.replace(':', "-")));
        let (data, smtp) = (self.folder.path().join("data"), self.mailbox.addr());
        let text = format!(
            "data_dir: {}\n\
             instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
             receivers:\n\
             \x20 - name: ops\n    webhook: {{url: '{}', secret: {{env: HOOK_SECRET}}}}\n\
             \x20 - name: mail\n    email: {{from: syncbell@example.test, to: [oncall@example.test], \
             smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}\n\
             route: {{receivers: [ops, mail], group_by: ['...']}}\n\
             admin: {{listen: '{admin}'}}\n",
            data.display(),
            self.simulator.url(),
            self.webhook.url(),
            smtp.port(),
        );
        std::fs::write(&config, text).expect("a configuration");
        let options = Options::default();
        Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
            .args(["run", "-c", config.to_str().expect("a plain path")])
            .env("HOOK_SECRET", SECRET)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &self.access_key_secret)
            .start()
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

    /// What lies in the mailbox: one condition a mail.
    pub(crate) fn mail_got(&self) -> Vec<Got> {
        let mails = self.mailbox.mails();
        mails
            .iter()
            .map(|mail| {
                let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
                let text = parsed.body_text(0).expect("a text part");
                let field = |name: &str| {
                    let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
                    let word = line.and_then(|rest| rest.split_whitespace().next());
                    word.unwrap_or_else(|| panic!("no {name} in {text}"))
                        .to_owned()
                };
                let firing = mail.header("X-Alert-Status").as_deref() == Some("firing");
                Got {
                    task_id: field("Task "),
                    rule: field("Rule "),
                    status: if firing {
                        AlertStatus::Firing
                    } else {
                        AlertStatus::Resolved
                    },
                    id: mail.message_id(),
                }
            })
            .collect()
    }
}
