//! Rules that the configuration adds, over a real log and ledger: their timers are rows, and what becomes of
//! their incidents when they leave.

use std::path::Path;

use syncbell_config::RuleSwitches;
use syncbell_event::{Kind, Status};

use super::bench::{Bench, INSTANCE, setup, swept, task};

fn rules(own: &str) -> RuleSwitches {
    let text = format!(
        "instances: [{{id: cri-a, region: cn-shanghai}}]\n\
         receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
         route: {{receivers: [r]}}\nrules: {{blind: {{enabled: false}}, own: [{own}]}}\n"
    );
    let read = syncbell_config::parse(&text, "x", Path::new("."), &|_| None);
    read.unwrap_or_else(|problems| panic!("{problems}")).rules
}

const LATE: &str =
    "{name: late, match: [task_status=PENDING], for: 10m, severity: error, labels: {team: core}}";

#[tokio::test]
async fn what_must_hold_for_some_time_survives_a_restart_and_a_changed_limit() {
    let mut bench = Bench::new(&rules(LATE)).await;
    let open = |id: &str| task(Kind::Created, INSTANCE, id, Status::Pending, 0, 0, 0);
    let told = bench
        .read(vec![
            open("a"),
            open("b"),
            open("c"),
            open("d"),
            swept(INSTANCE, 599),
        ])
        .await;
    assert!(told.is_empty(), "{told:?}");
    bench.restart().await;
    bench.setup = setup(&rules(&LATE.replace("10m", "20m")), &[INSTANCE]);
    bench.restart().await;
    assert!(bench.read(vec![swept(INSTANCE, 1_199)]).await.is_empty());
    bench.restart().await;
    let told = bench.read(vec![swept(INSTANCE, 1_200)]).await;
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter()
            .all(|line| line.starts_with("firing late PENDING:")),
        "{told:?}"
    );
    assert_eq!(bench.rows("or/").await, 0);
    let deliveries = bench.deliveries().await;
    assert_eq!(deliveries[0].entries[0].item.labels["team"], "core");
    bench.restart().await;
    assert!(
        bench.read(vec![swept(INSTANCE, 2_000)]).await.is_empty(),
        "once"
    );
    let well = task(Kind::Updated, INSTANCE, "a", Status::Success, 0, 2_100, 1);
    let told = bench.read(vec![well]).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("resolved late"), "{told:?}");
}

#[tokio::test]
async fn the_incidents_of_a_rule_that_left_are_closed_without_an_all_clear() {
    let both = format!("{LATE}, {{name: bad, match: [task_status=ERROR], severity: critical}}");
    let mut bench = Bench::new(&rules(&both)).await;
    let failed = task(Kind::Created, INSTANCE, "a", Status::Error, 0, 10, 0);
    let waits = task(Kind::Created, INSTANCE, "b", Status::Pending, 0, 10, 0);
    assert_eq!(bench.read(vec![failed, waits]).await.len(), 1);
    assert_eq!(bench.rows("or/").await, 1);
    bench.restart().await;
    assert_eq!(bench.rows("or/").await, 1, "it is there still");
    bench.setup = setup(
        &RuleSwitches {
            blind: false,
            ..RuleSwitches::default()
        },
        &[INSTANCE],
    );
    bench.restart().await;
    assert_eq!(bench.rows("or/").await, 0);
    assert_eq!(bench.told().await.len(), 1, "that is no all-clear");
    // Its task is known as such, and tells what is so of it now.
    let again = task(Kind::Updated, INSTANCE, "a", Status::Error, 0, 20, 1);
    let told = bench.read(vec![again]).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("firing failed"), "{told:?}");
    let well = task(Kind::Updated, INSTANCE, "a", Status::Success, 0, 30, 2);
    let told = bench.read(vec![well, swept(INSTANCE, 900)]).await;
    assert_eq!(told.len(), 1, "only what goes on ends: {told:?}");
    assert!(told[0].starts_with("resolved failed"), "{told:?}");
}
