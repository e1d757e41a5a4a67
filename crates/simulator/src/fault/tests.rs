use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::active::Caller;
use super::*;
use crate::Action;

fn meet(faults: &mut Faults, now: Instant) -> Vec<Fault> {
    faults.meet(Caller::default(), now)
}

#[test]
fn a_counted_fault_ends_with_its_last_call() {
    let now = Instant::now();
    let mut faults = Faults::default();
    faults.add(Fault::SystemError, Target::default(), Extent::Calls(2), now);
    faults.add(Fault::BadGateway, Target::default(), Extent::Calls(1), now);
    assert_eq!(meet(&mut faults, now), [Fault::SystemError]);
    assert_eq!(meet(&mut faults, now), [Fault::SystemError]);
    assert_eq!(meet(&mut faults, now), [Fault::BadGateway]);
    assert_eq!(meet(&mut faults, now), []);
}

#[test]
fn a_timed_fault_ends_with_its_time() {
    let now = Instant::now();
    let mut faults = Faults::default();
    faults.add(
        Fault::ClockSkew { minutes: -20 },
        Target::default(),
        Extent::For(Duration::from_secs(5)),
        now,
    );
    assert_eq!(faults.skew(now), SignedDuration::from_mins(-20));
    assert_eq!(meet(&mut faults, now).len(), 1);
    let later = now + Duration::from_secs(5);
    assert_eq!(faults.skew(later), SignedDuration::ZERO);
    assert_eq!(meet(&mut faults, later), []);
}

#[test]
fn faults_of_different_kinds_meet_in_one_call() {
    let now = Instant::now();
    let mut faults = Faults::default();
    faults.add(
        Fault::Slow { delay_ms: 1 },
        Target::default(),
        Extent::Always,
        now,
    );
    faults.add(Fault::NullFields, Target::default(), Extent::Always, now);
    faults.add(
        Fault::Truncated { honest: true },
        Target::default(),
        Extent::Calls(1),
        now,
    );
    assert_eq!(meet(&mut faults, now).len(), 3);
    assert_eq!(meet(&mut faults, now).len(), 2);
    faults.clear();
    assert_eq!(meet(&mut faults, now), []);
}

#[test]
fn a_fault_is_met_by_those_only_that_it_is_for() {
    let now = Instant::now();
    let mut faults = Faults::default();
    let denied = Target {
        action: Some(Action::GetRepoSyncTask),
        instance_id: Some("a".to_owned()),
    };
    faults.add(Fault::NoPrivilege, denied, Extent::Calls(1), now);
    let caller = |action, instance_id| Caller {
        action: Some(action),
        instance_id: Some(instance_id),
    };
    assert_eq!(faults.meet(caller(Action::ListRepoSyncTask, "a"), now), []);
    assert_eq!(faults.meet(caller(Action::GetRepoSyncTask, "b"), now), []);
    let met = faults.meet(caller(Action::GetRepoSyncTask, "a"), now);
    assert_eq!(met, [Fault::NoPrivilege]);
    assert_eq!(meet(&mut faults, now), []);
}

/// The first cells of the README's table of faults, each code span in them.
fn documented() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("## Faults").unwrap();
    let (table, _) = table.split_once("## Timelines").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cell = row.split(" | ").next().unwrap_or_default();
        let spans = cell.split('`').skip(1).step_by(2);
        spans.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_fault_is_documented_as_it_is_read() {
    let mut kinds: Vec<String> = documented()
        .iter()
        .map(|json| {
            let fault: Fault = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
            let value = serde_json::to_value(fault).unwrap();
            let name = value.as_str().map(str::to_owned);
            name.unwrap_or_else(|| value.as_object().unwrap().keys().next().unwrap().clone())
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    // What serde itself says there is, when asked for something that there is not.
    let error = serde_json::from_str::<Fault>("\"nonsense\"")
        .unwrap_err()
        .to_string();
    let (_, known) = error.split_once("expected one of ").unwrap();
    let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    known.sort_unstable();
    assert_eq!(kinds, known);
}
