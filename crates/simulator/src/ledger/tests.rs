use super::*;

const START_MS: i64 = 1_800_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(START_MS + ms).unwrap()
}

/// `created` in ms after the first answer's Date; all on one route.
fn row(id: &str, created: i64, version: u64, status: Status, issue: Option<&str>) -> Arc<Shown> {
    Arc::new(Shown {
        task_id: id.to_owned(),
        status,
        issue: issue.map(str::to_owned),
        created_ms: START_MS + created,
        modified_ms: START_MS + created + i64::try_from(version).unwrap() - 1,
        route: Some("route".to_owned()),
        version,
        visible_at: at(0),
        is_bulk: false,
    })
}

fn error(id: &str, created: i64, version: u64) -> Arc<Shown> {
    row(id, created, version, Status::Error, None)
}

fn well(id: &str, created: i64, version: u64) -> Arc<Shown> {
    row(id, created, version, Status::Success, None)
}

fn issue(id: &str, created: i64, version: u64) -> Arc<Shown> {
    row(id, created, version, Status::Success, Some("NETWORK_ERROR"))
}

fn answer(rows: &[Arc<Shown>]) -> Served {
    Served {
        instance_id: "cri-a".to_owned(),
        date: at(0),
        is_list: true,
        rows: rows.to_vec(),
    }
}

/// One line an entry: `rule status task`, with `?` where it is not certain.
fn told(witness: &Witness) -> Vec<String> {
    let line = |told: &Told| {
        format!(
            "{} {} {}{}",
            told.rule.as_str(),
            told.status.as_str(),
            told.task_id,
            if told.certain { "" } else { "?" }
        )
    };
    witness.expected().iter().map(line).collect()
}

fn check(answers: &[&[Arc<Shown>]], expected: &[&str]) {
    let mut witness = Witness::new(false);
    for (n, rows) in answers.iter().enumerate() {
        witness.note(&answer(rows), at(i64::try_from(n).unwrap()));
    }
    assert_eq!(told(&witness), expected);
}

#[test]
fn a_failure_and_its_recovery_are_told_once_each() {
    let failed = error("a", 1, 1);
    let newer = well("b", 2, 1);
    check(
        &[
            std::slice::from_ref(&failed),
            std::slice::from_ref(&failed),
            &[newer.clone(), failed.clone()],
            &[newer, failed.clone()],
        ],
        &["failed firing a", "failed resolved a"],
    );
}

#[test]
fn a_baseline_is_silent_about_what_was_before_its_date() {
    let old = error("a", -5000, 1);
    check(
        &[std::slice::from_ref(&old), &[well("b", 5, 1), old.clone()]],
        &[],
    );
    // At the Date or after it: told. A silent state that moves: told.
    check(&[&[error("a", 0, 1)]], &["failed firing a"]);
    check(
        &[std::slice::from_ref(&old), &[error("a", -5000, 2)]],
        &["failed firing a"],
    );
    let mut witness = Witness::new(false);
    witness.note(&answer(&[]), at(0));
    witness.baseline_done();
    witness.note(&answer(&[old]), at(1));
    assert_eq!(told(&witness), ["failed firing a"]);
}

#[test]
fn a_task_that_left_its_bad_state_and_fails_again_is_told_again() {
    let open = row("a", 1, 2, Status::Pending, None);
    check(
        &[
            &[error("a", 1, 1)],
            &[open],
            &[error("a", 1, 3)],
            &[well("a", 1, 4)],
            &[error("a", 1, 5)],
        ],
        &[
            "failed firing a",
            "failed firing a",
            "failed resolved a",
            "failed firing a",
        ],
    );
}

#[test]
fn an_incident_is_over_when_its_last_cause_is_and_names_the_newest() {
    check(
        &[
            &[error("a", 1, 1)],
            &[error("b", 2, 1), error("a", 1, 1)],
            &[well("a", 1, 2)],
            &[well("b", 2, 2)],
        ],
        &["failed firing a", "failed firing b", "failed resolved b"],
    );
    // PENDING and CANCELED end nothing; a success that is older ends nothing.
    check(
        &[
            &[error("b", 5, 1)],
            &[row("c", 6, 1, Status::Pending, None)],
            &[row("d", 7, 1, Status::Canceled, None)],
            &[well("e", 4, 1)],
        ],
        &["failed firing b"],
    );
}

