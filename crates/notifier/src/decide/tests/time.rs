//! What becomes so by time, and how these rules meet the others.

use super::*;

const HOUR: i64 = 3_600;

fn heartbeat(second: i64) -> Heartbeat {
    Heartbeat {
        region: "cn-shanghai".into(),
        seen_until: at(second),
        observed_at: at(second + 1),
        traceparent: None,
    }
}

impl Ledger {
    pub(super) fn with(change: impl Fn(&mut Rules)) -> Self {
        let mut ledger = Self::default();
        change(&mut ledger.rules);
        ledger
    }

    /// A heartbeat whose `seen_until` is this second.
    pub(super) fn beat(&mut self, second: i64) -> Vec<String> {
        let heartbeat = heartbeat(second);
        let mut told = Vec::new();
        for (rule, limit) in self.rules.timed() {
            let due = |since: Timestamp| heartbeat.seen_until.duration_since(since) >= limit;
            let due: Vec<Armed> = if let Rule::Own(name) = rule {
                let is_due = |key: &&(Name, Timestamp, TaskId)| key.0 == name && due(key.1);
                let keys: Vec<_> = self.held.keys().filter(is_due).cloned().collect();
                keys.iter()
                    .map(|key| self.held.remove(key).unwrap())
                    .collect()
            } else {
                let keys: Vec<_> = self.open.keys().filter(|(s, _)| due(*s)).cloned().collect();
                keys.iter()
                    .map(|key| self.open.remove(key).unwrap())
                    .collect()
            };
            for armed in due {
                told.extend(self.judge(&armed, timers::remained, &heartbeat));
            }
        }
        for (_, armed) in std::mem::take(&mut self.ended) {
            told.extend(self.judge(&armed, timers::slow, &heartbeat));
        }
        told
    }

    fn judge(
        &mut self,
        armed: &Armed,
        judge: fn(&Armed, View, &Rules, &Heartbeat, Timestamp) -> Decision,
        heartbeat: &Heartbeat,
    ) -> Vec<String> {
        let subject = Subject::of(&armed.instance, &armed.task);
        let view = self.view(&armed.task.task_id, &subject);
        let decision = judge(armed, view, &self.rules, heartbeat, heartbeat.observed_at);
        self.keep(&armed.task.task_id, &subject, decision)
    }

    fn open(&mut self, id: &str, created: i64) -> Vec<String> {
        self.see(
            Kind::Created,
            task(id, "r", Status::Pending, created, created),
        )
    }

    fn vanish(&mut self, id: &str, created: i64) -> Vec<String> {
        self.see(
            Kind::Vanished,
            task(id, "r", Status::Pending, created, created),
        )
    }
}

#[test]
fn an_open_task_is_stuck_at_the_heartbeat_that_is_past_its_limit_once() {
    let mut ledger = Ledger::default();
    assert!(ledger.open("a", 0).is_empty());
    assert!(ledger.beat(2 * HOUR - 1).is_empty());
    assert_eq!(ledger.beat(2 * HOUR), ["firing stuck a #1"]);
    assert!(ledger.beat(3 * HOUR).is_empty());
    let copies = task("a", "r", Status::Synchronizing, 0, 3 * HOUR);
    assert!(
        ledger.change(copies).is_empty(),
        "still stuck, told already"
    );
    assert!(ledger.beat(9 * HOUR).is_empty());
    let well = task("a", "r", Status::Success, 0, 10 * HOUR);
    assert_eq!(ledger.change(well), ["resolved stuck a by a"]);
    assert!(ledger.open.is_empty(), "nothing waits");
}

#[test]
fn a_task_that_ends_in_time_is_never_stuck() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    ledger.change(task("a", "r", Status::Success, 0, HOUR));
    assert!(ledger.beat(9 * HOUR).is_empty());
    assert!(ledger.open.is_empty());
}

#[test]
fn stuck_ends_when_the_task_is_final_however_it_went() {
    let cases: [(Status, Option<&str>, &[&str]); 4] = [
        (Status::Success, None, &["resolved stuck a by a"]),
        (Status::Canceled, None, &["resolved stuck a"]),
        // The graver one takes over: no all-clear.
        (Status::Error, None, &["firing failed a #1"]),
        (Status::Success, Some("X"), &["firing issue a #1"]),
    ];
    for (status, issue, expected) in cases {
        let mut ledger = Ledger::default();
        ledger.open("a", 0);
        assert_eq!(ledger.beat(2 * HOUR), ["firing stuck a #1"]);
        let mut over = task("a", "r", status, 0, 3 * HOUR);
        over.issue = issue.map(str::to_owned);
        assert_eq!(ledger.change(over), expected);
        let stuck = ledger.incidents.values().find(|i| i.rule == Rule::Stuck);
        assert!(!stuck.unwrap().is_open());
    }
}

