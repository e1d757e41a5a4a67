//! Grouping, silences and inhibition beside a real Alertmanager: the cases of its documentation, posted to one
//! process and read by this engine. Compared: which alerts are told together, which are not told, and why.
//!
//! It is Debian's package `prometheus-alertmanager`; where that is missing the test fails and says so.

mod process;

use std::collections::{BTreeMap, BTreeSet};

use syncbell_config::{Inhibit, Route, RuleSwitches, parse_matcher};
use syncbell_event::{Event, Kind, Status};
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, routed, task};
use process::Alertmanager;

/// Long enough for Alertmanager to have all alerts of a case before it sends the first.
const WAIT: Duration = Duration::from_secs(2);

/// One pair: what hides what, where these labels are equal.
type Pair = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

/// Labels by their own names, `name=value` apart by spaces. What hides something stands before it: here an alert is
/// held when it is decided, there when its group is sent.
struct Case {
    name: &'static str,
    group_by: &'static [&'static str],
    inhibit: &'static [Pair],
    silences: &'static [&'static [&'static str]],
    alerts: &'static [(&'static str, &'static str)],
    /// As its documentation says: which are not told.
    held: &'static [&'static str],
    /// And how many groups the others are in.
    groups: usize,
}

const fn case(name: &'static str) -> Case {
    Case {
        name,
        group_by: &[],
        inhibit: &[],
        silences: &[],
        alerts: &[],
        held: &[],
        groups: 0,
    }
}

/// What became of the alerts of one case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// The labels of each group, and what is in it.
    groups: BTreeSet<(BTreeMap<String, String>, BTreeSet<String>)>,
    /// What holds each that is not told: `silence` or `incident`.
    held: BTreeMap<String, &'static str>,
}

const FAILED_HIDES_ISSUE: Pair = (
    &["rule=failed"],
    &["rule=issue"],
    &["from.namespace", "from.repo"],
);

fn grouping() -> Vec<Case> {
    vec![
        Case {
            group_by: &["rule", "from.region_id"],
            alerts: &[
                ("a", "rule=failed from.region_id=eu"),
                ("b", "rule=failed from.region_id=eu from.repo=web"),
                ("c", "rule=failed from.region_id=cn"),
                ("d", "rule=issue from.region_id=eu"),
            ],
            groups: 3,
            ..case("alerts with the same values are one notification")
        },
        Case {
            alerts: &[
                ("a", "rule=failed"),
                ("b", "rule=issue from.repo=web"),
                ("c", "rule=unknown_status"),
            ],
            groups: 1,
            ..case("without labels all is one group")
        },
        Case {
            group_by: &["..."],
            alerts: &[
                ("a", "rule=failed from.repo=web"),
                ("b", "rule=failed from.repo=web"),
            ],
            groups: 2,
            ..case("`...` is each by itself")
        },
        Case {
            group_by: &["batch_id"],
            alerts: &[
                ("a", "rule=failed batch_id=1"),
                ("b", "rule=failed"),
                ("c", "rule=failed from.repo=web"),
            ],
            groups: 2,
            ..case("what lacks the label is a group of its own")
        },
        Case {
            group_by: &["rule"],
            silences: &[&["from.repo=web"]],
            alerts: &[
                ("a", "rule=failed from.repo=web"),
                ("b", "rule=failed from.repo=db"),
                ("c", "rule=issue from.repo=web"),
            ],
            held: &["a", "c"],
            groups: 1,
            ..case(
                "a group goes out without what is silenced in it, and not at all if it is all of it",
            )
        },
    ]
}

