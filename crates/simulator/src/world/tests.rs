use std::time::Duration;

use super::*;
use crate::script::{Act, Script, Step};

fn world() -> World {
    World::new(&Options::default())
}

#[test]
fn a_made_up_id_is_unique_and_a_given_one_is_kept() {
    let world = world();
    let first = world.add_task(NewTask::of("a/b", "1"));
    let second = world.add_task(NewTask::of("a/b", "1"));
    assert_ne!(first, second);
    assert_eq!(
        world.add_task(NewTask::of("a/b", "1").id("rst-x")).as_str(),
        "rst-x"
    );
    assert_eq!(world.counts().tasks, 3);
    world.add_task(NewTask::of("a/b", "1").id("rst-x").status(Status::Error));
    assert_eq!(world.counts().tasks, 3);
    assert_eq!(world.ledger().unserved().len(), 1);
}

#[test]
fn a_task_that_is_not_there_is_named() {
    let error = world().set_status("rst-x", Status::Error).unwrap_err();
    assert!(error.to_string().contains("rst-x"));
    assert!(world().remove_task("rst-x").is_err());
}

#[test]
fn the_servers_clock_is_that_of_the_tasks() {
    let world = world();
    world.set_clock_skew(SignedDuration::from_hours(-1));
    let id = world.add_task(NewTask::of("a/b", "1"));
    let created = world.change(|state| state.task(id.as_str()).unwrap().shown.created_ms);
    let behind = Timestamp::now().as_millisecond() - created;
    assert!((3_600_000..3_660_000).contains(&behind), "{behind}");
}

#[tokio::test(start_paused = true)]
async fn a_story_is_played_in_its_time() {
    let world = world();
    let step = |at_s, act, note: &str| Step {
        at: Duration::from_secs(at_s),
        act,
        note: Some(note.to_owned()),
    };
    let add = Act::Add(Box::new(NewTask::of("a/b", "1").id("rst-x")));
    let failed = Act::Enter {
        task_id: "rst-x".to_owned(),
        status: Status::Error,
        issue: None,
    };
    world.load(Script {
        baseline: vec![NewTask::of("a/b", "0").status(Status::Success)],
        steps: vec![step(20, failed, "failed"), step(10, add, "added")],
    });
    assert_eq!(world.counts().tasks, 1);
    let start = Instant::now();
    world.start_story();
    world.until(|world| world.counts().tasks == 2).await;
    assert_eq!(start.elapsed().as_secs(), 10);
    world.story_finished().await;
    assert_eq!(start.elapsed().as_secs(), 20);
    let notes: Vec<_> = world.notes().into_iter().map(|note| note.text).collect();
    assert_eq!(notes, ["added", "failed"]);
    assert_eq!(world.ledger().unserved().len(), 1);
}
