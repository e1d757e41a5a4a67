//! `syncbell replay`: what the rules of now make of the events of before is shown, or sent again, marked.

use std::collections::BTreeSet;

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::kafka;

use crate::house::{House, WAIT};
use crate::story::settled;

const TASKS: usize = 3;

async fn failed(house: &House) {
    for n in 0..TASKS {
        let task = NewTask::of(&format!("again/image-{n}"), "v1").id(&format!("rst-again-{n}"));
        house.simulator.world().add_task(task.status(Status::Error));
    }
    let (webhook, mail) = settled(house, "the alerts").await;
    assert!(webhook.is_exact() && mail.is_exact(), "{webhook} {mail}");
}

async fn asked(house: &House, arguments: &[&str]) -> Value {
    let arguments = [&["replay", "--since", "1h", "-o", "json"], arguments].concat();
    let (code, stdout, stderr) = house.ask(&arguments).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).expect("it prints JSON")
}

fn receivers(replayed: &Value) -> Vec<&str> {
    let all = replayed["notifications"].as_array().expect("a list");
    let mut names: Vec<&str> = all
        .iter()
        .filter_map(|one| one["receiver"].as_str())
        .collect();
    names.sort_unstable();
    names
}

async fn incidents(house: &House, admin: &str) -> String {
    let list = ["incidents", "list", "-o", "json", "--admin", admin];
    house.ask(&list).await.1
}

/// Shown, then sent: once more, to one receiver, and as what it is.
async fn shown_and_sent(house: &mut House) {
    house.start().await;
    house.baseline().await;
    failed(house).await;
    let admin = house.notifier_admin().await;
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let before = incidents(house, &admin).await;

    let dry = ["--dry-run", "-c", &config, "--admin", &admin];
    let shown = asked(house, &dry).await;
    let each = [["mail"; TASKS], ["ops"; TASKS]].concat();
    assert_eq!(receivers(&shown), each, "{shown}");
    assert_eq!(
        house.webhook.accepted().len(),
        TASKS,
        "a dry run sends nothing"
    );

    let sent = asked(house, &["--receiver", "ops", "--admin", &admin]).await;
    assert_eq!(receivers(&sent), ["ops"; TASKS]);
    house.webhook.wait_for_accepted(2 * TASKS, WAIT).await;
    let got = house.webhook.accepted();
    let ids: BTreeSet<&str> = got.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), 2 * TASKS, "each has an id of its own");
    let (first, again) = got.split_at(TASKS);
    let incident = |body: &Value| body["data"]["alerts"][0]["incident"].to_string();
    let of = |some: &[syncbell_testkit::Request]| -> BTreeSet<String> {
        some.iter().map(|one| incident(&one.body)).collect()
    };
    assert_eq!(of(first), of(again), "the same is told");
    assert!(first.iter().all(|one| one.body["data"]["replay"].is_null()));
    assert!(
        again
            .iter()
            .all(|one| one.body["data"]["replay"]["since"].is_string())
    );
    let named: BTreeSet<&str> = again.iter().map(|one| one.id.as_str()).collect();
    let answered = sent["notifications"].as_array().expect("a list");
    let answered: BTreeSet<&str> = answered
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    assert_eq!(named, answered);
    assert_eq!(
        house.mail_got().len(),
        TASKS,
        "only the receiver that was named"
    );
    assert_eq!(
        incidents(house, &admin).await,
        before,
        "no incident was touched"
    );
    assert!(house.stop().await.success());
}

/// Without a service it can be shown, by whatever the file says now, and not be sent.
async fn shown_without_a_service(house: &mut House) {
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let send = ["replay", "--since", "1h", "-c", &config];
    let (code, _, stderr) = house.ask(&send).await;
    assert_eq!(code, Some(69));
    assert!(stderr.contains("start the service"), "{stderr}");
    let shown = asked(house, &["--dry-run", "-c", &config]).await;
    assert_eq!(receivers(&shown).len(), 2 * TASKS);
    house.more = "rules: {failed: {enabled: false}}\n";
    house.config("127.0.0.1:0");
    let shown = asked(house, &["--dry-run", "-c", &config]).await;
    assert_eq!(shown["notifications"], Value::Array(Vec::new()));
    assert!(shown["events"].as_u64().is_some_and(|n| n >= TASKS as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_before_are_shown_by_the_rules_of_now_and_sent_as_a_replay() {
    let mut house = House::build().await;
    shown_and_sent(&mut house).await;
    shown_without_a_service(&mut house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_events_of_before_are_shown_and_sent_as_a_replay() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "replay").await;
    shown_and_sent(&mut house).await;
    shown_without_a_service(&mut house).await;
}