fn silences() -> Vec<Case> {
    vec![
        Case {
            silences: &[&["rule=failed", "from.namespace=~team-(a|b)"]],
            alerts: &[
                ("a", "rule=failed from.namespace=team-a"),
                ("b", "rule=failed from.namespace=team-ab"),
                ("c", "rule=failed from.namespace=my-team-a"),
                ("d", "rule=issue from.namespace=team-b"),
                ("e", "rule=failed"),
            ],
            held: &["a"],
            groups: 1,
            ..case("all matchers must hold, and patterns are anchored at both ends")
        },
        Case {
            silences: &[&["rule=~.+", "from.repo!=web", "from.tag!~v1.*"]],
            alerts: &[
                ("a", "rule=failed from.repo=web from.tag=v2"),
                ("b", "rule=failed from.repo=db from.tag=v2"),
                ("c", "rule=failed from.repo=db from.tag=v1.8"),
                ("d", "rule=failed"),
            ],
            held: &["b", "d"],
            groups: 1,
            ..case("what lacks a label differs from each value")
        },
        Case {
            silences: &[&["rule=failed", "batch_id="]],
            alerts: &[("a", "rule=failed"), ("b", "rule=failed batch_id=1")],
            held: &["a"],
            groups: 1,
            ..case("a label that is absent is an empty one")
        },
        Case {
            silences: &[&["from.repo=web"], &["from.tag=v1"]],
            alerts: &[
                ("a", "rule=failed from.repo=web from.tag=v1"),
                ("b", "rule=failed from.repo=web from.tag=v2"),
                ("c", "rule=failed from.repo=db from.tag=v1"),
                ("d", "rule=failed from.repo=db from.tag=v2"),
            ],
            held: &["a", "b", "c"],
            groups: 1,
            ..case("any of several silences")
        },
    ]
}

fn inhibition() -> Vec<Case> {
    vec![
        Case {
            inhibit: &[FAILED_HIDES_ISSUE],
            alerts: &[
                ("a", "rule=failed from.namespace=x from.repo=web"),
                ("b", "rule=issue from.namespace=x from.repo=web"),
                ("c", "rule=issue from.namespace=x from.repo=db"),
                ("d", "rule=unknown_status from.namespace=x from.repo=web"),
            ],
            held: &["b"],
            groups: 1,
            ..case("a source hides targets that say the same in all equal labels")
        },
        Case {
            inhibit: &[FAILED_HIDES_ISSUE],
            alerts: &[
                ("a", "rule=failed from.namespace=x"),
                ("b", "rule=issue from.namespace=x"),
                ("c", "rule=issue from.namespace=x from.repo=web"),
            ],
            held: &["b"],
            groups: 1,
            ..case("labels that both lack are equal")
        },
        Case {
            inhibit: &[(&["rule=failed"], &["severity=warning"], &[])],
            alerts: &[
                ("a", "rule=failed from.repo=web"),
                ("b", "rule=issue from.repo=db"),
                ("c", "rule=unknown_status"),
            ],
            held: &["b", "c"],
            groups: 1,
            ..case("without equal labels it hides all")
        },
    ]
}

fn inhibition_of_what_is_several_things() -> Vec<Case> {
    vec![
        Case {
            inhibit: &[(
                &["rule=~failed|issue"],
                &["rule=~issue|unknown_status"],
                &[],
            )],
            alerts: &[
                ("a", "rule=issue"),
                ("b", "rule=issue"),
                ("c", "rule=unknown_status"),
            ],
            held: &["c"],
            groups: 1,
            ..case("what matches both sides is hidden neither by itself nor by what does too")
        },
        Case {
            inhibit: &[(
                &["rule=~failed|issue"],
                &["rule=~issue|unknown_status"],
                &[],
            )],
            alerts: &[("a", "rule=failed"), ("b", "rule=issue")],
            held: &["b"],
            groups: 1,
            ..case("but by what is only a source")
        },
        Case {
            inhibit: &[
                (&["rule=failed"], &["rule=issue"], &[]),
                (&["rule=issue"], &["rule=unknown_status"], &[]),
            ],
            alerts: &[
                ("a", "rule=failed"),
                ("b", "rule=issue"),
                ("c", "rule=unknown_status"),
            ],
            held: &["b", "c"],
            groups: 1,
            ..case("what is hidden hides all the same")
        },
        Case {
            group_by: &["from.repo"],
            inhibit: &[FAILED_HIDES_ISSUE],
            silences: &[&["rule=failed"], &["from.tag=v9"]],
            alerts: &[
                ("a", "rule=failed from.repo=web"),
                ("b", "rule=issue from.repo=web"),
                ("c", "rule=issue from.repo=web from.tag=v9"),
                ("d", "rule=issue from.repo=db"),
            ],
            held: &["a", "b", "c"],
            groups: 1,
            ..case("what is silenced hides all the same")
        },
    ]
}

