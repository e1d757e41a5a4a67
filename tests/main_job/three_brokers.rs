//! Three brokers, of which one is killed, one hangs, and all are restarted one by one, while changes flow.

use std::collections::HashSet;
use std::time::Duration;

use syncbell_simulator::{DEMO_INSTANCE, Load, compare};
use syncbell_testkit::kafka::{KafkaCluster, KafkaOptions};
use syncbell_testkit::{Seed, eventually};

use crate::bad_input::metrics;
use crate::house::{House, WAIT};

const CHANGES_PER_SECOND: f64 = 200.0;

/// How long a broker is dead, and how long one hangs: longer than a session with the controller (9 s).
const DEAD: Duration = Duration::from_secs(10);
const HANGS: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_a_hanging_and_three_rolled_brokers_lose_and_reorder_nothing() {
    let Some(cluster) = KafkaCluster::start(KafkaOptions::brokers(3)).await else {
        return;
    };
    let mut house = House::over_kafka(&cluster.bootstrap(), "three").await;
    house.receivers = "[ops]";
    house.start().await;
    house.baseline().await;
    let world = house.simulator.world();
    let load = world.generate(Load {
        changes_per_second: CHANGES_PER_SECOND,
        keep: 200,
        seed: Seed::from_environment().value(),
        ..Load::default()
    });

    let topic = house.changes_topic();
    let partition = used_partition(&cluster, &topic).await;
    let leader = leader_of(&cluster, &topic, partition).await;
    cluster.kill(leader);
    tokio::time::sleep(DEAD).await;
    cluster.restart(leader).await;
    cluster.wait_until_in_sync().await;

    let leader = leader_of(&cluster, &topic, partition).await;
    cluster.stop(leader);
    tokio::time::sleep(HANGS).await;
    cluster.cont(leader);
    cluster.wait_until_in_sync().await;

    cluster.roll().await;
    load.stop();
    // Its last change may still come.
    let answers = world.counts().answers;
    world
        .until(|world| world.counts().answers > answers + 5)
        .await;

    eventually("every alert at the webhook", WAIT, async || {
        // First: what is served while the two are compared is expected too.
        let all_served = world.counts().unserved == 0;
        let missing = compare(&world.ledger().expected(), &house.webhook_got()).missing;
        (all_served && missing.is_empty()).then_some(())
    })
    .await;
    let told = compare(&world.ledger().expected(), &house.webhook_got());
    println!(
        "{} conditions told, {} repeated, over a dead leader, one that hung for {} s, and a roll of three",
        world.ledger().expected().len(),
        told.repeated.len(),
        HANGS.as_secs()
    );
    assert!(told.is_exact(), "{told}");
    {
        let poller = house.binary.lock().await;
        let poller = poller.as_ref().expect("it runs");
        let metrics = metrics(poller).await;
        // Fifteen seconds' old: which broker is up is not asked.
        let series = "syncbell_kafka_broker_up{client=\"producer\"";
        assert!(metrics.contains(series), "no statistics of librdkafka");
    }
    let events = house.events().await;
    in_order(&events);
    of_one_trace(&events, &house);
    let status = house.stop().await;
    assert!(status.success(), "{status}");
}

/// The partition that the one instance's key leads to.
async fn used_partition(cluster: &KafkaCluster, topic: &str) -> i32 {
    let admin = cluster.admin();
    eventually("the topic", WAIT, async || {
        (admin.partitions(topic).await.len() == 6).then_some(())
    })
    .await;
    cluster.wait_until_in_sync().await;
    eventually("events on a partition", WAIT, async || {
        for partition in 0..6 {
            if admin.offsets(topic, partition).await.1 > 0 {
                return Some(partition);
            }
        }
        None
    })
    .await
}

async fn leader_of(cluster: &KafkaCluster, topic: &str, partition: i32) -> i32 {
    let admin = cluster.admin();
    eventually("a leader", WAIT, async || {
        admin.leader_of(topic, partition).await
    })
    .await
}

/// Each webhook carries the trace of the poll that found its event.
fn of_one_trace(events: &[serde_json::Value], house: &House) {
    let polls: HashSet<&str> = events
        .iter()
        .filter_map(|event| event["traceparent"].as_str()?.get(3..35))
        .collect();
    for request in house.webhook.accepted() {
        let trace = request.headers.get("traceparent");
        let trace = trace.and_then(|trace| trace.to_str().ok()?.get(3..35));
        assert!(
            trace.is_some_and(|trace| polls.contains(trace)),
            "{trace:?}"
        );
    }
}

/// Of the one instance, what is read for the first time was never observed before what was read.
fn in_order(events: &[serde_json::Value]) {
    let mut ids = HashSet::new();
    let mut latest = jiff::Timestamp::MIN;
    let mut n_first = 0;
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        assert!(text("source").ends_with(DEMO_INSTANCE));
        if ids.insert(text("id")) {
            n_first += 1;
            let at: jiff::Timestamp = text("time").parse().expect("a time");

            assert!(at >= latest, "{event} was overtaken");
            latest = at;
        }
    }
    assert!(n_first > 1_000, "only {n_first} events");
    println!(
        "{n_first} events in order, {} read twice",
        events.len() - n_first
    );
}
