use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A task `status issue@modified`, created at 10.
fn task(text: &str) -> SyncTask {
    let (state, modified) = text.split_once('@').unwrap();
    let mut words = state.split(' ');
    let mut task = SyncTask::new("rst-1", Status::from(words.next().unwrap().to_owned()));
    task.issue = words.next().map(str::to_owned);
    task.created_at = Some(at(10));
    task.modified_at = modified.parse().ok().map(at);
    task
}

fn known(text: &str) -> Row {
    first_look(task(text), "f", at(0), Sight::Watching)
        .row
        .unwrap()
}

/// `kind [changed] n` of the change, and how the row stands after it.
fn check(row: &str, seen: &str, expected: &str, row_after: &str) {
    let before = known(row);
    let found = diff(Some(&before), task(seen), "f", at(1), Sight::Watching);
    let told = found
        .change
        .as_ref()
        .map_or("nothing".to_owned(), |change| {
            format!(
                "{:?} {} {}",
                change.kind,
                change.changed.join(","),
                change.n
            )
        });
    assert_eq!(told, expected, "{row} → {seen}");
    let after = found.row.as_ref().unwrap_or(&before);
    assert_eq!(after.task, task(row_after), "{row} → {seen}");
    if let Some(change) = found.change {
        assert_eq!(change.before, Some(task(row)));
        assert_eq!(change.after, Some(task(seen)));
    }
}

#[test]
fn a_known_task_is_told_by_the_letter_of_the_design() {
    let table = [
        ("PENDING@11", "PENDING@11", "nothing", "PENDING@11"),
        (
            "PENDING@11",
            "SYNCHRONIZING@12",
            "Updated status,modified_at 0",
            "SYNCHRONIZING@12",
        ),
        ("PENDING@11", "ERROR@11", "Updated status 0", "ERROR@11"),
        (
            "SUCCESS@11",
            "SUCCESS NETWORK_ERROR@11",
            "Updated issue 0",
            "SUCCESS NETWORK_ERROR@11",
        ),
        (
            "ERROR X@11",
            "SUCCESS@12",
            "Updated status,issue,modified_at 0",
            "SUCCESS@12",
        ),
        // Only the modified time moved: silent while open, told once final.
        (
            "SYNCHRONIZING@11",
            "SYNCHRONIZING@12",
            "nothing",
            "SYNCHRONIZING@12",
        ),
        ("PAUSED@11", "PAUSED@12", "nothing", "PAUSED@12"),
        ("ERROR@11", "ERROR@12", "Updated modified_at 0", "ERROR@12"),
        (
            "SUCCESS@-",
            "SUCCESS@12",
            "Updated modified_at 0",
            "SUCCESS@12",
        ),
        // Backwards: an old answer, unless the state is another one.
        ("ERROR@12", "ERROR@11", "nothing", "ERROR@12"),
        ("ERROR@12", "ERROR@-", "nothing", "ERROR@12"),
        (
            "SYNCHRONIZING@12",
            "SYNCHRONIZING@11",
            "nothing",
            "SYNCHRONIZING@12",
        ),
        (
            "ERROR@12",
            "SYNCHRONIZING@11",
            "Updated status,modified_at 0",
            "SYNCHRONIZING@11",
        ),
        (
            "ERROR X@12",
            "ERROR Y@11",
            "Updated issue,modified_at 0",
            "ERROR Y@11",
        ),
    ];
    for (row, seen, expected, row_after) in table {
        check(row, seen, expected, row_after);
    }
}

