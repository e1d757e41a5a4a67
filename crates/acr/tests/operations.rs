//! The operations beside ListRepoSyncTask, against a server that answers what the vendor answers.

use std::sync::Arc;

use serde_json::{Value, json};
use syncbell_acr::{
    Client, ClientOptions, Credentials, Error, InstancePage, ListInstance, ListRepoSyncRule,
    Static, SyncRulePage, TaskReport,
};
use syncbell_event::Status;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn serve(answer: ResponseTemplate) -> (MockServer, Client) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let endpoint = server.uri().parse().expect("the mock's address is a URL");
    let credentials = Static(Credentials {
        access_key_id: "testAccessKeyId".to_owned(),
        secret: "testAccessKeySecret".to_owned().into(),
        security_token: None,
    });
    let options = ClientOptions::new(endpoint, "cn-shanghai");
    let client = Client::new(options, Arc::new(credentials)).expect("plain options");
    (server, client)
}

fn answer(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .insert_header("date", "Fri, 02 Jan 2026 03:04:05 GMT")
        .set_body_raw(body, "application/json")
}

async fn task(body: &str) -> Result<Option<TaskReport>, Error> {
    let (_server, client) = serve(answer(body)).await;
    client.get_repo_sync_task("cri-1", "rst-1").await
}

async fn instances(body: &str) -> Result<InstancePage, Error> {
    let (_server, client) = serve(answer(body)).await;
    client.list_instance(&ListInstance::default()).await
}

async fn rules(body: &str) -> Result<SyncRulePage, Error> {
    let (_server, client) = serve(answer(body)).await;
    let request = ListRepoSyncRule {
        instance_id: "cri-1".to_owned(),
        ..ListRepoSyncRule::default()
    };
    client.list_repo_sync_rule(&request).await
}

const TASK: &str = include_str!("../test_data/get-repo-sync-task.json");
const INSTANCES: &str = include_str!("../test_data/list-instance.json");
const RULES: &str = include_str!("../test_data/list-repo-sync-rule.json");

