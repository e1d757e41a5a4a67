//! `syncbell silence`: what is silenced reaches nobody, also over a kill, and is told when the silence ends, if it
//! is open still; what it held back is listed. With a running service and without one.

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::eventually;

use crate::house::{House, WAIT};

fn add(house: &House, image: &str, status: Status) {
    let id = format!("rst-{}", image.replace('/', "-"));
    let task = NewTask::of(image, "v1").id(&id).status(status);
    house.simulator.world().add_task(task);
}

/// A later task of the image's route goes well.
fn recover(house: &House, image: &str) {
    let task = NewTask::of(image, "v1").id(&format!("rst-{}-again", image.replace('/', "-")));
    house
        .simulator
        .world()
        .add_task(task.status(Status::Success));
}

/// The ids of the tasks that the webhook and the mailbox were told of, with how.
fn told(house: &House) -> (Vec<String>, Vec<String>) {
    let line = |alert: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{} {}",
            text(&alert["status"]),
            text(&alert["task"]["task_id"])
        )
    };
    let requests = house.webhook.accepted();
    let alerts = requests
        .iter()
        .filter_map(|request| request.body["data"]["alerts"].as_array());
    let webhook = alerts.flatten().map(line).collect();
    let mail = house.mailbox.mails();
    let mail = mail.iter().map(crate::mailbox::text_of).collect();
    (webhook, mail)
}

/// The silences that `arguments` list, once the first has held back so many, of which so many were told and so many
/// were over.
async fn listed(house: &House, place: &[&str], counts: [u64; 3]) -> Value {
    eventually("what the silence held back", WAIT, async || {
        let list = [&["silence", "list", "--expired", "-o", "json"], place].concat();
        let (code, stdout, stderr) = house.ask(&list).await;
        assert_eq!(code, Some(0), "{stderr}");
        let rows: Vec<Value> = serde_json::from_str(&stdout).expect("a list");
        let row = rows.into_iter().next()?;
        let found = ["held", "told", "over"].map(|name| row[name].as_u64().unwrap_or_default());
        (found == counts).then_some(row)
    })
    .await
}

async fn silence(house: &House, place: &[&str]) -> String {
    let words = [
        "silence",
        "add",
        "-m",
        "from.namespace=silenced",
        "-m",
        "rule=failed",
        "--for",
        "1h",
        "--reason",
        "we move",
        "--author",
        "ann",
    ];
    let (code, stdout, stderr) = house.ask(&[&words[..], place].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    stdout.trim().to_owned()
}

async fn expire(house: &House, id: &str, place: &[&str]) {
    let words = [&["silence", "expire", id], place].concat();
    let (code, _, stderr) = house.ask(&words).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// What is no silence is refused, and why.
async fn refused(house: &House, place: &[&str]) {
    let said = ["--reason", "we move", "--author", "ann"];
    for (words, code, what) in [
        (&["-m", "rule=failed"][..], 2, "required"),
        (&["-m", "rule!=failed", "--for", "1h"], 1, "--all"),
        (
            &["-m", "rule=faild", "--for", "1h"],
            1,
            "did you mean `failed`",
        ),
        (
            &["-m", "rule=failed", "--for", "900d"],
            1,
            "within 366 days",
        ),
    ] {
        let words = [&["silence", "add"], words, &said, place].concat();
        let (found, _, stderr) = house.ask(&words).await;
        assert_eq!(found, Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(what), "{stderr}");
    }
    // One of the file's own, perhaps: it stands, and it is said which rules there are.
    let unknown = ["silence", "add", "-m", "rule=payments_wait", "--for", "1s"];
    let (code, id, stderr) = house.ask(&[&unknown, &said[..], place].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    let warning = "no rule is named `payments_wait`; there are blind, failed, ";
    assert!(stderr.contains(warning), "{stderr}");
    expire(house, id.trim(), place).await;
    let words = [&["silence", "expire", "nobody"], place].concat();
    let (code, _, stderr) = house.ask(&words).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no such silence"), "{stderr}");
}

async fn held_over_a_kill_and_told_at_the_end(house: &House) {
    let admin = house.notifier_admin().await;
    refused(house, &["--admin", &admin]).await;
    let id = silence(house, &["--admin", &admin]).await;
    add(house, "silenced/image-0", Status::Error);
    add(house, "silenced/image-1", Status::Error);
    add(house, "loud/image-0", Status::Error);
    house.webhook.wait_for_accepted(1, WAIT).await;
    house.mailbox.wait_for(1, WAIT).await;
    let row = listed(house, &["--admin", &admin], [2, 0, 0]).await;
    assert_eq!(row["state"], "active");
    assert_eq!(row["silence"]["author"], "ann");
    assert!(
        row["last"][0]["summary"]
            .as_str()
            .is_some_and(|text| text.contains("silenced/image-"))
    );

    house.recorded().await;
    house.kill().await;
    house.start_again().await;
    let admin = house.notifier_admin().await;
    recover(house, "silenced/image-1");
    listed(house, &["--admin", &admin], [2, 0, 1]).await;
    let (webhook, mail) = told(house);
    assert_eq!(webhook, ["firing rst-loud-image-0"]);
    assert!(
        mail.len() == 1 && mail[0].contains("rst-loud-image-0"),
        "{mail:?}"
    );

    expire(house, &id, &["--admin", &admin]).await;
    house.webhook.wait_for_accepted(2, WAIT).await;
    house.mailbox.wait_for(2, WAIT).await;
    listed(house, &["--admin", &admin], [2, 1, 1]).await;
    let (webhook, mail) = told(house);
    assert_eq!(webhook[1..], ["firing rst-silenced-image-0"]);
    assert!(mail[1].contains("rst-silenced-image-0"), "{mail:?}");
    recover(house, "silenced/image-0");
    house.webhook.wait_for_accepted(3, WAIT).await;
    assert_eq!(told(house).0[2..], ["resolved rst-silenced-image-0"]);
}

async fn in_the_folder_of_a_service_that_is_stopped(house: &mut House) {
    assert!(house.stop().await.success());
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path").to_owned();
    let place = ["-c", config.as_str()];
    refused(house, &place).await;
    let id = silence(house, &place).await;
    house.start().await;
    add(house, "silenced/image-2", Status::Error);
    let admin = house.notifier_admin().await;
    listed(house, &["--admin", &admin], [1, 0, 0]).await;
    assert!(house.stop().await.success());
    listed(house, &place, [1, 0, 0]).await;
    expire(house, &id, &place).await;
    assert_eq!(
        house.webhook.accepted().len(),
        3,
        "it goes out at the next start"
    );
    house.start().await;
    house.webhook.wait_for_accepted(4, WAIT).await;
    assert_eq!(told(house).0[3..], ["firing rst-silenced-image-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silenced_reaches_nobody_until_the_silence_ends() {
    let mut house = House::build().await;
    house.start().await;
    house.baseline().await;
    held_over_a_kill_and_told_at_the_end(&house).await;
    in_the_folder_of_a_service_that_is_stopped(&mut house).await;
    assert!(house.stop().await.success());
}
