//! The tree of routes and its windows, as users write them.

use std::time::Duration;

use super::*;

fn with(rest: &str) -> String {
    format!("{SMALLEST}{rest}")
}

/// `line:column message` of every problem of `SMALLEST` with `rest` behind it; the route ends at line 15.
fn told(rest: &str) -> Vec<String> {
    let problems = read(&with(rest)).unwrap_err().0;
    let lines = problems
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    lines.collect()
}

#[test]
fn what_a_route_leaves_out_is_that_of_the_route_around_it() {
    let rest = "  group_by: [batch_id]
  group_wait: 5s
  fallback: mail
  mute: [nights]
  routes:
    - match: ['task_status=ERROR', 'extra.Foo!=1']
      continue: true
      receivers: [ops]
      repeat_interval: 1h
      active: [office]
      routes:
        - {match: [priority=5], mute: [], group_by: ['...']}
windows:
  - {name: nights, time_zone: Asia/Shanghai, times: ['22:00-07:00']}
  - {name: office, days_of_week: [monday-friday, sun'day], days_of_month: ['1-7', '-7--1', '28--1'], months: [march-5, '12']}
".replace("sun'day", "sunday");
    let route = read(&with(&rest)).unwrap().route;
    let [outer] = route.routes.as_slice() else {
        panic!("{route:?}")
    };
    let [inner] = outer.routes.as_slice() else {
        panic!("{outer:?}")
    };
    assert_eq!(route.receivers, ["ops", "mail"]);
    assert_eq!(outer.receivers, ["ops"]);
    assert_eq!(inner.receivers, ["ops"]);
    assert!(outer.continues && !inner.continues && !route.continues);
    assert_eq!(outer.matchers.len(), 2);
    assert_eq!(inner.matchers[0].label, "priority");
    let by = |route: &Route| route.group_by.clone().unwrap();
    assert_eq!(
        (by(outer), by(inner)),
        (vec!["batch_id".to_owned()], vec!["...".to_owned()])
    );
    assert_eq!(inner.group_wait, Some(Duration::from_secs(5)));
    assert_eq!(
        (
            route.repeat_interval,
            inner.repeat_interval.unwrap().as_secs()
        ),
        (None, 3_600)
    );
    assert_eq!(inner.fallback.as_deref(), Some("mail"));
    let names = |windows: &[Window]| -> Vec<String> {
        windows.iter().map(|window| window.name.clone()).collect()
    };
    assert_eq!(names(&outer.hours.mute), ["nights"]);
    assert_eq!(
        (names(&inner.hours.mute), names(&inner.hours.active)),
        (vec![], vec!["office".to_owned()])
    );
    let nights = &route.hours.mute[0];
    assert_eq!(nights.time_zone.iana_name(), Some("Asia/Shanghai"));
    let times = TimeRange {
        from_minute: 22 * 60,
        to_minute: 7 * 60,
    };
    assert_eq!(nights.times, [times]);
    let office = &inner.hours.active[0];
    assert_eq!(office.days_of_week, [1..=5, 7..=7]);
    let days = office
        .days_of_month
        .iter()
        .map(|days| (*days.start(), *days.end()));
    assert_eq!(days.collect::<Vec<_>>(), [(1, 7), (-7, -1), (28, -1)]);
    assert_eq!(office.months, [3..=5, 12..=12]);
}

/// A value in quotes is as Alertmanager writes it.
#[test]
fn a_value_may_stand_in_quotes() {
    let rest = "  match: ['from.repo=\"web\"', 'reason=~\"a|b\"', 'issue=\"a\"b\"']\n";
    let route = read(&with(rest)).unwrap().route;
    let values: Vec<&str> = route.matchers.iter().map(|m| m.value.as_str()).collect();
    assert_eq!(values, ["web", "a|b", "\"a\"b\""]);
}

#[test]
fn what_is_wrong_in_a_tree_is_told_at_its_place() {
    let cases = [
        (
            "  routes: [{receivers: [mial]}]\n",
            "16:25 no receiver is named `mial`, did you mean `mail`?",
        ),
        (
            "  fallback: pager\n",
            "16:13 no receiver is named `pager`, expected one of: ops, mail",
        ),
        (
            "  routes: [{match: ['bach_id=1']}]\n",
            "16:21 unknown label `bach_id`, did you mean `batch_id`?",
        ),
        (
            "  match: ['status=ERROR']\n",
            "16:11 unknown status `ERROR`, expected one of: firing, resolved; the task's own is `task_status`",
        ),
        (
            "  routes: [{group_by: [from.tga]}]\n",
            "16:24 unknown label `from.tga`, did you mean `from.tag`?",
        ),
        (
            "  match: ['reason=~[a']\n",
            "16:11 `[a` is no regular expression: unclosed character class",
        ),
        (
            "  continue: true\n",
            "16:13 `continue` at the top: there is no route behind it",
        ),
        (
            "  mute: [nights]\n",
            "16:10 no window is named `nights`: there is no key `windows`",
        ),
        (
            "  mute: [night]\nwindows: [{name: nights, times: ['01:00-02:00']}]\n",
            "16:10 no window is named `night`, did you mean `nights`?",
        ),
        (
            "  routes:\n    - {receivers: [ops]}\n    - {match: [rule=failed]}\n",
            "18:7 this route can never match: `routes[0]` before it has no `match` and takes everything; \
             put it first, or give that one `continue: true`",
        ),
        (
            "  routes:\n    - {match: [rule=failed]}\n    - {match: [severity=error]}\n    \
             - {match: ['issue=X', rule=failed]}\n",
            "19:7 this route can never match: `routes[0]` before it takes everything that this one matches; \
             put it first, or give that one `continue: true`",
        ),
    ];
    for (rest, expected) in cases {
        assert_eq!(told(rest), [expected], "{rest}");
    }
    let behind =
        "  routes:\n    - {match: [rule=failed], continue: true}\n    - {match: [rule=failed]}\n";
    assert!(read(&with(behind)).is_ok());
}

#[test]
fn what_is_wrong_in_a_window_is_told_at_its_place() {
    let cases = [
        (
            "time_zone: Asia/Shanghia, months: ['1']",
            "no time zone is named `Asia/Shanghia`, did you mean `Asia/Shanghai`?",
        ),
        (
            "time_zone: '+08:00', months: ['1']",
            "no time zone is named `+08:00`, expected an IANA name",
        ),
        (
            "days_of_week: [mundy]",
            "unknown day of the week `mundy`, did you mean `monday`?",
        ),
        (
            "days_of_week: [friday-monday]",
            "`friday-monday` ends before it begins: write two ranges",
        ),
        ("months: ['13']", "unknown month `13`"),
        ("days_of_month: ['0']", "`0`: expected days such as"),
        ("days_of_month: ['9-3']", "`9-3` ends before it begins"),
        ("days_of_month: ['1-32']", "`1-32`: expected days such as"),
        (
            "times: ['9:00-17:00']",
            "`9:00-17:00`: expected times such as `09:00-17:30`",
        ),
        ("times: ['09:00-25:00']", "expected times such as"),
        (
            "times: ['09:00-09:00']",
            "it has no length; a whole day is `00:00-24:00`",
        ),
        ("time_zone: UTC", "the window is always"),
    ];
    for (what, expected) in cases {
        let told = told(&format!("windows:\n  - {{name: w, {what}}}\n"));
        assert!(
            told.len() == 1 && told[0].starts_with("17:"),
            "{what}: {told:?}"
        );
        assert!(told[0].contains(expected), "{what}: {told:?}");
    }
    let twice =
        told("windows: [{name: w, times: ['22:00-00:00']}, {name: w, times: ['00:00-24:00']}]\n");
    assert_eq!(twice, ["16:53 a window named `w` stands here twice"]);
}

#[test]
fn a_tree_has_a_bound() {
    let mut deep = "{match: [rule=failed]}".to_owned();
    for _ in 0..9 {
        deep = format!("{{match: [rule=failed], routes: [{deep}]}}");
    }
    let told = told(&format!("  routes: [{deep}]\n"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("at most 8 levels"), "{told:?}");
    let many: Vec<String> = (0..1_001)
        .map(|n| format!("{{match: [reason={n}]}}"))
        .collect();
    let problems = read(&with(&format!("  routes: [{}]\n", many.join(", "))))
        .unwrap_err()
        .0;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "more than 1000 routes");
}
