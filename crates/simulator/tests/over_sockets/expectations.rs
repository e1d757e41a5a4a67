use std::time::Duration;

use syncbell_event::{AlertStatus, Status};
use syncbell_simulator::{
    DEMO_FAILED, DEMO_FAILED_AGAIN, DEMO_ISSUE, Load, NewTask, Script, Told, World, compare,
};

use crate::client::{page, start};

fn told(world: &World) -> Vec<(String, &'static str, AlertStatus)> {
    entries(&world.ledger().expected())
}

fn entries(told: &[Told]) -> Vec<(String, &'static str, AlertStatus)> {
    told.iter()
        .map(|told| (told.task_id.clone(), told.rule.as_str(), told.status))
        .collect()
}

#[tokio::test]
async fn the_demos_story_has_three_alerts_and_one_all_clear() {
    let handle = start().await;
    let world = handle.world();
    world.load(Script::demo().at_speed(20.0));
    page(&handle, 1, 100).await;
    world.baseline_done();
    world.start_story();
    let finished = world.story_finished();
    tokio::pin!(finished);
    loop {
        tokio::select! {
            () = &mut finished => break,
            _ = page(&handle, 1, 100) => {}
        }
    }
    page(&handle, 1, 100).await;
    // In the story's order: how many of its states one answer carried depends on the machine.
    let mut expected = world.ledger().expected();
    expected.sort_by_key(|told| told.visible_at);
    assert!(expected.iter().all(|told| told.certain));
    assert_eq!(
        entries(&expected),
        [
            (DEMO_FAILED.to_owned(), "failed", AlertStatus::Firing),
            (DEMO_ISSUE.to_owned(), "issue", AlertStatus::Firing),
            (DEMO_FAILED_AGAIN.to_owned(), "failed", AlertStatus::Firing),
            (DEMO_FAILED.to_owned(), "failed", AlertStatus::Resolved),
        ]
    );
    assert!(handle.stop().await);
}

#[tokio::test]
async fn a_state_that_no_poll_saw_is_not_expected() {
    let handle = start().await;
    let world = handle.world();
    let id = world.add_task(NewTask::of("a/b", "1").status(Status::Error));
    world.set_status(id.as_str(), Status::Success).unwrap();
    page(&handle, 1, 100).await;
    assert_eq!(told(&world), []);
}

#[tokio::test]
async fn a_baseline_is_what_was_before_the_first_answers_date() {
    let handle = start().await;
    let world = handle.world();
    let hour = Duration::from_hours(1);
    world.add_task(NewTask::of("a/b", "1").status(Status::Error).aged(hour));
    page(&handle, 1, 100).await;
    assert_eq!(told(&world), []);
    world.add_task(NewTask::of("a/b", "2").id("new").status(Status::Error));
    world.add_task(NewTask::of("a/b", "3").status(Status::Error).aged(hour));
    page(&handle, 1, 100).await;
    assert_eq!(
        told(&world),
        [("new".to_owned(), "failed", AlertStatus::Firing)]
    );
    world.baseline_done();
    world.add_task(
        NewTask::of("a/b", "4")
            .id("late")
            .status(Status::Error)
            .aged(hour),
    );
    page(&handle, 1, 100).await;
    assert_eq!(told(&world).len(), 2);
}

#[tokio::test]
async fn under_load_the_ledger_agrees_with_itself() {
    let handle = start().await;
    let world = handle.world();
    page(&handle, 1, 100).await;
    let running = world.generate(Load {
        changes_per_second: 2000.0,
        seed: 42,
        ..Load::default()
    });
    while world.ledger().expected().len() < 20 {
        for page_no in 1..=3 {
            page(&handle, page_no, 100).await;
        }
    }
    running.stop();
    let expected = world.ledger().expected();
    assert!(
        expected
            .iter()
            .all(|told| told.served_at.is_some_and(|at| at >= told.visible_at))
    );
    let got: Vec<_> = expected
        .iter()
        .enumerate()
        .map(|(n, told)| syncbell_simulator::Got {
            task_id: told.task_id.clone(),
            rule: told.rule.as_str().to_owned(),
            status: told.status,
            id: n.to_string(),
        })
        .collect();
    assert!(compare(&expected, &got).is_exact());
    let certain = expected.iter().position(|told| told.certain).unwrap();
    let mut short = got.clone();
    short.remove(certain);
    assert_eq!(compare(&expected, &short).missing.len(), 1);
    assert!(handle.stop().await);
}
