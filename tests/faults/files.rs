//! Files that are damaged or gone while nothing runs, and tasks that fail meanwhile: a log whose tail is cut,
//! that rots, or is deleted; a store of the poller or of the notifier that is cut or deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use syncbell_testkit::{Rng, kafka};

use crate::account::Account;
use crate::house::House;
use crate::seeds::seed;
use crate::traffic::Traffic;

/// Of every alert, for a receiver that is told all over again: with the same ids.
const ALL: usize = usize::MAX;

#[tokio::test(flavor = "multi_thread")]
async fn log_cut_at_its_tail() {
    damaged("log-cut", 0, |house, rng| {
        let (path, mut bytes) = newest_segment(house);
        let cut = rng.between(1..bytes.len() as u64 / 2);
        bytes.truncate(bytes.len() - usize::try_from(cut).expect("it is small"));
        fs::write(path, bytes).expect("a segment");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_rots() {
    damaged("log-rot", 0, |house, rng| {
        let (path, mut bytes) = newest_segment(house);
        let at = usize::try_from(rng.between(0..bytes.len() as u64 / 2)).expect("it is small");
        bytes[at] ^= 0x10;
        fs::write(path, bytes).expect("a segment");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_is_deleted() {
    damaged("log-deleted", 0, |house, _| {
        remove(&house.data_dir.join("log"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poller_store_that_is_deleted() {
    damaged("poller-store-deleted", 0, |house, _| {
        remove(&house.data_dir.join("poller"));
    })
    .await;
}

/// Who was told is not known any more: all that the log of a day holds is told again, with the same ids.
#[tokio::test(flavor = "multi_thread")]
async fn notifier_store_that_is_deleted() {
    damaged("notifier-store-deleted", ALL, |house, _| {
        remove(&house.data_dir.join("notifier"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_cut() {
    damaged("stores-cut", ALL, |house, rng| {
        for service in ["poller", "notifier"] {
            let path = database(&house.data_dir.join(service));
            let mut bytes = fs::read(&path).expect("a database");
            let kept = rng.between(bytes.len() as u64 / 8..bytes.len() as u64);
            bytes.truncate(usize::try_from(kept).expect("it is small"));
            fs::write(path, bytes).expect("a database");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poller_store_that_is_deleted_kafka() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let house = House::over_kafka(kafka.bootstrap(), "store-deleted").await;
    strike(house, "poller-store-deleted", 0, |house, _| {
        remove(&house.data_dir.join("poller"));
    })
    .await;
}

async fn damaged(fault: &str, bound: usize, damage: impl Fn(&House, &mut Rng)) {
    strike(House::build().await, fault, bound, damage).await;
}

/// Once after a stop, once after a kill in the midst of traffic.
async fn strike(mut house: House, fault: &str, bound: usize, damage: impl Fn(&House, &mut Rng)) {
    let seed = seed();
    let mut rng = seed.rng_for(fault);
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    for calm in [true, false] {
        traffic.during(Duration::from_secs(3)).await;
        if calm {
            house.stop().await;
        } else {
            let services = house.services();
            house.kill(services).await;
        }
        traffic.burst(5);
        damage(&house, &mut rng);
        house.start_all();
    }
    traffic.during(Duration::from_secs(1)).await;
    let under_way = crate::account::UNDER_WAY;
    Account::settle(&house, &traffic, fault, seed, 2, bound.max(under_way)).await;
    house.stop().await;
}

/// The file of rows in a store's folder: `current` names the folder that it lies in.
fn database(store: &Path) -> PathBuf {
    let current = fs::read_to_string(store.join("current")).expect("a name");
    store.join(current.trim()).join("db")
}

fn newest_segment(house: &House) -> (PathBuf, Vec<u8>) {
    let entries = fs::read_dir(house.data_dir.join("log/changes")).expect("the log");
    let newest = entries.map(|entry| entry.expect("an entry").path()).max();
    let path = newest.expect("a segment");
    let bytes = fs::read(&path).expect("a segment");
    (path, bytes)
}

fn remove(folder: &Path) {
    fs::remove_dir_all(folder).expect("a folder");
}
