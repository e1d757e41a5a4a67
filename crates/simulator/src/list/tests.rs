use super::*;
use crate::task::{DEMO_INSTANCE, NewTask};
use crate::{Options, World};

fn world(n: usize) -> World {
    let world = World::new(&Options::default());
    for n in 0..n {
        world.add_task(
            NewTask::of("team/app", &format!("{n}"))
                .id(&format!("t{n}"))
                .status(Status::Success),
        );
    }
    world
}

fn page(world: &World, page_no: u64, page_size: usize, faults: &[Fault]) -> Listing {
    let ask = Ask {
        instance_id: DEMO_INSTANCE.to_owned(),
        filters: Filters::default(),
        page_no,
        page_size,
    };
    world
        .change(|state| list(state, &ask, faults, Timestamp::UNIX_EPOCH))
        .unwrap()
}

fn ids(listing: &Listing) -> Vec<&str> {
    listing
        .shown
        .iter()
        .map(|shown| shown.task_id.as_str())
        .collect()
}

#[test]
fn pages_are_newest_first_and_end() {
    let world = world(5);
    let first = page(&world, 1, 2, &[]);
    assert_eq!(ids(&first), ["t4", "t3"]);
    assert_eq!((first.page_no, first.page_size, first.total), (1, 2, 5));
    assert_eq!(ids(&page(&world, 3, 2, &[])), ["t0"]);
    assert_eq!(page(&world, 4, 2, &[]).rows.len(), 0);
    assert_eq!(page(&world, u64::MAX, 100, &[]).rows.len(), 0);
}

#[test]
fn the_page_size_is_capped() {
    let world = world(120);
    assert_eq!(page(&world, 1, 5000, &[]).rows.len(), 100);
    assert_eq!(page(&world, 1, 5000, &[]).page_size, 100);
}

#[test]
fn filters_count_too() {
    let world = world(5);
    let mut task = NewTask::of("other/app", "1").id("x");
    task.batch_id = Some("batch".to_owned());
    world.add_task(task);
    let filtered = |filters: Filters| {
        let ask = Ask {
            instance_id: DEMO_INSTANCE.to_owned(),
            filters,
            page_no: 1,
            page_size: 30,
        };
        let listing = world
            .change(|state| list(state, &ask, &[], Timestamp::UNIX_EPOCH))
            .unwrap();
        (listing.total, ids(&listing).join(" "))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        filtered(Filters {
            namespace: some("other"),
            ..Filters::default()
        }),
        (1, "x".into())
    );
    assert_eq!(
        filtered(Filters {
            repo: some("app"),
            ..Filters::default()
        })
        .0,
        6
    );
    assert_eq!(
        filtered(Filters {
            tag: some("3"),
            ..Filters::default()
        }),
        (1, "t3".into())
    );
    assert_eq!(
        filtered(Filters {
            batch_id: some("batch"),
            ..Filters::default()
        }),
        (1, "x".into())
    );
    assert_eq!(
        filtered(Filters {
            batch_id: some("none"),
            ..Filters::default()
        })
        .0,
        0
    );
}

#[test]
fn rows_shift_while_they_are_read() {
    let world = world(6);
    world.insert_while_paging(2);
    let first = page(&world, 1, 2, &[]);
    let second = page(&world, 2, 2, &[]);
    let third = page(&world, 3, 2, &[]);
    assert_eq!(
        (ids(&first), ids(&second), ids(&third)),
        (vec!["t5", "t4"], vec!["t4", "t3"], vec!["t3", "t2"])
    );
    assert_eq!(page(&world, 4, 2, &[]).total, 8);
    world.remove_while_paging(1);
    assert_eq!(page(&world, 2, 2, &[]).total, 7);
}

#[test]
fn an_ignored_page_number_repeats_page_one() {
    let world = world(4);
    for (echo_asked, claimed) in [(true, 2), (false, 1)] {
        let listing = page(&world, 2, 2, &[Fault::PageNoIgnored { echo_asked }]);
        assert_eq!(ids(&listing), ["t3", "t2"]);
        assert_eq!(listing.page_no, claimed);
    }
}

#[test]
fn a_row_without_id_comes_beside_the_others() {
    let world = world(2);
    let listing = page(&world, 1, 2, &[Fault::TaskWithoutId]);
    assert_eq!(listing.rows.len(), 3);
    assert!(listing.rows[0].get("SyncTaskId").is_none());
    assert_eq!(ids(&listing), ["t1", "t0"]);
}
