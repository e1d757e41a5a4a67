//! `syncbell explain`: why a task was told, or was not; and `syncbell incidents show|close`: an incident ends by hand.
//! With a running service and without one.

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::eventually;

use crate::house::{House, WAIT};

fn add(house: &House, id: &str, image: &str, status: Status) {
    let task = NewTask::of(image, "v1").id(id).status(status);
    house.simulator.world().add_task(task);
}

async fn json(house: &House, words: &[&str], place: &[&str]) -> Option<Value> {
    let (code, stdout, stderr) = house.ask(&[words, place].concat()).await;
    assert!(matches!(code, Some(0 | 1)), "{stderr}");
    (code == Some(0)).then(|| serde_json::from_str(&stdout).expect("it prints JSON"))
}

/// What `explain` says of `id` for programs, once something is known that `is_there`.
async fn explained(
    house: &House,
    id: &str,
    place: &[&str],
    is_there: impl Fn(&Value) -> bool,
) -> Value {
    eventually("an explanation", WAIT, async || {
        let said = json(house, &["explain", id, "-o", "json"], place).await;
        said.filter(|said| is_there(said))
    })
    .await
}

/// How far the conditions of the last event came.
fn endings(explained: &Value) -> Vec<&str> {
    let last = explained["events"]
        .as_array()
        .and_then(|events| events.last());
    let fates = last.and_then(|event| event["fates"].as_array());
    let endings = fates.into_iter().flatten();
    endings.filter_map(|fate| fate["ending"].as_str()).collect()
}

fn delivered(explained: &Value) -> bool {
    let fate = &explained["events"][0]["fates"][0];
    let receivers = fate["receivers"].as_array();
    let mut states = receivers
        .into_iter()
        .flatten()
        .map(|one| &one["deliveries"][0]["state"]);
    receivers.is_some_and(|all| all.len() == 2) && states.all(|state| state == "delivered")
}

async fn told_and_not_told(house: &House, place: &[&str]) {
    add(house, "rst-bad", "why/bad", Status::Error);
    add(house, "rst-good", "why/good", Status::Success);
    let bad = explained(house, "rst-bad", place, delivered).await;
    let (event, fate) = (&bad["events"][0], &bad["events"][0]["fates"][0]);
    assert_eq!(
        (&event["why"], &event["rule"]),
        (&"told".into(), &"failed".into())
    );
    assert_eq!(fate["receivers"][0]["route"], "route");
    for (id, what) in [
        (&event["event_id"], "event"),
        (&fate["incident"], "incident"),
    ] {
        let id = id.as_str().expect("an id");
        let same = explained(house, id, place, |_| true).await;
        assert_eq!(same["what"], what);
        assert_eq!(same["events"][0]["event_id"], event["event_id"]);
    }
    let good = explained(house, "rst-good", place, |_| true).await;
    assert_eq!(good["events"][0]["why"], "no_rule");

    let (code, said, stderr) = house.ask(&[&["explain", "rst-bad"], place].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    for words in [
        "rst-bad ERROR",
        "rule failed: to be told",
        "ops by route: delivery",
        "delivered, 1 attempts",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, _, stderr) = house.ask(&[&["explain", "nobody"], place].concat()).await;
    assert_eq!(
        (code, stderr.contains("nothing is known")),
        (Some(1), true),
        "{stderr}"
    );
}

async fn held_back_by_a_silence(house: &House, place: &[&str]) {
    let words = [
        "silence",
        "add",
        "-m",
        "from.repo=quiet",
        "--for",
        "1h",
        "--reason",
        "we move",
        "--author",
        "ann",
    ];
    let (code, id, stderr) = house.ask(&[&words[..], place].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    add(house, "rst-quiet", "why/quiet", Status::Error);
    let held = explained(house, "rst-quiet", place, |said| endings(said) == ["held"]).await;
    assert_eq!(
        held["events"][0]["fates"][0]["held_by"]["silence"],
        id.trim()
    );
    let (_, said, _) = house
        .ask(&[&["explain", "rst-quiet"], place].concat())
        .await;
    assert!(
        said.contains(&format!("held back: silence {}", id.trim())),
        "{said}"
    );
    let (code, _, _) = house
        .ask(&[&["silence", "expire", id.trim()], place].concat())
        .await;
    assert_eq!(code, Some(0));
    let told = explained(house, "rst-quiet", place, |said| endings(said).len() == 2).await;
    assert_eq!(endings(&told), ["held", "told"]);
}

async fn closed_by_hand(house: &House, place: &[&str]) -> String {
    let bad = explained(house, "rst-bad", place, delivered).await;
    let id = bad["events"][0]["fates"][0]["incident"]
        .as_str()
        .expect("an id")
        .to_owned();
    let shown = json(house, &["incidents", "show", &id], place)
        .await
        .expect("it is there");
    assert_eq!(shown["incident"]["state"], "open");
    assert_eq!(shown["causes"][0]["task"]["task_id"], "rst-bad");
    let before = house.webhook.accepted().len();
    let close = ["incidents", "close", &id, "--reason", "the tag is gone"];
    let closed = json(house, &close, place).await.expect("it is there");
    assert_eq!(
        (&closed["incident"]["state"], &closed["note"]),
        (&"closed".into(), &Value::Null)
    );
    house.webhook.wait_for_accepted(before + 1, WAIT).await;
    let alert = house.webhook.accepted()[before].body["data"]["alerts"][0].clone();
    assert_eq!(
        (&alert["status"], &alert["incident"]),
        (&"resolved".into(), &id.as_str().into())
    );
    let summary = alert["summary"].as_str().unwrap_or_default();
    assert!(
        summary.contains("closed by hand: the tag is gone"),
        "{summary}"
    );
    let again = json(house, &close, place).await.expect("it is there");
    assert_eq!(again["note"], "it was over already");
    assert_eq!(
        json(house, &["incidents", "close", "nobody"], place).await,
        None
    );
    id
}

/// Without a service the same is known, and what is closed is told at the next start.
async fn in_the_folder(house: &mut House, id: &str) {
    add(house, "rst-bad-2", "why/bad", Status::Error);
    let place = house.notifier_admin().await;
    let anew = explained(house, "rst-bad-2", &["--admin", &place], delivered).await;
    assert_eq!(
        anew["events"][0]["fates"][0]["incident"], id,
        "the same route"
    );
    assert!(house.stop().await.success());
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let place = ["-c", config.as_str()];
    let said = explained(house, id, &place, |_| true).await;
    assert_eq!(said["incident"]["state"], "open");
    let closed = json(house, &["incidents", "close", id], &place).await;
    let note = closed.expect("it is there")["note"].to_string();
    assert!(note.contains("at the next start"), "{note}");
    let before = house.webhook.accepted().len();
    house.start().await;
    house.webhook.wait_for_accepted(before + 1, WAIT).await;
    let alert = &house.webhook.accepted()[before].body["data"]["alerts"][0];
    assert_eq!(
        (&alert["status"], &alert["incident"]),
        (&"resolved".into(), &id.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_explained_and_an_incident_ends_by_hand() {
    let mut house = House::build().await;
    house.start().await;
    house.baseline().await;
    let admin = house.notifier_admin().await;
    let place = ["--admin", admin.as_str()];
    told_and_not_told(&house, &place).await;
    held_back_by_a_silence(&house, &place).await;
    let id = closed_by_hand(&house, &place).await;
    in_the_folder(&mut house, &id).await;
    assert!(house.stop().await.success());
}
