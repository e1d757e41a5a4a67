//! Two processes where there should be one: on one folder, and for one instance on two folders.

use std::time::Duration;

use syncbell_testkit::kafka;

use crate::account::Account;
use crate::house::{House, WAIT};
use crate::seeds::seed;
use crate::traffic::Traffic;

/// `try again`, as sysexits.h has it.
const TRY_AGAIN: i32 = 75;

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_embedded() {
    one_folder(House::build().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_kafka() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    one_folder(House::over_kafka(kafka.bootstrap(), "one-folder").await).await;
}

/// The second one of each service is refused, and the first one does not notice.
async fn one_folder(mut house: House) {
    let seed = seed();
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    for _ in 0..3 {
        for service in house.services() {
            let mut second = house.launcher(service).start();
            let ended = async {
                let exit = second.wait_for_exit(WAIT).await;
                (exit.code(), second.lines())
            };
            tokio::select! {
                (code, said) = ended => assert_eq!(code, Some(TRY_AGAIN), "{said:?}"),
                _ = traffic.forever() => unreachable!("it goes on"),
            }
        }
    }
    traffic.during(Duration::from_secs(1)).await;
    Account::settle(&house, &traffic, "one-folder", seed, 3, 0).await;
    house.stop().await;
}

/// Both find the same, call it by the same id, and it is told once.
#[tokio::test(flavor = "multi_thread")]
async fn two_pollers_kafka() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let seed = seed();
    let mut house = House::over_kafka(kafka.bootstrap(), "two-pollers").await;
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    traffic.during(Duration::from_secs(2)).await;
    let other = house.folder().join("disk/other");
    let first = std::mem::replace(&mut house.data_dir, other);
    let second = house.launcher("poller").start();
    house.data_dir = first;
    // What failed while the second one made its baseline is told by the first.
    tokio::select! {
        _ = second.wait_for_line("the baseline is complete", WAIT) => {}
        _ = traffic.forever() => unreachable!("it goes on"),
    }
    traffic.during(Duration::from_secs(5)).await;
    // Either of them may be the one that is left.
    house.kill(&["poller"]).await;
    traffic.during(Duration::from_secs(3)).await;
    house.start_all();
    traffic.during(Duration::from_secs(3)).await;
    Account::settle(&house, &traffic, "two-pollers", seed, 1, 0).await;
    drop(second);
    house.stop().await;
}
