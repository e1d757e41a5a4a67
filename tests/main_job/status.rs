//! `syncbell status`: from the services while they run, from their folders after.

use serde_json::Value;
use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, NewTask};
use syncbell_testkit::eventually;

use crate::house::{House, WAIT};

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_that_of_the_services_and_then_of_their_folders() {
    let mut house = House::build().await;
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    let (code, _, err) = house.ask(&["status", "-c", config]).await;
    assert!(code == Some(69) && err.contains("holds nothing"), "{err}");

    house.start().await;
    house.baseline().await;
    let task = NewTask::of("status/image", "v1").status(Status::Error);
    house.simulator.world().add_task(task);
    house.webhook.wait_for_accepted(1, WAIT).await;
    let admin = house.notifier_admin().await;
    let running = eventually("nothing waits any more", WAIT, async || {
        let said = status(&house, &["--admin", &admin]).await;
        let idle = said["notifier"]["pending"].as_array()?.is_empty();
        let read = said["notifier"]["log"]["lag"] == 0 && said["poller"]["outbox"]["rows"] == 0;
        (idle && read).then_some(said)
    })
    .await;
    assert_eq!(running["poller"]["runs_at"], admin.as_str());
    assert_eq!(running["poller"]["store"]["takes_rows"], true, "{running}");
    let instance = &running["poller"]["instances"][DEMO_INSTANCE];
    assert!(instance["tasks"].as_u64() > Some(150), "{instance}");
    assert_eq!(running["notifier"]["incidents_open"], 1, "{running}");
    assert_eq!(running["notifier"]["dead_letters"], 0, "{running}");
    assert!(house.stop().await.success());

    let stopped = status(&house, &["-c", config]).await;
    assert!(stopped["poller"]["runs_at"].is_null(), "{stopped}");
    for (service, store) in [("poller", "store"), ("notifier", "ledger")] {
        let rows = stopped[service][store]["rows"].as_u64();
        assert!(rows > Some(0), "{service}: {stopped}");
    }
    assert_eq!(stopped["notifier"]["incidents_open"], 1, "{stopped}");
}

async fn status(house: &House, place: &[&str]) -> Value {
    let asked = [&["status", "-o", "json"], place].concat();
    let (code, out, err) = house.ask(&asked).await;
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).expect("it prints JSON")
}
