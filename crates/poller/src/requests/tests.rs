use syncbell_bus::{EmbeddedOptions, Record};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn ask(bus: &Bus, second: i64) {
    let request = SnapshotRequest::new("it ends before", at(second), at(second + 10));
    let record = Record::new("notifier", request.encode());
    put(bus, record).await;
}

async fn put(bus: &Bus, record: Record) {
    let publisher = bus.publisher();
    let append = publisher.append(Stream::Requests, vec![record]);
    append.await.unwrap();
}

/// Takes requests until `wanted` says that it is enough, then stops.
async fn take(bus: &Bus, store: &Store, instance: &str, enough: impl Fn(&Wanted) -> bool) {
    let stop = CancellationToken::new();
    let requests = Requests {
        bus: bus.clone(),
        store: store.clone(),
        watched: Watched::of(&["cri-a", "cri-b"]),
    };
    let (ended, ()) = tokio::join!(requests.run(stop.clone()), async {
        loop {
            let wanted = Wanted::load(store, instance).await.unwrap();
            if wanted.as_ref().is_some_and(&enough) {
                break;
            }
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stands_for_each_instance_until_it_is_answered_and_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap();
    let store = Store::memory();
    // Something that is no request stops nothing.
    let junk = Record::new("notifier", "junk");
    put(&bus, junk).await;
    ask(&bus, 200).await;
    ask(&bus, 100).await;
    take(&bus, &store, "cri-b", |wanted| wanted.keys.len() == 2).await;
    let of_a = Wanted::load(&store, "cri-a").await.unwrap().unwrap();
    assert_eq!(of_a.since, at(100), "the earliest of both");
    store.commit(of_a.answered()).await.unwrap();
    assert_eq!(Wanted::load(&store, "cri-a").await.unwrap(), None);
    assert!(Wanted::load(&store, "cri-b").await.unwrap().is_some());
    // A restart goes on behind what was read.
    ask(&bus, 300).await;
    take(&bus, &store, "cri-a", |_| true).await;
    let again = Wanted::load(&store, "cri-a").await.unwrap().unwrap();
    assert_eq!((again.since, again.keys.len()), (at(300), 1));
    bus.close().await;
}

/// The new log's first request stands where the old log's last one stood.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_is_read_from_its_start() {
    let store = Store::memory();
    for (second, n_wanted) in [(100, 1), (500, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap();
        ask(&bus, second).await;
        take(&bus, &store, "cri-a", |wanted| {
            wanted.keys.len() == n_wanted
        })
        .await;
        bus.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_knows_nothing_is_answered_only_about_what_was_looked_at_before() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap();
    let store = Store::memory();
    for (instance, second) in [("cri-a", 100), ("cri-b", 990)] {
        let sightings = crate::Sightings::memory();
        let baseline = Baseline::load(&store, &sightings, instance, "f", false);
        let mut baseline = baseline.await.unwrap();
        baseline.begin(at(second));
        store.commit(baseline.unsaved()).await.unwrap();
    }
    let request = SnapshotRequest::new("the ledger is new", at(500), at(1_000)).fresh();
    put(&bus, Record::new("notifier", request.encode())).await;
    take(&bus, &store, "cri-a", |wanted| wanted.fresh).await;
    assert_eq!(Wanted::load(&store, "cri-b").await.unwrap(), None);
    bus.close().await;
}
