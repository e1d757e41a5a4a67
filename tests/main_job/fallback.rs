//! A receiver refuses us for good: its fallback is told what was for it, and says whom it stands in for. What was
//! for the receiver stays, and goes out when it takes us again. A storm is a handful of mails to the fallback too, and
//! each entry to a program.

use std::collections::BTreeSet;

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::{Answer, Mail, WebhookReceiver, eventually};

use crate::house::{House, WAIT};
use crate::mailbox::{text_of, told_by};

/// More than a lane looks at at a time.
const FLOOD: usize = 300;

/// Mails of a flood, with `group_interval: 1s` and ten a minute.
const HANDFUL: usize = 12;

fn add(house: &House, image: &str, id: &str, status: Status) {
    let task = NewTask::of(image, "v1").id(id).status(status);
    house.simulator.world().add_task(task);
}

/// It is what was for the webhook, and says so, in the mail and in the API.
async fn stands_in(house: &House, mail: &Mail) {
    let subject = mail.header("subject").unwrap_or_default();
    assert!(subject.starts_with("[not taken by ops] "), "{subject}");
    let text = text_of(mail);
    let sentence = "The receiver ops did not take this: you are its fallback.";
    assert!(text.contains(sentence), "{text}");
    let id = mail.message_id();
    let id = id
        .trim_start_matches('<')
        .split('@')
        .next()
        .unwrap_or_default();
    let shown = house.delivery(id).await;
    assert_eq!(shown["alert"]["data"]["instead_of"], "ops", "{shown}");
}

/// So many fail at once; the fallback hears of each in a handful of mails.
async fn flood(house: &House) {
    for n in 0..FLOOD {
        add(
            house,
            &format!("flood/image-{n}"),
            &format!("rst-flood-{n}"),
            Status::Error,
        );
    }
    let told = || {
        let mails = house.mailbox.mails();
        let told = mails.iter().flat_map(told_by).map(|got| got.task_id);
        told.filter(|id| id.starts_with("rst-flood-"))
            .collect::<BTreeSet<_>>()
            .len()
    };
    let hears_of_each = async || (told() == FLOOD).then_some(());
    eventually("the fallback hears of each", 3 * WAIT, hears_of_each).await;
    let mails = house.mailbox.mails();
    assert!(mails.len() <= 3 + HANDFUL, "{} mails", mails.len());
    for mail in &mails {
        stands_in(house, mail).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_for_good_goes_to_its_fallback_and_to_it_when_it_is_back() {
    let mut house = House::build().await;
    house.receivers = "[ops]";
    // That the webhook is told each by itself floods nobody's mailbox.
    house.grouping = "group_by: ['...'], group_interval: 1s, fallback: mail";
    house.webhook.answer_always(Answer::status(410));
    house.start().await;
    house.baseline().await;
    add(&house, "fallback/one", "rst-one", Status::Error);
    let mails = house.mailbox.wait_for(1, WAIT).await;
    stands_in(&house, &mails[0]).await;
    assert_eq!(told_by(&mails[0])[0].task_id, "rst-one");

    // It is asked no more, its fallback is told of each, and of its end; a kill repeats nothing that was recorded.
    assert_eq!(house.webhook.requests().len(), 1);
    add(&house, "fallback/two", "rst-two", Status::Error);
    house.mailbox.wait_for(2, WAIT).await;
    add(&house, "fallback/one", "rst-well", Status::Success);
    let mails = house.mailbox.wait_for(3, WAIT).await;
    for mail in &mails {
        stands_in(&house, mail).await;
    }
    assert!(
        text_of(&mails[2]).contains("rst-well"),
        "{}",
        text_of(&mails[2])
    );
    flood(&house).await;
    let mails = house.mailbox.mails();
    let n_mails = mails.len();
    assert_eq!(house.webhook.requests().len(), 1, "its lane has stopped");

    let all = 3 + FLOOD;
    assert!(house.stop().await.success());
    house.webhook.answer_always(Answer::status(204));
    house.start().await;
    let requests = house.webhook.wait_for_accepted(all, WAIT).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut told: Vec<String> = requests
        .iter()
        .map(|request| {
            let alert = &request.body["data"]["alerts"][0];
            assert_eq!(request.body["data"]["instead_of"], Value::Null);
            format!(
                "{} {}",
                text(&alert["status"]),
                text(&alert["task"]["task_id"])
            )
        })
        .collect();
    told.sort();
    let flood = told
        .iter()
        .filter(|line| line.starts_with("firing rst-flood-"));
    assert_eq!(flood.count(), FLOOD);
    told.retain(|line| !line.contains("flood"));
    let expected = ["firing rst-one", "firing rst-two", "resolved rst-one"];
    assert_eq!(told, expected);

    add(&house, "fallback/three", "rst-three", Status::Error);
    house.webhook.wait_for_accepted(all + 1, WAIT).await;
    let mails = house.mailbox.mails().len();
    assert_eq!(mails, n_mails, "nothing is told instead any more");
    assert!(house.stop().await.success());
}

/// A program that is a fallback is told each by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_a_fallback_gets_each_of_a_storm() {
    let pager = WebhookReceiver::start_without_secret().await;
    let mut house = House::build().await;
    house.receivers = "[ops]";
    house.extra_receivers = format!(
        "\x20 - name: pager\n    webhook: {{url: '{}'}}\n",
        pager.url()
    );
    house.grouping = "fallback: pager";
    house.webhook.answer_always(Answer::status(410));
    house.start().await;
    house.baseline().await;
    for n in 0..FLOOD {
        let (image, id) = (format!("flood/image-{n}"), format!("rst-flood-{n}"));
        add(&house, &image, &id, Status::Error);
    }
    let requests = pager.wait_for_accepted(FLOOD, 3 * WAIT).await;
    let mut told = BTreeSet::new();
    for request in &requests {
        let data = &request.body["data"];
        assert_eq!(data["instead_of"], "ops");
        let alerts = data["alerts"].as_array().expect("alerts");
        assert_eq!(alerts.len(), 1);
        told.insert(alerts[0]["task"]["task_id"].as_str().map(str::to_owned));
    }
    assert_eq!((requests.len(), told.len()), (FLOOD, FLOOD));
    assert!(house.stop().await.success());
}

/// It was handed one and did not take it yet: with the next configuration the fallback of now hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_fallback_had_when_it_left_is_told_to_the_next_one() {
    let pager = WebhookReceiver::start_without_secret().await;
    pager.answer_always(Answer::status(503));
    let mut house = House::build().await;
    house.receivers = "[ops]";
    let url = pager.url();
    house.extra_receivers = format!("\x20 - name: pager\n    webhook: {{url: '{url}'}}\n");
    house.grouping = "fallback: pager";
    house.webhook.answer_always(Answer::status(410));
    house.start().await;
    house.baseline().await;
    add(&house, "fallback/one", "rst-one", Status::Error);
    pager.wait_for(1, WAIT).await;
    assert!(house.stop().await.success());

    house.extra_receivers = String::new();
    house.grouping = "fallback: mail";
    house.start().await;
    let mails = house.mailbox.wait_for(1, WAIT).await;
    stands_in(&house, &mails[0]).await;
    assert_eq!(told_by(&mails[0])[0].task_id, "rst-one");
    let admin = house.notifier_admin().await;
    let list = ["dead-letters", "list", "-o", "jsonl", "--admin", &admin];
    let (code, out, err) = house.ask(&list).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("receiver_gone"), "{out}");
    let log = house.log().await;
    assert!(log.contains("left the configuration"), "{log}");
    assert!(house.stop().await.success());
}
