use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use syncbell_event::Status;
use syncbell_simulator::{
    DEMO_INSTANCE, Extent, Fault, Handle, NewTask, Order, StaticLoad, TotalCount,
};

use crate::client::{ids, page, start};

async fn with(n: u32) -> Handle {
    let handle = start().await;
    for n in 0..n {
        let task = NewTask::of("a/b", &n.to_string()).id(&format!("t{n}"));
        handle.world().add_task(task.status(Status::Success));
    }
    handle
}

/// All pages of `size` up to the first empty one.
async fn read(handle: &Handle, size: u32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    for page_no in 1..200 {
        let rows = ids(&page(handle, page_no, size).await);
        if rows.is_empty() {
            break;
        }
        pages.push(rows);
    }
    pages
}

fn on(handle: &Handle, fault: Fault) {
    handle.world().fault(fault, Extent::Always).unwrap();
}

#[tokio::test]
async fn a_drifting_list_repeats_rows_and_hides_others_as_its_seed_says() {
    let drift = Fault::Drift {
        seed: 3,
        inserts_per_mille: 1500,
        removals_per_mille: 1500,
    };
    let run = async || {
        let handle = with(60).await;
        let before: BTreeSet<String> = (0..60).map(|n| format!("t{n}")).collect();
        on(&handle, drift.clone());
        let seen = read(&handle, 10).await.concat();
        let unique: BTreeSet<String> = seen.iter().cloned().collect();
        assert!(
            unique.iter().any(|id| !before.contains(id)),
            "something came"
        );
        assert!(
            before.iter().any(|id| !unique.contains(id)),
            "something went"
        );
        seen.iter()
            .filter(|id| before.contains(*id))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn a_test_can_act_between_two_pages() {
    let handle = with(6).await;
    handle.world().between_calls(|world, call| {
        if call.page_no == Some(2) {
            world.remove_task("t5").unwrap();
        }
    });
    assert_eq!(ids(&page(&handle, 1, 2).await), ["t5", "t4"]);
    // t3 moved up to page 1: whoever only goes on never sees it.
    assert_eq!(ids(&page(&handle, 2, 2).await), ["t2", "t1"]);
}

#[tokio::test]
async fn pages_can_be_capped_honestly_or_not() {
    let handle = with(5).await;
    for (honest, claimed) in [(true, 2), (false, 4)] {
        on(&handle, Fault::PagesCapped { rows: 2, honest });
        let first = page(&handle, 1, 4).await;
        assert_eq!(
            (ids(&first).len(), &first["PageSize"]),
            (2, &claimed.into())
        );
        let pages = read(&handle, 4).await;
        assert_eq!(pages.concat(), ["t4", "t3", "t2", "t1", "t0"]);
        handle.world().clear_faults();
    }
}

#[tokio::test]
async fn a_row_can_stand_on_two_pages() {
    let handle = with(5).await;
    on(&handle, Fault::RowsTwice);
    let pages = read(&handle, 3).await;
    assert_eq!(
        pages,
        [vec!["t4", "t3", "t2"], vec!["t2", "t1", "t0"], vec!["t0"]]
    );
}

#[tokio::test]
async fn the_order_can_be_another_one() {
    let handle = with(8).await;
    on(&handle, Fault::Order(Order::OldestFirst));
    assert_eq!(ids(&page(&handle, 1, 2).await), ["t0", "t1"]);
    handle.world().clear_faults();
    on(&handle, Fault::Order(Order::Shuffled { seed: 1 }));
    let shuffled = read(&handle, 3).await.concat();
    assert_eq!(shuffled, read(&handle, 3).await.concat());
    let all: BTreeSet<String> = shuffled.iter().cloned().collect();
    assert_eq!(all.len(), 8);
    handle.world().clear_faults();
    assert_ne!(shuffled, read(&handle, 3).await.concat());
}

#[tokio::test]
async fn the_total_takes_each_form() {
    let handle = with(5).await;
    for (form, expected) in [
        (TotalCount::Number, Some(5.into())),
        (TotalCount::Text, Some("5".into())),
        (TotalCount::Lagging { rows: 2 }, Some("3".into())),
        (TotalCount::Null, Some(Value::Null)),
        (TotalCount::Missing, None),
    ] {
        on(&handle, Fault::TotalCount(form));
        let answer = page(&handle, 1, 30).await;
        assert_eq!(answer.get("TotalCount"), expected.as_ref(), "{form:?}");
        handle.world().clear_faults();
    }
}

#[tokio::test]
async fn old_tasks_age_out() {
    let handle = with(2).await;
    let old = NewTask::of("a/b", "old").aged(Duration::from_hours(2));
    handle.world().add_task(old);
    assert_eq!(page(&handle, 1, 30).await["TotalCount"], "3");
    handle.world().set_retention(Some(Duration::from_hours(1)));
    assert_eq!(page(&handle, 1, 30).await["TotalCount"], "2");
    assert_eq!(handle.world().counts().tasks, 2);
}

#[tokio::test]
async fn a_million_tasks_are_served_and_cost_the_ledger_nothing() {
    let handle = start().await;
    let load = StaticLoad {
        tasks: 1_000_000,
        failed: 3,
        ..StaticLoad::default()
    };
    handle.world().load_static(&load).unwrap();
    let last = page(&handle, 10_000, 100).await;
    assert_eq!(last["TotalCount"], "1000000");
    assert_eq!(ids(&last).len(), 100);
    assert_eq!(ids(&last)[99], "rst-bulk0-00000000");
    assert_eq!(handle.world().counts().tasks, 1_000_000);
    // They failed before the baseline: silent, and seen.
    assert_eq!(handle.world().ledger().expected(), []);
    assert_eq!(handle.world().counts().unserved, 2);
    // One of them can fail; then it is expected as any other.
    handle
        .world()
        .set_status("rst-bulk0-00999999", Status::Error)
        .unwrap();
    page(&handle, 1, 100).await;
    assert_eq!(handle.world().ledger().expected().len(), 1);
    let too_many = StaticLoad {
        tasks: u64::MAX,
        instance: Some(DEMO_INSTANCE.to_owned()),
        ..StaticLoad::default()
    };
    assert!(handle.world().load_static(&too_many).is_err());
}