#[tokio::test]
async fn a_task_is_read_as_a_row_of_the_list_is_with_how_far_it_came() {
    let report = task(TASK).await.unwrap().unwrap();
    assert_eq!(report.request_id.as_deref(), Some("R-1"));
    assert_eq!(report.date.unwrap().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(report.progress, Some(0.25));
    assert_eq!(report.synced_size_bytes, Some(1024));
    let task = serde_json::to_value(&report.task).unwrap();
    let expected = json!({
        "task_id": "rst-1", "batch_id": "15DEEB56", "sync_rule_id": "crsr-1", "status": "ERROR",
        "issue": "NETWORK_ERROR", "trigger": "PASSIVE", "created_at": "2019-11-04T03:45:26Z",
        "modified_at": "2019-11-04T03:45:33Z", "cross_user": false,
        "from": {"region_id": "cn-shanghai", "instance_id": "cri-1", "namespace": "test",
                 "repo": "test", "tag": "v0.1"},
        "to": {"region_id": "cn-shenzhen", "instance_id": "cri-2", "namespace": "test",
               "repo": "test", "tag": "v0.1"},
        "extra": {"NewThing": [1]},
    });
    assert_eq!(task, expected);
    let layers: Vec<_> = report
        .layers
        .iter()
        .map(|layer| (layer.status.clone(), layer.digest.as_deref()))
        .collect();
    assert_eq!(
        layers,
        [
            (Status::Success, Some("sha256:aa")),
            (Status::Error, Some("sha256:bb")),
            (Status::Unknown(String::new()), None),
        ]
    );
    let failed = &report.layers[1];
    assert_eq!(
        (failed.size_bytes, failed.synced_size_bytes),
        (Some(2048), Some(0))
    );
    assert_eq!(failed.id.as_deref(), Some("rslt-2"));
    assert_eq!(failed.artifact_digest.as_deref(), Some("sha256:cc"));
}

#[tokio::test]
async fn a_task_that_the_server_does_not_know_is_none_and_an_unknown_instance_is_an_error() {
    for body in [
        r#"{"IsSuccess":false,"Code":"SYNC_TASK_NOT_EXIST"}"#,
        r#"{"isSuccess":false,"code":"SyncTaskNotExist"}"#,
    ] {
        assert_eq!(task(body).await.unwrap(), None);
    }
    let gone = ResponseTemplate::new(404)
        .set_body_json(json!({"Code": "Task.NotFound", "RequestId": "R-1"}));
    let (_server, client) = serve(gone).await;
    assert_eq!(client.get_repo_sync_task("c", "t").await.unwrap(), None);
    let body = r#"{"IsSuccess":false,"Code":"INSTANCE_NOT_EXIST"}"#;
    assert_eq!(task(body).await.unwrap_err().class(), "rejected");
}

#[tokio::test]
async fn what_is_not_this_task_is_malformed() {
    for (body, part) in [
        ("{}", "no SyncTaskId"),
        (r#"{"SyncTaskId":"rst-2"}"#, "another task"),
        (
            r#"{"SyncTaskId":"rst-1","CreateTime":1e999}"#,
            "CreateTime cannot be parsed",
        ),
        (
            r#"{"SyncTaskId":"rst-1","ImageTo":[]}"#,
            "ImageTo is not an object",
        ),
    ] {
        let error = task(body).await.unwrap_err();
        assert_eq!(error.class(), "malformed");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn progress_and_sizes_may_be_texts_or_nonsense() {
    let report = |more: &str| {
        let body = format!(r#"{{"SyncTaskId":"rst-1","TaskStatus":"ERROR",{more}}}"#);
        async move { task(&body).await.unwrap().unwrap() }
    };
    let texts = report(r#""Progress":"0.5","SyncedSize":"7","LayerTasks":null"#).await;
    assert_eq!(
        (texts.progress, texts.synced_size_bytes),
        (Some(0.5), Some(7))
    );
    let odd = report(r#""Progress":-1,"SyncedSize":-7,"LayerTasks":[3,{"Size":"9"},null]"#).await;
    assert_eq!((odd.progress, odd.synced_size_bytes), (None, None));
    assert_eq!(odd.layers.len(), 1);
    assert_eq!(odd.layers[0].size_bytes, Some(9));
    let worse = report(r#""Progress":1e999,"SyncedSize":{},"LayerTasks":"x""#).await;
    assert_eq!((worse.progress, worse.layers.len()), (None, 0));
    assert!(worse.task.extra.is_empty(), "{:?}", worse.task.extra);
}

#[tokio::test]
async fn instances_are_read_whole_and_a_row_without_an_id_is_counted_only() {
    let page = instances(INSTANCES).await.unwrap();
    assert_eq!(page.request_id.as_deref(), Some("R-1"));
    assert_eq!(
        (page.page_no, page.page_size, page.total_count),
        (Some(1), Some(30), Some(4))
    );
    assert_eq!(page.n_rows, 4);
    assert_eq!(page.date.unwrap().to_string(), "2026-01-02T03:04:05Z");
    let ids: Vec<_> = page.instances.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["cri-1", "cri-2", "cri-3"]);
    let first = &page.instances[0];
    assert_eq!(first.name.as_deref(), Some("production"));
    assert_eq!(first.status.as_deref(), Some("RUNNING"));
    assert_eq!(first.specification.as_deref(), Some("Enterprise_Advanced"));
    assert_eq!(first.region_id.as_deref(), Some("cn-shanghai"));
    assert_eq!(first.resource_group_id.as_deref(), Some("rg-1"));
    let tags: Vec<_> = first.tags.iter().collect();
    let expected =
        [("env", "prod"), ("team", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(
        tags,
        expected.iter().map(|(k, v)| (k, v)).collect::<Vec<_>>()
    );
    assert_eq!(page.instances[1].name, None);
}

#[tokio::test]
async fn rules_are_read_whole_and_a_row_without_an_id_is_counted_only() {
    let page = rules(RULES).await.unwrap();
    assert_eq!((page.total_count, page.n_rows), (Some(2), 3));
    assert_eq!(page.rules.len(), 2);
    let first = &page.rules[0];
    assert_eq!(first.id, "crsr-1");
    assert_eq!(first.name.as_deref(), Some("to shenzhen"));
    assert_eq!(first.scope.as_deref(), Some("REPO"));
    assert_eq!(first.trigger.as_deref(), Some("PASSIVE"));
    assert_eq!(first.direction.as_deref(), Some("FROM"));
    assert_eq!(first.namespace.as_deref(), Some("test"));
    assert_eq!(first.repo.as_deref(), Some("app"));
}

#[tokio::test]
async fn a_list_without_rows_is_empty_and_an_answer_without_a_list_is_malformed() {
    for body in [
        r#"{"TotalCount":"0"}"#,
        r#"{"Instances":null,"SyncRules":null}"#,
        r#"{"Instances":[],"SyncRules":[]}"#,
    ] {
        assert_eq!(instances(body).await.unwrap().n_rows, 0);
        assert_eq!(rules(body).await.unwrap().n_rows, 0);
    }
    for body in [
        "{}",
        r#"{"TotalCount":3}"#,
        r#"{"Instances":{},"SyncRules":"x"}"#,
    ] {
        assert_eq!(instances(body).await.unwrap_err().class(), "malformed");
        assert_eq!(rules(body).await.unwrap_err().class(), "malformed");
    }
    let failed = r#"{"IsSuccess":"false","Code":"INSTANCE_NOT_EXIST","Instances":[]}"#;
    assert_eq!(instances(failed).await.unwrap_err().class(), "rejected");
}

#[tokio::test]
async fn a_row_that_cannot_be_parsed_leaves_its_neighbours_and_its_other_fields() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let body = format!(
        r#"{{"Instances":[{{"InstanceId":"a","Odd":1e999}},{{"InstanceId":"b","InstanceName":{deep}}},
            7,{{"InstanceId":{{}}}},{{"InstanceId":"c"}}]}}"#
    );
    let page = instances(&body).await.unwrap();
    let ids: Vec<_> = page.instances.iter().map(|one| one.id.as_str()).collect();
    assert_eq!((ids, page.n_rows), (vec!["a", "b", "c"], 5));
}

#[tokio::test]
async fn each_operation_sends_its_name_and_its_parameters() {
    async fn sent(server: &MockServer) -> (String, String) {
        let requests = server.received_requests().await.unwrap();
        let request = requests.last().unwrap();
        let action = request.headers["x-acs-action"].to_str().unwrap().to_owned();
        (action, request.url.query().unwrap_or_default().to_owned())
    }
    let all = json!({"SyncTaskId": "rst 1", "Instances": [], "SyncRules": []}).to_string();
    let (server, client) = serve(answer(&all)).await;
    client.get_repo_sync_task("cri-1", "rst 1").await.unwrap();
    let expected = ("GetRepoSyncTask", "InstanceId=cri-1&SyncTaskId=rst%201");
    assert_eq!(sent(&server).await, (expected.0.into(), expected.1.into()));
    let request = ListInstance {
        name: Some("n".to_owned()),
        status: Some("RUNNING".to_owned()),
        resource_group_id: Some("rg".to_owned()),
        page_no: Some(2),
        page_size: Some(100),
    };
    client.list_instance(&request).await.unwrap();
    let query = "InstanceName=n&InstanceStatus=RUNNING&PageNo=2&PageSize=100&ResourceGroupId=rg";
    assert_eq!(sent(&server).await, ("ListInstance".into(), query.into()));
    client
        .list_instance(&ListInstance::default())
        .await
        .unwrap();
    assert_eq!(sent(&server).await.1, "");
    let request = ListRepoSyncRule {
        instance_id: "cri-1".to_owned(),
        page_no: Some(1),
        page_size: Some(30),
    };
    client.list_repo_sync_rule(&request).await.unwrap();
    let query = "InstanceId=cri-1&PageNo=1&PageSize=30";
    assert_eq!(
        sent(&server).await,
        ("ListRepoSyncRule".into(), query.into())
    );
}

#[test]
fn the_samples_are_json() {
    for sample in [TASK, INSTANCES, RULES] {
        assert!(serde_json::from_str::<Value>(sample).unwrap().is_object());
    }
}
