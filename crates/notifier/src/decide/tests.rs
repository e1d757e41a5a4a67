//! A ledger in a map, fed with observations: what is told, in order.

mod flapping;
mod own;
mod time;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use syncbell_event::{Image, TaskId};

use super::*;
use timers::Armed;

const RULES: Rules = Rules {
    flapping: None,
    failed: true,
    issue: true,
    stuck: Some(SignedDuration::from_hours(2)),
    vanished: true,
    unknown_status: true,
    blind: Some(SignedDuration::from_mins(2)),
    silent: None,
    canceled: false,
    slow: None,
    marks: BTreeMap::new(),
    own: Vec::new(),
};

/// What the ledger does, without a store.
struct Ledger {
    rules: Rules,
    tasks: BTreeMap<TaskId, TaskState>,
    subjects: BTreeMap<String, SubjectState>,
    incidents: BTreeMap<String, Incident>,
    open: BTreeMap<(Timestamp, TaskId), Armed>,
    held: BTreeMap<(Name, Timestamp, TaskId), Armed>,
    ended: BTreeMap<TaskId, Armed>,
    clock: i64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            rules: RULES,
            tasks: BTreeMap::new(),
            subjects: BTreeMap::new(),
            incidents: BTreeMap::new(),
            open: BTreeMap::new(),
            held: BTreeMap::new(),
            ended: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl Ledger {
    fn feed(&mut self, seen: &Observation) -> Vec<String> {
        let subject = Subject::of(&seen.instance, &seen.task);
        let view = self.view(&seen.task.task_id, &subject);
        let decision = decide(seen, view, &self.rules, seen.observed_at);
        self.keep(&seen.task.task_id, &subject, decision)
    }

    fn view(&self, task_id: &TaskId, subject: &Subject) -> View {
        let task = self.tasks.get(task_id).cloned();
        let of_rule = |rule| subject.incident_id(rule);
        let mut ids: Vec<String> = self.rules.of_tasks().map(of_rule).collect();
        ids.extend(task.iter().flat_map(|task| task.incidents.clone()));
        ids.sort();
        ids.dedup();
        View {
            task,
            subject: self
                .subjects
                .get(&subject.digest())
                .cloned()
                .unwrap_or_default(),
            incidents: ids
                .iter()
                .filter_map(|id| self.incidents.get(id).cloned())
                .collect(),
        }
    }

    fn keep(&mut self, task_id: &TaskId, subject: &Subject, decision: Decision) -> Vec<String> {
        if let Some(task) = decision.task {
            self.tasks.insert(task_id.clone(), task);
        }
        if let Some(state) = decision.subject {
            self.subjects.insert(subject.digest(), state);
        }
        for incident in decision.incidents {
            self.incidents.insert(incident.id.clone(), incident);
        }
        for change in decision.timers {
            match change {
                TimerChange::Wait(timer, armed) => {
                    self.open.insert((timer.since, task_id.clone()), *armed);
                }
                TimerChange::Forget(timer) => {
                    self.open.remove(&(timer.since, task_id.clone()));
                }
                TimerChange::Hold(held, armed) => {
                    self.held
                        .insert((held.rule, held.since, task_id.clone()), *armed);
                }
                TimerChange::Release(held) => {
                    self.held.remove(&(held.rule, held.since, task_id.clone()));
                }
                TimerChange::Ended(armed) => {
                    self.ended.insert(task_id.clone(), *armed);
                }
            }
        }
        decision.told.iter().map(line).collect()
    }

    fn see(&mut self, kind: Kind, task: SyncTask) -> Vec<String> {
        self.clock += 1;
        let clock = self.clock;
        self.feed(&observation(kind, task, clock))
    }

    fn change(&mut self, task: SyncTask) -> Vec<String> {
        self.see(Kind::Updated, task)
    }
}

fn line(entry: &Entry) -> String {
    let task = entry
        .item
        .task
        .as_ref()
        .map(|task| task.task_id.to_string())
        .unwrap_or_default();
    let by = entry
        .item
        .resolved_by
        .as_ref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let time = if entry.fires() {
        format!(" #{}", entry.occurrence)
    } else {
        String::new()
    };
    format!(
        "{} {} {task}{by}{time}",
        entry.item.status.as_str(),
        entry.item.rule
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_322_800 + second).unwrap()
}

fn observation(kind: Kind, task: SyncTask, second: i64) -> Observation {
    Observation {
        event_id: EventId(format!("event-{second}")),
        kind,
        instance: "cri-a".into(),
        observed_at: at(second),
        task,
        was_final: false,
        detail: None,
        traceparent: None,
    }
}

/// A task of the route `repo`, created and modified at these seconds.
fn task(id: &str, repo: &str, status: Status, created: i64, modified: i64) -> SyncTask {
    let image = |region: &str| Image {
        region_id: Some(region.into()),
        instance_id: Some(format!("cri-{region}")),
        namespace: Some("team".into()),
        repo: Some(repo.into()),
        tag: Some("1".into()),
    };
    let mut task = SyncTask::new(id, status);
    task.created_at = Some(at(created));
    task.modified_at = Some(at(modified));
    task.from = Some(image("shanghai"));
    task.to = Some(image("shenzhen"));
    task
}

fn with_issue(mut task: SyncTask) -> SyncTask {
    task.issue = Some("NETWORK_ERROR".into());
    task
}

#[test]
fn a_failure_is_told_once_and_a_later_success_of_its_route_ends_it() {
    let mut ledger = Ledger::default();
    assert!(
        ledger
            .change(task("a", "r", Status::Pending, 1, 1))
            .is_empty()
    );
    assert_eq!(
        ledger.change(task("a", "r", Status::Error, 1, 2)),
        ["firing failed a #1"]
    );
    assert!(
        ledger
            .change(task("a", "r", Status::Error, 1, 3))
            .is_empty()
    );
    assert!(
        ledger
            .change(task("b", "r", Status::Pending, 5, 5))
            .is_empty()
    );
    assert_eq!(
        ledger.change(task("b", "r", Status::Success, 5, 6)),
        ["resolved failed a by b"]
    );
    assert!(
        ledger
            .change(task("c", "r", Status::Success, 7, 7))
            .is_empty()
    );
}

#[test]
fn success_with_an_issue_is_an_issue_and_is_not_well() {
    let mut ledger = Ledger::default();
    let sample = with_issue(task("a", "r", Status::Success, 1, 2));
    assert_eq!(ledger.change(sample), ["firing issue a #1"]);
    let other = with_issue(task("b", "r", Status::Success, 3, 4));
    assert_eq!(ledger.change(other), ["firing issue b #2"]);
    let well = task("c", "r", Status::Success, 5, 6);
    assert_eq!(ledger.change(well), ["resolved issue b by c"]);
}

#[test]
fn an_earlier_task_that_succeeds_late_ends_nothing_newer() {
    let mut ledger = Ledger::default();
    assert_eq!(
        ledger.change(task("new", "r", Status::Error, 9, 9)),
        ["firing failed new #1"]
    );
    assert!(
        ledger
            .change(task("old", "r", Status::Success, 2, 10))
            .is_empty()
    );
}

#[test]
fn an_issue_that_becomes_an_error_moves_without_an_all_clear() {
    let mut ledger = Ledger::default();
    let open = with_issue(task("a", "r", Status::Synchronizing, 1, 2));
    assert_eq!(ledger.change(open), ["firing issue a #1"]);
    let failed = with_issue(task("a", "r", Status::Error, 1, 3));
    assert_eq!(ledger.change(failed), ["firing failed a #1"]);
    assert_eq!(
        ledger.change(task("b", "r", Status::Success, 4, 4)),
        ["resolved failed a by b"]
    );
}

#[test]
fn pending_and_canceled_end_nothing_and_failing_again_is_told_again() {
    let mut ledger = Ledger::default();
    ledger.change(task("a", "r", Status::Error, 1, 2));
    assert!(
        ledger
            .change(task("a", "r", Status::Pending, 1, 3))
            .is_empty()
    );
    assert!(
        ledger
            .change(task("x", "r", Status::Canceled, 2, 3))
            .is_empty()
    );
    assert_eq!(
        ledger.change(task("a", "r", Status::Error, 1, 4)),
        ["firing failed a #2"]
    );
    assert_eq!(
        ledger.change(task("b", "r", Status::Error, 5, 5)),
        ["firing failed b #3"]
    );
    assert_eq!(
        ledger.change(task("c", "r", Status::Success, 6, 6)),
        ["resolved failed b by c"]
    );
}

#[test]
fn a_failure_read_after_a_newer_success_is_told_as_firing_then_as_resolved() {
    let mut ledger = Ledger::default();
    ledger.change(task("b", "r", Status::Success, 5, 6));
    assert_eq!(
        ledger.change(task("a", "r", Status::Error, 1, 2)),
        ["firing failed a #1", "resolved failed a by b"]
    );
}

#[test]
fn a_task_that_went_well_and_then_fails_is_not_ended_by_its_own_success() {
    let mut ledger = Ledger::default();
    ledger.change(task("a", "r", Status::Success, 1, 2));
    assert_eq!(
        ledger.change(with_issue(task("a", "r", Status::Success, 1, 3))),
        ["firing issue a #1"]
    );
    // Nor does it end another one: it is no well task any more.
    assert_eq!(
        ledger.change(task("b", "r", Status::Error, 0, 4)),
        ["firing failed b #1"]
    );
}

#[test]
fn a_snapshot_tells_nothing_and_its_cause_is_not_told_resolved() {
    let mut ledger = Ledger::default();
    assert!(
        ledger
            .see(Kind::Snapshot, task("a", "r", Status::Error, 1, 2))
            .is_empty()
    );
    assert!(
        ledger
            .change(task("b", "r", Status::Success, 5, 6))
            .is_empty()
    );
    // But a change to a state that is known only from a snapshot is told.
    assert!(
        ledger
            .see(Kind::Snapshot, task("c", "s", Status::Error, 1, 2))
            .is_empty()
    );
    assert_eq!(
        ledger.change(task("c", "s", Status::Error, 1, 3)),
        ["firing failed c #1"]
    );
}

#[test]
fn a_requested_snapshot_tells_what_the_ledger_does_not_know() {
    let mut ledger = Ledger::default();
    let requested = |task, second| {
        let mut seen = observation(Kind::Snapshot, task, second);
        seen.detail = Some(Detail {
            requested: true,
            ..Detail::default()
        });
        seen
    };
    ledger.change(task("a", "r", Status::Error, 1, 2));
    assert!(
        ledger
            .feed(&requested(task("a", "r", Status::Error, 1, 2), 10))
            .is_empty()
    );
    let news = requested(task("b", "s", Status::Error, 1, 2), 11);
    assert_eq!(ledger.feed(&news), ["firing failed b #1"]);
}

#[test]
fn a_stale_event_changes_nothing() {
    let mut ledger = Ledger::default();
    let old = observation(Kind::Updated, task("a", "r", Status::Error, 1, 2), 1);
    assert_eq!(ledger.feed(&old), ["firing failed a #1"]);
    let well = observation(Kind::Updated, task("a", "r", Status::Success, 1, 9), 9);
    assert_eq!(ledger.feed(&well), ["resolved failed a by a"]);
    assert!(ledger.feed(&old).is_empty(), "an old event read again");
    // Another instance that lists the same task, and lags.
    let mut lagging = observation(Kind::Updated, task("a", "r", Status::Error, 1, 2), 20);
    lagging.instance = "cri-b".into();
    assert!(ledger.feed(&lagging).is_empty());
}

#[test]
fn a_task_listed_by_two_instances_is_told_once() {
    let mut ledger = Ledger::default();
    let here = observation(Kind::Updated, task("a", "r", Status::Error, 1, 2), 3);
    let mut there = observation(Kind::Created, task("a", "r", Status::Error, 1, 2), 4);
    there.instance = "cri-b".into();
    assert_eq!(ledger.feed(&here), ["firing failed a #1"]);
    assert!(ledger.feed(&there).is_empty());
}

#[test]
fn a_clock_that_jumps_back_does_not_hide_a_failure() {
    let mut ledger = Ledger::default();
    ledger.feed(&observation(
        Kind::Created,
        task("a", "r", Status::Pending, 1, 2),
        4_000,
    ));
    let failed = observation(Kind::Updated, task("a", "r", Status::Error, 1, 3), 400);
    assert_eq!(ledger.feed(&failed), ["firing failed a #1"]);
}

#[test]
fn without_a_full_route_the_task_itself_is_the_subject() {
    let mut ledger = Ledger::default();
    let bare = |status, second| {
        let mut task = task("a", "r", status, 1, second);
        task.to = None;
        task
    };
    assert_eq!(
        ledger.change(bare(Status::Error, 2)),
        ["firing failed a #1"]
    );
    assert!(
        ledger
            .change(task("b", "r", Status::Success, 5, 6))
            .is_empty()
    );
    assert_eq!(
        ledger.change(bare(Status::Success, 7)),
        ["resolved failed a by a"]
    );
}

#[test]
fn the_history_tells_what_happened_before_and_not_the_event_itself() {
    let mut ledger = Ledger::default();
    ledger.change(task("a", "r", Status::Success, 1, 60));
    let seen = observation(Kind::Updated, task("b", "r", Status::Error, 120, 180), 200);
    let subject = Subject::of("cri-a", &seen.task);
    let view = View {
        subject: ledger.subjects[&subject.digest()].clone(),
        ..View::default()
    };
    let decision = decide(&seen, view, &RULES, at(200));
    assert_eq!(
        decision.told[0].history,
        ["2026-01-02 03:01 UTC SUCCESS, task a"]
    );
    assert_eq!(
        decision.told[0].item.summary,
        "team/r:1 did not reach shenzhen/cri-shenzhen: ERROR"
    );
}

proptest! {
    /// Whatever is fed, feeding the same event twice tells nothing the second time, every resolve
    /// follows a firing of its incident, and a state entered into ERROR is told.
    #[test]
    fn nothing_is_told_twice_and_no_failure_is_missed(
        steps in prop::collection::vec((0u8..4, 0u8..2, 0u8..5, any::<bool>()), 1..60)
    ) {
        let mut ledger = Ledger::default();
        let mut firing = std::collections::BTreeSet::new();
        for (step, (id, repo, status, issue)) in steps.into_iter().enumerate() {
            let second = i64::try_from(step).unwrap() + 1;
            let status = match status {
                0 => Status::Pending,
                1 => Status::Synchronizing,
                2 => Status::Success,
                3 => Status::Error,
                _ => Status::Canceled,
            };
            let name = format!("{id}-{repo}");
            let mut seen = task(&name, &repo.to_string(), status, i64::from(id), second);
            seen.issue = issue.then(|| "X".to_owned());
            let observation = observation(Kind::Updated, seen.clone(), second);
            let was = ledger.tasks.get(&seen.task_id).map(|known| known.broken);
            let told = ledger.feed(&observation);
            let broken = RULES.broken_by(&seen, Beyond::default(), &[]);
            if broken.is_some() && was != Some(broken) {
                prop_assert!(told.iter().any(|line| line.starts_with("firing")), "{told:?}");
            }
            for line in &told {
                let rule = line.split(' ').nth(1).unwrap();
                let key = (rule.to_owned(), repo);
                if line.starts_with("firing") {
                    firing.insert(key);
                } else {
                    prop_assert!(firing.remove(&key), "resolved before firing: {told:?}");
                }
            }
            prop_assert!(ledger.feed(&observation).is_empty(), "told twice");
        }
    }
}

/// That it was seen again says nothing else, and is written once an hour.
#[test]
fn a_subject_is_written_when_it_changed_or_was_not_seen_for_an_hour() {
    let mut ledger = Ledger::default();
    let written = |ledger: &mut Ledger, status: Status, second: i64| {
        let seen = observation(Kind::Updated, task("a", "shop", status, 0, second), second);
        let subject = Subject::of(&seen.instance, &seen.task);
        let view = ledger.view(&seen.task.task_id, &subject);
        let decision = decide(&seen, view, &ledger.rules, seen.observed_at);
        let written = decision.subject.is_some();
        ledger.keep(&seen.task.task_id, &subject, decision);
        written
    };
    assert!(written(&mut ledger, Status::Pending, 0), "it is new");
    assert!(!written(&mut ledger, Status::Synchronizing, 3_599));
    assert!(written(&mut ledger, Status::Pending, 3_600));
    assert!(!written(&mut ledger, Status::Synchronizing, 3_601));
    assert!(written(&mut ledger, Status::Success, 3_602), "it went well");
}
