//! The registry is away for many intervals, or the poller is dead: people hear of it once, and once that it
//! is over; what failed meanwhile is told then, all of it, once.

use std::time::Duration;

use syncbell_event::Status;
use syncbell_simulator::{NewTask, busiest_second};
use syncbell_testkit::chaos::Mode;
use syncbell_testkit::{ChaosProxy, eventually, kafka};

use crate::house::{House, WAIT};
use crate::story::settled;

const BLIND_SOON: &str = "rules: {blind: {after: 3s}}\n";

/// An hour has 240 intervals of 15 s; here one takes a second, and there are enough of them for each delay
/// between two tries to have grown to its longest.
const INTERVALS: u32 = 20;

/// What the budget lets pass within a second at most: 10 at once, and 10 a second.
const BUDGET: usize = 20;

fn fail(house: &House, n: u32) {
    let task = NewTask::of(&format!("outage/image-{n}"), "v1").id(&format!("rst-outage-{n}"));
    house.simulator.world().add_task(task.status(Status::Error));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_many_intervals_is_told_once_and_costs_nothing_but_time() {
    let mut house = House::build().await;
    let way = ChaosProxy::start(house.simulator.addr()).await;
    house.endpoint = format!("http://{}", way.addr());
    house.more = BLIND_SOON;
    house.start().await;
    house.baseline().await;

    way.set(Mode::Refuse).await;
    way.cut().await;
    for n in 0..INTERVALS {
        fail(&house, n);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(house.blindness(), ["firing unavailable"]);
    assert!(house.webhook_got().is_empty(), "nobody could see a failure");
    let world = house.simulator.world();
    world.forget_calls();
    way.set(Mode::Pass).await;

    let (webhook, mail) = settled(&house, "what failed during the outage").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    assert_eq!(house.webhook_got().len(), INTERVALS as usize);
    eventually("the end of the blindness", WAIT, async || {
        (house.blindness().len() > 1).then_some(())
    })
    .await;
    let ended = ["firing unavailable", "resolved unavailable"];
    assert_eq!(house.blindness(), ended);
    let calls = world.calls();
    let busiest = busiest_second(&calls);
    println!(
        "after {INTERVALS} intervals without a registry: {} calls until all is told and calm, {busiest} in \
         the busiest second",
        calls.len()
    );
    assert!(busiest <= BUDGET, "a storm: {busiest} calls in a second");
    assert!(house.stop().await.success());
}

/// The heartbeat comes once a minute: the notifier waits for the next one, and for the rule's time.
#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_a_dead_poller_is_told_by_the_notifier_until_it_lives_again() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "dead-poller").await;
    house.more = BLIND_SOON;
    house.start().await;
    house.baseline().await;
    fail(&house, 1);
    settled(&house, "the alert before the death").await;
    house.kill().await;
    fail(&house, 2);
    eventually("that nobody sees", WAIT, async || {
        (!house.blindness().is_empty()).then_some(())
    })
    .await;
    let told = house.blindness();
    assert!(told.len() == 1 && told[0].starts_with("firing"), "{told:?}");

    house.start_again().await;
    let (webhook, mail) = settled(&house, "what failed while nobody looked").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    eventually("that it is seen again", WAIT, async || {
        (house.blindness().len() > 1).then_some(())
    })
    .await;
    let told = house.blindness();
    assert!(
        told.len() == 2 && told[1].starts_with("resolved"),
        "{told:?}"
    );
    println!("a dead poller: {told:?}");
    assert!(house.stop().await.success());
}
