//! Head polls, open tasks, blindness, details, discovery: through the whole poller.

use super::*;

/// A long list whose tasks are quiet and a second apart, newest first; an open one at its end.
fn long_list() -> Vec<Value> {
    let mut tasks: Vec<Value> = (0..1_000)
        .map(|n| task(n, "SUCCESS", -2_000 - i64::try_from(n).unwrap() * 10))
        .collect();
    tasks.push(task(1_000, "SYNCHRONIZING", -100_000));
    tasks
}

#[tokio::test]
async fn head_polls_read_one_page_and_an_open_task_far_down_by_its_id() {
    let mut bench = Bench::new(long_list()).await;
    bench.sweep_every = Duration::from_hours(1);
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        while *bench.vendor.n_by_id.lock().unwrap() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.vendor.tasks.lock().unwrap()[1_000] = task(1_000, "ERROR", 5);
        bench
            .vendor
            .tasks
            .lock()
            .unwrap()
            .insert(0, task(2_000, "ERROR", 6));
        let told = |id: &str, events: &[Envelope]| events.iter().any(|e| e.subject == id);
        bench
            .until(|events| {
                told("rst-2000", events) && events.iter().any(|e| is_kind(e, Kind::Updated))
            })
            .await;
    };
    bench.run_while(story).await.unwrap();
    let (told, _) = bench.told();
    assert!(told.contains(&"Updated rst-1000".to_owned()), "{told:?}");
    let status = serde_json::to_value(bench.status.shown().await).unwrap();
    assert_eq!(
        status["instances"]["cri-a"]["last_sweep"]["pages"], 12,
        "one sweep only"
    );
}

#[tokio::test]
async fn where_reads_by_id_are_denied_pages_do_and_it_is_said_once() {
    let mut bench = Bench::new(long_list()).await;
    // So that reading on to page 11 is within the means.
    bench.poll_every = Duration::from_secs(1);
    bench.sweep_every = Duration::from_hours(1);
    *bench.vendor.denies_by_id.lock().unwrap() = true;
    bench.vendor.tasks.lock().unwrap().swap(150, 1_000);
    let open = task(1_000, "SYNCHRONIZING", -2_000 - 1_500);
    bench.vendor.tasks.lock().unwrap()[150] = open;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        bench.vendor.tasks.lock().unwrap()[150] = task(1_000, "ERROR", -1_900);
        bench.vendor.tasks.lock().unwrap()[150]["CreateTime"] = ((DATE - 3_500) * 1_000).into();
        bench
            .until(|events| events.iter().any(|e| is_kind(e, Kind::Updated)))
            .await;
    };
    bench.run_while(story).await.unwrap();
    assert!(*bench.vendor.n_by_id.lock().unwrap() <= 1);
    let (told, _) = bench.told();
    assert!(told.contains(&"Updated rst-1000".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_task_that_the_list_misses_and_the_server_still_knows_does_not_vanish() {
    let bench = Bench::new(vec![task(1, "PENDING", -10), task(0, "SUCCESS", -20)]).await;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        *bench.vendor.hidden.lock().unwrap() = true;
        let asked = *bench.vendor.n_asked.lock().unwrap();
        while *bench.vendor.n_asked.lock().unwrap() < asked + 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.vendor.tasks.lock().unwrap()[0] = task(1, "ERROR", 5);
        bench
            .until(|events| events.iter().any(|e| is_kind(e, Kind::Updated)))
            .await;
    };
    bench.run_while(story).await.unwrap();
    assert_eq!(bench.told().0, ["Snapshot rst-1", "Updated rst-1"]);
}

#[tokio::test]
async fn blindness_is_told_once_and_its_end_once_also_across_a_restart() {
    let mut bench = Bench::new(vec![task(1, "PENDING", -10)]).await;
    bench.blind_after = Duration::from_millis(600);
    let failing = |event: &Envelope| matches!(event.event, Event::Failing(_));
    let denied = ResponseTemplate::new(403).set_body_json(json!({
        "RequestId": "req-2", "Code": "NoPrivilege", "Message": "no"
    }));
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        *bench.vendor.failure.lock().unwrap() = Some(denied);
        // Denials are probed each 15 s at first: it is told in time all the same.
        bench.until(|events| events.iter().any(failing)).await;
    };
    bench.run_while(story).await.unwrap();
    bench.metrics = Metrics::new();
    let story = tokio::time::sleep(Duration::from_millis(900));
    bench.run_while(story).await.unwrap();
    *bench.vendor.failure.lock().unwrap() = None;
    bench.metrics = Metrics::new();
    let recovered = |event: &Envelope| matches!(event.event, Event::Recovered(_));
    let story = bench.until(|events| events.iter().any(recovered));
    bench.run_while(story).await.unwrap();
    let all = events(&bench.log.written.borrow());
    let told: Vec<&Envelope> = all.iter().filter(|event| failing(event)).collect();
    assert_eq!(told.len(), 1);
    let Event::Failing(failing) = &told[0].event else {
        unreachable!("it was chosen so");
    };
    assert_eq!(failing.reason, "denied");
    assert!(
        failing.message.contains("NoPrivilege"),
        "{}",
        failing.message
    );
    let over: Vec<&Envelope> = all.iter().filter(|event| recovered(event)).collect();
    assert_eq!(over.len(), 1);
    let Event::Recovered(recovered) = &over[0].event else {
        unreachable!("it was chosen so");
    };
    assert_eq!(
        (recovered.reason.as_str(), recovered.since),
        ("denied", failing.since)
    );
}

