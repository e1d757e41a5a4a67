//! Chats through the built binary: what the robots show, and what happens when one is gone.

use std::fmt::Write as _;

use mail_parser::MessageParser;
use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::binary::Source;
use syncbell_testkit::{
    CHAT_TOKEN, ChatOptions, ChatProvider, ChatReply, ChatRequest, ChatServer, eventually,
};

use crate::bad_input::metrics;
use crate::house::{House, WAIT};

const SECRET: &str = "SEC0123456789abcdef";

/// A robot of each provider that signs where it can, and a house that tells them all.
async fn house() -> (House, Vec<ChatServer>) {
    let mut house = House::build().await;
    let folder = house.folder.path();
    std::fs::write(folder.join("chat-secret"), SECRET).expect("a secret");
    let mut robots = Vec::new();
    for provider in ChatProvider::ALL {
        let robot = ChatServer::start(ChatOptions {
            secret: provider.signs().then(|| SECRET.to_owned()),
            ..ChatOptions::of(provider)
        })
        .await;
        let name = provider.name();
        std::fs::write(folder.join(name), robot.url()).expect("a secret");
        let secret = if provider.signs() {
            ", secret: {file: chat-secret}"
        } else {
            ""
        };
        writeln!(
            house.extra_receivers,
            "  - name: {name}\n    {name}: {{url: {{file: {name}}}{secret}}}"
        )
        .expect("a text takes all");
        robots.push(robot);
    }
    house.receivers = "[ops, dingtalk, feishu, wecom, slack]";
    house.grouping = "group_interval: 1s";
    (house, robots)
}

