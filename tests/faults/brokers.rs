//! Three real brokers whose leader is killed, together with kills of our own processes.

use std::time::Duration;

use syncbell_testkit::kafka::{KafkaCluster, KafkaOptions};

use crate::account::{Account, UNDER_WAY};
use crate::house::House;
use crate::seeds::seed;
use crate::traffic::Traffic;

/// Deaths of a broker; each comes with one of a poller and one of a notifier.
const DEATHS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_kafka() {
    let Some(cluster) = KafkaCluster::start(KafkaOptions::brokers(3)).await else {
        return;
    };
    let seed = seed();
    let mut rng = seed.rng_for("brokers");
    let mut house = House::over_kafka(&cluster.bootstrap(), "brokers").await;
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    traffic.during(Duration::from_secs(2)).await;
    for _ in 0..DEATHS {
        let broker = *rng.pick(&[1, 2, 3]);
        cluster.kill(broker);
        for service in house.services() {
            traffic.during(rng.duration(50..1_500)).await;
            house.kill(&[service]).await;
            traffic.during(rng.duration(0..300)).await;
            house.start_all();
        }
        traffic.during(Duration::from_secs(2)).await;
        tokio::select! {
            () = cluster.restart(broker) => {}
            _ = traffic.forever() => unreachable!("it goes on"),
        }
        cluster.wait_until_in_sync().await;
    }
    let bound = UNDER_WAY * DEATHS;
    Account::settle(&house, &traffic, "three-brokers", seed, DEATHS, bound).await;
    house.stop().await;
}
