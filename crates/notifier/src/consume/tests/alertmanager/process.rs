//! One Alertmanager for all cases: each has a route of its own, told apart by the label `case`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncbell_config::{MatchOp, parse_matcher};
use syncbell_testkit::{WebhookReceiver, eventually};
use tokio::process::{Child, Command};

use super::{Case, Outcome, WAIT};

const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Alertmanager {
    process: Child,
    api: String,
    http: reqwest::Client,
    receiver: WebhookReceiver,
    _folder: tempfile::TempDir,
}

/// Its labels have no dots.
fn label(name: &str) -> String {
    match name {
        "..." => name.to_owned(),
        name => name.replace('.', "_"),
    }
}

fn config(cases: &[Case], receiver: &WebhookReceiver) -> String {
    let quoted = |text: &str| {
        let matcher = parse_matcher(text).unwrap();
        let op = match matcher.op {
            MatchOp::Equals => "=",
            MatchOp::NotEquals => "!=",
            MatchOp::Matches => "=~",
            MatchOp::NotMatches => "!~",
        };
        format!("'{}{op}\"{}\"'", label(&matcher.label), matcher.value)
    };
    let (mut routes, mut pairs) = (String::new(), String::new());
    for (number, case) in cases.iter().enumerate() {
        let of_case = format!("'case=\"{number}\"'");
        let by: Vec<String> = case
            .group_by
            .iter()
            .map(|name| format!("'{}'", label(name)))
            .collect();
        writeln!(
            routes,
            "  - {{matchers: [{of_case}], group_by: [{}]}}",
            by.join(", ")
        )
        .unwrap();
        for (source, target, equal) in case.inhibit {
            let side = |texts: &[&str]| {
                let matchers = texts.iter().map(|text| quoted(text));
                matchers
                    .chain([of_case.clone()])
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let equal: Vec<String> = equal.iter().map(|name| label(name)).collect();
            let (source, target, equal) = (side(source), side(target), equal.join(", "));
            writeln!(
                pairs,
                "- {{source_matchers: [{source}], target_matchers: [{target}], equal: [{equal}]}}"
            )
            .unwrap();
        }
    }
    format!(
        "route:\n  receiver: ops\n  group_wait: {}s\n  group_interval: 1h\n  repeat_interval: 1h\n  routes:\n{routes}\
         inhibit_rules:\n{pairs}receivers:\n- {{name: ops, webhook_configs: [{{url: '{}'}}]}}\n",
        WAIT.as_secs(),
        receiver.url()
    )
}

impl Alertmanager {
    /// Waits until it is ready.
    pub(super) async fn start(cases: &[Case]) -> Self {
        let receiver = WebhookReceiver::start_without_secret().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config(cases, &receiver)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .kill_on_drop(true)
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!(
                "no prometheus-alertmanager ({error}): Debian has it in the package of that name"
            )
        });
        let started = Self {
            process,
            api: format!("http://{address}"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            receiver,
            _folder: folder,
        };
        eventually("Alertmanager to be ready", PATIENCE, async || {
            let asked = started.http.get(format!("{}/-/ready", started.api));
            let ready = asked
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success());
            ready.then_some(())
        })
        .await;
        started
    }

    /// The silences of all cases, then their alerts.
    pub(super) async fn post(&self, cases: &[Case]) {
        let now = Timestamp::now();
        let mut alerts = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let number = number.to_string();
            for silence in case.silences {
                let matchers = silence.iter().map(|text| {
                    let matcher = parse_matcher(text).unwrap();
                    json!({
                        "name": label(&matcher.label),
                        "value": matcher.value,
                        "isRegex": matches!(matcher.op, MatchOp::Matches | MatchOp::NotMatches),
                        "isEqual": matches!(matcher.op, MatchOp::Equals | MatchOp::Matches),
                    })
                });
                let own =
                    json!({"name": "case", "value": number, "isRegex": false, "isEqual": true});
                let silence = json!({
                    "matchers": matchers.chain([own]).collect::<Vec<_>>(),
                    "startsAt": now,
                    "endsAt": now + SignedDuration::from_hours(1),
                    "createdBy": "ann",
                    "comment": case.name,
                });
                self.ask("silences", &silence).await;
            }
            let of_case = case
                .alerts
                .iter()
                .map(|(id, labels)| alert(&number, id, labels));
            alerts.extend(of_case);
        }
        self.ask("alerts", &Value::from(alerts)).await;
    }

    async fn ask(&self, what: &str, body: &Value) {
        let asked = self
            .http
            .post(format!("{}/api/v2/{what}", self.api))
            .json(body);
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{what}: {text}: {body}");
    }

    /// Once every alert that it does not suppress was sent.
    pub(super) async fn outcomes(&self, cases: &[Case]) -> Vec<Outcome> {
        let total: usize = cases.iter().map(|case| case.alerts.len()).sum();
        eventually("the groups of Alertmanager", PATIENCE, async || {
            let alerts = self.alerts().await;
            let active = alerts
                .iter()
                .filter(|alert| alert["status"]["state"] == "active");
            let active: BTreeSet<(String, String)> =
                active.map(|alert| place(&alert["labels"])).collect();
            let suppressed = alerts
                .iter()
                .filter(|alert| alert["status"]["state"] == "suppressed");
            let all = active.len() + suppressed.count() == total;
            let mut outcomes: Vec<Outcome> = cases.iter().map(|_| Outcome::default()).collect();
            let mut sent = BTreeSet::new();
            for request in self.receiver.requests() {
                let group = request.body["alerts"].as_array().unwrap();
                let places = group.iter().map(|alert| place(&alert["labels"]));
                let (of_cases, ids): (BTreeSet<String>, BTreeSet<String>) = places.clone().unzip();
                sent.extend(places);
                let number: usize = of_cases.first().unwrap().parse().unwrap();
                let labels = labels(&cases[number], &request.body["groupLabels"]);
                outcomes[number].groups.insert((labels, ids));
            }
            for alert in &alerts {
                let (number, id) = place(&alert["labels"]);
                let held = &mut outcomes[number.parse::<usize>().unwrap()].held;
                let by = |name: &str| {
                    alert["status"][name]
                        .as_array()
                        .is_some_and(|ids| !ids.is_empty())
                };
                // Here one holder is named, a silence before an incident.
                if by("silencedBy") {
                    held.insert(id, "silence");
                } else if by("inhibitedBy") {
                    held.insert(id, "incident");
                }
            }
            (all && sent.is_superset(&active)).then_some(outcomes)
        })
        .await
    }

    async fn alerts(&self) -> Vec<Value> {
        let asked = self.http.get(format!("{}/api/v2/alerts", self.api));
        asked.send().await.unwrap().json().await.unwrap()
    }

    pub(super) async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

fn alert(number: &str, id: &str, labels: &str) -> Value {
    let pairs = labels
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    let mut labels: BTreeMap<String, &str> =
        pairs.map(|(name, value)| (label(name), value)).collect();
    let severity = match value_of_rule(&labels) {
        "failed" => "error",
        _ => "warning",
    };
    labels.extend([
        ("severity".to_owned(), severity),
        ("case".to_owned(), number),
        ("id".to_owned(), id),
    ]);
    json!({"labels": labels})
}

fn value_of_rule<'a>(labels: &BTreeMap<String, &'a str>) -> &'a str {
    labels.get("rule").copied().unwrap_or_default()
}

/// The number of its case, and its id.
fn place(labels: &Value) -> (String, String) {
    let text = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    (text("case"), text("id"))
}

/// Those that the case groups by, by their names here. With `...` there they are all, here none.
fn labels(case: &Case, found: &Value) -> BTreeMap<String, String> {
    let of = |name: &&str| {
        let value = found[label(name)].as_str()?;
        Some(((*name).to_owned(), value.to_owned()))
    };
    case.group_by.iter().filter_map(of).collect()
}
