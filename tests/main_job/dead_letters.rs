//! `syncbell dead-letters`: what nobody took, or nobody could read, is listed, shown and tried again, under the
//! ids that it had; with a running service and without one.

use serde_json::Value;
use syncbell_bus::{Record, Stream};
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::kafka::Admin;
use syncbell_testkit::{Answer, eventually, kafka};

use crate::house::{House, WAIT};

/// Larger than a record may be once the headers of a dead letter are added.
const LARGE_BYTES: usize = 999_900;

fn fail(house: &House, n: u32) {
    let task = NewTask::of(&format!("dead/image-{n}"), "v1").id(&format!("rst-dead-{n}"));
    house.simulator.world().add_task(task.status(Status::Error));
}

/// The letters that `arguments` list, once there are `n` of them.
async fn listed(house: &House, place: &[&str], n: usize) -> Vec<Value> {
    eventually("the dead letters", WAIT, async || {
        let list = [&["dead-letters", "list", "-o", "json"], place].concat();
        let (code, stdout, stderr) = house.ask(&list).await;
        assert_eq!(code, Some(0), "{stderr}");
        let rows: Vec<Value> = serde_json::from_str(&stdout).expect("a list");
        (rows.len() == n).then_some(rows)
    })
    .await
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn of_kind<'a>(rows: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let rows = rows.iter();
    rows.filter(|row| text(row, "kind") == kind).collect()
}

/// A delivery that the receiver refuses for good, `n` of them so far.
async fn refused(house: &House, n: u32) -> String {
    house.webhook.answer_next(1, Answer::status(422));
    fail(house, n);
    let place = house.notifier_admin().await;
    let place = ["--admin", &place, "--kind", "delivery", "--receiver", "ops"];
    let rows = listed(house, &place, n as usize).await;
    assert_eq!(text(&rows[0], "class"), "refused");
    assert!(text(&rows[0], "reason").contains("422"), "{rows:?}");
    assert_eq!(rows[0]["attempts"], 1);
    assert_eq!(rows[0]["replayed"], Value::Null);
    text(&rows[0], "id").to_owned()
}

/// A delivery is refused, shown, and sent again when it is asked for: once, and under its own id.
async fn replayed_while_it_runs(house: &House) {
    let id = refused(house, 1).await;
    let admin = house.notifier_admin().await;
    let first = house.webhook.requests().pop().expect("it was refused");
    let show = ["dead-letters", "show", &id, "--admin", &admin];
    let (code, shown, _) = house.ask(&show).await;
    assert_eq!(code, Some(0));
    assert!(
        shown.contains("rst-dead-1") && shown.contains(&first.id),
        "{shown}"
    );
    assert!(house.webhook.accepted().is_empty());

    let replay = ["dead-letters", "replay", "--id", &id, "--admin", &admin];
    let (code, said, stderr) = house.ask(&replay).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(said.contains("pending"), "{said}");
    house.webhook.wait_for_accepted(1, WAIT).await;
    assert_eq!(
        house.webhook.accepted()[0].id,
        first.id,
        "the same webhook-id"
    );
    let place = ["--admin", &admin, "--kind", "delivery"];
    eventually(
        "the letter that says how its replay ended",
        WAIT,
        async || {
            let rows = listed(house, &place, 1).await;
            (text(&rows[0]["replayed"], "ended") == "delivered").then_some(())
        },
    )
    .await;

    let (code, said, _) = house.ask(&replay).await;
    assert_eq!(code, Some(1), "a second time only with --again");
    assert!(said.contains("it was replayed at"), "{said}");
    let since = ["dead-letters", "replay", "--since", "1h", "--admin", &admin];
    let (code, said, _) = house.ask(&since).await;
    assert_eq!((code, said.contains("skipped")), (Some(0), true), "{said}");
    assert_eq!(house.webhook.accepted().len(), 1);
}

/// Without a service it is queued, and goes out at the next start.
async fn replayed_without_a_service(house: &mut House, others: usize) {
    let id = refused(house, 2).await;
    assert!(house.stop().await.success());
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let rows = listed(house, &["-c", &config], 2 + others).await;
    assert_eq!(text(&rows[0], "id"), id, "the newest first");
    let replay = ["dead-letters", "replay", "--id", &id, "-c", &config];
    let (code, said, stderr) = house.ask(&replay).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(said.contains("it goes out at the next start"), "{said}");
    assert_eq!(house.webhook.accepted().len(), 1);
    house.start().await;
    house.webhook.wait_for_accepted(2, WAIT).await;
    let alert = house.webhook.accepted()[1].body.to_string();
    assert!(alert.contains("rst-dead-2"), "{alert}");
}

/// A record that is no event is kept byte for byte, and stays while it is none.
async fn kept_as_it_was(house: &House, size_bytes: usize) {
    let admin = house.notifier_admin().await;
    let place = ["--admin", &admin, "--kind", "record"];
    let rows = listed(house, &place, 1).await;
    assert_eq!(text(&rows[0], "class"), "undecodable");
    assert_eq!(rows[0]["size_bytes"], size_bytes);
    assert_eq!(text(&rows[0]["origin"], "stream"), "changes");
    assert!(!text(&rows[0]["origin"], "appended_at").is_empty());
    let id = text(&rows[0], "id");
    let show = ["dead-letters", "show", id, "-o", "json", "--admin", &admin];
    let (code, shown, _) = house.ask(&show).await;
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&shown).expect("a letter");
    let value = text(&shown["value"], "text");
    assert_eq!(value.len(), size_bytes);
    assert!(value.bytes().all(|byte| byte == b'{'));
    let replay = ["dead-letters", "replay", "--id", id, "--admin", &admin];
    let (code, said, _) = house.ask(&replay).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("refused") && said.contains("it stays"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_replayed_once() {
    let mut house = House::build().await;
    house.receivers = "[ops]";
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let list = ["dead-letters", "list", "-c", &config];
    assert_eq!(house.ask(&list).await.0, Some(69), "nothing ran there yet");
    let replay = ["dead-letters", "replay", "--id", "x", "-c", &config];
    assert_eq!(house.ask(&replay).await.0, Some(69));

    house.start().await;
    house.baseline().await;
    replayed_while_it_runs(&house).await;
    replayed_without_a_service(&mut house, 0).await;
    assert!(house.stop().await.success());

    let retention = syncbell_config::Retention::default();
    let bus = syncbell_notifier::open_bus(
        &house.data_dir(),
        &retention,
        syncbell_config::Disk::default(),
    )
    .expect("it is free");
    let poison = Record::new("cri-x", vec![b'{'; LARGE_BYTES]);
    let appended = bus.publisher().append(Stream::Changes, vec![poison]).await;
    appended.expect("the log takes it");
    bus.close().await;
    house.start().await;
    kept_as_it_was(&house, LARGE_BYTES).await;
    let two: Vec<Value> = listed(&house, &["--admin", &house.notifier_admin().await], 3).await;
    assert_eq!(of_kind(&two, "delivery").len(), 2);
    assert!(house.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_dead_letters_are_listed_shown_and_replayed_once() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "dead").await;
    house.receivers = "[ops]";
    house.start().await;
    house.baseline().await;
    let admin: Admin = kafka.admin();
    let topic = house.changes_topic();
    admin
        .append(&topic, 0, b"cri-x", &vec![b'{'; LARGE_BYTES])
        .await;
    kept_as_it_was(&house, LARGE_BYTES).await;
    replayed_while_it_runs(&house).await;
    replayed_without_a_service(&mut house, 1).await;
    assert!(house.stop().await.success());
}
