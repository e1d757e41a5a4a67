//! kill -9 of the poller, of the notifier, of both, over and over on the same data, while tasks fail all
//! the time: at random moments, and between two steps of an alert's way (crash points).
//!
//! A round is one death. Now and then the webhook refuses a message for good, so that the dead letters are
//! part of the ledger.

use std::time::Duration;

use syncbell_testkit::{Answer, Rng, kafka};

use crate::account::{Account, UNDER_WAY};
use crate::house::House;
use crate::seeds::{Run, runs};
use crate::traffic::Traffic;

/// How long a process may live on until it passes its crash point; then it is killed all the same.
const POINT: Duration = Duration::from_secs(4);

/// Steps just finished, by who finishes them.
const POLLER_POINTS: &[&str] = &[
    "poller.page-read",
    "poller.diffed",
    "poller.committed",
    "publish.acknowledged",
    "publish.deleted",
];
const NOTIFIER_POINTS: &[&str] = &[
    "consume.read",
    "consume.decided",
    "consume.committed",
    "deliver.webhook-rendered",
    "deliver.mail-rendered",
    "deliver.sent",
    "deliver.recorded",
];

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Poller,
    Notifier,
    Both,
}

impl Victim {
    fn services(self, house: &House) -> Vec<&'static str> {
        match self {
            Self::Poller => vec![house.poller()],
            Self::Notifier => vec![house.notifier()],
            Self::Both => house.services().to_vec(),
        }
    }

    fn points(self) -> Vec<&'static str> {
        match self {
            Self::Poller => POLLER_POINTS.to_vec(),
            Self::Notifier => NOTIFIER_POINTS.to_vec(),
            Self::Both => [POLLER_POINTS, NOTIFIER_POINTS].concat(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_both_embedded() {
    for run in runs("kill-both embedded") {
        rounds(House::build().await, "kill-both", Victim::Both, run).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_poller_kafka() {
    over_kafka("kill-poller", Victim::Poller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_notifier_kafka() {
    over_kafka("kill-notifier", Victim::Notifier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_both_kafka() {
    over_kafka("kill-both", Victim::Both).await;
}

async fn over_kafka(fault: &str, victim: Victim) {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    for run in runs(&format!("{fault} kafka")) {
        let house = House::over_kafka(kafka.bootstrap(), fault).await;
        rounds(house, fault, victim, run).await;
    }
}

async fn rounds(mut house: House, fault: &str, victim: Victim, run: Run) {
    let mut rng = run.seed.rng_for(fault);
    let mut traffic = Traffic::new(house.simulator.world(), run.seed.rng_for("traffic"));
    house.start_and_baseline().await;
    for _ in 0..run.rounds {
        if rng.chance(1, 4) {
            house.webhook.answer_next(1, Answer::status(400));
        }
        if rng.chance(1, 3) {
            at_a_point(&mut house, victim, &mut rng, &mut traffic).await;
        } else {
            traffic.during(rng.duration(50..1_500)).await;
            let services = victim.services(&house);
            house.kill(&services).await;
        }
        // The world goes on while nobody looks.
        traffic.during(rng.duration(0..300)).await;
        house.start_all();
    }
    let bound = UNDER_WAY * run.rounds;
    Account::settle(&house, &traffic, fault, run.seed, run.rounds, bound).await;
    house.stop().await;
}

/// One of the victims dies between two steps, and the others with it.
async fn at_a_point(house: &mut House, victim: Victim, rng: &mut Rng, traffic: &mut Traffic) {
    let services = victim.services(house);
    let point = *rng.pick(&victim.points());
    let passes = rng.between(0..6);
    let dies = if POLLER_POINTS.contains(&point) {
        house.poller()
    } else {
        house.notifier()
    };
    house.kill(&[dies]).await;
    let launcher = house
        .launcher(dies)
        .env("FAILPOINTS", format!("{point}={passes}*off->return"));
    let mut binary = launcher.start();
    tokio::select! {
        _ = binary.wait_for_exit(POINT * 2) => {}
        () = traffic.during(POINT) => {}
    }
    binary.kill().await;
    house.kill(&services).await;
}
