use std::time::Duration;

use tokio::time::Instant;

use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, Extent, Fault, Handle, NewTask, ResetIn};

use crate::client::{call, page, start};

async fn with_a_failure() -> Handle {
    let handle = start().await;
    handle.world().baseline_done();
    let task = NewTask::of("a/b", "1").id("rst-1").status(Status::Error);
    handle.world().add_task(task);
    handle
}

async fn send(handle: &Handle, fault: Fault) -> reqwest::Result<reqwest::Response> {
    handle.world().fault(fault, Extent::Calls(1)).unwrap();
    call(&[("InstanceId", DEMO_INSTANCE)]).send(handle).await
}

/// Whether a reset, and no orderly end, is among the causes.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn a_body_can_come_drop_by_drop() {
    let handle = with_a_failure().await;
    let start = Instant::now();
    let drip = Fault::Drip {
        bytes: 100,
        every_ms: 20,
    };
    let answer = send(&handle, drip).await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    let n_parts = u32::try_from(text.len().div_ceil(100)).unwrap();
    assert!(n_parts >= 4, "{text}");
    assert!(start.elapsed() >= Duration::from_millis(20) * n_parts);
    assert_eq!(handle.world().ledger().expected().len(), 1);
}

#[tokio::test]
async fn who_gives_up_on_a_slow_body_has_not_seen_it() {
    let handle = with_a_failure().await;
    let drip = Fault::Drip {
        bytes: 1,
        every_ms: 50,
    };
    let answer = send(&handle, drip).await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(200), answer.bytes()).await;
    assert!(read.is_err());
    page(&handle, 7, 30).await;
    assert_eq!(handle.world().ledger().expected(), []);
    assert_eq!(handle.world().counts().unserved, 1);
}

#[tokio::test]
async fn a_connection_can_be_reset_in_its_headers() {
    let handle = with_a_failure().await;
    let error = send(&handle, Fault::Reset(ResetIn::Headers))
        .await
        .unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(handle.world().ledger().expected(), []);
    page(&handle, 1, 30).await;
}

#[tokio::test]
async fn a_connection_can_be_reset_in_its_body() {
    let handle = with_a_failure().await;
    let answer = send(&handle, Fault::Reset(ResetIn::Body)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let error = answer.text().await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(handle.world().ledger().expected(), []);
    page(&handle, 1, 30).await;
}

#[tokio::test]
async fn a_silent_server_is_silent_until_the_client_gives_up() {
    let handle = with_a_failure().await;
    let asked = send(&handle, Fault::Silent);
    let given_up = tokio::time::timeout(Duration::from_millis(300), asked).await;
    assert!(given_up.is_err());
    let calls = handle.world().calls();
    assert_eq!((calls.len(), calls[0].status), (1, None));
    page(&handle, 1, 30).await;
    assert!(
        handle.stop().await,
        "nothing hangs on to the one that gave up"
    );
}

#[tokio::test]
async fn a_huge_body_never_counts_as_served() {
    let handle = with_a_failure().await;
    let huge = Fault::Huge {
        bytes: Fault::HUGE_BYTES,
    };
    let answer = send(&handle, huge).await.unwrap();
    let body = answer.bytes().await.unwrap();
    assert!(body.len() > 8 << 20);
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    assert_eq!(handle.world().ledger().expected(), []);
}