#[test]
fn a_lesser_condition_of_the_final_state_does_not_take_over() {
    let mut ledger = Ledger::with(|rules| rules.canceled = true);
    ledger.open("a", 0);
    ledger.beat(2 * HOUR);
    assert_eq!(
        ledger.change(task("a", "r", Status::Canceled, 0, 3 * HOUR)),
        ["firing canceled a #1", "resolved stuck a"]
    );
}

#[test]
fn an_issue_is_graver_than_stuck_and_an_unknown_status_is_not() {
    let mut ledger = Ledger::default();
    let issue = with_issue(task("a", "r", Status::Synchronizing, 0, 1));
    assert_eq!(ledger.change(issue), ["firing issue a #1"]);
    assert!(ledger.beat(2 * HOUR).is_empty(), "one state, one condition");
    let paused = Status::Unknown("PAUSED".into());
    assert_eq!(
        ledger.change(task("b", "s", paused, 0, 1)),
        ["firing unknown_status b #1"]
    );
    assert_eq!(ledger.beat(2 * HOUR), ["firing stuck b #1"]);
    let open: Vec<Rule> = ledger
        .incidents
        .values()
        .filter(|i| i.is_open())
        .map(|i| i.rule)
        .collect();
    assert_eq!(open.len(), 2, "the cause moved: {open:?}");
    assert!(!open.contains(&Rule::UnknownStatus));
}

#[test]
fn a_stuck_task_whose_route_went_well_since_is_told_and_over() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    ledger.change(task("b", "r", Status::Success, 60, 120));
    assert_eq!(
        ledger.beat(2 * HOUR),
        ["firing stuck a #1", "resolved stuck a by b"]
    );
}

#[test]
fn a_task_that_is_opened_again_may_get_stuck_again() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    ledger.beat(2 * HOUR);
    ledger.change(task("a", "r", Status::Canceled, 0, 3 * HOUR));
    ledger.change(task("a", "r", Status::Pending, 0, 4 * HOUR));
    assert!(ledger.beat(5 * HOUR).is_empty(), "open since four hours in");
    assert_eq!(ledger.beat(6 * HOUR), ["firing stuck a #1"]);
}

#[test]
fn what_was_stuck_before_a_baseline_is_silent_and_what_gets_stuck_after_it_is_told() {
    let mut ledger = Ledger::default();
    let snapshot = |id: &str, created| {
        let mut seen = observation(
            Kind::Snapshot,
            task(id, id, Status::Pending, created, created),
            10 * HOUR,
        );
        seen.event_id = EventId(format!("snapshot-{id}"));
        seen
    };
    assert!(ledger.feed(&snapshot("old", HOUR)).is_empty());
    assert!(ledger.feed(&snapshot("young", 9 * HOUR)).is_empty());
    assert!(ledger.beat(10 * HOUR).is_empty());
    assert_eq!(ledger.beat(11 * HOUR), ["firing stuck young #1"]);
    // The end of what was never told is not told either.
    let well = task("old", "old", Status::Success, HOUR, 12 * HOUR);
    assert!(ledger.change(well).is_empty());
    // Asked for, because the log had lost something: told.
    let mut requested = snapshot("asked", HOUR);
    requested.detail = Some(Detail {
        requested: true,
        ..Detail::default()
    });
    assert!(ledger.feed(&requested).is_empty());
    assert_eq!(ledger.beat(12 * HOUR), ["firing stuck asked #1"]);
}

#[test]
fn a_second_baseline_does_not_silence_what_the_first_one_waits_for() {
    let mut ledger = Ledger::default();
    for second in [10 * HOUR, 12 * HOUR] {
        let pending = task("a", "r", Status::Pending, 9 * HOUR, 9 * HOUR);
        ledger.feed(&observation(Kind::Snapshot, pending, second));
    }
    assert_eq!(ledger.beat(13 * HOUR), ["firing stuck a #1"]);
}

