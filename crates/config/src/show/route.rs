//! What is told to whom: routes, windows, rules. Pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{Shown, list, map, optional, text, time};
use crate::config::{
    Flapping, Inhibit, Marks, OwnRule, Route, RuleSwitches, Severity, SilentSubject,
};
use crate::{TimeRange, Window};

/// As checked: what a route leaves out stands in it as it was taken from the one around.
pub(super) fn route(route: &Route) -> Shown {
    let group_by = route.group_by.as_ref();
    let group_by = group_by.map_or(Shown::Nothing, |labels| {
        Shown::List(labels.iter().map(text).collect())
    });
    // An empty one lifts what the route around says.
    let names =
        |windows: &[Window]| Shown::List(windows.iter().map(|window| text(&window.name)).collect());
    let continues = if route.continues {
        Shown::Switch(true)
    } else {
        Shown::Nothing
    };
    let optional_time = |of: Option<std::time::Duration>| of.map_or(Shown::Nothing, time);
    map([
        (
            "receivers",
            Shown::List(route.receivers.iter().map(text).collect()),
        ),
        ("match", list(route.matchers.iter().map(text))),
        ("continue", continues),
        ("group_by", group_by),
        ("group_wait", optional_time(route.group_wait)),
        ("group_interval", optional_time(route.group_interval)),
        ("repeat_interval", optional_time(route.repeat_interval)),
        ("mute", names(&route.hours.mute)),
        ("active", names(&route.hours.active)),
        ("fallback", optional(route.fallback.as_ref())),
        ("routes", list(route.routes.iter().map(self::route))),
    ])
}

/// Those that routes use, each once.
pub(super) fn windows(top: &Route) -> Shown {
    let mut known: BTreeMap<&str, &Window> = BTreeMap::new();
    let mut left = vec![top];
    while let Some(route) = left.pop() {
        let windows = route.hours.mute.iter().chain(&route.hours.active);
        known.extend(windows.map(|window| (window.name.as_str(), window)));
        left.extend(&route.routes);
    }
    list(known.into_values().map(window))
}

fn window(window: &Window) -> Shown {
    let ranges = |ranges: &[RangeInclusive<i8>]| list(ranges.iter().map(range));
    map([
        ("name", text(&window.name)),
        (
            "time_zone",
            text(window.time_zone.iana_name().unwrap_or("UTC")),
        ),
        ("days_of_week", ranges(&window.days_of_week)),
        ("days_of_month", ranges(&window.days_of_month)),
        ("months", ranges(&window.months)),
        ("times", list(window.times.iter().copied().map(times))),
    ])
}

fn range(range: &RangeInclusive<i8>) -> Shown {
    let (from, to) = (range.start(), range.end());
    if from == to {
        return text(from);
    }
    Shown::Text(format!("{from}-{to}"))
}

fn times(range: TimeRange) -> Shown {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let (from, to) = (clock(range.from_minute), clock(range.to_minute));
    Shown::Text(format!("{from}-{to}"))
}

pub(super) fn rules(rules: &RuleSwitches) -> Shown {
    let rule = |name: &str, enabled: bool, more: Vec<(&str, Shown)>| {
        let mut keys = vec![("enabled".to_owned(), Shown::Switch(enabled))];
        keys.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if let Some(marked) = rules.marks.get(name) {
            keys.extend(marks(marked));
        }
        (name.to_owned(), Shown::Map(keys))
    };
    let after = |after| vec![("after", time(after))];
    Shown::Map(vec![
        rule("failed", rules.failed, Vec::new()),
        rule("issue", rules.issue, Vec::new()),
        rule("stuck", rules.stuck, after(rules.stuck_after)),
        rule("vanished", rules.vanished, Vec::new()),
        rule("unknown_status", rules.unknown_status, Vec::new()),
        rule("blind", rules.blind, after(rules.blind_after)),
        rule("canceled", rules.canceled, Vec::new()),
        rule("slow", rules.slow, after(rules.slow_after)),
        rule("silent", rules.silent.is_some(), silent(rules)),
        ("own".to_owned(), list(rules.own.iter().map(own_rule))),
        ("expire_after".to_owned(), time(rules.expire_after)),
    ])
}

fn silent(rules: &RuleSwitches) -> Vec<(&'static str, Shown)> {
    let Some(silent) = &rules.silent else {
        return Vec::new();
    };
    let (mut sync_rules, mut repos) = (Vec::new(), Vec::new());
    for watch in &silent.watched {
        match &watch.subject {
            SilentSubject::SyncRule(id) => {
                sync_rules.push(Shown::Text(format!("{}/{id}", watch.instance)));
            }
            SilentSubject::Repo { namespace, repo } => {
                repos.push(Shown::Text(format!(
                    "{}/{namespace}/{repo}",
                    watch.instance
                )));
            }
        }
    }
    vec![
        ("within", time(silent.within)),
        ("sync_rules", list(sync_rules.into_iter())),
        ("repos", list(repos.into_iter())),
    ]
}

fn marks(marks: &Marks) -> Vec<(String, Shown)> {
    let texts = |texts: &BTreeMap<String, String>| {
        if texts.is_empty() {
            return Shown::Nothing;
        }
        let texts = texts.iter();
        Shown::Map(
            texts
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        )
    };
    let severity = marks.severity.map(|severity| match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    });
    vec![
        ("severity".to_owned(), optional(severity)),
        ("labels".to_owned(), texts(&marks.labels)),
        ("annotations".to_owned(), texts(&marks.annotations)),
    ]
}

fn own_rule(rule: &OwnRule) -> Shown {
    let keys = [
        ("name".to_owned(), text(&rule.name)),
        ("match".to_owned(), list(rule.matchers.iter().map(text))),
        ("for".to_owned(), rule.held_for.map_or(Shown::Nothing, time)),
    ];
    Shown::Map(keys.into_iter().chain(marks(&rule.marks)).collect())
}

pub(super) fn inhibit(pair: &Inhibit) -> Shown {
    map([
        ("source", list(pair.source.iter().map(text))),
        ("target", list(pair.target.iter().map(text))),
        ("equal", list(pair.equal.iter().map(text))),
    ])
}

pub(super) fn flapping(flapping: Option<&Flapping>) -> Shown {
    let Some(flapping) = flapping else {
        return map([("changes", Shown::Number(0))]);
    };
    map([
        ("changes", Shown::Number(flapping.changes as u64)),
        ("within", time(flapping.within)),
        ("every", time(flapping.every)),
    ])
}
