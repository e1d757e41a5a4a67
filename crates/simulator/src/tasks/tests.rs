use std::time::Duration;

use tokio::time::Instant;

use super::*;

const INSTANCE: &str = "cri-a";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn with(n: u64) -> Tasks {
    let mut tasks = Tasks::new();
    for n in 0..n {
        let new = NewTask::of("team/app", &n.to_string())
            .id(&format!("t{n}"))
            .aged(Duration::from_secs(1000 - n))
            .listed_by(&[INSTANCE]);
        tasks.add(new, now(), now()).unwrap();
    }
    tasks
}

fn page(tasks: &mut Tasks, order: Order, filters: &Filters, skip: usize) -> (usize, Vec<String>) {
    let slice = Slice {
        order,
        skip,
        take: 3,
    };
    let (total, page) = tasks.slice(INSTANCE, filters, slice).unwrap();
    let ids = page.iter().map(|task| task.shown.task_id.clone());
    (total, ids.collect())
}

#[test]
fn each_order_is_complete_and_stays_as_it_is() {
    let mut tasks = with(9);
    let all = Filters::default();
    let first = |tasks: &mut Tasks, order| page(tasks, order, &all, 0).1;
    assert_eq!(first(&mut tasks, Order::NewestFirst), ["t8", "t7", "t6"]);
    assert_eq!(first(&mut tasks, Order::OldestFirst), ["t0", "t1", "t2"]);
    let order = Order::Shuffled { seed: 5 };
    let shuffled = |tasks: &mut Tasks| -> Vec<String> {
        [0, 3, 6]
            .map(|skip| page(tasks, order, &all, skip).1)
            .concat()
    };
    let ids = shuffled(&mut tasks);
    assert_eq!(ids, shuffled(&mut tasks));
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(sorted.len(), 9);
    assert_ne!(ids, sorted);
    assert_ne!(first(&mut tasks, Order::Shuffled { seed: 6 }), ids[..3]);
    // What goes or comes changes the place of no other.
    tasks.remove(&ids[1]).unwrap();
    let rest: Vec<_> = ids.iter().filter(|id| **id != ids[1]).cloned().collect();
    assert_eq!(shuffled(&mut tasks), rest);
}

#[test]
fn a_filters_list_follows_what_comes_and_goes() {
    let mut tasks = with(3);
    let batch = Filters {
        batch_id: Some("b".to_owned()),
        ..Filters::default()
    };
    assert_eq!(page(&mut tasks, Order::NewestFirst, &batch, 0).0, 0);
    let mut new = NewTask::of("team/app", "x").listed_by(&[INSTANCE]).id("x");
    new.batch_id = Some("b".to_owned());
    tasks.add(new, now(), now()).unwrap();
    let expected = (1, vec!["x".to_owned()]);
    assert_eq!(page(&mut tasks, Order::NewestFirst, &batch, 0), expected);
    assert_eq!(tasks.of_batch("b"), ["x"]);
    tasks.remove("x").unwrap();
    assert_eq!(page(&mut tasks, Order::NewestFirst, &batch, 0).0, 0);
    assert_eq!(tasks.of_batch("b"), [] as [&str; 0]);
}

#[test]
fn a_task_that_is_not_listed_is_there_all_the_same() {
    let mut tasks = with(2);
    tasks.unlist("t1").unwrap();
    let listed = page(&mut tasks, Order::NewestFirst, &Filters::default(), 0);
    assert_eq!(listed, (1, vec!["t0".to_owned()]));
    assert!(tasks.get("t1").is_some());
    tasks.remove("t1").unwrap();
    assert!(tasks.get("t1").is_none());
    assert!(tasks.remove("t1").is_err());
}

#[test]
fn a_static_load_is_as_any_other_tasks() {
    let mut tasks = with(0);
    let load = StaticLoad {
        tasks: 100,
        failed: 4,
        open: 2,
        ..StaticLoad::default()
    };
    tasks
        .add_load(&load, (INSTANCE.to_owned(), None), now())
        .unwrap();
    let count = |tasks: &Tasks, wanted| {
        let ids = (0..100).map(|n| format!("rst-bulk0-{n:08}"));
        ids.filter_map(|id| tasks.get(&id).map(|task| task.shown.status.clone()))
            .filter(|status| *status == wanted)
            .count()
    };
    assert_eq!(
        [Status::Success, Status::Error, Status::Synchronizing].map(|s| count(&tasks, s)),
        [94, 4, 2]
    );
    assert_eq!(tasks.len(), 100);
    let newest = page(&mut tasks, Order::NewestFirst, &Filters::default(), 0);
    assert_eq!(
        (newest.0, newest.1[0].as_str()),
        (100, "rst-bulk0-00000099")
    );
    // It can be changed, unlisted and removed.
    tasks.get_mut("rst-bulk0-00000007").unwrap();
    tasks.remove("rst-bulk0-00000008").unwrap();
    assert!(tasks.get("rst-bulk0-00000008").is_none());
    assert_eq!(tasks.len(), 99);
    let batch = Filters {
        batch_id: Some("BULK0-00000000".to_owned()),
        ..Filters::default()
    };
    assert_eq!(page(&mut tasks, Order::NewestFirst, &batch, 0).0, 24);
}

#[test]
fn a_page_of_a_million_tasks_costs_what_any_page_costs() {
    let mut tasks = with(0);
    let load = StaticLoad {
        tasks: 1_000_000,
        ..StaticLoad::default()
    };
    tasks
        .add_load(&load, (INSTANCE.to_owned(), None), now())
        .unwrap();
    let time = |tasks: &mut Tasks, skip| {
        let start = Instant::now();
        for n in 0..200_usize {
            let listed = page(tasks, Order::NewestFirst, &Filters::default(), skip + n);
            assert_eq!((listed.0, listed.1.len()), (1_000_000, 3));
        }
        start.elapsed()
    };
    let (first, last) = (time(&mut tasks, 0), time(&mut tasks, 999_000));
    // Walking there would take a thousand times as long.
    assert!(
        last < first * 40 + Duration::from_millis(50),
        "{first:?}, {last:?}"
    );
    tasks.remove("rst-bulk0-00500000").unwrap();
    let (total, around) = page(&mut tasks, Order::NewestFirst, &Filters::default(), 499_998);
    assert_eq!(total, 999_999);
    assert_eq!(
        around,
        [
            "rst-bulk0-00500001",
            "rst-bulk0-00499999",
            "rst-bulk0-00499998"
        ]
    );
}
