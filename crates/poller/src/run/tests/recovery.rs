//! A store that was lost: through the whole poller.

use super::*;

fn is_failing(event: &Envelope) -> bool {
    matches!(&event.event, Event::Failing(failing) if failing.reason == "store_lost")
}

fn is_recovered(event: &Envelope) -> bool {
    matches!(event.event, Event::Recovered(_))
}

/// The digest of no filters.
fn filters() -> String {
    crate::baseline::filters_digest(&syncbell_config::Filters::default())
}

#[tokio::test]
async fn after_a_loss_what_changed_since_the_last_sweep_on_the_log_is_told_and_nothing_older() {
    let mut bench = Bench::new(vec![
        task(2, "ERROR", -1_000),
        task(1, "PENDING", -1_000),
        task(0, "SUCCESS", -2_000),
    ])
    .await;
    bench.sweep_every = Duration::from_hours(1);
    let until = |bench: &Bench| {
        let sightings = bench.sightings.clone();
        async move {
            sightings
                .before("cri-a", &filters(), Timestamp::now())
                .await
        }
    };
    let server_time = crate::sightings::Before::Until(Timestamp::from_second(DATE).unwrap());
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        while until(&bench).await != server_time {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bench.run_while(story).await.unwrap();
    assert_eq!(bench.told().0, ["Snapshot rst-2", "Snapshot rst-1"]);

    // The store is lost; meanwhile one failed, one without a time too, and one succeeded.
    bench.store = Store::memory();
    bench.metrics = Metrics::new();
    let mut timeless = task(4, "ERROR", 0);
    timeless["CreateTime"] = Value::Null;
    timeless["ModifedTime"] = Value::Null;
    *bench.vendor.tasks.lock().unwrap() = vec![
        task(3, "ERROR", 40),
        task(2, "ERROR", -1_000),
        task(1, "ERROR", 30),
        task(0, "SUCCESS", -2_000),
        timeless,
    ];
    let story = bench.until(|events| events.iter().any(is_recovered));
    bench.run_while(story).await.unwrap();
    let (mut told, n_swept) = bench.told();
    let mut again = told.split_off(2);
    again.sort();
    assert_eq!(
        again,
        [
            "Created rst-1",
            "Created rst-3",
            "Created rst-4",
            "Snapshot rst-2"
        ]
    );
    assert_eq!(n_swept, 2, "one before, one after all is read again");
    let all = events(&bench.log.written.borrow());
    assert_eq!(all.iter().filter(|event| is_failing(event)).count(), 1);
    let failing = all.iter().find(|event| is_failing(event)).unwrap();
    let Event::Failing(failing) = &failing.event else {
        unreachable!("it was chosen so");
    };
    assert_eq!(failing.since.as_second(), DATE);
    assert!(failing.message.contains("lost"), "{}", failing.message);
}

#[tokio::test]
async fn a_sweep_whose_changes_are_not_on_the_log_does_not_count() {
    let bench = Bench::new(Vec::new()).await;
    let outbox = Outbox::load(bench.store.clone()).await.unwrap();
    let mut sighting = crate::sightings::Sighting::new(&bench.sightings, "cri-a", "f");
    let at = |second| Timestamp::from_second(second).unwrap();
    sighting.began(at(10)).await;
    let source = syncbell_event::Source {
        region: "cn-shanghai".to_owned(),
        instance: "cri-a".to_owned(),
    };
    let recovered = syncbell_event::Recovered {
        reason: "denied".to_owned(),
        since: at(5),
    };
    let event = Envelope::recovered(&source, at(15), recovered);
    outbox
        .put(syncbell_store::Batch::new(), &[event])
        .await
        .unwrap();
    sighting.swept(at(20), &outbox);
    let before = |second| bench.sightings.before("cri-a", "f", at(second));
    sighting.settle(&outbox).await.unwrap();
    assert_eq!(before(21).await, crate::sightings::Before::Until(at(10)));
    let waiting = outbox.oldest(10).await.unwrap();
    outbox.acknowledged(&waiting).await.unwrap();
    sighting.settle(&outbox).await.unwrap();
    assert_eq!(before(21).await, crate::sightings::Before::Until(at(20)));
}
