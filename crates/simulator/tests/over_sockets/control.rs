use serde_json::{Value, json};

use syncbell_simulator::DEMO_INSTANCE;

use crate::client::{call, http, ids, page, start};

#[tokio::test]
async fn the_world_can_be_changed_with_curl() {
    let handle = start().await;
    // Else a task made in the second before the first answer's Date would be of the baseline.
    handle.world().baseline_done();
    let url = |path: &str| format!("{}/_simulator/{path}", handle.url());
    let task = json!({
        "id": "rst-x",
        "status": "ERROR",
        "from": {"instance_id": DEMO_INSTANCE, "namespace": "a", "repo": "b", "tag": "1"},
    });
    let added = http().post(url("task")).json(&task).send().await.unwrap();
    assert_eq!(
        added.json::<Value>().await.unwrap(),
        json!({"task_id": "rst-x"})
    );
    let ledger = || async {
        http()
            .get(url("ledger"))
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()
    };
    assert_eq!(ledger().await["unserved"][0]["task_id"], "rst-x");
    assert_eq!(ids(&page(&handle, 1, 30).await), ["rst-x"]);
    let told = &ledger().await["expected"][0];
    assert_eq!(
        (&told["rule"], &told["status"]),
        (&json!("failed"), &json!("firing"))
    );
}

#[tokio::test]
async fn faults_can_be_switched_with_curl() {
    let handle = start().await;
    let url = |path: &str| format!("{}/_simulator/{path}", handle.url());
    let fault = json!({"fault": {"slow": {"delay_ms": 1}}, "calls": 1});
    assert_eq!(
        http()
            .post(url("fault"))
            .json(&fault)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    let fault = json!({"fault": "no_privilege"});
    assert_eq!(
        http()
            .post(url("fault"))
            .json(&fault)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    let state = http()
        .get(url("state"))
        .send()
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    assert_eq!(
        state["counts"]["faults"],
        json!([{"slow": {"delay_ms": 1}}, "no_privilege"])
    );
    let listed = call(&[("InstanceId", DEMO_INSTANCE)]);
    assert_eq!(listed.code(&handle).await, (403, "NoPrivilege".to_owned()));
    assert_eq!(
        http().delete(url("fault")).send().await.unwrap().status(),
        204
    );
    page(&handle, 1, 30).await;
}

#[tokio::test]
async fn a_wrong_order_is_refused() {
    let handle = start().await;
    let url = format!("{}/_simulator/fault", handle.url());
    for order in [
        json!({"fault": "nonsense"}),
        json!({"fault": "system_error", "calls": 1, "seconds": 1}),
        json!({"fault": "system_error", "times": 1}),
    ] {
        let answer = http().post(&url).json(&order).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{order}");
    }
    assert_eq!(handle.world().counts().faults, []);
}