#[test]
fn an_issue_that_turns_to_an_error_moves_without_an_all_clear() {
    check(
        &[&[issue("a", 1, 1)], &[error("a", 1, 2)], &[well("a", 1, 3)]],
        &["issue firing a", "failed firing a", "failed resolved a"],
    );
    check(
        &[
            &[issue("a", 1, 1)],
            &[issue("b", 2, 1)],
            &[error("b", 2, 2)],
            &[well("a", 1, 2)],
        ],
        &[
            "issue firing a",
            "issue firing b",
            "failed firing b",
            "issue resolved a",
        ],
    );
}

#[test]
fn a_failure_read_after_a_newer_success_is_told_and_resolved() {
    check(
        &[&[well("b", 2, 1)], &[error("a", 1, 1)]],
        &["failed firing a", "failed resolved a"],
    );
}

#[test]
fn what_depends_on_the_order_of_rows_in_one_answer_is_not_certain() {
    // Newest first: b told and over, then a. Oldest first: a and b told, then both over at once.
    check(
        &[&[well("c", 3, 1), error("b", 2, 1), error("a", 1, 1)]],
        &[
            "failed firing a",
            "failed firing b",
            "failed resolved a?",
            "failed resolved b",
        ],
    );
}

#[test]
fn staying_bad_in_another_way_may_be_told_again() {
    check(
        &[&[error("a", 1, 1)], &[error("a", 1, 2)]],
        &["failed firing a", "failed firing a?"],
    );
}

#[test]
fn states_that_no_answer_carried_and_overtaken_answers_count_for_nothing() {
    check(&[&[well("a", 1, 3)], &[error("a", 1, 2)]], &[]);
}

#[test]
fn canceled_is_told_only_when_it_is_switched_on() {
    for (on, expected) in [
        (false, vec![]),
        (true, vec!["canceled firing a".to_owned()]),
    ] {
        let mut witness = Witness::new(on);
        witness.note(&answer(&[row("a", 1, 1, Status::Canceled, None)]), at(0));
        assert_eq!(told(&witness), expected);
    }
}

#[test]
fn without_a_route_an_incident_is_the_tasks_own() {
    let bare = |id: &str, created, version, status| {
        Arc::new(Shown {
            route: None,
            ..Shown::clone(&row(id, created, version, status, None))
        })
    };
    check(
        &[
            &[bare("a", 1, 1, Status::Error)],
            &[bare("b", 2, 1, Status::Success)],
            &[bare("a", 1, 2, Status::Success)],
        ],
        &["failed firing a", "failed resolved a"],
    );
}

#[test]
fn a_task_in_two_lists_is_told_once() {
    let mut witness = Witness::new(false);
    let failed = error("a", 1, 1);
    witness.note(&answer(std::slice::from_ref(&failed)), at(0));
    let other = Served {
        instance_id: "cri-b".to_owned(),
        ..answer(&[failed])
    };
    witness.note(&other, at(1));
    assert_eq!(told(&witness), ["failed firing a"]);
}

#[test]
fn a_state_that_was_asked_for_by_its_id_is_seen_and_begins_no_baseline() {
    let one = |row: Arc<Shown>, date_ms| Served {
        date: at(date_ms),
        is_list: false,
        ..answer(&[row])
    };
    let mut witness = Witness::new(false);
    witness.note(&one(well("x", -9, 1), -5), at(0));
    // Older than the first list's Date, though newer than that of the answer before it.
    witness.note(&answer(&[error("old", -3, 1)]), at(1));
    let pending = row("a", 1, 1, Status::Pending, None);
    witness.note(&answer(&[pending]), at(2));
    assert_eq!(told(&witness), [] as [&str; 0]);
    let failed = error("a", 1, 2);
    witness.note(&one(failed.clone(), 3), at(3));
    assert!(witness.has_seen(&failed));
    // The list brings the same state later: nothing new.
    witness.note(&answer(&[failed]), at(4));
    assert_eq!(told(&witness), ["failed firing a"]);
}
