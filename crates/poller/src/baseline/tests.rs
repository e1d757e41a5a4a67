use syncbell_event::{Image, Kind, Status};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A task of `rule`, created and modified at `second`, on a route of its own unless `tag` says else.
fn task(id: &str, rule: &str, status: Status, second: i64, tag: &str) -> SyncTask {
    let image = Image {
        region_id: Some("cn-shanghai".to_owned()),
        instance_id: Some("cri-a".to_owned()),
        namespace: Some("ns".to_owned()),
        repo: Some("r".to_owned()),
        tag: Some(tag.to_owned()),
    };
    let mut task = SyncTask::new(id, status);
    task.sync_rule_id = Some(rule.to_owned());
    task.created_at = Some(at(second));
    task.modified_at = Some(at(second));
    task.from = Some(image.clone());
    task.to = Some(image);
    task
}

async fn load(store: &Store, alert: bool) -> Baseline {
    Baseline::load(store, &Sightings::memory(), "cri-a", "f", alert)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_first_date_is_kept_by_a_baseline_that_is_begun_again() {
    let store = Store::memory();
    let mut baseline = load(&store, false).await;
    assert_eq!(
        baseline.stand(),
        Stand {
            since: None,
            complete: false,
            recovery: false,
        }
    );
    baseline.begin(at(100));
    store.commit(baseline.unsaved()).await.unwrap();
    baseline.set_saved();
    assert!(baseline.unsaved().is_empty(), "it is written once");
    // Unstable: the next turn in the same process.
    baseline.begin_sweep();
    baseline.begin(at(200));
    assert_eq!(baseline.stand().since, Some(at(100)));
    // Restarted.
    let mut baseline = load(&store, false).await;
    baseline.begin(at(300));
    assert_eq!(
        baseline.stand(),
        Stand {
            since: Some(at(100)),
            complete: false,
            recovery: false,
        }
    );
    let sight = baseline.sight(&task("1", "r", Status::Error, 50, "t"));
    assert_eq!(
        sight,
        Sight::Baseline {
            since: at(100),
            alert: false
        }
    );
}

#[tokio::test]
async fn a_complete_baseline_stays_complete_and_other_filters_have_their_own() {
    let store = Store::memory();
    let mut baseline = load(&store, false).await;
    baseline.begin(at(100));
    let (snapshots, batch) = baseline.finish().unwrap();
    assert_eq!(snapshots, []);
    store.commit(batch).await.unwrap();
    baseline.set_complete();
    for baseline in [baseline, load(&store, false).await] {
        assert!(baseline.is_complete() && baseline.finish().is_none());
        let sight = baseline.sight(&task("1", "r", Status::Error, 50, "t"));
        assert_eq!(sight, Sight::Watching);
    }
    let other = Baseline::load(&store, &Sightings::memory(), "cri-a", "g", false)
        .await
        .unwrap();
    assert!(!other.is_complete());
}

#[tokio::test]
async fn at_the_end_the_newest_of_each_rule_has_a_snapshot_and_the_rest_is_counted() {
    let mut baseline = load(&Store::memory(), false).await;
    baseline.begin(at(100));
    let page = [
        task("new", "r3", Status::Success, 100, "a"), // told as created
        task("open", "r2", Status::Pending, 90, "b"), // has a snapshot already
        task("done-2", "r1", Status::Success, 80, "c"),
        task("bad", "r1", Status::Error, 70, "d"),
        task("done-1", "r1", Status::Success, 60, "e"),
        task("canceled", "r4", Status::Canceled, 50, "f"),
    ];
    baseline.note(page.iter());
    baseline.note(page[2..].iter());
    let (snapshots, _) = baseline.finish().unwrap();
    let ids: Vec<&str> = snapshots
        .iter()
        .map(|change| change.task_id.as_str())
        .collect();
    assert_eq!(ids, ["done-2", "canceled"]);
    assert!(snapshots.iter().all(|change| change.kind == Kind::Snapshot));
    let found = baseline.set_complete();
    assert_eq!(
        found,
        Found {
            tasks: 6,
            open: 1,
            untold: 1
        }
    );
}

#[tokio::test]
async fn alert_tells_failures_that_nothing_newer_has_mended() {
    let mut baseline = load(&Store::memory(), true).await;
    baseline.begin(at(100));
    let mended = task("mended", "r", Status::Error, 50, "a");
    let open = task("open", "r", Status::Error, 50, "b");
    let worse = task("worse", "r", Status::Error, 70, "c");
    baseline.note(
        [
            task("well-a", "r", Status::Success, 60, "a"),
            task("well-before", "r", Status::Success, 40, "a"),
            task("well-c", "r", Status::Success, 60, "c"),
            mended.clone(),
            open.clone(),
            worse.clone(),
        ]
        .iter(),
    );
    let alert = |task| match baseline.sight(task) {
        Sight::Baseline { alert, .. } => alert,
        Sight::Watching => panic!("the baseline is not complete"),
    };
    assert!(!alert(&mended));
    assert!(alert(&open));
    assert!(alert(&worse));
    assert_eq!(baseline.set_complete().untold, 1);
}

#[tokio::test]
async fn lost_rows_are_told_since_what_the_list_was_seen_until_and_what_has_no_time() {
    let sightings = Sightings::memory();
    sightings.note("cri-a", "f", at(100)).await;
    let mut baseline = Baseline::load(&Store::memory(), &sightings, "cri-a", "f", false)
        .await
        .unwrap();
    assert!(baseline.recovers());
    baseline.begin(at(900));
    assert_eq!(baseline.stand().since, Some(at(100)));
    let alert = |task| match baseline.sight(task) {
        Sight::Baseline { since, alert } => {
            assert_eq!(since, at(100));
            alert
        }
        Sight::Watching => panic!("it is not complete"),
    };
    let mut timeless = task("1", "r", Status::Error, 50, "t");
    timeless.created_at = None;
    timeless.modified_at = None;
    assert!(alert(&timeless));
    assert!(!alert(&task("2", "r", Status::Error, 50, "t")));
    baseline.set_complete();
    assert!(!baseline.recovers());
}

#[test]
fn other_filters_have_another_digest() {
    let filters = |namespace: Option<&str>, repo: Option<&str>| Filters {
        namespace: namespace.map(str::to_owned),
        repo: repo.map(str::to_owned),
        tag: None,
        batch_id: None,
    };
    let all = [
        filters(None, None),
        filters(Some("a"), None),
        filters(None, Some("a")),
        filters(Some("a"), Some("b")),
    ];
    let mut digests: Vec<String> = all.iter().map(filters_digest).collect();
    assert_eq!(digests, all.iter().map(filters_digest).collect::<Vec<_>>());
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), all.len());
}
