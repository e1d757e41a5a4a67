//! Somebody sets the machine's clock an hour ahead, and back, and an hour behind, and back.
//!
//! The registry's clock stays, so that calls are refused while ours is wrong (their signatures carry a
//! date); receivers refuse our signatures then, too, as far as they check dates. Nothing is lost, nothing is
//! told twice, and a blindness that is told ends when the clock is right.

use std::time::Duration;

use syncbell_testkit::eventually;

use crate::account::Account;
use crate::house::{House, WAIT};
use crate::seeds::seed;
use crate::shim;
use crate::traffic::Traffic;

const HOUR_SECONDS: i64 = 3_600;
const A_WHILE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn clock_jumps_embedded() {
    let seed = seed();
    let mut house = House::build().await;
    // The verifier's own clock did not jump.
    house.verify = false;
    let library = shim::built("clock", house.folder()).await;
    let clock = house.folder().join("clock");
    let set = |seconds: i64| {
        // Whole or not at all: it is read all the time.
        let new = clock.with_extension("new");
        std::fs::write(&new, seconds.to_string()).expect("the clock");
        std::fs::rename(&new, &clock).expect("the clock");
    };
    set(0);
    house.env = vec![
        ("LD_PRELOAD", library.into()),
        ("SHIM_CLOCK", clock.clone().into()),
    ];
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    traffic.during(A_WHILE).await;
    for seconds in [HOUR_SECONDS, 0, -HOUR_SECONDS, 0] {
        set(seconds);
        traffic.during(A_WHILE).await;
    }
    Account::settle(&house, &traffic, "clock-jumps", seed, 4, 0).await;
    eventually("the end of each blindness", WAIT, async || {
        let told = house.blindness();
        let of = |what: &str| told.iter().filter(|one| one.starts_with(what)).count();
        (of("firing") == of("resolved")).then_some(())
    })
    .await;
    println!(
        "faults clock-jumps: told of blindness: {:?}",
        house.blindness()
    );
    house.stop().await;
}
