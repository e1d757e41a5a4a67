//! The client against a server that answers what the vendor answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncbell_acr::sign::{EMPTY_SHA256, Unsigned, is_signed_by_default, sign};
use syncbell_acr::{
    Client, ClientOptions, Credentials, Error, ListRepoSyncTask, Page, Retry, Static,
};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECRET: &str = "testAccessKeySecret";

async fn ask(answer: ResponseTemplate) -> (Result<Page, Error>, Vec<wiremock::Request>) {
    ask_within(answer, Duration::from_secs(15), 8 * 1024 * 1024).await
}

async fn ask_within(
    answer: ResponseTemplate,
    timeout: Duration,
    body_limit_bytes: usize,
) -> (Result<Page, Error>, Vec<wiremock::Request>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let mut options = ClientOptions::new(
        server.uri().parse().expect("the mock's address is a URL"),
        "cn-shanghai",
    );
    options.timeout = timeout;
    options.body_limit_bytes = body_limit_bytes;
    let credentials = Static(Credentials {
        access_key_id: "testAccessKeyId".to_owned(),
        secret: SECRET.to_owned().into(),
        security_token: Some("sts+token".to_owned().into()),
    });
    let client = Client::new(options, Arc::new(credentials)).expect("plain options");
    let request = ListRepoSyncTask {
        instance_id: "cri-kmsiwlxxdcva0001".to_owned(),
        repo_namespace_name: Some("team a/b".to_owned()),
        repo_name: Some("café".to_owned()),
        tag: Some("v1+2".to_owned()),
        page_no: Some(2),
        page_size: Some(100),
        sync_record_id: Some("15DEEB56".to_owned()),
    };
    let answered = client.list_repo_sync_task(&request).await;
    (
        answered,
        server
            .received_requests()
            .await
            .expect("requests are recorded"),
    )
}

fn fault(status: u16, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "RequestId": "R-1", "HostId": "cr.cn-hangzhou.aliyuncs.com", "Code": code,
        "Message": "What the vendor says.",
    }))
}

#[tokio::test]
async fn the_vendors_own_sample_is_read_whole() {
    let sample = include_str!("../test_data/list-repo-sync-task.json");
    let answer = ResponseTemplate::new(200)
        .insert_header("date", "Fri, 02 Jan 2026 03:04:05 GMT")
        .set_body_raw(sample, "application/json");
    let page = ask(answer).await.0.unwrap();
    assert_eq!(
        page.request_id.as_deref(),
        Some("7640819A-FB5B-4E25-A227-97717F62****")
    );
    assert_eq!(page.code.as_deref(), Some("success"));
    assert_eq!(
        (page.page_no, page.page_size, page.total_count),
        (Some(1), Some(30), Some(1))
    );
    let (tasks, refused) = page.tasks();
    assert_eq!((page.n_rows(), refused.len()), (1, 0));
    assert_eq!(page.date.unwrap().to_string(), "2026-01-02T03:04:05Z");
    let task = serde_json::to_value(&tasks[0]).unwrap();
    let expected = json!({
        "task_id": "rst-4kfd7fk6pohk****", "batch_id": "15DEEB56-9271-4FDD-AC4D-C3A5CC2C****",
        "sync_rule_id": "crsr-7lph66uloi6h****", "status": "SUCCESS", "issue": "NETWORK_ERROR",
        "trigger": "PASSIVE", "created_at": "2019-11-04T03:45:26Z",
        "modified_at": "2019-11-04T03:45:33Z", "cross_user": true, "custom_link": true,
        "accelerated": true,
        "from": {"region_id": "cn-shanghai", "instance_id": "cri-kmsiwlxxdcva****",
                 "namespace": "test", "repo": "test", "tag": "v0.1"},
        "to": {"region_id": "cn-shenzhen", "instance_id": "cri-k77rd2eo9zttneqo",
               "namespace": "test", "repo": "test", "tag": "v0.1"},
    });
    assert_eq!(task, expected);
}

#[tokio::test]
async fn what_goes_on_the_wire_is_what_was_signed() {
    let empty = json!({"IsSuccess": true, "TotalCount": "0", "SyncTasks": []});
    let (page, requests) = ask(ResponseTemplate::new(200).set_body_json(empty)).await;
    assert_eq!(page.unwrap().total_count, Some(0));
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/"));
    assert!(request.body.is_empty());
    let query: Vec<(String, String)> = request
        .url
        .query_pairs()
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    assert_eq!(query.len(), 7, "every parameter: {query:?}");
    let query: Vec<(&str, String)> = query.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let headers: Vec<(&str, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned()))
        .collect();
    let unsigned = Unsigned {
        method: "POST",
        query: &query,
        headers: &headers,
        body_sha256: EMPTY_SHA256,
    };
    let signed = sign(&unsigned, "testAccessKeyId", SECRET, is_signed_by_default);
    assert_eq!(
        request.headers["authorization"],
        signed.authorization.as_str()
    );
    assert_eq!(request.url.query(), Some(signed.query.as_str()));
    assert_eq!(request.headers["x-acs-security-token"], "sts+token");
    let sent = format!("{headers:?}{query:?}");
    assert!(!sent.contains(SECRET), "the secret was sent");
}

