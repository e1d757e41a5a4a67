use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Polls each 15 s, sweeps each 30 min; the first sweep was read by one page at once.
fn running(start: Instant) -> Schedule {
    let mut schedule = Schedule::new(15 * SECOND, 1_800 * SECOND, start);
    assert_eq!(
        schedule.next(start, false),
        Next::SweepPage { until: None },
        "all is read at the start"
    );
    schedule.sweep_begins(start, 15 * SECOND);
    schedule.read_first_page();
    schedule.swept(start, 0.5);
    schedule.polled(start, Duration::ZERO, 15 * SECOND);
    schedule
}

#[test]
fn head_polls_come_in_their_rhythm_and_a_sweep_in_its_own() {
    let start = Instant::now();
    let mut schedule = running(start);
    let at = |seconds: u32| start + seconds * SECOND;
    assert_eq!(schedule.next(at(1), false), Next::Wait { until: at(15) });
    assert_eq!(schedule.next(at(15), false), Next::Head);
    schedule.polled(at(16), SECOND, 15 * SECOND);
    assert_eq!(schedule.next(at(16), false), Next::Wait { until: at(30) });
    // A due sweep stands for the head poll of its time.
    assert_eq!(
        schedule.next(at(1_800), false),
        Next::SweepPage { until: None }
    );
    schedule.sweep_begins(at(1_800), 15 * SECOND);
    let until = Some(at(1_815));
    assert_eq!(schedule.next(at(1_801), true), Next::SweepPage { until });
    // A long one gives way to those that follow.
    assert_eq!(schedule.next(at(1_815), true), Next::Head);
    schedule.polled(at(1_815), Duration::ZERO, 15 * SECOND);
    let until = Some(at(1_830));
    assert_eq!(schedule.next(at(1_816), true), Next::SweepPage { until });
}

#[test]
fn while_head_polls_fail_no_page_of_a_sweep_is_asked_for() {
    let start = Instant::now();
    let mut schedule = running(start);
    let at = |seconds: u32| start + seconds * SECOND;
    schedule.sweep_soon(at(1));
    schedule.poll_failed(at(20));
    assert_eq!(schedule.next(at(19), true), Next::Wait { until: at(20) });
    assert_eq!(schedule.next(at(20), true), Next::Head);
    schedule.polled(at(20), Duration::ZERO, 15 * SECOND);
    assert!(matches!(
        schedule.next(at(21), true),
        Next::SweepPage { .. }
    ));
}

#[test]
fn a_list_in_another_order_is_swept_at_each_tick() {
    let start = Instant::now();
    let mut schedule = running(start);
    let at = |seconds: u32| start + seconds * SECOND;
    schedule.set_newest_first(false);
    schedule.polled(at(15), Duration::ZERO, 15 * SECOND);
    assert_eq!(schedule.next(at(29), false), Next::Wait { until: at(30) });
    assert_eq!(
        schedule.next(at(30), false),
        Next::SweepPage { until: None }
    );
    schedule.sweep_begins(at(30), 15 * SECOND);
    assert_eq!(
        schedule.next(at(300), true),
        Next::SweepPage { until: None }
    );
}

#[test]
fn a_failed_page_waits_and_failed_sweeps_become_an_alarm() {
    let start = Instant::now();
    let mut schedule = running(start);
    let at = |seconds: u32| start + seconds * SECOND;
    schedule.sweep_waits(at(10));
    assert_eq!(schedule.next(at(5), true), Next::Wait { until: at(10) });
    assert!(matches!(
        schedule.next(at(10), true),
        Next::SweepPage { .. }
    ));
    for n in 1..=3 {
        assert!(!schedule.sweeps_are_overdue(at(4_000)), "after {n}");
        schedule.sweep_failed(at(n), 15 * SECOND);
    }
    assert!(!schedule.sweeps_are_overdue(at(3_600)));
    assert!(schedule.sweeps_are_overdue(at(3_601)));
    // The third waits four times as long as the first, and none longer than a good one.
    assert!(matches!(
        schedule.next(at(3 + 60), false),
        Next::Head | Next::SweepPage { .. }
    ));
    schedule.swept(at(3_700), 0.5);
    assert!(!schedule.sweeps_are_overdue(at(3_701)));
}

#[test]
fn two_missed_intervals_are_an_outage() {
    let start = Instant::now();
    let schedule = running(start);
    assert!(!schedule.was_out(start, start + 30 * SECOND));
    assert!(schedule.was_out(start, start + 31 * SECOND));
}

#[test]
fn where_there_is_no_other_sight_failed_sweeps_are_not_put_off() {
    let start = Instant::now();
    let mut schedule = Schedule::new(15 * SECOND, 1_800 * SECOND, start);
    for n in 1..=8 {
        schedule.sweep_failed(start + n * SECOND, 15 * SECOND);
    }
    let until = start + 23 * SECOND;
    assert_eq!(
        schedule.next(start + 9 * SECOND, false),
        Next::Wait { until }
    );
}
