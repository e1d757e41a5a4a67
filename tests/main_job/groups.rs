//! Groups as a person meets them: the mailbox with its receiver's own grouping (by instance and rule,
//! the first at once, the rest together), while the webhook gets each by itself.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::{Got, NewTask};
use syncbell_testkit::{Mail, eventually};

use crate::house::{House, WAIT};
use crate::mailbox::{text_of, told_by};
use crate::story::settled;

/// Failing tasks of the flood, each on a route of its own; every fourth is a SUCCESS with an issue.
const FLOOD: usize = 60;

/// Routes of them that recover: more than a mail tells in full.
const RECOVERIES: usize = 14;

/// Long enough to be killed and started within, on a busy machine.
const INTERVAL: SignedDuration = SignedDuration::from_secs(10);

fn bad_task(house: &House, name: &str, issue_only: bool) {
    let task = NewTask::of(&format!("group/{name}"), "v1").id(&format!("rst-{name}"));
    house.simulator.world().add_task(if issue_only {
        task.status(Status::Success).issue("NETWORK_ERROR")
    } else {
        task.status(Status::Error)
    });
}

/// The delivery's id, which its Message-ID is made of.
fn delivery_id(mail: &Mail) -> String {
    let id = mail.message_id();
    let left = id.strip_prefix('<').and_then(|id| id.split_once('@'));
    left.expect("a Message-ID has two sides").0.to_owned()
}

/// The mail's text and the API tell the same conditions. Gives what the API says.
async fn same_in_api(house: &House, mail: &Mail) -> Value {
    let shown = house.delivery(&delivery_id(mail)).await;
    let by_api: BTreeSet<Got> = Got::of_alert(&mail.message_id(), &shown["alert"])
        .into_iter()
        .collect();
    let by_text: BTreeSet<Got> = told_by(mail).into_iter().collect();
    assert_eq!(by_text, by_api, "{}", text_of(mail));
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_a_few_mails_that_name_each_task_once_and_one_webhook_each() {
    let mut house = House::build().await;
    house.grouping = "group_interval: 2s";
    house.start().await;
    house.baseline().await;
    for n in 0..FLOOD {
        bad_task(&house, &format!("flood-{n}"), n % 4 == 3);
    }
    let (webhook, mail) = settled(&house, "the flood").await;
    assert!(webhook.is_exact() && mail.is_exact(), "{webhook}\n{mail}");
    let failed = (0..FLOOD).filter(|n| n % 4 != 3).take(RECOVERIES);
    for n in failed {
        let task = NewTask::of(&format!("group/flood-{n}"), "v1").status(Status::Success);
        house.simulator.world().add_task(task);
    }
    let (webhook, mail) = settled(&house, "the recoveries").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");

    let told = house.simulator.world().ledger().expected().len();
    assert_eq!(told, FLOOD + RECOVERIES);
    let requests = house.webhook.accepted();
    let each = |n: Option<usize>| n == Some(1);
    assert!(
        requests
            .iter()
            .all(|request| each(request.body["data"]["alerts"].as_array().map(Vec::len))),
        "a webhook tells one condition"
    );
    let mails = house.mailbox.mails();
    // The first at once and the rest together, of two rules, and of the recoveries.
    assert!((4..=10).contains(&mails.len()), "{} mails", mails.len());
    let ids: BTreeSet<String> = mails.iter().map(Mail::message_id).collect();
    assert_eq!(ids.len(), mails.len(), "a Message-ID is there twice");
    let sizes: Vec<usize> = mails.iter().map(|mail| told_by(mail).len()).collect();
    println!("{told} conditions in mails of {sizes:?}");
    assert!(sizes.iter().any(|n| *n > 20), "no digest: {sizes:?}");
    for mail in &mails {
        let shown = same_in_api(&house, mail).await;
        assert_eq!(shown["delivery"]["state"], "delivered");
        assert_eq!(shown["attempts"][0]["status"], 250);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_waits_at_a_kill_is_neither_forgotten_nor_hurried() {
    let mut house = House::build().await;
    house.grouping = "group_interval: 10s";
    house.start().await;
    house.baseline().await;
    bad_task(&house, "first", false);
    let first = house.mailbox.wait_for(1, WAIT).await.remove(0);
    let decided_at = eventually("the first mail to be recorded", WAIT, async || {
        let shown = house.delivery(&delivery_id(&first)).await;
        let recorded = shown["delivery"]["state"] == "delivered";
        recorded.then(|| shown["delivery"]["created_at"].clone())
    })
    .await;
    let decided_at: Timestamp = serde_json::from_value(decided_at).expect("a time");
    let due = decided_at + INTERVAL;

    let waiting = ["second", "third", "fourth"];
    for name in waiting {
        bad_task(&house, name, false);
    }
    // What the webhook has is decided: for the mailbox it waits in the group.
    house.webhook.wait_for_accepted(4, WAIT).await;
    house.kill().await;
    house.start().await;
    assert_eq!(house.mailbox.mails().len(), 1, "before its time");
    assert!(Timestamp::now() < due, "too slow to kill within {INTERVAL}");

    let (webhook, mail) = settled(&house, "the group that waited").await;
    assert!(webhook.is_complete(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    let mails = house.mailbox.mails();
    let [_, second] = mails.as_slice() else {
        panic!("{} mails", mails.len());
    };
    let late = second.received_at.duration_since(due);
    assert!(!late.is_negative(), "hurried by {late}");
    println!("the group's mail came {late} after it was due");
    assert_eq!(told_by(second).len(), waiting.len());
    same_in_api(&house, second).await;
    // Nobody is kept waiting because of the restart: the rows know when the group is due.
    assert!(late < SignedDuration::from_secs(5), "held for {late}");
    let status = house.stop().await;
    assert!(status.success(), "SIGTERM drains: {status}");
}
