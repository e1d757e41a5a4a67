//! An incident remembers when it began, over its openings.

use super::*;
use crate::decide::flap::Flapping;
use crate::decide::notice::{self, About};

const FLAPPING: Flapping = Flapping {
    changes: 4,
    within: SignedDuration::from_hours(1),
};

#[test]
fn what_begins_again_knows_when_it_began_before_whoever_ended_it() {
    let flapping = |task: &SyncTask| {
        let mut ledger = Ledger::default();
        ledger.rules.flapping = Some(FLAPPING);
        let mut told = Vec::new();
        for second in (0..8).map(|n| n * 60) {
            // Issues begin; a failure ends each without a word, and a success the failure.
            for (status, issue) in [
                (Status::Synchronizing, true),
                (Status::Error, false),
                (Status::Success, false),
            ] {
                let mut task = task.clone();
                task.task_id = format!("{second}").into();
                task.status = status;
                task.issue = issue.then(|| "NETWORK_ERROR".into());
                task.modified_at = Some(at(second));
                let subject = Subject::of("cri-a", &task);
                let view = ledger.view(&task.task_id, &subject);
                let seen = observation(Kind::Updated, task, second);
                let decision = decide(&seen, view, &ledger.rules, seen.observed_at);
                told.extend(
                    decision
                        .told
                        .iter()
                        .map(|entry| (entry.item.rule.clone(), entry.item.status, entry.flapping)),
                );
                ledger.keep(&seen.task.task_id, &subject, decision);
            }
        }
        told
    };
    let told = flapping(&task("a", "r", Status::Pending, 1, 1));
    let of = |rule: &str, status| {
        let told = told
            .iter()
            .filter(|told| told.0 == rule && told.1 == status);
        told.map(|told| told.2).collect::<Vec<bool>>()
    };
    let after = |n: usize| (0..8).map(|turn| turn >= n).collect::<Vec<bool>>();
    assert_eq!(
        of("issue", AlertStatus::Firing),
        after(3),
        "never told to end"
    );
    assert_eq!(of("failed", AlertStatus::Firing), after(2));
    assert_eq!(of("failed", AlertStatus::Resolved), after(1));
}

#[test]
fn what_no_task_causes_flaps_too() {
    let mut rules = RULES;
    rules.flapping = Some(FLAPPING);
    let (mut known, mut told) = (None, Vec::new());
    for now in [0, 60, 120].map(at) {
        let about = About {
            rule: Rule::Blind,
            subject: Subject::Instance {
                instance: "cri-a".into(),
            },
            instance: "cri-a",
            region: None,
            reason: "unseen",
            message: None,
            since: now,
            summary: "cri-a is not seen".into(),
        };
        let begun = notice::begin(known.take(), about, now, None, now).marked(&rules);
        let ended = notice::end(begun.incident, ClosedBy::Seen, "seen".into(), now, now);
        let ended = ended.marked(&rules);
        let entries = [begun.entry, ended.entry].into_iter().flatten();
        told.extend(entries.map(|entry| entry.flapping));
        known = ended.incident;
    }
    assert_eq!(told, [false, false, false, true, true, true]);
}

#[test]
fn an_end_by_hand_counts() {
    let mut ledger = Ledger::default();
    ledger.rules.flapping = Some(FLAPPING);
    let mut told = Vec::new();
    for second in [0, 60] {
        let id = format!("{second}");
        ledger.change(task(&id, "r", Status::Error, second, second));
        let incident = ledger.incidents.values().next().unwrap().clone();
        let (incident, entry) = close(incident, "", &ledger.rules, at(second));
        told.push(entry.unwrap().flapping);
        ledger.incidents.insert(incident.id.clone(), incident);
    }
    assert_eq!(told, [false, true]);
}
