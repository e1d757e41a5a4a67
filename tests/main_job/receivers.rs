//! Receivers by hand: trying one, seeing how the lanes stand, letting one go on; and that none of their secrets comes to
//! light on any of these ways.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Answer, eventually};

use crate::bad_input::metrics;
use crate::house::{House, WAIT};

fn fails(house: &House, name: &str) {
    let task = NewTask::of(name, "v1").status(Status::Error);
    house.simulator.world().add_task(task);
}

/// What `receivers list` says of `ops`.
async fn ops(house: &House, admin: &str) -> Value {
    let asked = ["receivers", "list", "-o", "json", "--admin", admin];
    let (code, out, err) = house.ask(&asked).await;
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).expect("it prints JSON");
    let ops = rows.into_iter().find(|row| row["receiver"] == "ops");
    ops.expect("it has a lane")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_stopped_says_why_and_goes_on_when_it_is_told_to() {
    let mut house = House::build().await;
    house.receivers = "[ops]";
    house.webhook.answer_always(Answer::status(401));
    house.start().await;
    house.baseline().await;
    let admin = house.notifier_admin().await;
    assert_eq!(ops(&house, &admin).await["state"], "running");
    fails(&house, "refused/image");
    let stopped = eventually("the lane stops", WAIT, async || {
        let row = ops(&house, &admin).await;
        (row["state"] == "stopped").then_some(row)
    })
    .await;
    assert_eq!(stopped["why"], "HTTP 401 Unauthorized", "{stopped}");
    assert_eq!(stopped["pending"], 1, "{stopped}");
    let refused = house.webhook.requests().len();

    house.webhook.answer_always(Answer::status(204));
    let resume = |name| ["receivers", "resume", name, "--admin", admin.as_str()];
    let (code, _, err) = house.ask(&resume("nobody")).await;
    assert!(
        code == Some(1) && err.contains("no receiver is named `nobody`"),
        "{err}"
    );
    assert_eq!(
        house.webhook.requests().len(),
        refused,
        "nothing is sent to a stopped lane"
    );
    let (code, out, err) = house.ask(&resume("ops")).await;
    assert!(code == Some(0) && out.contains("ops"), "{err}");
    house.webhook.wait_for_accepted(1, WAIT).await;
    eventually("nothing waits any more", WAIT, async || {
        let row = ops(&house, &admin).await;
        (row["state"] == "running" && row["pending"] == 0).then_some(())
    })
    .await;
    assert!(house.stop().await.success());
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    let (code, _, err) = house
        .ask(&["receivers", "resume", "ops", "-c", config])
        .await;
    assert!(
        code == Some(69) && err.contains("with the next start"),
        "{err}"
    );
}

/// One accepts and never answers: what others are told is delivered and recorded while its first attempt is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_holds_up_no_other() {
    const OTHERS: usize = 10;
    const ALERTS: usize = 20;
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let dead = dead.expect("a free port");
    let address = dead.local_addr().expect("it is bound");
    let mut house = House::build().await;
    house.receivers = "[dead, t0, t1, t2, t3, t4, t5, t6, t7, t8, t9]";
    house.extra_receivers =
        format!("\x20 - name: dead\n    webhook: {{url: 'http://{address}/', timeout: 1h}}\n");
    for n in 0..OTHERS {
        let receiver = format!(
            "\x20 - name: t{n}\n    webhook: {{url: '{}/{n}', secret: {{env: HOOK_SECRET}}}}\n",
            house.webhook.url()
        );
        house.extra_receivers.push_str(&receiver);
    }
    house.start().await;
    house.baseline().await;
    let admin = house.notifier_admin().await;
    for n in 0..ALERTS {
        fails(&house, &format!("many/image-{n}"));
    }
    let open = dead.accept().await.expect("its first attempt");
    house.webhook.wait_for_accepted(OTHERS * ALERTS, WAIT).await;
    let list = ["deliveries", "list", "-o", "json", "--limit", "1000"];
    let asked: Vec<&str> = list.into_iter().chain(["--admin", &admin]).collect();
    let rows = eventually("every outcome is recorded", WAIT, async || {
        let (_, out, _) = house.ask(&asked).await;
        let rows: Vec<Value> = serde_json::from_str(&out).expect("it prints JSON");
        let delivered = rows.iter().filter(|row| row["state"] == "delivered");
        (delivered.count() == OTHERS * ALERTS).then_some(rows)
    })
    .await;
    let of_the_dead: Vec<&Value> = rows.iter().filter(|row| row["target"] == "dead").collect();
    assert_eq!(of_the_dead.len(), ALERTS);
    for row in of_the_dead {
        assert!(row["state"] == "pending" && row["attempts"] == 0, "{row}");
    }
    drop(open);
    house.kill().await;
}

