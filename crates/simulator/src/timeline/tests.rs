use syncbell_event::Status;
use tokio::time::Instant;

use super::*;
use crate::{Fault, Options};

const EXAMPLE: &str = include_str!("../../../../config/timeline.yaml");

fn parse(text: &str) -> Result<Timeline, Problems> {
    Timeline::parse(text, "t.yaml")
}

/// Place and message of each problem.
fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).unwrap_err().0;
    let line = |p: &Problem| format!("{}:{}: {}", p.line, p.column, p.message);
    problems.iter().map(line).collect()
}

fn status(world: &World, id: &str) -> Option<Status> {
    let state = world.state();
    state.task(id).map(|task| task.shown.status.clone())
}

#[tokio::test(start_paused = true)]
async fn the_example_plays_to_its_end() {
    let mut example = parse(EXAMPLE).unwrap();
    assert_eq!(example.length(), Duration::from_secs(52));
    assert_eq!(example.repeat.unwrap().every, Duration::from_mins(2));
    example = example.at_speed(10.0);
    example.repeat = None;
    let world = World::new(&Options::default());
    let start = Instant::now();
    world.play_timeline(&example).unwrap();
    // 500 of the load; of the two old tasks one failed.
    assert_eq!(world.counts().tasks, 502);
    assert_eq!(status(&world, "rst-old"), Some(Status::Error));
    world.story_finished().await;
    assert_eq!(start.elapsed(), Duration::from_millis(5200));
    for (id, expected) in [
        ("rst-checkout-1", Some(Status::Error)),
        ("rst-checkout-2", Some(Status::Success)),
        ("rst-catalog", Some(Status::Success)),
        ("rst-hangs", None),
        (
            "rst-odd",
            Some(Status::Unknown("WAITING_FOR_QUOTA".to_owned())),
        ),
        ("rst-steady-10", Some(Status::Success)),
        ("rst-b-release-37", Some(Status::Error)),
        ("rst-b-release-38", Some(Status::Success)),
    ] {
        assert_eq!(status(&world, id), expected, "{id}");
    }
    let state = world.state();
    let instances: Vec<_> = state.instances.iter().map(|known| &known.new.id).collect();
    assert_eq!(instances, ["cri-demo00000000001", "cri-demo00000000003"]);
    assert_eq!(state.rules.len(), 2);
    drop(state);
    // The one that counts calls met none; the others are over.
    assert_eq!(world.counts().faults, [Fault::NoPrivilege]);
    let notes = world.notes();
    assert!(notes.iter().any(|note| note.text.starts_with("37 of 40")));
}

#[tokio::test(start_paused = true)]
async fn a_later_round_has_new_tasks_of_its_own() {
    let text = "
tasks:
  - { id: old, image: 'a/b:1', age: 1h, steps: [{ at: 1s, status: ERROR }] }
  - { id: new, image: 'a/b:2', batch: c, steps: [{ at: 1s, status: PENDING }, { at: 2s, status: ERROR }] }
batches:
  - { id: many, image: 'a/c:{n}', tasks: 2, at: 1s, steps: [{ at: 3s, status: CANCELED }] }
repeat: { every: 10s, times: 3 }
";
    let world = World::new(&Options::default());
    world.play_timeline(&parse(text).unwrap()).unwrap();
    world.story_finished().await;
    assert_eq!(world.counts().tasks, 1 + 3 + 6);
    assert_eq!(world.counts().open, 0);
    for id in ["new", "new-r2", "new-r3"] {
        assert_eq!(status(&world, id), Some(Status::Error), "{id}");
    }
    assert_eq!(status(&world, "rst-many-r3-2"), Some(Status::Canceled));
    assert_eq!(world.set_batch("many-r3", None, &Status::Error, None), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_number_it_repeats_for_ever_until_it_is_stopped() {
    let text = "tasks: [{ id: a, image: 'a/b:1', steps: [{ at: 0s, status: SUCCESS }] }]
repeat: { every: 1s }";
    let world = World::new(&Options::default());
    world.play_timeline(&parse(text).unwrap()).unwrap();
    tokio::time::sleep(Duration::from_millis(20_500)).await;
    assert_eq!(world.counts().tasks, 21);
    world.token().cancel();
    world.story_finished().await;
    assert_eq!(world.counts().tasks, 21);
}

#[test]
fn a_problem_has_its_place_and_says_what_was_expected() {
    let check = |text: &str, expected: &str| assert_eq!(problems(text), [expected], "{text}");
    check("task: []", "1:1: unknown key `task`, did you mean `tasks`?");
    check(
        "tasks:\n  - image: a/b:1\n    steps:\n      - { at: 5, status: ERROR }",
        "4:15: expected a duration such as `500ms`, `30s`, `5m` or `1h30m`, found `5`",
    );
    check(
        "tasks:\n  - image: a/b:1\n    steps:\n      - { at: 5s, status: EROR }",
        "4:27: unknown status `EROR`, did you mean `ERROR`?",
    );
    check(
        "tasks: [{ image: b, age: 1s }]",
        "1:18: expected `namespace/repo:tag`, found `b`",
    );
    check(
        "tasks: [{ image: 'a/b:1' }]",
        "1:18: this task never appears: it needs `age` or `steps`",
    );
    check(
        "tasks: [{ image: 'a/b:1', steps: [{ at: 1s }, { at: 2s }] }]",
        "1:47: a step needs a `status`, a `progress`, or `gone`",
    );
    check(
        "tasks: [{ image: 'a/b:1', age: 1s, instance: cri-demo00000000009 }]",
        "1:46: no instance `cri-demo00000000009`, did you mean `cri-demo00000000001`?",
    );
    check(
        "faults: [{ from: 1s, fault: { throtled: {} } }]",
        "1:31: unknown value `throtled`, did you mean `throttled`?",
    );
    check(
        "faults: [{ from: 2s, until: 1s, fault: closed }]",
        "1:18: `until` must be later than `from`",
    );
    check(
        "discovery:\n  - { at: 1s }",
        "2:5: expected exactly one of `add`, `status` and `remove`",
    );
    check(
        "tasks: [{ image: 'a/b:1', steps: [{ at: 9s }] }]\nrepeat: { every: 5s }",
        "2:18: a round takes 9s: it cannot begin again after 5s",
    );
    check(
        "tasks: [{ image: 'a/b:1', steps: [{ at: 0s }], repeat: { every: 1s, times: 4000000 } }]",
        "1:76: that is more than 200000 steps",
    );
    check("", "0:0: is empty");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "tasks:
  - { id: a, image: 'a/b:1', age: 1s }
  - { id: a, image: 'nothing', age: 1s }
batches:
  - { id: b, image: 'a/b:{n}', tasks: 0, at: 1s }";
    assert_eq!(
        problems(text),
        [
            "3:11: another task has the id `a` already",
            "3:21: expected `namespace/repo:tag`, found `nothing`",
            "5:39: a batch has from 1 to 200000 tasks",
        ]
    );
    let shown = parse(text).unwrap_err().to_string();
    assert!(
        shown.starts_with(
            "t.yaml:3:11: another task has the id `a` already\n  \
             |   - { id: a, image: 'nothing', age: 1s }\n  \
             |           ^\n"
        ),
        "{shown}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Timeline::load(Path::new("no-such.yaml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no-such.yaml: cannot be read")
    );
}