fn value<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let pairs = labels
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// The task of which these labels are; a route of its own.
fn event(id: &str, labels: &str, second: u32) -> Envelope {
    let text = |name| value(labels, name).map(str::to_owned);
    let (status, issue) = match value(labels, "rule") {
        Some("issue") => (Status::Success, Some("NETWORK_ERROR".to_owned())),
        Some("unknown_status") => (Status::Unknown("PAUSED".into()), None),
        _ => (Status::Error, None),
    };
    let at = i64::from(second);
    let mut event = task(Kind::Updated, INSTANCE, id, status, at, at, 1);
    if let Event::Task { data, .. } = &mut event.event
        && let Some(task) = &mut data.after
    {
        (task.issue, task.batch_id) = (issue, text("batch_id"));
        let from = task.from.get_or_insert_default();
        from.region_id = text("from.region_id");
        from.namespace = text("from.namespace");
        from.repo = text("from.repo");
        from.tag = text("from.tag");
        task.to.get_or_insert_default().repo = Some(id.to_owned());
    }
    event
}

/// What this engine makes of a case.
async fn ours(case: &Case) -> Outcome {
    let matchers = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| parse_matcher(text).unwrap())
            .collect()
    };
    let names = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let inhibit = case.inhibit.iter().map(|(source, target, equal)| Inhibit {
        source: matchers(source),
        target: matchers(target),
        equal: names(equal),
    });
    let rules = RuleSwitches {
        blind: false,
        inhibit: inhibit.collect(),
        ..RuleSwitches::default()
    };
    let route = Route {
        group_by: Some(names(case.group_by)),
        group_wait: Some(WAIT),
        ..Route::default()
    };
    let mut bench = Bench::over(Store::memory(), routed(route, &rules, &[])).await;
    for silence in case.silences {
        bench.silence(silence, 3_600).await;
    }
    let events = case.alerts.iter().zip(1..);
    let events = events.map(|((id, labels), second)| event(id, labels, second));
    bench.read(events.collect()).await;
    bench.look_at(Timestamp::now() + WAIT).await;

    let mut outcome = Outcome::default();
    for delivery in bench.deliveries().await {
        let labels = delivery
            .group
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        let tasks = delivery
            .entries
            .iter()
            .filter_map(|entry| entry.item.task.as_ref());
        let ids = tasks.map(|task| task.task_id.as_str().to_owned());
        outcome.groups.insert((labels.collect(), ids.collect()));
    }
    let handle = bench.handle().await;
    for (id, _) in case.alerts {
        let explained = handle.explain(id).await.unwrap().unwrap();
        let by = &explained["events"][0]["fates"][0]["held_by"];
        if by["silence"].is_string() {
            outcome.held.insert((*id).to_owned(), "silence");
        } else if by["incident"].is_string() {
            outcome.held.insert((*id).to_owned(), "incident");
        }
    }
    outcome
}

#[tokio::test]
async fn alertmanager_groups_silences_and_hides_the_same() {
    let cases: Vec<Case> = [
        grouping(),
        silences(),
        inhibition(),
        inhibition_of_what_is_several_things(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let alertmanager = Alertmanager::start(&cases).await;
    alertmanager.post(&cases).await;
    let theirs = alertmanager.outcomes(&cases).await;
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = ours(case).await;
        assert_eq!(ours, theirs, "{}", case.name);
        let held: Vec<&str> = ours.held.keys().map(String::as_str).collect();
        assert_eq!(held, case.held, "{}", case.name);
        assert_eq!(ours.groups.len(), case.groups, "{}", case.name);
    }
    alertmanager.stop().await;
}
