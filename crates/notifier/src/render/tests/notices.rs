//! Mails of the rules that need time: good enough to act on in the night.

use jiff::SignedDuration;

use super::*;
use crate::decide::{Rule, summary};

/// What `blind` and `silent` say: no task.
fn notice(rule: &str, severity: Severity, reason: &str, summary: &str, message: &str) -> Entry {
    let mut entry = firing(task("rst-1", Status::Error, None));
    entry.item.rule = rule.into();
    entry.item.severity = severity;
    entry.item.reason = reason.into();
    entry.item.summary = summary.into();
    entry.item.task = None;
    entry.item.instance = Some("cri-source".into());
    entry.item.region = Some("cn-shanghai".into());
    entry.item.since = at("2026-01-02T03:04:05Z");
    entry.message = Some(message.into());
    entry
}

fn blind(reason: &str, message: &str) -> Entry {
    let summary = format!("cannot see cri-source since 03:04 UTC: {reason}: {message}");
    notice("blind", Severity::Critical, reason, &summary, message)
}

fn over(mut entry: Entry, summary: &str) -> Entry {
    entry.item.status = AlertStatus::Resolved;
    entry.item.summary = summary.into();
    entry
}

/// A task under a rule, with the line that the rule gives it.
fn of_task(rule: Rule, status: Status, took: Option<SignedDuration>) -> Entry {
    let mut entry = firing(task("rst-1", status, None));
    entry.item.rule = rule.as_str().into();
    entry.item.severity = rule.severity();
    let task = entry.item.task.as_ref().unwrap();
    entry.item.summary = summary::firing(task, rule, 1, took);
    entry
}

#[test]
fn blindness_says_what_is_not_known_and_what_to_do() {
    let denied = blind("denied", "NoPrivilege: Access denied for this user.");
    let told = mail(&delivery(vec![denied.clone()]));
    assert_snapshot!("blind.txt", text(&told));
    assert_snapshot!("blind.html", told.html);
    let end = over(denied.clone(), "sees cri-source again, after 12 minutes");
    assert_snapshot!("blind_over.txt", text(&mail(&delivery(vec![end]))));
    let mut again = delivery(vec![denied]);
    again.entries[0].item.summary.insert_str(0, "still: ");
    again.repeat = true;
    assert_snapshot!("blind_repeat.txt", text(&mail(&again)));
}

#[test]
fn each_class_of_blindness_says_what_to_do() {
    let classes = [
        "denied",
        "credentials",
        "throttled",
        "unavailable",
        "clock",
        "malformed",
        "rejected",
        "unstable",
        "gone",
        "disk_full",
        "silent_poller",
        "never_heard",
        "log_lost",
        "something_new",
    ];
    let rows = classes.map(|reason| {
        let told = mail(&delivery(vec![blind(reason, "x")])).text;
        let row = told.lines().find_map(|line| line.strip_prefix("  To do "));
        format!("{reason}: {}", row.expect("what to do").trim())
    });
    assert_snapshot!("blind_to_do", rows.join("\n"));
}

#[test]
fn silence_names_what_does_not_run() {
    let summary = "nothing ran of sync rule crsr-1 on cri-source for 24 hours";
    let message = "Its last task was created at 2026-01-01 03:04 UTC.";
    let mut entry = notice("silent", Severity::Warning, "nothing_ran", summary, message);
    entry.item.sync_rule_id = Some("crsr-1".into());
    assert_snapshot!("silent.txt", text(&mail(&delivery(vec![entry.clone()]))));
    (entry.item.sync_rule_id, entry.item.repo) = (None, Some("team-a/shop".into()));
    let end = over(entry, "team-a/shop on cri-source runs again: PENDING");
    assert_snapshot!("silent_over.txt", text(&mail(&delivery(vec![end]))));
}

#[test]
fn what_becomes_so_by_time_says_how_long() {
    let hours = |hours| Some(SignedDuration::from_hours(hours));
    let stuck = of_task(Rule::Stuck, Status::Synchronizing, hours(2));
    assert_snapshot!("stuck.txt", text(&mail(&delivery(vec![stuck.clone()]))));
    let task = stuck.item.task.clone().unwrap();
    let end = over(stuck, &summary::over(&task, Rule::Stuck));
    assert_snapshot!("stuck_over.txt", text(&mail(&delivery(vec![end]))));
    let slow = of_task(Rule::Slow, Status::Success, hours(3));
    assert_snapshot!("slow.txt", text(&mail(&delivery(vec![slow]))));
}

#[test]
fn what_is_not_known_of_a_task_is_said() {
    let vanished = of_task(Rule::Vanished, Status::Pending, None);
    assert_snapshot!(
        "vanished.txt",
        text(&mail(&delivery(vec![vanished.clone()])))
    );
    let task = vanished.item.task.clone().unwrap();
    let end = over(vanished, &summary::over(&task, Rule::Vanished));
    assert_snapshot!("vanished_over.txt", text(&mail(&delivery(vec![end]))));
    let paused = Status::Unknown("WAITING_FOR_QUOTA".into());
    let unknown = of_task(Rule::UnknownStatus, paused, None);
    assert_snapshot!("unknown_status.txt", text(&mail(&delivery(vec![unknown]))));
}

#[test]
fn a_condition_without_a_task_keeps_its_subject_and_its_place_in_a_digest() {
    let fired = blind("denied", "x");
    let end = over(fired.clone(), "sees cri-source again");
    let subject = |entry: &Entry| mail(&delivery(vec![entry.clone()])).subject;
    assert_eq!(subject(&fired), "[FIRING] blind: cri-source");
    assert_eq!(subject(&end), "[RESOLVED] blind: cri-source");
    let mut entries = many(12);
    entries.push(fired);
    let told = mail(&delivery(entries));
    let first = told
        .text
        .split("The gravest:\n")
        .nth(1)
        .or(told.text.split("All of them:\n").nth(1));
    let first = first.unwrap().lines().next().unwrap();
    assert!(
        first.contains("FIRING cannot see cri-source since 03:04 UTC"),
        "{first}"
    );
}

#[test]
fn the_webhook_says_which_instance() {
    let body = webhook(&delivery(vec![blind("denied", "x")]));
    let alert: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let item = &alert["data"]["alerts"][0];
    assert_eq!(item["instance"], "cri-source");
    assert_eq!(item["region"], "cn-shanghai");
    assert_eq!(item["reason"], "denied");
    assert_eq!(item["severity"], "critical");
    assert!(item.get("task").is_none() && item.get("repo").is_none());
}
