//! A real Alertmanager without aggregation.

use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_testkit::Binary;

use crate::receiver::MARK;

const PATH: &str = "/usr/bin/prometheus-alertmanager";

pub(crate) struct Alertmanager {
    folder: tempfile::TempDir,
    address: String,
    binary: Binary,
    client: reqwest::Client,
}

impl Alertmanager {
    /// None where there is none.
    pub(crate) async fn start(receiver: &str) -> Option<Self> {
        if !std::path::Path::new(PATH).exists() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "route: {{receiver: w, group_by: ['...'], group_wait: 1ms, group_interval: 1s, repeat_interval: 4h}}\n\
             receivers: [{{name: w, webhook_configs: [{{url: '{receiver}', send_resolved: false}}]}}]\n"
        );
        std::fs::write(folder.path().join("am.yml"), config).expect("a configuration");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let binary = launch(folder.path(), &address);
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build();
        let client = client.expect("a client");
        let it = Self {
            folder,
            address,
            binary,
            client,
        };
        it.ready().await;
        Some(it)
    }

    async fn ready(&self) {
        let url = format!("http://{}/-/ready", self.address);
        for _ in 0..500 {
            let asked = self.client.get(&url).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Alertmanager does not become ready");
    }

    pub(crate) async fn feed(&self, numbers: Range<usize>) {
        let now = Timestamp::now();
        let ends_at = now + SignedDuration::from_hours(1);
        let alerts = numbers.map(|number| {
            serde_json::json!({
                "labels": {
                    "alertname": "failed", "task": format!("{MARK}{number:06}"), "instance": "cri-kmsiwlxxdcva0001",
                    "namespace": "team-a", "repo": format!("shop-{number}"), "severity": "error",
                },
                "annotations": {"summary": "the synchronization failed with NETWORK_ERROR"},
                "startsAt": now.to_string(), "endsAt": ends_at.to_string(),
            })
        });
        let body: Vec<serde_json::Value> = alerts.collect();
        let url = format!("http://{}/api/v2/alerts", self.address);
        let posted = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body).expect("JSON"))
            .send()
            .await;
        let status = posted.expect("it answers").status();
        assert!(status.is_success(), "{status}");
    }

    pub(crate) async fn kill_and_start_again(&mut self) {
        self.binary.kill().await;
        self.binary = launch(self.folder.path(), &self.address);
        self.ready().await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.binary.pid()
    }

    pub(crate) async fn stop(mut self) {
        self.binary.kill().await;
    }
}

fn launch(folder: &std::path::Path, address: &str) -> Binary {
    let path = |name: &str| folder.join(name).display().to_string();
    Binary::launch(PATH)
        .stderr_file(folder.join("log.txt"))
        .args([
            format!("--config.file={}", path("am.yml")),
            format!("--storage.path={}", path("data")),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
        ])
        .start()
}