fn fails(house: &House, id: &str) {
    let task = NewTask::of("chat/web", "v1").id(id).status(Status::Error);
    let world = house.simulator.world();
    world.add_task(task.issue("NETWORK_ERROR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_and_its_all_clear_arrive_in_each_chat() {
    let (mut house, robots) = house().await;
    house.start().await;
    house.baseline().await;
    fails(&house, "rst-bad");
    for robot in &robots {
        let told = robot.wait_for(1, WAIT).await;
        let text = told[0].text();
        for said in ["FIRING", "chat/web:v1", "rst-bad", "NETWORK"] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
    let alerts = house.webhook.wait_for_accepted(1, WAIT).await;
    let incident = alerts[0].body["data"]["alerts"][0]["incident"].clone();
    let incident = incident.as_str().expect("an incident has an id");
    let good = NewTask::of("chat/web", "v1").id("rst-good");
    let world = house.simulator.world();
    world.add_task(good.status(Status::Success));
    for robot in &robots {
        let told = robot.wait_for(2, WAIT).await;
        assert!(told[0].text().contains(incident), "{}", told[0].text());
        let text = told[1].text();
        for said in ["RESOLVED", "chat/web:v1", "Lasted", incident] {
            assert!(text.contains(said), "{said} in {text}");
        }
        assert_eq!(robot.requests().len(), 2, "once each");
    }
    let binary = house.binary.lock().await;
    let said = binary.as_ref().expect("it runs");
    let said = said.text(Source::Stderr) + &said.text(Source::Stdout);
    assert!(
        !said.contains(CHAT_TOKEN) && !said.contains(SECRET),
        "{said}"
    );
    drop(binary);
    assert!(house.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_that_is_gone_stops_its_lane_and_the_fallback_is_told() {
    let (mut house, robots) = house().await;
    house.receivers = "[wecom]";
    house.grouping = "fallback: mail";
    let wecom = &robots[2];
    let gone = ChatReply::json(200, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#);
    wecom.answer_always(Some(gone));
    house.start().await;
    house.baseline().await;
    fails(&house, "rst-bad");
    let mails = house.mailbox.wait_for(1, WAIT).await;
    let mail = MessageParser::default()
        .parse(&mails[0].raw)
        .expect("a mail");
    let subject = mail.subject().unwrap_or_default();
    assert!(subject.contains("[not taken by wecom]"), "{subject}");
    assert_eq!(wecom.requests().len(), 1, "the lane stopped");
    let counted = "channel=\"wecom\",outcome=\"permanent_target\"} 1";
    let what = "the refusal to be counted";
    eventually(what, WAIT, async || {
        let binary = house.binary.lock().await;
        let metrics = metrics(binary.as_ref().expect("it runs")).await;
        metrics.contains(counted).then_some(())
    })
    .await;
    // Somebody made a new one: what is pending arrives after a restart.
    wecom.answer_always(None);
    assert!(house.stop().await.success());
    house.start().await;
    let told = wecom.wait_for(1, WAIT).await;
    assert!(told[0].text().contains("rst-bad"));
    assert!(house.stop().await.success());
}

/// Every delivery, by its state.
async fn deliveries(house: &House, state: &str) -> Vec<Value> {
    let admin = house.notifier_admin().await;
    let list = ["deliveries", "list", "-o", "json", "--admin", &admin];
    let (code, stdout, stderr) = house.ask(&list).await;
    assert_eq!(code, Some(0), "{stderr}");
    let all: Vec<Value> = serde_json::from_str(&stdout).expect("a list");
    all.into_iter()
        .filter(|one| one["state"] == state)
        .collect()
}

async fn until(house: &House, n: usize, state: &str) -> Vec<Value> {
    eventually(&format!("{n} that are {state}"), WAIT, async || {
        let found = deliveries(house, state).await;
        (found.len() == n).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_robot_takes_no_more_of_waits_through_kills_and_comes_as_one_message() {
    const ALONE: usize = 3;
    const TOGETHER: usize = 5;
    let mut house = House::build().await;
    let robot = ChatServer::start(ChatOptions::of(ChatProvider::Dingtalk)).await;
    // Two receivers of one robot: to its vendor they are one.
    house.extra_receivers = ["one", "two"]
        .map(|name| {
            let url = robot.url();
            format!("  - name: {name}\n    dingtalk: {{url: '{url}', rate: [{ALONE}/m]}}\n")
        })
        .concat();
    house.receivers = "[one]";
    house.start().await;
    house.baseline().await;
    for n in 0..ALONE + TOGETHER {
        let task = NewTask::of(&format!("chat/image-{n}"), "v1").id(&format!("rst-bad-{n}"));
        house.simulator.world().add_task(task.status(Status::Error));
    }
    until(&house, ALONE, "delivered").await;
    let waiting = until(&house, TOGETHER, "pending").await;
    house.kill().await;
    // It dies once more as soon as they are one.
    let mut binary = house
        .launcher("run", "127.0.0.1:0")
        .env("FAILPOINTS", "deliver.merged=return")
        .start();
    binary.wait_for_exit(WAIT).await;
    assert_eq!(
        robot.requests().len(),
        ALONE,
        "a start is no reason for more"
    );
    house.start_again().await;

    robot.wait_for(ALONE + 1, WAIT).await;
    let delivered = until(&house, ALONE + 1, "delivered").await;
    let merged = until(&house, TOGETHER, "merged").await;
    assert!(deliveries(&house, "pending").await.is_empty());
    let into = merged[0]["note"].as_str().expect("a note");
    let into = into.strip_prefix("merged into ").expect("into which");
    assert!(delivered.iter().any(|one| one["id"] == into));
    for one in &merged {
        assert_eq!(one["note"], format!("merged into {into}"));
        assert!(waiting.iter().any(|waiting| waiting["id"] == one["id"]));
    }
    let shown = house.delivery(into).await;
    let alerts = shown["alert"]["data"]["alerts"].as_array().expect("alerts");
    assert_eq!(alerts.len(), TOGETHER);
    let messages = robot.messages();
    assert_eq!(messages.len(), ALONE + 1, "each is told once");
    let alone: String = messages[..ALONE].iter().map(ChatRequest::text).collect();
    for alert in alerts {
        let task = alert["task"]["task_id"].as_str().expect("a task");
        assert!(!alone.contains(task), "{task} is told twice");
        let (code, said, stderr) = {
            let admin = house.notifier_admin().await;
            house.ask(&["explain", task, "--admin", &admin]).await
        };
        assert_eq!(code, Some(0), "{stderr}");
        assert!(said.contains(&format!("merged into {into}")), "{said}");
    }
    assert!(messages[ALONE].text().contains("rst-bad-"));
    assert!(house.stop().await.success());
}
