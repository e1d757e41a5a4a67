//! Thousands of tasks fail at once: a mailbox gets a handful of mails that name and count all of them, a program gets
//! each, and each can still be asked for. `SYNCBELL_STORM` says how many; by default more than one mail holds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::{Comparison, NewTask, compare};
use syncbell_testkit::eventually;

use crate::house::{House, WAIT};
use crate::mailbox::told_by;

/// Each on a route of its own.
const STORM: usize = 3_000;

/// For ten thousand in a debug build on a busy machine.
const STORM_WAIT: Duration = Duration::from_mins(20);

/// One each fifteen seconds while the storm is read, as fast as the registry's rate of requests and the machine
/// allow: few, and never one a task.
const HANDFUL: usize = 20;

fn size() -> usize {
    let asked = std::env::var("SYNCBELL_STORM").ok();
    asked.map_or(STORM, |asked| {
        asked.parse().expect("SYNCBELL_STORM is a number")
    })
}

fn id(n: usize) -> String {
    format!("rst-storm-{n:05}")
}

fn storm(house: &House, size: usize) {
    let world = house.simulator.world();
    for n in 0..size {
        let image = format!("storm-{}/image-{n:05}", n % 7);
        let task = NewTask::of(&image, "v2").id(&id(n));
        world.add_task(task.status(Status::Error).issue("NETWORK_ERROR"));
    }
}

/// Waits until webhook and mailbox have it all.
async fn over(house: &House, size: usize) -> (Comparison, Comparison) {
    eventually("all at the webhook", STORM_WAIT, async || {
        (house.webhook.n_accepted() >= size).then_some(())
    })
    .await;
    let (mut mails, mut entries) = (0, 0);
    eventually("all in the mailbox", WAIT, || {
        let all = house.mailbox.mails();
        let new = all[mails..].iter().map(|mail| told_by(mail).len());
        entries += new.sum::<usize>();
        mails = all.len();
        let done = (entries >= size).then_some(());
        async move { done }
    })
    .await;
    let expected = house.simulator.world().ledger().expected();
    assert_eq!(expected.len(), size);
    (
        compare(&expected, &house.webhook_got()),
        compare(&expected, &house.mail_got()),
    )
}

async fn json(house: &House, words: &[&str], place: &str) -> Value {
    let (code, stdout, stderr) = house.ask(&[words, &["--admin", place]].concat()).await;
    assert_eq!(code, Some(0), "{words:?}: {stderr}");
    serde_json::from_str(&stdout).expect("it prints JSON")
}

/// Each incident is listed, and some of them are shown in full.
async fn each_is_known(house: &House, size: usize, place: &str) {
    let list = ["incidents", "list", "--limit", "20000", "-o", "jsonl"];
    let (code, stdout, stderr) = house.ask(&[&list[..], &["--admin", place]].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    let lines = stdout.lines();
    let listed: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("an incident a line"))
        .collect();
    let images: BTreeSet<&str> = listed
        .iter()
        .filter(|row| row["state"] == "open")
        .filter_map(|row| row["image"].as_str())
        .collect();
    assert_eq!((listed.len(), images.len()), (size, size));
    for n in [0, size / 3, size - 1] {
        let image = format!("image-{n:05}");
        let row = listed.iter().find(|row| {
            let listed = row["image"].as_str();
            listed.is_some_and(|listed| listed.contains(&image))
        });
        let incident = row
            .and_then(|row| row["id"].as_str())
            .expect("it is listed");
        let shown = json(house, &["incidents", "show", incident], place).await;
        assert_eq!(shown["causes"][0]["task"]["task_id"], id(n));
        let why = json(house, &["explain", &id(n), "-o", "json"], place).await;
        assert_eq!(why["events"][0]["fates"][0]["incident"], incident);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_failures_at_once_are_a_handful_of_mails_and_each_at_the_webhook() {
    let size = size();
    let mut house = House::with_pages_of(100).await;
    house.grouping = "group_interval: 15s";
    house.start().await;
    house.baseline().await;
    // Before its log is full of deliveries.
    let place = house.notifier_admin().await;
    storm(&house, size);
    let (webhook, mail) = over(&house, size).await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");

    let requests = house.webhook.accepted();
    let one_each = |request: &Value| request["data"]["alerts"].as_array().map(Vec::len) == Some(1);
    assert!(requests.iter().all(|request| one_each(&request.body)));
    let mails = house.mailbox.mails();
    let sizes: Vec<usize> = mails.iter().map(|mail| told_by(mail).len()).collect();
    let bytes: Vec<usize> = mails.iter().map(|mail| mail.raw.len()).collect();
    println!("{size} failures in mails of {sizes:?}, of {bytes:?} bytes");
    assert!(mails.len() <= HANDFUL, "{} mails", mails.len());
    each_is_known(&house, size, &place).await;
    assert!(house.stop().await.success());
}
