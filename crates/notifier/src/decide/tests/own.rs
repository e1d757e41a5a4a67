//! Rules that the configuration adds, and severities that it changes.

use std::path::Path;

use super::*;

const HOUR: i64 = 3_600;

/// The rules of a file with this under `rules`.
fn rules(text: &str) -> Rules {
    let text = format!(
        "instances: [{{id: cri-a, region: cn-shanghai}}]\n\
         receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
         route: {{receivers: [r]}}\nrules:\n{text}"
    );
    let read = syncbell_config::parse(&text, "x", Path::new("."), &|_| None);
    Rules::of(&read.unwrap_or_else(|problems| panic!("{problems}")).rules)
}

fn ledger(text: &str) -> Ledger {
    Ledger {
        rules: rules(text),
        ..Ledger::default()
    }
}

const PENDING: &str = "  own:\n    - {name: waits, match: ['task_status=~PENDING|SYNCHRONIZING', 'from.namespace=team'], for: 30m, severity: error}\n";

#[test]
fn the_gravest_decides_then_one_of_ones_own_then_the_order() {
    let own = |severity: &str| {
        ledger(&format!(
            "  own:\n    - {{name: mine, match: ['task_status=ERROR', 'to.repo!=other'], severity: {severity}}}\n    \
             - {{name: later, match: ['task_status=ERROR'], severity: {severity}}}\n"
        ))
    };
    for (severity, expected) in [
        ("critical", "firing mine a #1"),
        ("error", "firing mine a #1"),
        ("warning", "firing failed a #1"),
    ] {
        let told = own(severity).change(task("a", "r", Status::Error, 1, 2));
        assert_eq!(told, [expected], "{severity}");
        let told = own(severity).change(task("a", "other", Status::Error, 1, 2));
        assert_eq!(told, [expected.replace("mine", "later")], "{severity}");
    }
    // A built-in one that is made graver than another moves before it.
    let mut moved = ledger("  issue: {severity: critical}\n");
    let told = moved.change(with_issue(task("a", "r", Status::Error, 1, 2)));
    assert_eq!(told, ["firing issue a #1"]);
}

#[test]
fn it_is_told_once_and_ends_with_a_well_task_or_when_it_is_final_and_other() {
    let own = "  own: [{name: mine, match: ['task_status=~PENDING|ERROR', priority=5], severity: critical}]\n";
    let urgent = |status, modified| {
        let mut task = task("a", "r", status, 1, modified);
        task.priority = Some(5);
        task
    };
    let mut ledger = ledger(own);
    assert_eq!(
        ledger.change(urgent(Status::Pending, 2)),
        ["firing mine a #1"]
    );
    assert!(ledger.change(urgent(Status::Pending, 3)).is_empty());
    assert!(
        ledger.change(urgent(Status::Synchronizing, 4)).is_empty(),
        "an open task ends nothing"
    );
    assert_eq!(
        ledger.change(urgent(Status::Error, 5)),
        ["firing mine a #2"]
    );
    assert_eq!(
        ledger.change(urgent(Status::Canceled, 6)),
        ["resolved mine a"]
    );
    assert_eq!(
        ledger.change(urgent(Status::Error, 7)),
        ["firing mine a #1"]
    );
    let newer = task("b", "r", Status::Success, 8, 9);
    assert_eq!(ledger.change(newer), ["resolved mine a by b"]);
}

#[test]
fn what_must_hold_for_some_time_is_told_at_the_heartbeat_that_is_past_it() {
    let mut ledger = ledger(PENDING);
    assert!(
        ledger
            .change(task("a", "r", Status::Pending, 0, 0))
            .is_empty()
    );
    assert!(ledger.beat(1_799).is_empty());
    // Another state that is such is the same; the time does not begin anew.
    assert!(
        ledger
            .change(task("a", "r", Status::Synchronizing, 0, 1_000))
            .is_empty()
    );
    assert_eq!(ledger.beat(1_800), ["firing waits a #1"]);
    assert!(ledger.beat(1_900).is_empty(), "once");
    // The gravest was told: getting stuck is no news.
    assert!(ledger.beat(3 * HOUR).is_empty());
    assert_eq!(
        ledger.change(task("a", "r", Status::Success, 0, 4 * HOUR)),
        ["resolved waits a by a"]
    );
    assert!(ledger.held.is_empty());
}

