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
