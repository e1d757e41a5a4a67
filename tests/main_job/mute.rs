//! A route that is mute in a window: nothing of it is told while it lasts, nor after a kill; all of it is when the
//! window is over, in order, with the all-clear of what is over by then. Other routes are told meanwhile.

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::eventually;

use crate::house::{House, WAIT};
use crate::mailbox::text_of;

/// It lasts as long as it stands in the file.
const ALWAYS: &str = "windows:\n  - {name: night, time_zone: Asia/Shanghai, times: ['00:00-12:00', '12:00-24:00']}\n";
const MUTE: &str = "group_by: ['...'], routes: [{match: ['from.namespace=night'], mute: [night]}]";
const OVER: &str = "group_by: ['...'], routes: [{match: ['from.namespace=night'], mute: []}]";

fn add(house: &House, image: &str, id: &str, status: Status) {
    let task = NewTask::of(image, "v1").id(id).status(status);
    house.simulator.world().add_task(task);
}

/// Waits until what happened to the task is decided.
async fn decided(house: &House, id: &str) -> Value {
    let place = house.notifier_admin().await;
    eventually("a decision", WAIT, async || {
        let asked = ["explain", id, "-o", "json", "--admin", &place];
        let (code, stdout, _) = house.ask(&asked).await;
        (code == Some(0)).then(|| serde_json::from_str(&stdout).expect("JSON"))
    })
    .await
}

/// `status task` of each alert that the webhook took.
fn told(house: &House) -> Vec<String> {
    let requests = house.webhook.accepted();
    let alerts = requests
        .iter()
        .map(|request| &request.body["data"]["alerts"][0]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    alerts
        .map(|alert| {
            format!(
                "{} {}",
                text(&alert["status"]),
                text(&alert["task"]["task_id"])
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_route_tells_all_of_it_when_its_window_is_over_and_nothing_before() {
    let mut house = House::build().await;
    (house.more, house.grouping) = (ALWAYS, MUTE);
    house.start().await;
    house.baseline().await;
    add(&house, "night/over", "rst-over", Status::Error);
    add(&house, "night/open", "rst-open", Status::Error);
    for id in ["rst-over", "rst-open"] {
        let decision = decided(&house, id).await;
        let fate = &decision["events"][0]["fates"][0];
        assert_eq!(fate["ending"], "told", "it waits in its group: {fate}");
        assert_eq!(fate["receivers"][0]["route"], "route.routes[0]", "{fate}");
        assert_eq!(
            fate["receivers"][0]["deliveries"],
            Value::Array(vec![]),
            "{fate}"
        );
    }
    add(&house, "night/over", "rst-well", Status::Success);
    decided(&house, "rst-well").await;
    add(&house, "day/loud", "rst-loud", Status::Error);
    house.webhook.wait_for_accepted(1, WAIT).await;
    house.mailbox.wait_for(1, WAIT).await;

    // Neither a kill nor what comes after it lets anything out.
    house.recorded().await;
    house.kill().await;
    house.start_again().await;
    add(&house, "night/late", "rst-late", Status::Error);
    decided(&house, "rst-late").await;
    add(&house, "day/later", "rst-later", Status::Error);
    house.webhook.wait_for_accepted(2, WAIT).await;
    house.mailbox.wait_for(2, WAIT).await;
    assert_eq!(told(&house), ["firing rst-loud", "firing rst-later"]);

    assert!(house.stop().await.success());
    (house.more, house.grouping) = ("", OVER);
    house.start().await;
    house.webhook.wait_for_accepted(6, WAIT).await;
    let mails = house.mailbox.wait_for(6, WAIT).await;
    let mut of_night = told(&house).split_off(2);
    let place = |line: &str| of_night.iter().position(|told| told == line);
    let (began, ended) = (place("firing rst-over"), place("resolved rst-over"));
    assert!(began.is_some() && began < ended, "{of_night:?}");
    of_night.sort();
    let expected = [
        "firing rst-late",
        "firing rst-open",
        "firing rst-over",
        "resolved rst-over",
    ];
    assert_eq!(of_night, expected);
    // A mailbox has one mail at a time: in the order in which they were decided.
    let texts: Vec<String> = mails[2..].iter().map(text_of).collect();
    let place = |what: &str| texts.iter().position(|text| text.contains(what));
    assert!(place("rst-open") < place("rst-late"), "{texts:?}");
    assert!(house.stop().await.success());
}
