use serde_json::{Value, json};

use syncbell_event::{AlertStatus, Status};
use syncbell_simulator::{
    Action, DEMO_INSTANCE, Extent, Fault, Layer, NewInstance, NewRule, NewTask, Options, Progress,
    Simulator,
};

use crate::client::{call_of, page, start};

const GET: &str = "GetRepoSyncTask";

fn get(task_id: &str) -> crate::client::Call {
    call_of(
        GET,
        &[("InstanceId", DEMO_INSTANCE), ("SyncTaskId", task_id)],
    )
}

fn names(body: &Value, list: &str, name: &str) -> Vec<String> {
    let rows = body[list].as_array().unwrap();
    rows.iter()
        .map(|row| row[name].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_operation_takes_both_signatures_and_refuses_a_wrong_one() {
    let handle = start().await;
    handle.world().add_task(NewTask::of("a/b", "1").id("rst-1"));
    for action in Action::REGISTRY {
        let query = [("InstanceId", DEMO_INSTANCE), ("SyncTaskId", "rst-1")];
        let name = action.as_str();
        let (status, body) = call_of(name, &query).json(&handle).await;
        assert_eq!((status, &body["IsSuccess"]), (200, &json!(true)), "{name}");
        let (status, body) = call_of(name, &query).json_v1(&handle).await;
        assert_eq!((status, &body["IsSuccess"]), (200, &json!(true)), "{name}");
        let mut wrong = call_of(name, &query);
        wrong.secret = "another".to_owned();
        let (status, body) = wrong.json(&handle).await;
        assert_eq!(
            (status, &body["Code"]),
            (400, &json!("SignatureDoesNotMatch"))
        );
        let mut wrong = call_of(name, &query);
        wrong.secret = "another".to_owned();
        let (status, body) = wrong.json_v1(&handle).await;
        assert_eq!(
            (status, &body["Code"]),
            (400, &json!("SignatureDoesNotMatch"))
        );
        let message = body["Message"].as_str().unwrap();
        assert!(message.contains("string to sign is:POST&%2F&AccessKeyId%3D"));
    }
}

#[tokio::test]
async fn a_failed_task_tells_which_layer_failed() {
    let handle = start().await;
    let mut task = NewTask::of("shop/app", "1").id("rst-1");
    task.batch_id = Some("batch-1".to_owned());
    handle
        .world()
        .add_task(task.status(Status::Error).issue("NETWORK_ERROR"));
    let (status, body) = get("rst-1").json(&handle).await;
    assert_eq!(status, 200);
    for (name, value) in [
        ("Code", json!("success")),
        ("SyncTaskId", json!("rst-1")),
        ("SyncBatchTaskId", json!("batch-1")),
        ("SyncRuleId", json!("crsr-shop")),
        ("TaskStatus", json!("ERROR")),
        ("TaskIssue", json!("NETWORK_ERROR")),
        ("Progress", json!(0)),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(body["ImageFrom"]["RepoName"], "app");
    assert!(body["RequestId"].is_string() && body["SyncedSize"].is_u64());
    // As the vendor's SDKs declare it: no times.
    assert!(body.get("CreateTime").is_none() && body.get("ModifedTime").is_none());
    let layers = body["LayerTasks"].as_array().unwrap();
    let failed: Vec<_> = layers
        .iter()
        .filter(|layer| layer["TaskStatus"] == "ERROR")
        .collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["Digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(failed[0]["Size"].as_u64() > failed[0]["SyncedSize"].as_u64());
}

#[tokio::test]
async fn all_fields_and_a_given_progress_can_be_had() {
    let options = Options {
        task_in_full: true,
        ..Options::default()
    };
    let handle = Simulator::start(options).await.unwrap();
    let world = handle.world();
    world.add_task(
        NewTask::of("a/b", "1")
            .id("rst-1")
            .status(Status::Synchronizing),
    );
    let progress = Progress {
        progress: 0.25,
        synced_size_bytes: 1234,
        layers: vec![Layer {
            digest: "sha256:aa".to_owned(),
            artifact_digest: String::new(),
            status: Status::Synchronizing,
            size_bytes: 5000,
            synced_size_bytes: 1234,
        }],
    };
    world.set_progress("rst-1", progress).unwrap();
    let (_, body) = get("rst-1").json(&handle).await;
    assert!(body["CreateTime"].is_i64() && body["ModifedTime"].is_i64());
    assert_eq!(
        (&body["Progress"], &body["SyncedSize"]),
        (&json!(0.25), &json!(1234))
    );
    assert_eq!(body["LayerTasks"][0]["Digest"], "sha256:aa");
}

#[tokio::test]
async fn an_unknown_task_is_no_success() {
    let handle = start().await;
    let world = handle.world();
    assert_eq!(
        get("rst-x").code(&handle).await,
        (400, "SYNC_TASK_NOT_EXIST".to_owned())
    );
    world.add_task(NewTask::of("a/b", "1").id("rst-1"));
    world.add_task(NewTask::of("a/b", "2").id("rst-2"));
    world.unlist_task("rst-1").unwrap();
    world.remove_task("rst-2").unwrap();
    assert_eq!(page(&handle, 1, 30).await["TotalCount"], "0");
    assert_eq!(get("rst-1").json(&handle).await.0, 200);
    assert_eq!(get("rst-2").json(&handle).await.0, 400);
    let no_task = call_of(GET, &[("InstanceId", DEMO_INSTANCE)]);
    assert_eq!(
        no_task.code(&handle).await,
        (400, "MissingSyncTaskId".to_owned())
    );
    let (status, body) = call_of(GET, &[("InstanceId", "cri-x"), ("SyncTaskId", "rst-1")])
        .json(&handle)
        .await;
    assert_eq!((status, &body["Code"]), (200, &json!("INSTANCE_NOT_EXIST")));
}

#[tokio::test]
async fn a_state_that_only_get_showed_must_be_told() {
    let handle = start().await;
    let world = handle.world();
    world.baseline_done();
    world.add_task(NewTask::of("a/b", "1").id("rst-1"));
    page(&handle, 1, 30).await;
    world.unlist_task("rst-1").unwrap();
    world.set_status("rst-1", Status::Error).unwrap();
    page(&handle, 1, 30).await;
    assert_eq!(world.ledger().expected(), []);
    assert_eq!(world.counts().unserved, 1);
    get("rst-1").json(&handle).await;
    let told = &world.ledger().expected()[0];
    assert_eq!(
        (told.task_id.as_str(), told.status),
        ("rst-1", AlertStatus::Firing)
    );
    assert_eq!(world.counts().unserved, 0);
    assert_eq!(world.counts().answers, 2, "only lists count as such");
}

#[tokio::test]
async fn instances_are_listed_filtered_and_paged() {
    let handle = start().await;
    let world = handle.world();
    for n in 0..4 {
        let instance = NewInstance::new(&format!("cri-{n}"), "cn-beijing")
            .name(&format!("name-{n}"))
            .resource_group(if n < 2 { "rg-a" } else { "rg-b" })
            .tag("team", "shop");
        world.add_instance(instance);
    }
    assert!(world.set_instance_status("cri-3", "STOPPED"));
    assert!(!world.set_instance_status("cri-x", "STOPPED"));
    let list = async |query: &[(&str, &str)]| call_of("ListInstance", query).json(&handle).await.1;
    let all = list(&[]).await;
    assert_eq!(
        (&all["TotalCount"], &all["PageNo"], &all["PageSize"]),
        (&json!(5), &json!(1), &json!(30))
    );
    let row = &all["Instances"][1];
    assert_eq!(
        (
            &row["InstanceName"],
            &row["InstanceStatus"],
            &row["RegionId"]
        ),
        (&json!("name-0"), &json!("RUNNING"), &json!("cn-beijing"))
    );
    assert_eq!(row["Tags"], json!([{"Key": "team", "Value": "shop"}]));
    assert!(row["CreateTime"].as_str().unwrap().parse::<i64>().is_ok());
    let ids = |body: &Value| names(body, "Instances", "InstanceId");
    let second = list(&[("PageNo", "2"), ("PageSize", "2")]).await;
    assert_eq!(
        (ids(&second), &second["TotalCount"]),
        (vec!["cri-1".into(), "cri-2".into()], &json!(5))
    );
    assert_eq!(
        ids(&list(&[("InstanceStatus", "STOPPED")]).await),
        ["cri-3"]
    );
    assert_eq!(ids(&list(&[("InstanceName", "name-2")]).await), ["cri-2"]);
    assert_eq!(
        ids(&list(&[("ResourceGroupId", "rg-a")]).await),
        ["cri-0", "cri-1"]
    );
    assert!(world.remove_instance("cri-2"));
    assert_eq!(list(&[]).await["TotalCount"], 4);
}

#[tokio::test]
async fn an_endpoint_of_one_region_tells_only_its_instances() {
    let options = Options {
        region: Some("cn-beijing".to_owned()),
        ..Options::default()
    };
    let handle = Simulator::start(options).await.unwrap();
    handle
        .world()
        .add_instance(NewInstance::new("cri-b", "cn-beijing"));
    let (_, body) = call_of("ListInstance", &[]).json(&handle).await;
    assert_eq!(names(&body, "Instances", "InstanceId"), ["cri-b"]);
}

#[tokio::test]
async fn rules_are_listed_by_their_instance() {
    let handle = start().await;
    let world = handle.world();
    for n in 0..3 {
        let namespace = format!("ns-{n}");
        world.add_rule(NewRule::of(
            &format!("crsr-{n}"),
            &format!("rule {n}"),
            &namespace,
        ));
    }
    world.add_rule(NewRule::of("crsr-x", "x", "ns").of_instance("cri-x", "cn-x"));
    let list = async |query: &[(&str, &str)]| {
        let mut query = query.to_vec();
        query.push(("InstanceId", DEMO_INSTANCE));
        call_of("ListRepoSyncRule", &query).json(&handle).await.1
    };
    let all = list(&[]).await;
    assert_eq!(
        names(&all, "SyncRules", "SyncRuleId"),
        ["crsr-0", "crsr-1", "crsr-2"]
    );
    let row = &all["SyncRules"][0];
    for (name, value) in [
        ("SyncRuleName", "rule 0"),
        ("SyncScope", "NAMESPACE"),
        ("SyncTrigger", "PASSIVE"),
        ("LocalInstanceId", DEMO_INSTANCE),
        ("TargetNamespaceName", "ns-0"),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    let second = list(&[("PageNo", "2"), ("PageSize", "2")]).await;
    assert_eq!(names(&second, "SyncRules", "SyncRuleId"), ["crsr-2"]);
    assert_eq!(second["TotalCount"], 3);
    assert_eq!(list(&[("NamespaceName", "ns-1")]).await["TotalCount"], 1);
    assert_eq!(list(&[("TargetRegionId", "cn-x")]).await["TotalCount"], 0);
    assert!(world.remove_rule("crsr-1"));
    assert_eq!(list(&[]).await["TotalCount"], 2);
}

#[tokio::test]
async fn a_batch_is_found_by_its_id() {
    let handle = start().await;
    let world = handle.world();
    world.add_task(NewTask::of("a/b", "other"));
    let model = NewTask::of("shop/app", "1.0-{n}").id("rst-batch");
    let ids = world.add_batch("batch-7", 40, &model);
    assert_eq!(
        (ids.len(), ids[0].as_str(), ids[39].as_str()),
        (40, "rst-batch-1", "rst-batch-40")
    );
    assert_eq!(
        world.set_batch("batch-7", Some(37), &Status::Error, Some("NETWORK_ERROR")),
        37
    );
    assert_eq!(world.set_batch("batch-7", None, &Status::Success, None), 3);
    let query = [
        ("InstanceId", DEMO_INSTANCE),
        ("SyncRecordId", "batch-7"),
        ("PageSize", "100"),
    ];
    let (_, body) = call_of("ListRepoSyncTask", &query).json(&handle).await;
    assert_eq!(body["TotalCount"], "40");
    let rows = body["SyncTasks"].as_array().unwrap();
    let failed = rows.iter().filter(|row| row["TaskStatus"] == "ERROR");
    assert_eq!(failed.count(), 37);
    let tags: Vec<_> = rows
        .iter()
        .map(|row| row["ImageTo"]["ImageTag"].as_str().unwrap())
        .collect();
    assert!(tags.contains(&"1.0-1") && tags.contains(&"1.0-40"));
}

#[tokio::test]
async fn one_operation_can_be_denied_by_itself() {
    let handle = start().await;
    let world = handle.world();
    world.add_task(NewTask::of("a/b", "1").id("rst-1"));
    world
        .fault_for(Action::GetRepoSyncTask, Fault::NoPrivilege, Extent::Always)
        .unwrap();
    page(&handle, 1, 30).await;
    let (status, body) = get("rst-1").json(&handle).await;
    assert_eq!((status, &body["Code"]), (403, &json!("NoPrivilege")));
    assert_eq!(
        body["AccessDeniedDetail"]["AuthAction"],
        "cr:GetRepositorySync"
    );
    let (status, _) = call_of("ListInstance", &[]).json(&handle).await;
    assert_eq!(status, 200);
}
