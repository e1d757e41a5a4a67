//! What holds what: Alertmanager's cases, and ours where they differ.

use syncbell_event::{AlertItem, AlertStatus, EventId, Image, Severity, SyncTask};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_322_800 + second).unwrap()
}

fn entry(rule: &str, repo: &str) -> Entry {
    let mut task = SyncTask::new("rst-1", syncbell_event::Status::Error);
    task.from = Some(Image {
        region_id: Some("cn-shanghai".into()),
        instance_id: Some("cri-a".into()),
        namespace: Some("team-a".into()),
        repo: Some(repo.into()),
        tag: None,
    });
    Entry {
        item: AlertItem {
            incident: format!("{rule} {repo}"),
            rule: rule.into(),
            severity: Severity::Error,
            status: AlertStatus::Firing,
            reason: "ERROR".into(),
            since: at(0),
            summary: String::new(),
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: Some(task),
            resolved_by: None,
            detail: None,
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
        },
        event_id: EventId("e".into()),
        message: None,
        occurrence: 1,
        history: vec![],
        instance: "cri-a".into(),
        observed_at: at(0),
        flapping: false,
        traceparent: None,
    }
}

fn matchers(texts: &[&str]) -> Matchers {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    Matchers::parse(&texts).unwrap()
}

fn mute(id: &str, texts: &[&str], from: i64, to: i64) -> Mute {
    Mute {
        id: id.into(),
        starts_at: at(from),
        ends_at: at(to),
        matchers: matchers(texts),
    }
}

fn inhibit(source: &[&str], target: &[&str], equal: &[&str]) -> Inhibit {
    let side = |texts: &[&str]| {
        let matchers = texts.iter().map(|text| parse_matcher(text).unwrap());
        matchers.collect()
    };
    Inhibit {
        source: side(source),
        target: side(target),
        equal: equal.iter().map(|label| (*label).to_owned()).collect(),
    }
}

/// Whether `source`, being open, holds `target` back, by these pairs.
fn hides(pairs: &Pairs, source: &Entry, target: &Entry) -> bool {
    let sources: Vec<Source> = pairs
        .targets(target)
        .iter()
        .flat_map(|as_target| {
            let as_sources = pairs.sources(source).into_iter();
            let meets = as_sources.filter(|one| one.digest == as_target.digest);
            meets.map(|one| Source {
                incident: source.item.incident.clone(),
                both_sides: one.both_sides && as_target.both_sides,
            })
        })
        .collect();
    holder(target, &[], &sources, at(0)).is_some()
}

#[test]
fn a_silence_holds_from_its_start_until_before_its_end() {
    let silences = [mute(
        "s",
        &["rule=failed", "from.namespace=~team-.*"],
        10,
        20,
    )];
    let held = |second| holder(&entry("failed", "web"), &silences, &[], at(second)).is_some();
    let seconds = [9, 10, 19, 20].map(held);
    assert_eq!(seconds, [false, true, true, false]);
}

#[test]
fn all_its_matchers_hold_and_a_label_that_is_not_there_is_empty() {
    for (texts, expected) in [
        (&["rule=failed", "from.repo=web"][..], true),
        (&["rule=failed", "from.repo=shop"], false),
        (&["rule!=failed"], false),
        (&["from.repo=~w.*", "from.repo!~.*x"], true),
        (&["to.repo="], true),
        (&["to.repo!="], false),
        (&["to.repo=~.*"], true),
        (&[], true),
    ] {
        let silences = [mute("s", texts, 0, 10)];
        let held = holder(&entry("failed", "web"), &silences, &[], at(0));
        assert_eq!(held.is_some(), expected, "{texts:?}");
    }
}

#[test]
fn the_end_of_something_is_not_held() {
    let mut entry = entry("failed", "web");
    entry.item.status = AlertStatus::Resolved;
    let silences = [mute("s", &[], 0, 10)];
    assert_eq!(holder(&entry, &silences, &[], at(0)), None);
}

#[test]
fn of_several_the_one_that_ends_last_holds_and_a_silence_before_a_source() {
    let silences = [
        mute("a", &["rule=failed"], 0, 10),
        mute("b", &["rule=failed"], 0, 30),
        mute("c", &["rule=failed"], 0, 20),
        mute("d", &["rule=issue"], 0, 99),
    ];
    let source = Source {
        incident: "other".into(),
        both_sides: false,
    };
    let sources = std::slice::from_ref(&source);
    let failed = entry("failed", "web");
    let by = |second| holder(&failed, &silences, sources, at(second)).unwrap();
    assert_eq!(by(0), Holder::Silence("b".into()));
    assert_eq!(by(30), Holder::Incident("other".into()));
}

/// Alertmanager's documentation: equal labels, labels that both lack, matchers of both sides.
#[test]
fn a_source_hides_targets_that_say_the_same_in_the_equal_labels() {
    let pairs = Pairs::new(&[inhibit(
        &["rule=failed"],
        &["rule=issue"],
        &["from.repo", "to.repo"],
    )]);
    let source = entry("failed", "web");
    assert!(
        hides(&pairs, &source, &entry("issue", "web")),
        "to.repo is equal: both lack it"
    );
    assert!(!hides(&pairs, &source, &entry("issue", "shop")));
    assert!(!hides(&pairs, &source, &entry("stuck", "web")));
    let without = Pairs::new(&[inhibit(&["rule=failed"], &["rule=issue"], &[])]);
    assert!(hides(&without, &source, &entry("issue", "shop")));
}

#[test]
fn nothing_hides_itself_and_what_is_on_both_sides_is_not_hidden_by_what_is_too() {
    let pairs = Pairs::new(&[inhibit(&["rule=~.*"], &["rule=failed"], &[])]);
    let failed = entry("failed", "web");
    assert!(!hides(&pairs, &failed, &failed));
    assert!(
        !hides(&pairs, &entry("failed", "shop"), &failed),
        "both on both sides"
    );
    assert!(
        hides(&pairs, &entry("issue", "shop"), &failed),
        "a source on one side only"
    );
    let mut again = failed.clone();
    again.item.incident = "issue shop".into();
    assert!(
        !hides(&pairs, &entry("issue", "shop"), &again),
        "its own incident"
    );
}

#[test]
fn a_blind_instance_hides_its_own_stuck_tasks_without_a_word() {
    let pairs = Pairs::new(&[]);
    let mut blind = entry("blind", "");
    blind.item.task = None;
    assert!(hides(&pairs, &blind, &entry("stuck", "web")));
    assert!(!hides(&pairs, &blind, &entry("failed", "web")));
    blind.instance = "cri-b".into();
    assert!(!hides(&pairs, &blind, &entry("stuck", "web")));
}

#[test]
fn other_pairs_have_another_digest() {
    let one = || inhibit(&["rule=failed"], &["rule=issue"], &[]);
    let all = [
        Pairs::new(&[]),
        Pairs::new(&[one()]),
        Pairs::new(&[inhibit(&["rule=failed"], &["rule=issue"], &["from.repo"])]),
        Pairs::new(&[inhibit(
            &["rule=failed", "rule=issue"],
            &["rule=issue"],
            &[],
        )]),
    ];
    let digests: std::collections::BTreeSet<String> = all.iter().map(Pairs::digest).collect();
    assert_eq!(digests.len(), all.len());
    assert_eq!(Pairs::new(&[one()]).digest(), all[1].digest());
}