#[tokio::test]
async fn each_refusal_is_told_by_what_to_do_next() {
    let clock = fault(400, "InvalidTimeStamp.Expired")
        .insert_header("date", "Fri, 02 Jan 2026 03:04:05 GMT");
    let lower = ResponseTemplate::new(403)
        .set_body_json(json!({"requestId": "R-2", "code": "Forbidden.RAM", "message": "No."}));
    let xml = ResponseTemplate::new(403).set_body_raw(
        "<?xml version=\"1.0\"?><Error><RequestId>R-3</RequestId><Code>NoPrivilege</Code>\
         <Message>No.</Message></Error>",
        "text/xml;charset=utf-8",
    );
    let not_success = ResponseTemplate::new(200)
        .set_body_json(json!({"RequestId": "R", "IsSuccess": false, "Code": "INSTANCE_NOT_EXIST"}));
    let html = ResponseTemplate::new(502).set_body_raw("<html>Bad gateway</html>", "text/html");
    let cut = ResponseTemplate::new(200).set_body_raw("{\"SyncTasks\": [", "application/json");
    let listless = ResponseTemplate::new(200).set_body_json(json!({"IsSuccess": true}));
    let cases = [
        (fault(403, "NoPrivilege"), "denied", "R-1"),
        (lower, "denied", "R-2"),
        (xml, "denied", "R-3"),
        (
            fault(400, "Throttling.User"),
            "throttled",
            "Throttling.User",
        ),
        (fault(500, "SystemError"), "unavailable", "SystemError"),
        (ResponseTemplate::new(503), "unavailable", "503"),
        (html, "unavailable", "text/html"),
        (cut, "malformed", "not a JSON object"),
        (listless, "malformed", "SyncTasks"),
        (not_success, "rejected", "INSTANCE_NOT_EXIST"),
        (
            fault(404, "InvalidAccessKeyId.NotFound"),
            "rejected",
            "InvalidAccessKeyId.NotFound",
        ),
        (
            fault(400, "SignatureDoesNotMatch"),
            "signature",
            "SignatureDoesNotMatch",
        ),
        (clock, "clock", "s ahead of the server"),
        (ResponseTemplate::new(301), "malformed", "HTTP 301"),
    ];
    for (answer, class, part) in cases {
        let error = ask(answer).await.0.unwrap_err();
        let told = error.to_string();
        assert_eq!(error.class(), class, "{told}");
        assert!(Error::CLASSES.contains(&class));
        assert!(told.contains(part), "{told}");
        assert!(
            !told.contains(SECRET) && !told.contains("sts+token"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn the_delay_that_is_asked_for_is_kept_to_the_millisecond() {
    let cases = [
        (
            fault(400, "Throttling.User").insert_header("x-acs-retry-after", "1234"),
            1_234,
        ),
        (
            fault(503, "Busy").insert_header("x-acs-retry-after", "7"),
            7,
        ),
        (
            fault(429, "Throttling").insert_header("retry-after", "3"),
            3_000,
        ),
        (
            fault(429, "Throttling").insert_header("x-ratelimit-user", "Limit:10,TimeLeft:250"),
            250,
        ),
        (
            fault(400, "Throttling.Api").insert_header("x-acs-retry-after", "999999999"),
            120_000,
        ),
    ];
    for (answer, delay_ms) in cases {
        let error = ask(answer).await.0.unwrap_err();
        assert_eq!(
            error.retry(),
            Retry::After(Duration::from_millis(delay_ms)),
            "{error}"
        );
    }
    let without = ask(fault(400, "Throttling.User")).await.0.unwrap_err();
    assert_eq!(without.retry(), Retry::Backoff);
}

#[tokio::test]
async fn a_malformed_task_leaves_its_neighbours() {
    let answer = ResponseTemplate::new(200).set_body_json(json!({
        "IsSuccess": true, "TotalCount": 3,
        "SyncTasks": [{"SyncTaskId": "a"}, {"TaskStatus": "ERROR"}, {"SyncTaskId": "c"}],
    }));
    let page = ask(answer).await.0.unwrap();
    let (tasks, refused) = page.tasks();
    let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!((ids, page.n_rows()), (vec!["a", "c"], 3));
    assert_eq!(refused[0].index, 1);
}

#[tokio::test]
async fn a_slow_or_endless_answer_is_given_up() {
    let empty = json!({"IsSuccess": true, "SyncTasks": []});
    let slow = ResponseTemplate::new(200)
        .set_body_json(&empty)
        .set_delay(Duration::from_mins(5));
    let error = ask_within(slow, Duration::from_millis(200), 1_000)
        .await
        .0
        .unwrap_err();
    assert_eq!(error.class(), "unavailable");
    let long = ResponseTemplate::new(200).set_body_string("x".repeat(5_000));
    let error = ask_within(long, Duration::from_secs(15), 1_000)
        .await
        .0
        .unwrap_err();
    assert!(
        error.to_string().contains("more than 1000 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_used_nonce_is_tried_once_more_with_another() {
    let (answered, requests) = ask(fault(400, "SignatureNonceUsed")).await;
    assert_eq!(answered.unwrap_err().class(), "rejected");
    assert_eq!(requests.len(), 2);
    let nonce = |request: &wiremock::Request| request.headers["x-acs-signature-nonce"].clone();
    assert_ne!(nonce(&requests[0]), nonce(&requests[1]));
}
