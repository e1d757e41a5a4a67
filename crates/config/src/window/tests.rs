//! Windows against the clock and the calendar of real places.

use super::*;

fn window(zone: &str) -> Window {
    Window {
        name: "w".into(),
        time_zone: TimeZone::get(zone).unwrap(),
        days_of_week: vec![],
        days_of_month: vec![],
        months: vec![],
        times: vec![],
    }
}

fn times(from: u16, to: u16) -> Vec<TimeRange> {
    vec![TimeRange {
        from_minute: from,
        to_minute: to,
    }]
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn muted(window: Window) -> Hours {
    Hours {
        mute: vec![window],
        active: vec![],
    }
}

/// `mute_until` says what `holds` says, minute by minute.
fn check(hours: &Hours, from: &str, days: i64) {
    let mut now = at(from);
    let end = now + SignedDuration::from_hours(24 * days);
    let minute = SignedDuration::from_mins(1);
    let mut ends: Option<Timestamp> = None;
    while now < end {
        match hours.mute_until(now) {
            None => assert!(
                ends.is_none_or(|at| at <= now),
                "{now}: over before {ends:?}"
            ),
            Some(until) => {
                let ahead = until - now < SignedDuration::from_hours(24 * 7);
                assert!(until > now, "{now}");
                if ends.is_some_and(|at| at > now) && ahead {
                    assert_eq!(Some(until), ends, "{now}");
                }
                ends = ahead.then_some(until);
            }
        }
        now += minute;
    }
}

#[test]
fn the_parts_of_a_window_narrow_it() {
    let mut office = window("Asia/Shanghai");
    office.days_of_week = vec![1..=5];
    office.times = times(9 * 60, 18 * 60);
    // Shanghai is eight hours ahead: Friday 09:00 is 01:00 UTC.
    assert!(!office.holds(at("2026-11-27T00:59:59Z")));
    assert!(office.holds(at("2026-11-27T01:00:00Z")));
    assert!(office.holds(at("2026-11-27T09:59:59Z")));
    assert!(!office.holds(at("2026-11-27T10:00:00Z")));
    assert!(!office.holds(at("2026-11-28T03:00:00Z")), "Saturday");

    let mut days = window("UTC");
    days.days_of_month = vec![-1..=-1];
    days.months = vec![2..=2];
    assert!(days.holds(at("2026-02-28T12:00:00Z")));
    assert!(!days.holds(at("2028-02-28T12:00:00Z")), "a leap year");
    assert!(days.holds(at("2028-02-29T12:00:00Z")));
    assert!(!days.holds(at("2026-03-31T12:00:00Z")), "another month");
    days.months.clear();
    days.days_of_month = vec![-40..=3];
    assert!(days.holds(at("2026-04-01T12:00:00Z")) && !days.holds(at("2026-04-04T12:00:00Z")));
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let mut nights = window("UTC");
    nights.days_of_week = vec![5..=5];
    nights.times = times(22 * 60, 7 * 60);
    for (time, expected) in [
        ("2026-11-27T06:00:00Z", false),
        ("2026-11-27T22:00:00Z", true),
        ("2026-11-28T06:59:00Z", true),
        ("2026-11-28T07:00:00Z", false),
        ("2026-11-28T23:00:00Z", false),
    ] {
        assert_eq!(nights.holds(at(time)), expected, "{time}");
    }
    let until = muted(nights).mute_until(at("2026-11-27T23:00:00Z"));
    assert_eq!(until, Some(at("2026-11-28T07:00:00Z")));
}

#[test]
fn clock_changes_move_no_window() {
    let mut office = window("Europe/Berlin");
    office.times = times(9 * 60, 17 * 60);
    let until = |window: &Window, time: &str| muted(window.clone()).mute_until(at(time));
    // Winter time from 2026-10-25 on, summer time from 2027-03-28 on.
    assert_eq!(
        until(&office, "2026-10-24T08:00:00Z"),
        Some(at("2026-10-24T15:00:00Z"))
    );
    assert_eq!(
        until(&office, "2026-10-25T09:00:00Z"),
        Some(at("2026-10-25T16:00:00Z"))
    );
    assert_eq!(
        until(&office, "2027-03-28T08:00:00Z"),
        Some(at("2027-03-28T15:00:00Z"))
    );

    // 02:30 does not exist on that morning: it ends when the clock leaps over it.
    let mut gap = window("Europe/Berlin");
    gap.times = times(60, 150);
    assert_eq!(
        until(&gap, "2027-03-28T00:30:00Z"),
        Some(at("2027-03-28T01:00:00Z"))
    );
    // 02:30 comes twice on that morning.
    assert_eq!(
        until(&gap, "2026-10-25T00:00:00Z"),
        Some(at("2026-10-25T00:30:00Z"))
    );
    assert_eq!(
        until(&gap, "2026-10-25T01:10:00Z"),
        Some(at("2026-10-25T01:30:00Z"))
    );
    for window in [office, gap] {
        check(&muted(window.clone()), "2026-10-23T00:00:00Z", 4);
        check(&muted(window.clone()), "2027-03-27T00:00:00Z", 3);
        let active = Hours {
            mute: vec![],
            active: vec![window],
        };
        check(&active, "2026-10-23T00:00:00Z", 4);
    }
    // Half an hour, and at midnight of a day that has none.
    for zone in ["Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo"] {
        let mut night = window(zone);
        night.times = times(23 * 60, 45);
        check(&muted(night), "2018-11-02T00:00:00Z", 3);
    }
}

#[test]
fn of_several_windows_each_mutes_and_any_makes_active() {
    let mut weekend = window("UTC");
    weekend.days_of_week = vec![6..=7];
    let mut morning = window("UTC");
    morning.times = times(0, 6 * 60);
    let hours = Hours {
        mute: vec![weekend.clone(), morning.clone()],
        active: vec![],
    };
    // Saturday up to Monday 06:00.
    let until = hours.mute_until(at("2026-11-28T12:00:00Z"));
    assert_eq!(until, Some(at("2026-11-30T06:00:00Z")));
    let hours = Hours {
        mute: vec![morning],
        active: vec![weekend],
    };
    let until = hours.mute_until(at("2026-11-25T12:00:00Z"));
    assert_eq!(until, Some(at("2026-11-28T06:00:00Z")));
    assert_eq!(hours.mute_until(at("2026-11-28T06:00:00Z")), None);
}

#[test]
fn one_without_an_end_is_asked_again_after_a_week() {
    let hours = muted(window("UTC"));
    let until = hours.mute_until(at("2026-11-01T00:00:00Z"));
    assert_eq!(until, Some(at("2026-11-08T00:00:00Z")));
    assert_eq!(
        Hours::default().mute_until(at("2026-11-01T00:00:00Z")),
        None
    );
}
