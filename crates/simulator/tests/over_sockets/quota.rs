use std::time::Duration;

use syncbell_simulator::{Action, DEMO_INSTANCE, Quota, busiest_second, inside_pauses};

use crate::client::{call, call_of, page, start};

#[tokio::test]
async fn what_is_beyond_the_quota_is_told_how_long_to_wait() {
    let handle = start().await;
    let world = handle.world();
    world.set_quota(Some(Quota {
        per_second: 2,
        per_operation: false,
    }));
    page(&handle, 1, 30).await;
    let (status, _) = call_of("ListInstance", &[]).json(&handle).await;
    assert_eq!(status, 200);
    let refused = call(&[("InstanceId", DEMO_INSTANCE)])
        .send(&handle)
        .await
        .unwrap();
    assert_eq!(refused.status(), 400);
    let wait = refused.headers()["x-acs-retry-after"].to_str().unwrap();
    let wait_ms: u64 = wait.parse().unwrap();
    assert!((1..=1000).contains(&wait_ms), "{wait_ms}");
    assert!(refused.text().await.unwrap().contains("Throttling.User"));
    // An impatient client is refused again, and the log shows it.
    let impatient = call(&[("InstanceId", DEMO_INSTANCE), ("PageNo", "3")]);
    assert_eq!(
        impatient.code(&handle).await,
        (400, "Throttling.User".to_owned())
    );
    let calls = world.calls();
    let inside = inside_pauses(&calls, Duration::ZERO);
    assert_eq!((inside.len(), inside[0].page_no), (1, Some(3)));
    // One that waits as long as it was told is let in.
    let wait = calls.last().unwrap().wait_ms.unwrap();
    tokio::time::sleep(Duration::from_millis(wait)).await;
    page(&handle, 1, 30).await;
    let calls = world.calls();
    let seen: Vec<_> = calls
        .iter()
        .map(|call| (call.action.as_str(), call.status, call.throttled))
        .collect();
    let list = Action::ListRepoSyncTask.as_str();
    assert_eq!(
        seen,
        [
            (list, Some(200), false),
            ("ListInstance", Some(200), false),
            (list, Some(400), true),
            (list, Some(400), true),
            (list, Some(200), false),
        ]
    );
    assert!((4..=5).contains(&busiest_second(&calls)));
    world.forget_calls();
    assert_eq!(world.calls(), []);
}

#[tokio::test]
async fn a_quota_can_be_each_operations_own() {
    let handle = start().await;
    handle.world().set_quota(Some(Quota {
        per_second: 1,
        per_operation: true,
    }));
    page(&handle, 1, 30).await;
    let instances = call_of("ListInstance", &[]);
    assert_eq!(instances.json(&handle).await.0, 200);
    assert_eq!(call_of("ListInstance", &[]).json(&handle).await.0, 400);
    handle.world().set_quota(None);
    page(&handle, 1, 30).await;
}