/// A name is one part of a path, and no way to another place.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_an_id_may_hold_anything() {
    let mut house = House::build().await;
    house.receivers = "['team/a', '50%2F']";
    for name in ["team/a", "50%2F"] {
        let receiver = format!(
            "\x20 - name: '{name}'\n    webhook: {{url: '{}'}}\n",
            house.webhook.url()
        );
        house.extra_receivers.push_str(&receiver);
    }
    house.start().await;
    let admin = house.notifier_admin().await;
    for name in ["team/a", "50%2F"] {
        let (code, out, err) = house
            .ask(&["receivers", "resume", name, "--admin", &admin])
            .await;
        assert!(code == Some(0) && out.contains(name), "{name}: {out}{err}");
    }
    for asked in [
        "deliveries show ../incidents",
        "incidents show x?limit=1",
        "incidents close ..",
    ] {
        let asked = format!("{asked} --admin {admin}");
        let (code, out, err) = house.ask(&asked.split(' ').collect::<Vec<_>>()).await;
        assert!(code == Some(1) && out.is_empty(), "{asked}: {out}{err}");
        assert!(
            err.contains("no such") || err.contains("nothing here"),
            "{err}"
        );
    }
    assert!(house.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_tried_without_a_service_and_its_answer_is_the_exit_code() {
    let house = House::build().await;
    house.config("127.0.0.1:0");
    let attempt = async |arguments: &[&str]| {
        let tried = house.launcher("test-receiver", "127.0.0.1:0");
        let mut tried = tried.args(arguments).start();
        let code = tried.wait_for_exit(WAIT).await.code();
        (code, tried.text(Source::Stdout), tried.text(Source::Stderr))
    };
    let (code, out, err) = attempt(&["ops"]).await;
    assert_eq!(code, Some(0), "{err}");
    for part in [
        "> POST http://",
        "/[url]",
        "> webhook-signature: v1,",
        "TEST of a receiver, nothing happened",
        "< delivered in ",
        "HTTP 20",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let got = house.webhook.accepted().pop().expect("it arrived");
    assert!(got.verified, "by the code that sends alerts");
    let (code, out, _) = attempt(&["mail", "--incident", "resolved", "-o", "json"]).await;
    assert_eq!(code, Some(0), "{out}");
    let rows: Value = serde_json::from_str(&out).expect("it prints JSON");
    let sent = rows[0]["sent"].as_str().expect("a text");
    assert!(
        sent.contains("RCPT TO:<oncall@example.test>") && sent.contains("\nList-Id: "),
        "{sent}"
    );
    assert_eq!(house.mailbox.mails().len(), 1);

    for (status, expected) in [(503, 69), (401, 77), (422, 1)] {
        house.webhook.answer_always(Answer::status(status));
        let (code, out, err) = attempt(&["ops"]).await;
        assert_eq!(code, Some(expected), "{out}{err}");
        assert!(out.contains(&format!("HTTP {status}")), "{out}");
    }
    let pause = Answer::status(429).with_header("retry-after", "7");
    house.webhook.answer_always(pause);
    assert_eq!(attempt(&["ops"]).await.0, Some(75));
    let (code, _, err) = attempt(&["nobody"]).await;
    assert!(
        code == Some(1) && err.contains("no receiver is named `nobody`"),
        "{err}"
    );
    let (code, _, err) = attempt(&["ops", "--incident", "flood"]).await;
    assert!(
        code == Some(1) && err.contains("there are failed, "),
        "{err}"
    );
}

/// All that the services wrote below `folder`, but for the configuration itself.
fn written(folder: &Path, text: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            written(&path, text);
        } else {
            text.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
}

/// All that a service and the commands say of receivers and what was sent to them.
async fn said_of_receivers(house: &House, admin: &str, delivery: &str) -> String {
    let mut seen = metrics(house.binary.lock().await.as_ref().expect("it runs")).await;
    let shown = format!("deliveries show {delivery} --admin {admin}");
    for asked in [
        "deliveries list -o json",
        "receivers list -o json",
        "dead-letters list -o json",
        "status -o json",
    ] {
        let asked = format!("{asked} --admin {admin}");
        let (_, out, err) = house.ask(&asked.split(' ').collect::<Vec<_>>()).await;
        seen.push_str(&out);
        seen.push_str(&err);
    }
    let (code, out, _) = house.ask(&shown.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        out.matches("HTTP 500").count(),
        2,
        "the attempts are shown: {out}"
    );
    seen.push_str(&out);
    for (command, more) in [("check", None), ("test-receiver", Some("quiet"))] {
        let launch = house.launcher(command, "127.0.0.1:0");
        let mut process = launch.args(more).start();
        process.wait_for_exit(WAIT).await;
        seen.push_str(&process.text(Source::Stdout));
        seen.push_str(&process.text(Source::Stderr));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_receiver_is_in_logs_metrics_answers_or_stores() {
    const SECRETS: [&str; 5] = [
        "P4TH-s3cret",
        "QU3RY-s3cret",
        "B34RER-s3cret",
        "H34DER-s3cret",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ];
    let mut house = House::build().await;
    house.receivers = "[quiet]";
    let url = format!("{}/P4TH-s3cret?key=QU3RY-s3cret", house.webhook.url());
    for (name, text) in [("url", url.as_str()), ("token", "B34RER-s3cret")] {
        std::fs::write(house.folder.path().join(name), text).expect("a file");
    }
    house.extra_receivers =
        "\x20 - name: quiet\n    webhook: {url: {file: url}, secret: {env: HOOK_SECRET}, \
         bearer: {file: token}, headers: {X-Api-Key: 'H34DER-s3cret'}}\n"
            .to_owned();
    house.webhook.answer_next(2, Answer::status(500));
    house.webhook.answer_next(1, Answer::close());
    house.start().await;
    house.baseline().await;
    let admin = house.notifier_admin().await;
    fails(&house, "secret/image");
    let got = house.webhook.wait_for_accepted(1, WAIT).await.remove(0);
    assert!(
        got.path.ends_with("/P4TH-s3cret?key=QU3RY-s3cret"),
        "{}",
        got.path
    );
    assert_eq!(got.headers["authorization"], "Bearer B34RER-s3cret");
    assert_eq!(got.headers["x-api-key"], "H34DER-s3cret");
    house.webhook.answer_always(Answer::status(404));
    fails(&house, "secret/refused");
    eventually("the lane stops", WAIT, async || {
        let (_, out, _) = house.ask(&["receivers", "list", "--admin", &admin]).await;
        out.contains("stopped").then_some(())
    })
    .await;

    let mut seen = said_of_receivers(&house, &admin, &got.id).await;
    seen.push_str(&house.log().await);
    assert!(house.stop().await.success());
    let mut stores = Vec::new();
    written(&house.folder.path().join("data"), &mut stores);
    assert!(stores.len() > 1_000);
    let stores = String::from_utf8_lossy(&stores);
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{secret} in {seen}");
        assert!(!stores.contains(secret), "{secret} in the stores");
    }
}

/// One image fails over and over while its receiver is down, and is well in the end: a stop is clean with all of it
/// waiting, and after the next start each is told once, and its end last.
#[tokio::test(flavor = "multi_thread")]
async fn many_of_one_incident_wait_over_a_stop_and_its_end_comes_last() {
    // More than a lane looks at at a time.
    const FAILURES: usize = 600;
    let mut house = House::with_pages_of(100).await;
    house.receivers = "[ops]";
    house.webhook.answer_always(Answer::status(503));
    house.start().await;
    house.baseline().await;
    let task = |n: usize| NewTask::of("one/web", "v1").id(&format!("rst-{n}"));
    for n in 0..FAILURES {
        house
            .simulator
            .world()
            .add_task(task(n).status(Status::Error));
    }
    let waiting = async |wanted: usize| {
        let admin = house.notifier_admin().await;
        eventually("all of it to wait", 3 * WAIT, async || {
            (ops(&house, &admin).await["pending"] == wanted).then_some(())
        })
        .await;
    };
    waiting(FAILURES).await;
    house
        .simulator
        .world()
        .add_task(task(FAILURES).status(Status::Success));
    waiting(FAILURES + 1).await;
    assert!(house.stop().await.success(), "it stops within its time");

    house.webhook.answer_always(Answer::status(204));
    house.start().await;
    let told = house
        .webhook
        .wait_for_accepted(FAILURES + 1, 3 * WAIT)
        .await;
    let alert = |n: usize| &told[n].body["data"]["alerts"][0];
    let tasks: BTreeSet<&str> = (0..FAILURES)
        .filter_map(|n| alert(n)["task"]["task_id"].as_str())
        .collect();
    assert_eq!(tasks.len(), FAILURES, "each is told");
    assert_eq!(alert(FAILURES)["status"], "resolved");
    assert!(house.stop().await.success());
    assert_eq!(house.webhook.n_accepted(), FAILURES + 1, "and once");
}
