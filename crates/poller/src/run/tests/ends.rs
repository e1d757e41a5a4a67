//! How a poller ends, by itself or when it is asked to, and how it stands meanwhile.

use super::*;

#[tokio::test]
async fn a_broken_store_ends_it_with_an_error() {
    let bench = Bench::new(vec![task(1, "PENDING", -10)]).await;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        bench.store.close().await.unwrap();
        bench.vendor.tasks.lock().unwrap()[0] = task(1, "ERROR", 5);
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = run(bench.parts(), Shutdown::new()) => ended,
        () = story => unreachable!("the story has no end"),
    };
    assert!(matches!(ended, Err(Error::Store(_))), "{ended:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_ends_all_loops_with_its_name() {
    let bench = Bench::new(vec![task(1, "PENDING", -10)]).await;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        let mut batch = syncbell_store::Batch::new();
        let key = crate::row::task_key(b"task/cri-a/", crate::row::IdHash::of("rst-1"));
        batch.put(key, "{");
        bench.store.commit(batch).await.unwrap();
        bench.vendor.tasks.lock().unwrap()[0] = task(1, "ERROR", 5);
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = run(bench.parts(), Shutdown::new()) => ended,
        () = story => unreachable!("the story has no end"),
    };
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("task/cri-a/"), "{error}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_the_next_poll_nor_for_a_slow_answer() {
    let mut bench = Bench::new(vec![]).await;
    bench.poll_every = Duration::from_hours(1);
    bench.sweep_every = Duration::from_hours(1);
    let story = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(story).await.unwrap();

    bench.metrics = Metrics::new();
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_hours(1));
    *bench.vendor.failure.lock().unwrap() = Some(slow);
    let asked = *bench.vendor.n_asked.lock().unwrap();
    let story = async {
        while *bench.vendor.n_asked.lock().unwrap() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bench.run_while(story).await.unwrap();
    let metrics = bench.metrics.encode();
    let failed = "syncbell_polls_total{instance=\"cri-a\",outcome=\"unavailable\"} 0";
    assert!(
        metrics.contains(failed),
        "the answer was waited for: {metrics}"
    );
}

#[tokio::test]
async fn the_status_says_how_each_instance_stands() {
    use std::net::SocketAddr;

    let bench = Bench::new(vec![task(1, "PENDING", -10)]).await;
    let admin = syncbell_service::Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = admin.local_addr();
    let shutdown = Shutdown::new();
    let api = crate::api(bench.status.clone());
    shutdown.spawn(
        "admin",
        admin.serve(Health::new(), Metrics::new(), api, shutdown.clone()),
    );
    let story = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(story).await.unwrap();
    let text = ask(address, "/api/v1/poller/status").await;
    let shown: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    let instance = &shown["instances"]["cri-a"];
    assert_eq!(instance["region"], "cn-shanghai", "{shown}");
    assert_eq!(instance["baseline"]["since"], "2023-11-14T22:13:20Z");
    assert_eq!(shown["outbox"], json!({"rows": 0, "bytes": 0}));
    shutdown.trigger();
    assert!(shutdown.drained(Duration::from_secs(10)).await);
}

async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
