use serde_json::{Value, json};

use syncbell_simulator::DEMO_INSTANCE;

use crate::client::{call, call_of, http, ids, page, start};

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

/// Method, path, body, and the status that they are answered with.
fn orders() -> Vec<(&'static str, &'static str, Value, u16)> {
    vec![
        (
            "POST",
            "instance",
            json!({"id": "cri-b", "region": "cn-beijing", "tags": {"a": "b"}}),
            204,
        ),
        (
            "POST",
            "rule",
            json!({"id": "crsr-1", "name": "nightly"}),
            204,
        ),
        (
            "POST",
            "batch/b1",
            json!({"tasks": 3, "like": {"id": "t"}}),
            200,
        ),
        (
            "PUT",
            "batch/b1",
            json!({"status": "ERROR", "tasks": 2}),
            200,
        ),
        (
            "POST",
            "task/t-3/progress",
            json!({"progress": 0.5, "synced_size_bytes": 9}),
            204,
        ),
        ("POST", "task/t-9/progress", json!({}), 404),
        ("DELETE", "task/t-1?unlist_only=true", Value::Null, 204),
        ("DELETE", "task/t-2", Value::Null, 204),
        ("DELETE", "task/t-2", Value::Null, 404),
        ("POST", "load", json!({"tasks": 1000, "open": 1}), 204),
        ("POST", "load", json!({"tasks": 100_000_000}), 400),
        ("POST", "retention", json!({"seconds": 86400}), 204),
        ("POST", "baseline-done", Value::Null, 204),
        (
            "POST",
            "fault",
            json!({"fault": "no_privilege", "only": "GetRepoSyncTask"}),
            204,
        ),
        ("POST", "quota", json!({"per_second": 100}), 204),
        ("DELETE", "quota", Value::Null, 204),
        ("DELETE", "rule/crsr-x", Value::Null, 404),
        ("DELETE", "instance/cri-x", Value::Null, 404),
    ]
}

#[tokio::test]
async fn all_of_the_service_can_be_changed_with_curl() {
    let handle = start().await;
    let send = async |method: &str, path: &str, body: Value| {
        let url = format!("{}/_simulator/{path}", handle.url());
        let request = http().request(method.parse().unwrap(), url);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    };
    let none = Value::Null;
    for (method, path, body, status) in orders() {
        let (got, text) = send(method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {text}");
    }
    let listed = page(&handle, 1, 100).await;
    assert_eq!(listed["TotalCount"], "1001");
    assert_eq!(listed["SyncTasks"][0]["SyncTaskId"], "t-3");
    let (status, body) = call_of("ListInstance", &[]).json(&handle).await;
    assert_eq!((status, &body["TotalCount"]), (200, &json!(2)));
    let get = [("InstanceId", DEMO_INSTANCE), ("SyncTaskId", "t-3")];
    let denied = call_of("GetRepoSyncTask", &get).code(&handle).await;
    assert_eq!(denied, (403, "NoPrivilege".to_owned()));
    let (_, calls) = send("GET", "calls", none.clone()).await;
    let calls: Value = serde_json::from_str(&calls).unwrap();
    assert_eq!(
        (
            &calls[0]["action"],
            &calls[0]["page_no"],
            &calls[2]["status"]
        ),
        (&json!("ListRepoSyncTask"), &json!(1), &json!(403))
    );
    assert_eq!(send("DELETE", "calls", none.clone()).await.0, 204);
    assert_eq!(send("DELETE", "rule/crsr-1", none.clone()).await.0, 204);
    assert_eq!(send("DELETE", "instance/cri-b", none).await.0, 204);
}