#[test]
fn a_vanished_task_is_told_and_being_listed_again_ends_it() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    assert_eq!(ledger.vanish("a", 0), ["firing vanished a #1"]);
    assert!(ledger.vanish("a", 0).is_empty(), "it vanishes once");
    assert!(ledger.beat(9 * HOUR).is_empty(), "no time passes for it");
    let back = task("a", "r", Status::Synchronizing, 0, HOUR);
    assert_eq!(ledger.change(back), ["resolved vanished a"]);
    assert_eq!(ledger.beat(10 * HOUR), ["firing stuck a #1"]);
}

#[test]
fn a_vanished_task_that_comes_back_ends_as_its_state_says() {
    let cases: [(Status, &[&str]); 3] = [
        (Status::Success, &["resolved vanished a by a"]),
        (Status::Error, &["firing failed a #1"]),
        (
            Status::Unknown("PAUSED".into()),
            &["firing unknown_status a #1", "resolved vanished a"],
        ),
    ];
    for (status, expected) in cases {
        let mut ledger = Ledger::default();
        ledger.open("a", 0);
        ledger.vanish("a", 0);
        assert_eq!(ledger.change(task("a", "r", status, 0, HOUR)), expected);
    }
}

#[test]
fn a_later_well_task_of_its_route_ends_a_vanished_one() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    ledger.vanish("a", 0);
    assert_eq!(
        ledger.change(task("b", "r", Status::Success, 60, 120)),
        ["resolved vanished a by b"]
    );
}

#[test]
fn a_stuck_task_that_vanishes_stays_stuck() {
    let mut ledger = Ledger::default();
    ledger.open("a", 0);
    assert_eq!(ledger.beat(2 * HOUR), ["firing stuck a #1"]);
    assert!(ledger.vanish("a", 0).is_empty());
    let back = task("a", "r", Status::Pending, 0, 3 * HOUR);
    assert!(ledger.change(back).is_empty());
    let failed = task("a", "r", Status::Error, 0, 4 * HOUR);
    assert_eq!(ledger.change(failed), ["firing failed a #1"]);
}

#[test]
fn a_final_task_does_not_vanish() {
    let mut ledger = Ledger::default();
    ledger.change(task("a", "r", Status::Success, 0, 60));
    assert!(ledger.vanish("a", 0).is_empty());
}

#[test]
fn an_unknown_status_ends_by_a_well_task_and_not_by_an_open_one() {
    let paused = || Status::Unknown("PAUSED".into());
    let mut ledger = Ledger::default();
    assert_eq!(
        ledger.change(task("a", "r", paused(), 0, 1)),
        ["firing unknown_status a #1"]
    );
    assert!(
        ledger
            .change(task("a", "r", Status::Pending, 0, 2))
            .is_empty()
    );
    assert_eq!(
        ledger.change(task("a", "r", paused(), 0, 3)),
        ["firing unknown_status a #2"],
        "left and entered again"
    );
    assert_eq!(
        ledger.change(task("a", "r", Status::Success, 0, 4)),
        ["resolved unknown_status a by a"]
    );
    ledger.change(task("b", "r", paused(), 10, 11));
    assert_eq!(
        ledger.change(task("b", "r", Status::Error, 10, 12)),
        ["firing failed b #1"]
    );
}

#[test]
fn slow_is_told_once_after_the_end_and_holds_nothing_open() {
    let mut ledger = Ledger::with(|rules| rules.slow = Some(SignedDuration::from_hours(1)));
    ledger.open("a", 0);
    assert!(ledger.beat(HOUR + 60).is_empty(), "it is not over yet");
    let well = |modified| task("a", "r", Status::Success, 0, modified);
    assert!(ledger.change(well(HOUR + 90)).is_empty());
    assert_eq!(ledger.beat(HOUR + 120), ["firing slow a #1"]);
    assert!(ledger.incidents.values().all(|i| !i.is_open()));
    assert!(ledger.change(well(HOUR + 200)).is_empty());
    assert!(ledger.beat(2 * HOUR).is_empty(), "told once");
    // In time; failed, which is graver; without an end of its own, judged at the heartbeat.
    ledger.open("b", 0);
    ledger.change(task("b", "r", Status::Success, 0, HOUR - 1));
    ledger.open("c", 0);
    ledger.change(task("c", "r", Status::Error, 0, HOUR));
    ledger.open("d", HOUR);
    let mut endless = task("d", "r", Status::Canceled, HOUR, 0);
    endless.modified_at = None;
    ledger.change(endless);
    assert_eq!(ledger.beat(2 * HOUR), ["firing slow d #1"]);
}

