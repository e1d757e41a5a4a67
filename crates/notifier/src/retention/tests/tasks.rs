//! Tasks and their routes: which are forgotten, and that what comes of them then is decided as before.

use super::*;

fn setup(rules: &RuleSwitches) -> Arc<Setup> {
    Arc::new(Setup::new(&Route::default(), &[], rules, &[]))
}

/// A task on a route of its own, observed at `at`, before in the state `before`.
fn task(
    id: &str,
    before: Option<Status>,
    status: Status,
    created_at: Timestamp,
    at: Timestamp,
) -> Envelope {
    let part = |text: &str| Some(text.to_owned());
    let image = Some(Image {
        region_id: part("cn-shanghai"),
        instance_id: part("cri-kmsiwlxxdcva0001"),
        namespace: part("team-a"),
        repo: part("shop"),
        tag: part(id),
    });
    let state = |status: Status, at: Timestamp| {
        let mut task = SyncTask::new(id, status);
        (task.from, task.to) = (image.clone(), image.clone());
        (task.created_at, task.modified_at) = (Some(created_at), Some(at));
        task
    };
    let change = Change {
        kind: if before.is_some() {
            Kind::Updated
        } else {
            Kind::Created
        },
        task_id: id.into(),
        before: before.map(|status| state(status, created_at)),
        after: Some(state(status, at)),
        changed: vec![],
        n: 0,
    };
    let source = Source {
        region: "cn-shanghai".into(),
        instance: "cri-kmsiwlxxdcva0001".into(),
    };
    change.into_envelope(&source, at, None)
}

async fn take(ledger: &Ledger, setup: &Arc<Setup>, events: Vec<Envelope>) -> u64 {
    let setup = setup.clone();
    let turn = ledger.turn(move |draft| {
        let mut done = Done::default();
        for event in events {
            let at = event.time;
            consume(draft, event, &setup, at, &mut done)?;
        }
        Ok(done.told)
    });
    turn.await.unwrap()
}

#[tokio::test]
async fn only_tasks_that_ended_well_long_ago_and_off_the_log_are_forgotten() {
    let (ledger, rules) = (ledger().await, setup(&RuleSwitches::default()));
    let events = vec![
        task("well", None, Status::Success, ago(101), ago(100)),
        task("failed", None, Status::Error, ago(101), ago(100)),
        task("open", None, Status::Synchronizing, ago(101), ago(100)),
        task("young", None, Status::Success, ago(81), ago(80)),
    ];
    take(&ledger, &rules, events).await;
    let left = async || {
        (
            keys(&ledger, "t/").await.len(),
            keys(&ledger, "s/").await.len(),
        )
    };
    assert_eq!(left().await, (4, 4));
    // The log does not say, or still holds what was read of it.
    for begins_at in [None, Some(ago(101)), Some(ago(95))] {
        pass(&ledger, begins_at).await;
        assert_eq!(left().await, (4, 4), "{begins_at:?}");
    }
    pass(&ledger, Some(ago(30))).await;
    assert_eq!(left().await, (3, 1));
}

/// The same events, with the task's row and without it.
#[tokio::test]
async fn what_comes_of_a_forgotten_task_is_decided_as_if_it_were_known() {
    let rules = setup(&RuleSwitches {
        slow: true,
        ..RuleSwitches::default()
    });
    for next in [
        Status::Success,
        Status::Error,
        Status::Synchronizing,
        Status::Canceled,
    ] {
        let mut outcomes = Vec::new();
        for begins_at in [None, Some(ago(30))] {
            let ledger = ledger().await;
            let first = task("rst-1", None, Status::Success, ago(101), ago(100));
            take(&ledger, &rules, vec![first]).await;
            // What was armed for the first heartbeat is not what is compared.
            let clear = ledger.turn(|draft| {
                for (key, _) in draft.reader.scan(b"f/", None, 10)? {
                    draft.delete(key);
                }
                Ok(())
            });
            clear.await.unwrap();
            pass(&ledger, begins_at).await;
            assert_eq!(
                keys(&ledger, "t/").await.len(),
                usize::from(begins_at.is_none())
            );
            let event = task(
                "rst-1",
                Some(Status::Success),
                next.clone(),
                ago(101),
                ago(0),
            );
            let told = take(&ledger, &rules, vec![event]).await;
            let waiting = (keys(&ledger, "o/").await, keys(&ledger, "f/").await);
            outcomes.push((told, waiting));
        }
        assert_eq!(outcomes[0], outcomes[1], "{next}");
        assert_eq!(outcomes[0].0, u64::from(next == Status::Error), "{next}");
    }
}

/// `cargo test -p syncbell-notifier --lib -- --ignored --nocapture a_million_events`; fewer or more by
/// `SYNCBELL_EVENTS`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_million_events_leave_so_many_rows_and_bytes() {
    let n_events: u64 = std::env::var("SYNCBELL_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let ledger = Ledger::open(store.clone()).await.unwrap();
    let rules = setup(&RuleSwitches::default());
    // Each task is begun and ends; one of a hundred fails.
    let mut events = Vec::new();
    for n in 0..n_events / 2 {
        let id = format!("rst-4kfd7fk6{n:08}");
        let at = ago(2) + SignedDuration::from_millis(i64::try_from(n).unwrap());
        let end = if n % 100 == 0 {
            Status::Error
        } else {
            Status::Success
        };
        events.push(task(&id, None, Status::Pending, at, at));
        events.push(task(
            &id,
            Some(Status::Pending),
            end,
            at,
            at + SignedDuration::from_secs(9),
        ));
        if events.len() >= 512 {
            take(&ledger, &rules, std::mem::take(&mut events)).await;
        }
    }
    take(&ledger, &rules, events).await;
    for when in ["after reading", "after a pass a day later"] {
        println!("{n_events} events, {when}:");
        for prefix in ["ei/", "ex/", "t/", "s/", "i/", "o/", "f/", ""] {
            let (mut n, mut bytes, mut after) = (0_u64, 0, None);
            loop {
                let page = store.scan(prefix.as_bytes(), after, 10_000).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                n += page.len() as u64;
                bytes += page
                    .iter()
                    .map(|(key, row)| key.len() + row.len())
                    .sum::<usize>();
                after = Some(last.clone());
            }
            let a_row = bytes as u64 / n.max(1);
            println!("  {prefix:<3} {n:>9} rows {bytes:>12} bytes, {a_row} a row");
        }
        println!("  on the disk: {:?}", store.size().await.unwrap());
        pass(&ledger, None).await;
    }
}