#[tokio::test]
async fn a_failure_is_told_with_what_else_can_be_found_out() {
    let mut failed = task(1, "ERROR", 5);
    failed["SyncBatchTaskId"] = "batch-1".into();
    let bench = Bench::new(vec![failed, task(0, "SUCCESS", -20)]).await;
    let story = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(story).await.unwrap();
    let all = events(&bench.log.written.borrow());
    let created = all
        .iter()
        .find(|event| is_kind(event, Kind::Created))
        .unwrap();
    let Event::Task { data, .. } = &created.event else {
        unreachable!("it was chosen so");
    };
    let detail = serde_json::to_value(data.detail.as_ref().unwrap()).unwrap();
    let expected = json!({
        "progress": 0.5, "synced_size_bytes": 1_024, "failed_layers": ["sha256:bad"],
        "sync_rule_name": "to-shenzhen", "batch": {"total": 2, "failed": 1, "open": 0},
        "request_id": "req-1"
    });
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn found_instances_are_watched_also_while_nobody_can_list_them_and_told_when_they_go() {
    let bench = Bench::new(vec![task(1, "PENDING", -10)]).await;
    *bench.vendor.instances.lock().unwrap() = Some(vec!["cri-b", "cri-c"]);
    let parts = |bench: &Bench| {
        let mut parts = bench.parts();
        parts.discoveries = vec![Discovery {
            like: Instance {
                id: "instances-of-cn-shanghai".to_owned(),
                ..parts.instances[0].clone()
            },
            matchers: Vec::new(),
            every: Duration::from_millis(100),
        }];
        parts.instances = Vec::new();
        parts
    };
    let swept_of = |id: &'static str| {
        move |events: &[Envelope]| {
            events
                .iter()
                .any(|e| is_swept(e) && e.source.instance == id)
        }
    };
    let run_while = async |bench: &Bench, story: &mut (dyn Future<Output = ()> + Unpin)| {
        let shutdown = Shutdown::new();
        let polling = run(parts(bench), shutdown.clone());
        let story = async {
            tokio::time::timeout(Duration::from_secs(30), story)
                .await
                .expect("what the story waits for does not come");
            shutdown.trigger();
        };
        tokio::join!(polling, story).0.unwrap();
    };
    let mut story = Box::pin(async {
        bench.until(swept_of("cri-b")).await;
        bench.until(swept_of("cri-c")).await;
    });
    run_while(&bench, &mut story).await;

    drop(story);

    let mut bench = bench;
    bench.metrics = Metrics::new();
    bench.log.written.send_modify(Vec::clear);
    *bench.vendor.instances.lock().unwrap() = None;
    let mut story = Box::pin(async {
        bench.until(swept_of("cri-b")).await;
        bench.until(swept_of("cri-c")).await;
        *bench.vendor.instances.lock().unwrap() = Some(vec!["cri-b"]);
        bench
            .until(|events| events.iter().any(|e| matches!(&e.event, Event::Failing(_))))
            .await;
    });
    run_while(&bench, &mut story).await;
    let all = events(&bench.log.written.borrow());
    let failing: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|envelope| match &envelope.event {
            Event::Failing(failing) => {
                Some((envelope.source.instance.as_str(), failing.reason.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(failing, [("cri-c", "gone")]);
}

#[tokio::test]
async fn a_full_disk_ends_no_discovery() {
    let folder = tempfile::tempdir().unwrap();
    let options = syncbell_store::Options {
        min_free_bytes: u64::MAX,
        ..syncbell_store::Options::default()
    };
    let mut bench = Bench::new(vec![]).await;
    bench.store = Store::open(folder.path(), options).unwrap();
    *bench.vendor.instances.lock().unwrap() = Some(vec!["cri-b"]);
    let mut parts = bench.parts();
    parts.discoveries = vec![Discovery {
        like: Instance {
            id: "instances-of-cn-shanghai".to_owned(),
            ..parts.instances[0].clone()
        },
        matchers: Vec::new(),
        every: Duration::from_millis(100),
    }];
    parts.instances = Vec::new();
    let shutdown = Shutdown::new();
    let polling = run(parts, shutdown.clone());
    let story = async {
        while bench.server.received_requests().await.unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.trigger();
    };
    let both = async { tokio::join!(polling, story).0 };
    let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
    ended.expect("it looks again").unwrap();
}
