//! Chats through the built binary: what the robots show, and what happens when one is gone.

use std::fmt::Write as _;

use mail_parser::MessageParser;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::binary::Source;
use syncbell_testkit::{CHAT_TOKEN, ChatOptions, ChatProvider, ChatReply, ChatServer, eventually};

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