#[test]
fn rules_that_are_off_tell_nothing_and_a_changed_limit_holds_for_what_waits() {
    let mut ledger = Ledger::with(|rules| {
        rules.stuck = None;
        (rules.vanished, rules.unknown_status) = (false, false);
    });
    ledger.open("a", 0);
    ledger.open("b", 0);
    assert!(ledger.beat(9 * HOUR).is_empty());
    assert!(ledger.vanish("b", 0).is_empty());
    let paused = Status::Unknown("PAUSED".into());
    assert!(ledger.change(task("c", "s", paused, 0, 1)).is_empty());
    ledger.rules.stuck = Some(SignedDuration::from_hours(10));
    assert!(ledger.beat(9 * HOUR).is_empty());
    let told = ledger.beat(10 * HOUR);
    assert_eq!(
        told,
        ["firing stuck a #1", "firing stuck c #2"].map(|l| {
            // `c` is of another route.
            l.replace("c #2", "c #1")
        })
    );
}

#[test]
fn what_time_tells_has_an_id_without_a_clock() {
    let armed = |observed| Armed {
        rule: None,
        instance: "cri-a".into(),
        since: at(0),
        event_id: EventId(format!("e-{observed}")),
        observed_at: at(observed),
        task: task("a", "r", Status::Pending, 0, 0),
        detail: None,
        traceparent: None,
    };
    let id = |observed, second| {
        let mut ledger = Ledger::default();
        ledger.open("a", 0);
        let armed = armed(observed);
        let view = ledger.view(&"a".into(), &Subject::of("cri-a", &armed.task));
        let told = timers::remained(&armed, view, &RULES, &heartbeat(second), at(second)).told;
        told[0].event_id.clone()
    };
    assert_eq!(id(1, 2 * HOUR), id(5, 7 * HOUR));
}

proptest! {
    /// Whatever comes in whatever order, with heartbeats in between: an end follows a beginning of its
    /// incident, no event and no heartbeat tells twice, what is over holds nothing open, and nothing waits
    /// for a task that is final, gone or stuck already.
    #[test]
    fn time_tells_nothing_twice_and_ends_nothing_that_did_not_begin(
        steps in prop::collection::vec((0u8..3, 0u8..2, 0u8..9), 1..60)
    ) {
        let mut ledger = Ledger::with(|rules| rules.slow = Some(SignedDuration::from_mins(30)));
        let mut firing = std::collections::BTreeSet::new();
        for (step, (id, repo, what)) in steps.into_iter().enumerate() {
            let second = i64::try_from(step).unwrap() * 1_500;
            let status = match what {
                0 | 8 => Status::Pending,
                1 => Status::Synchronizing,
                2 => Status::Success,
                3 => Status::Error,
                4 => Status::Canceled,
                _ => Status::Unknown("PAUSED".into()),
            };
            let kind = if what == 8 { Kind::Vanished } else { Kind::Updated };
            let name = format!("{id}-{repo}");
            let seen = task(&name, &repo.to_string(), status, i64::from(id), second);
            let mut told = Vec::new();
            if what == 7 {
                told.extend(ledger.beat(second));
                prop_assert!(ledger.beat(second + 1).is_empty(), "judged twice");
            } else {
                let observation = observation(kind, seen, second);
                told.extend(ledger.feed(&observation));
                prop_assert!(ledger.feed(&observation).is_empty(), "told twice");
            }
            for line in &told {
                let words: Vec<&str> = line.split(' ').collect();
                let repo = words[2].rsplit('-').next().unwrap().to_owned();
                let key = (words[1].to_owned(), repo);
                if words[0] == "firing" {
                    firing.insert(key);
                } else {
                    prop_assert!(firing.remove(&key), "resolved before firing: {told:?}");
                }
            }
            for (task_id, known) in &ledger.tasks {
                let waits = ledger.open.keys().filter(|(_, id)| id == task_id).count();
                let is_open = known.status.phase() == Phase::Open;
                let expected = is_open && !known.stuck && !known.vanished;
                prop_assert_eq!(waits, usize::from(expected), "{} {:?}", task_id, known);
            }
            for incident in ledger.incidents.values().filter(|i| i.is_open()) {
                for cause in &incident.causes {
                    let known = &ledger.tasks[&cause.task.task_id];
                    let is_open = known.status.phase() == Phase::Open;
                    match incident.rule {
                        Rule::Stuck => prop_assert!(known.stuck && is_open, "{:?}", known),
                        Rule::Vanished => prop_assert!(known.vanished, "{:?}", known),
                        rule => prop_assert!(rule != Rule::Slow, "{:?}", incident),
                    }
                }
            }
        }
    }
}