#[test]
fn a_state_that_comes_back_has_a_new_id() {
    let mut row = known("PENDING@11");
    let mut ids = Vec::new();
    for state in [
        "ERROR@12",
        "PENDING@11",
        "ERROR@12",
        "PENDING@11",
        "ERROR@12",
    ] {
        let found = diff(Some(&row), task(state), "f", at(1), Sight::Watching);
        ids.push(found.change.unwrap().event_id("cri-a"));
        row = found.row.unwrap();
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn a_transition_found_twice_has_one_id() {
    let row = known("PENDING@11");
    let find = |now| diff(Some(&row), task("ERROR@12"), "f", at(now), Sight::Watching).change;
    assert_eq!(
        find(1).unwrap().event_id("cri-a"),
        find(99).unwrap().event_id("cri-a")
    );
}

#[test]
fn another_field_of_the_same_state_is_told_with_an_id_of_its_own() {
    let first = first_look(task("ERROR@12"), "f", at(0), Sight::Watching);
    let mut seen = task("ERROR@12");
    seen.priority = Some(5);
    let found = diff(first.row.as_ref(), seen, "f", at(1), Sight::Watching);
    let change = found.change.unwrap();
    assert_eq!(change.changed, ["priority"]);
    assert_ne!(
        change.event_id("cri-a"),
        first.change.unwrap().event_id("cri-a")
    );
}

#[test]
fn every_field_is_compared_under_its_name_in_json() {
    let full = serde_json::json!({
        "batch_id": "b", "sync_rule_id": "r", "status": "ERROR", "issue": "i", "trigger": "t",
        "priority": 1, "created_at": "2026-01-01T00:00:00Z", "modified_at": "2026-01-01T00:00:00Z",
        "from": {}, "to": {}, "cross_user": true, "custom_link": true, "link_id": "l",
        "accelerated": true, "extra": {"x": 1}
    });
    let bare = serde_json::json!({"task_id": "rst-1", "status": "PENDING"});
    let a: SyncTask = serde_json::from_value(bare.clone()).unwrap();
    for (name, value) in full.as_object().unwrap() {
        let mut one = bare.clone();
        one[name] = value.clone();
        let b: SyncTask = serde_json::from_value(one).unwrap();
        assert_eq!(
            changed_fields(&Row::new(a.clone(), "f", at(0)), &b),
            [name.as_str()]
        );
    }
}

#[test]
fn the_baseline_is_silent_about_what_was_so_before() {
    let before = |alert| Sight::Baseline {
        since: at(20),
        alert,
    };
    let table = [
        ("SUCCESS@11", before(false), None),
        ("CANCELED@11", before(false), None),
        ("PENDING@11", before(false), Some(Kind::Snapshot)),
        ("PAUSED@11", before(false), Some(Kind::Snapshot)),
        ("ERROR@11", before(false), Some(Kind::Snapshot)),
        (
            "SUCCESS NETWORK_ERROR@11",
            before(false),
            Some(Kind::Snapshot),
        ),
        ("ERROR@11", before(true), Some(Kind::Created)),
        (
            "SUCCESS NETWORK_ERROR@11",
            before(true),
            Some(Kind::Created),
        ),
        ("PENDING@11", before(true), Some(Kind::Snapshot)),
        ("SUCCESS@11", before(true), None),
        ("ERROR@20", before(false), Some(Kind::Created)),
        ("SUCCESS@21", before(false), Some(Kind::Created)),
        ("SUCCESS@11", Sight::Watching, Some(Kind::Created)),
    ];
    for (seen, sight, expected) in table {
        let found = diff(None, task(seen), "f", at(1), sight);
        assert_eq!(
            found.change.map(|change| change.kind),
            expected,
            "{seen} {sight:?}"
        );
        assert_eq!(found.row.unwrap().task, task(seen));
    }
}

#[test]
fn a_change_to_what_the_baseline_kept_silent_is_told() {
    let sight = Sight::Baseline {
        since: at(20),
        alert: false,
    };
    let row = diff(None, task("SUCCESS@11"), "f", at(1), sight)
        .row
        .unwrap();
    let change = diff(Some(&row), task("ERROR@12"), "f", at(2), sight).change;
    assert_eq!(change.unwrap().kind, Kind::Updated);
}

#[test]
fn an_open_task_vanishes_when_two_complete_sweeps_miss_it() {
    let row = known("PENDING@11");
    let Missed::Keep(once, None) = missed(&row, "f", at(1)) else {
        panic!("one miss proves nothing")
    };
    let Missed::Keep(gone, Some(change)) = missed(&once, "f", at(2)) else {
        panic!("two misses are told")
    };
    assert_eq!(
        (change.kind, change.after, change.n),
        (Kind::Vanished, None, 0)
    );
    assert_eq!(change.before, Some(task("PENDING@11")));
    assert_eq!(missed(&gone, "f", at(3)), Missed::Unchanged, "told once");

    let back = diff(Some(&gone), task("PENDING@11"), "f", at(4), Sight::Watching);
    let change = back.change.unwrap();
    assert_eq!(
        (change.kind, change.n),
        (Kind::Updated, 1),
        "it is told as back"
    );
    let row = back.row.unwrap();
    assert!(row.open() && row.absent_since.is_none());
}

#[test]
fn a_task_that_is_listed_again_starts_to_be_missed_anew() {
    let row = known("PENDING@11");
    let Missed::Keep(once, None) = missed(&row, "f", at(1)) else {
        panic!("one miss proves nothing")
    };
    let back = diff(Some(&once), task("PENDING@11"), "f", at(2), Sight::Watching);
    assert_eq!(back.change, None);
    assert_eq!(back.row.unwrap().misses, 0);
}

#[test]
fn a_final_task_that_is_gone_is_forgotten_after_seven_days_without_a_word() {
    let row = known("SUCCESS@11");
    let Missed::Keep(absent, None) = missed(&row, "f", at(0)) else {
        panic!("a final task is not told as vanished")
    };
    let week = 7 * 24 * 3600;
    assert_eq!(missed(&absent, "f", at(week - 1)), Missed::Unchanged);
    assert_eq!(missed(&absent, "f", at(week)), Missed::Forget);
}

#[test]
fn an_open_task_of_other_filters_never_vanishes() {
    let row = known("PENDING@11");
    let Missed::Keep(absent, None) = missed(&row, "other", at(0)) else {
        panic!("other filters prove nothing about it")
    };
    assert!(absent.absent_since.is_some() && absent.misses == 0);
    let seen = diff(
        Some(&row),
        task("PENDING@11"),
        "other",
        at(1),
        Sight::Watching,
    );
    assert_eq!(seen.change, None);
    assert_eq!(
        seen.row.unwrap().filters,
        "other",
        "from now on it belongs to these"
    );
}
