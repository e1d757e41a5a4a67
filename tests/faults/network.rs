//! The network between Syncbell and each of registry, receiver, mail server and broker: cut, slow, half-open.
//!
//! A half-open peer accepts and never answers; one that is established falls silent. Each fault heals
//! without anybody's help, nothing is lost, and one receiver's fault is not another's.

use std::time::Duration;

use syncbell_testkit::kafka::{KafkaCluster, KafkaOptions};
use syncbell_testkit::{ChaosProxy, Mode, eventually};

use crate::account::{Account, UNDER_WAY};
use crate::house::{House, WAIT};
use crate::seeds::seed;
use crate::traffic::Traffic;

/// A round trip that is slow, and not too slow.
const SLOW: Duration = Duration::from_millis(400);

/// For things to go wrong, where nothing waits longer than that.
const A_WHILE: Duration = Duration::from_secs(3);

/// Longer than the deadline of a delivery (10 s).
const SILENCE: Duration = Duration::from_secs(12);

/// Longer than the deadline of a call of the registry (15 s).
const LONG_SILENCE: Duration = Duration::from_secs(18);

/// Cut, slow, silent, and silent until it is cut.
async fn go_wrong(way: &ChaosProxy, silence: Duration, traffic: &mut Traffic) {
    way.set(Mode::Refuse).await;
    way.cut().await;
    traffic.during(A_WHILE).await;
    way.set(Mode::Pass).await;
    traffic.during(A_WHILE).await;
    // In the midst of whatever is under way.
    way.cut().await;
    way.set(Mode::Delay(SLOW)).await;
    traffic.during(A_WHILE).await;
    way.set(Mode::Stall).await;
    traffic.during(silence).await;
    way.set(Mode::Pass).await;
    traffic.during(A_WHILE).await;
    way.set(Mode::Stall).await;
    traffic.during(A_WHILE).await;
    way.cut().await;
    way.set(Mode::Pass).await;
    traffic.during(A_WHILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_to_the_registry() {
    let seed = seed();
    let mut house = House::build().await;
    let way = ChaosProxy::start(house.simulator.addr()).await;
    house.endpoint = format!("http://{}", way.addr());
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    go_wrong(&way, LONG_SILENCE, &mut traffic).await;
    Account::settle(&house, &traffic, "network-registry", seed, 1, 0).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_to_the_receiver() {
    let seed = seed();
    let mut house = House::build().await;
    let way = ChaosProxy::start(house.webhook.addr()).await;
    house.hook = format!("http://{}/syncbell", way.addr());
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    go_wrong(&way, SILENCE, &mut traffic).await;
    way.set(Mode::Stall).await;
    traffic.burst(5);
    let last = traffic.bad.last().cloned();
    eventually("the mail, while the webhook is silent", WAIT, async || {
        let mut got = house.mail_got().into_iter();
        got.find(|got| Some(&got.task_id) == last.as_ref())
    })
    .await;
    let mut told = house.webhook_got().into_iter();
    assert!(!told.any(|got| Some(&got.task_id) == last.as_ref()));
    way.set(Mode::Pass).await;
    // What was sent and whose answer was lost is sent again: at each of four changes of the way.
    Account::settle(&house, &traffic, "network-receiver", seed, 1, 4 * UNDER_WAY).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_to_the_mail_server() {
    let seed = seed();
    let mut house = House::build().await;
    let way = ChaosProxy::start(house.mailbox.addr()).await;
    house.smtp_port = way.addr().port();
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    go_wrong(&way, SILENCE, &mut traffic).await;
    way.set(Mode::Stall).await;
    traffic.burst(5);
    let last = traffic.bad.last().cloned();
    eventually(
        "the webhook, while the mail server is silent",
        WAIT,
        async || {
            let mut got = house.webhook_got().into_iter();
            got.find(|got| Some(&got.task_id) == last.as_ref())
        },
    )
    .await;
    let mut told = house.mail_got().into_iter();
    assert!(!told.any(|got| Some(&got.task_id) == last.as_ref()));
    way.set(Mode::Pass).await;
    // One mail is under way at a time.
    Account::settle(&house, &traffic, "network-mail", seed, 1, 6).await;
    house.stop().await;
}

/// The broker tells its clients the way's address, so that all of them go through it.
#[tokio::test(flavor = "multi_thread")]
async fn network_to_the_broker() {
    let nowhere = "127.0.0.1:9".parse().expect("an address");
    let way = ChaosProxy::start(nowhere).await;
    let advertised = format!("PLAINTEXT://{}", way.addr());
    let options = KafkaOptions::brokers(1).property("advertised.listeners", &advertised);
    let Some(cluster) = KafkaCluster::start(options).await else {
        return;
    };
    way.retarget(cluster.addr(1));
    let seed = seed();
    let brokers = way.addr().to_string();
    let mut house = House::over_kafka(&brokers, "network").await;
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    go_wrong(&way, SILENCE, &mut traffic).await;
    Account::settle(&house, &traffic, "network-broker", seed, 1, 0).await;
    house.stop().await;
}
