//! Bad input, named: each ends in a log line and a metric that say what and where, and the rest goes on.

use syncbell_event::Status;
use syncbell_simulator::{Extent, Fault, NewTask};
use syncbell_testkit::{Answer, Binary, eventually};

use crate::house::{House, WAIT, admin_of};

/// What `/metrics` answers.
pub(crate) async fn metrics(binary: &Binary) -> String {
    let url = format!("http://{}/metrics", admin_of(binary).await);
    let client = reqwest::Client::builder()
        .timeout(WAIT)
        .build()
        .expect("plain options");
    let answer = client.get(url).send().await.expect("it answers");
    answer.text().await.expect("a text")
}

/// The value of the first series that starts with `series` and holds every one of `labels`.
async fn metric(binary: &Binary, series: &str, labels: &[&str]) -> f64 {
    let text = metrics(binary).await;
    let line = text
        .lines()
        .find(|line| line.starts_with(series) && labels.iter().all(|label| line.contains(label)));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_the_registry_has_its_words_and_its_count() {
    let code = "INSTANCE_NOT_EXIST".to_owned();
    let cases = [
        (
            Fault::NoPrivilege,
            "denied",
            "cr:GetRepositorySync on acs:cr:",
        ),
        (Fault::XmlError, "", "could not read the list"),
        (
            Fault::Throttled {
                retry_after_ms: Some(300),
            },
            "throttled",
            "Throttling.User",
        ),
        (Fault::SystemError, "unavailable", "SystemError"),
        (Fault::BadGateway, "unavailable", "502"),
        (Fault::Truncated { honest: true }, "malformed", "JSON"),
        (Fault::Closed, "unavailable", "could not read the list"),
        (
            Fault::ClockSkew { minutes: 20 },
            "clock",
            "InvalidTimeStamp.Expired",
        ),
        (
            Fault::NotSuccessful { code },
            "rejected",
            "INSTANCE_NOT_EXIST",
        ),
    ];
    for (fault, outcome, words) in cases {
        let house = House::build().await;
        let world = house.simulator.world();
        world
            .fault(fault.clone(), Extent::Always)
            .expect("room for a fault");
        let mut binary = house.launch("127.0.0.1:0");
        let line = binary
            .wait_for_line("could not read the list", WAIT)
            .await
            .text;
        assert!(
            line.contains(words) && line.contains(outcome),
            "{fault:?}: {line}"
        );
        if !outcome.is_empty() {
            let counted = metric(&binary, "syncbell_polls_total", &[outcome]).await;
            assert!(counted >= 1.0, "{fault:?}");
        }
        // It goes on by itself; a denial is probed slowly, the others soon.
        world.clear_faults();
        if outcome != "denied" {
            binary.wait_for_line("the baseline is complete", WAIT).await;
        }
        binary.terminate();
        assert!(binary.wait_for_exit(WAIT).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_named_and_never_printed() {
    let mut house = House::build().await;
    house.access_key_secret = "wrong-open-sesame".to_owned();
    let mut binary = house.launch("127.0.0.1:0");
    let line = binary
        .wait_for_line("could not read the list", WAIT)
        .await
        .text;
    assert!(line.contains("SignatureDoesNotMatch"), "{line}");
    assert!(line.contains("the access key's secret is wrong"), "{line}");
    assert!(metric(&binary, "syncbell_polls_total", &["signature"]).await >= 1.0);
    let said: Vec<String> = binary.lines().into_iter().map(|line| line.text).collect();
    assert!(
        !said.join("\n").contains("open-sesame"),
        "the secret was printed"
    );
    binary.terminate();
    assert!(binary.wait_for_exit(WAIT).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_an_id_is_counted_and_its_neighbours_pass() {
    let house = House::build().await;
    let world = house.simulator.world();
    world
        .fault(Fault::TaskWithoutId, Extent::Always)
        .expect("room for a fault");
    let mut binary = house.launch("127.0.0.1:0");
    eventually("a failed neighbour at the webhook", WAIT, async || {
        // Told only once the first look is over: until then it may belong to the silent baseline.
        let id = format!("rst-neighbour-{}", world.counts().answers);
        world.add_task(
            NewTask::of("bad/neighbour", &id)
                .id(&id)
                .status(Status::Error),
        );
        (!house.webhook_got().is_empty()).then_some(())
    })
    .await;
    assert!(metric(&binary, "syncbell_tasks_refused_total", &[]).await >= 1.0);
    binary.terminate();
    assert!(binary.wait_for_exit(WAIT).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_redirects_stops_its_lane_and_the_mailbox_goes_on() {
    let mut house = House::build().await;
    house
        .webhook
        .answer_always(Answer::redirect("http://127.0.0.1:9/"));
    house.start().await;
    house.baseline().await;
    let task = NewTask::of("bad/redirect", "v1")
        .id("rst-redirect")
        .status(Status::Error);
    house.simulator.world().add_task(task);
    eventually("the mail", WAIT, async || {
        (!house.mail_got().is_empty()).then_some(())
    })
    .await;
    {
        let binary = house.binary.lock().await;
        let binary = binary.as_ref().expect("it runs");
        binary.wait_for_line("its lane stops", WAIT).await;
        let labels = ["\"ops\"", "permanent_target"];
        assert!(metric(binary, "syncbell_deliveries_total", &labels).await >= 1.0);
    }
    assert!(house.webhook_got().is_empty());
    house.stop().await;
}