#[test]
fn a_state_that_does_not_last_is_not_told_and_counts_anew() {
    let mut ledger = ledger(PENDING);
    ledger.change(task("a", "r", Status::Pending, 0, 0));
    ledger.change(task("a", "r", Status::Canceled, 0, 600));
    assert!(ledger.held.is_empty());
    assert!(ledger.beat(1_900).is_empty());
    ledger.change(task("a", "r", Status::Pending, 0, 2_000));
    assert!(ledger.beat(2_000 + 1_799).is_empty());
    assert_eq!(ledger.beat(2_000 + 1_800), ["firing waits a #1"]);
}

#[test]
fn one_without_for_moves_to_a_graver_one_that_had_to_wait() {
    let text = "  own:\n    - {name: soon, match: [task_status=PENDING], severity: info}\n    \
                - {name: late, match: [task_status=PENDING], for: 1h, severity: critical}\n";
    let mut ledger = ledger(text);
    assert_eq!(
        ledger.change(task("a", "r", Status::Pending, 0, 0)),
        ["firing soon a #1"]
    );
    // Both an hour and two are past: the gravest alone is told, without an all-clear of the lesser.
    assert_eq!(ledger.beat(2 * HOUR), ["firing late a #1"]);
    let told = ledger.change(task("a", "r", Status::Success, 0, 3 * HOUR));
    assert_eq!(told, ["resolved late a by a"]);
}

#[test]
fn what_was_so_long_before_a_baseline_stays_silent() {
    let mut ledger = ledger(PENDING);
    ledger.clock = 2 * HOUR - 1;
    ledger.see(Kind::Snapshot, task("old", "r", Status::Pending, 0, 0));
    ledger.see(
        Kind::Snapshot,
        task("new", "s", Status::Pending, 2 * HOUR - 60, 2 * HOUR - 60),
    );
    assert!(ledger.beat(2 * HOUR).is_empty());
    assert_eq!(ledger.beat(3 * HOUR), ["firing waits new #1"]);
}

#[test]
fn one_that_a_well_task_breaks_is_told_once() {
    let own = "  own: [{name: arrived, match: [task_status=SUCCESS, 'issue='], severity: info}]\n";
    let mut ledger = ledger(own);
    assert!(
        ledger
            .see(Kind::Snapshot, task("s", "r", Status::Success, 0, 0))
            .is_empty()
    );
    ledger.change(task("a", "r", Status::Error, 1, 2));
    let told = ledger.change(task("a", "r", Status::Success, 1, 3));
    assert_eq!(told, ["firing arrived a #1", "resolved failed a by a"]);
    assert!(
        ledger
            .change(task("a", "r", Status::Success, 1, 4))
            .is_empty()
    );
    assert!(
        ledger
            .incidents
            .values()
            .all(|incident| !incident.is_open())
    );
}

/// What an incident was opened with goes on to its end.
#[test]
fn labels_and_severity_are_those_of_the_beginning() {
    let text = |severity| {
        rules(&format!(
            "  failed: {{severity: {severity}, labels: {{team: core}}, annotations: {{runbook: 'https://x'}}}}\n"
        ))
    };
    let mut ledger = Ledger {
        rules: text("warning"),
        ..Ledger::default()
    };
    let decided = |ledger: &mut Ledger, task: SyncTask| {
        ledger.clock += 1;
        let seen = observation(Kind::Updated, task, ledger.clock);
        let subject = Subject::of(&seen.instance, &seen.task);
        let view = ledger.view(&seen.task.task_id, &subject);
        let decision = decide(&seen, view, &ledger.rules, seen.observed_at);
        let told = decision.told.clone();
        ledger.keep(&seen.task.task_id, &subject, decision);
        told
    };
    let begun = decided(&mut ledger, task("a", "r", Status::Error, 1, 2));
    ledger.rules = text("critical");
    let ended = decided(&mut ledger, task("a", "r", Status::Success, 1, 3));
    for entry in begun.iter().chain(&ended) {
        assert_eq!(entry.item.severity.as_str(), "warning");
        assert_eq!(entry.item.labels["team"], "core");
        assert_eq!(entry.item.annotations["runbook"], "https://x");
    }
    let again = repeat_entries(ledger.incidents.values().next().unwrap());
    assert!(again.is_empty(), "it is over");
}

/// Rows of the version before hold the names of built-in rules as this one writes them.
#[test]
fn rules_are_their_names_in_rows() {
    for rule in Rule::ALL
        .into_iter()
        .chain([Rule::Own(Name::new("mine").unwrap())])
    {
        let row = serde_json::to_string(&rule).unwrap();
        assert_eq!(row, format!("\"{}\"", rule.as_str()));
        assert_eq!(serde_json::from_str::<Rule>(&row).unwrap(), rule);
    }
    assert!(Name::new(&"x".repeat(33)).is_none());
}
