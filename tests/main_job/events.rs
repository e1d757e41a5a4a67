//! `syncbell events tail`, with a running service and without one.

use std::collections::BTreeSet;

use syncbell_event::{Envelope, Event, Kind, Status};
use syncbell_simulator::{DEMO_INSTANCE, NewTask};
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Binary, eventually, kafka};

use crate::house::{House, WAIT};

fn syncbell(arguments: &[&str]) -> Binary {
    let launch = Binary::launch(env!("CARGO_BIN_EXE_syncbell"));
    launch.args(["events", "tail"]).args(arguments).start()
}

/// Where the house's service answers.
async fn admin(house: &House) -> String {
    let binary = house.binary.lock().await;
    let line = binary.as_ref().expect("it runs");
    let line = line.wait_for_line("syncbell runs", WAIT).await.text;
    let line: serde_json::Value = serde_json::from_str(&line).expect("a log line is JSON");
    line["admin"]
        .as_str()
        .expect("it names its address")
        .to_owned()
}

fn fail(house: &House, name: &str) {
    let task = NewTask::of(&format!("tail/{name}"), "v1").id(&format!("rst-{name}"));
    house.simulator.world().add_task(task.status(Status::Error));
}

/// The events that were printed as they travel.
fn printed(tail: &Binary) -> Vec<Envelope> {
    let text = tail.text(Source::Stdout);
    let lines = text.lines();
    lines
        .map(|line| {
            Envelope::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_a_running_service_has_and_what_comes() {
    let mut house = House::build().await;
    house.start().await;
    house.baseline().await;
    let admin = admin(&house).await;
    let mut tail = syncbell(&["--admin", &admin, "--from", "start", "-o", "jsonl"]);
    tail.wait_for_line("dev.syncbell.watch.swept.v1", WAIT)
        .await;
    fail(&house, "first");
    tail.wait_for_line("rst-first", WAIT).await;
    tail.interrupt();
    assert!(
        tail.wait_for_exit(WAIT).await.success(),
        "Ctrl-C is its end"
    );
    let events = printed(&tail);
    let told = events.iter().find(|event| event.subject == "rst-first");
    let Event::Task {
        kind: Kind::Created,
        data,
    } = &told.expect("it was printed").event
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        data.after.as_ref().map(|task| &task.status),
        Some(&Status::Error)
    );
    let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len(), "an event was printed twice");

    // What was asked for, and no more.
    let of_nobody = [
        "--admin",
        &admin,
        "--no-follow",
        "--from",
        "start",
        "--instance",
        "cri-other",
    ];
    let mut tail = syncbell(&of_nobody);
    assert!(tail.wait_for_exit(WAIT).await.success());
    assert_eq!(tail.text(Source::Stdout), "");
    let limited = [
        "--admin", &admin, "--from", "start", "--limit", "2", "-o", "jsonl",
    ];
    let mut tail = syncbell(&limited);
    assert!(tail.wait_for_exit(WAIT).await.success());
    assert_eq!(printed(&tail), events[..2]);

    // A tail that is open does not hold up the service, and says that it is gone.
    let mut tail = syncbell(&["--admin", &admin, "--from", "1"]);
    tail.wait_for_line("CHANGE", WAIT).await;
    assert!(house.stop().await.success());
    assert_eq!(tail.wait_for_exit(WAIT).await.code(), Some(69));
    let said = tail.text(Source::Stderr);
    assert!(
        said.contains(&format!("the service at {admin} ended")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_a_tail_shows_what_the_folder_holds() {
    let mut house = House::build().await;
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    let mut early = syncbell(&["-c", config]);
    assert_eq!(early.wait_for_exit(WAIT).await.code(), Some(69));
    let said = early.text(Source::Stderr);
    assert!(
        said.contains("no service answers at") && said.contains("no folder"),
        "{said}"
    );

    house.start().await;
    house.baseline().await;
    fail(&house, "kept");
    house.webhook.wait_for_accepted(1, WAIT).await;
    // It runs at another address than the file says: its folder is not touched.
    let mut locked = syncbell(&["-c", config]);
    assert_eq!(locked.wait_for_exit(WAIT).await.code(), Some(75));
    let said = locked.text(Source::Stderr);
    assert!(
        said.contains("--admin ADDRESS") && said.contains("locked"),
        "{said}"
    );
    assert!(house.stop().await.success());

    // It would follow, but nothing more can come.
    let mut tail = syncbell(&["-c", config, "--from", "1h"]);
    assert!(tail.wait_for_exit(WAIT).await.success());
    let table = tail.text(Source::Stdout);
    let mut rows = table.lines();
    assert!(
        rows.next().is_some_and(|head| head.starts_with("TIME ")),
        "{table}"
    );
    let row = rows.find(|row| row.contains("rst-kept")).expect("its row");
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        columns[1..5],
        ["created", DEMO_INSTANCE, "rst-kept", "ERROR"]
    );
    assert_eq!(columns[6], "tail/kept:v1");
    assert!(tail.text(Source::Stderr).contains("the log gets no more"));
    assert!(house.events().await.len() > 1, "the same as it travels");

    // The log is free again: the service starts on it.
    house.start().await;
    assert!(house.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_a_tail_shows_the_same_through_a_service_and_by_itself() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "tail").await;
    house.start().await;
    house.baseline().await;
    for n in 0..5 {
        fail(&house, &format!("kafka-{n}"));
    }
    house.webhook.wait_for_accepted(5, WAIT).await;
    // The poller has no ledger, and the log all the same.
    let poller = admin(&house).await;
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    for place in [["--admin", &poller], ["-c", config]] {
        for from in ["start", "9", "1h"] {
            let asked = ["--from", from, "--no-follow", "-o", "jsonl"];
            let mut tail = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
                .args(["events", "tail"])
                .args(place)
                .args(asked)
                .start();
            assert!(tail.wait_for_exit(WAIT).await.success(), "{place:?} {from}");
            let events = printed(&tail);
            for n in 0..5 {
                let id = format!("rst-kafka-{n}");
                let found = events.iter().filter(|event| event.subject == id).count();
                assert_eq!(found, 1, "{id} in {place:?} from {from}");
            }
            assert!(
                events.is_sorted_by_key(|event| event.time),
                "of one instance"
            );
        }
    }
    // By itself it follows too: somebody else writes to the topic.
    let mut tail = syncbell(&["-c", config, "--from", "end", "-f"]);
    let counts = || house.simulator.world().counts();
    eventually("an event of an open tail", WAIT, async || {
        if counts().unserved == 0 {
            fail(&house, &format!("later-{}", counts().tasks));
        }
        let shown = tail.text(Source::Stdout);
        shown.contains("rst-later-").then_some(())
    })
    .await;
    tail.interrupt();
    assert!(tail.wait_for_exit(WAIT).await.success());
    assert!(house.stop().await.success());
}
