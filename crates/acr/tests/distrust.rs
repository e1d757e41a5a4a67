//! Answers that look harmless and are not, byte for byte where it matters.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::{
    Client, ClientOptions, Credentials, Error, ListRepoSyncTask, Page, Retry, Static,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

fn client(endpoint: &str) -> Result<Client, Error> {
    let credentials = Static(Credentials {
        access_key_id: "testAccessKeyId".to_owned(),
        secret: "hush-secret".to_owned().into(),
        security_token: Some("hush-token".to_owned().into()),
    });
    let endpoint = endpoint.parse().expect("the tests write URLs");
    Client::new(
        ClientOptions::new(endpoint, "cn-shanghai"),
        Arc::new(credentials),
    )
}

fn request() -> ListRepoSyncTask {
    ListRepoSyncTask {
        instance_id: "cri-1".to_owned(),
        repo_namespace_name: Some("team a/b".to_owned()),
        ..ListRepoSyncTask::default()
    }
}

async fn ask(answer: ResponseTemplate) -> Result<Page, Error> {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let client = client(&server.uri()).expect("plain options");
    client.list_repo_sync_task(&request()).await
}

async fn body(status: u16, body: &str) -> Result<Page, Error> {
    ask(ResponseTemplate::new(status).set_body_raw(body, "application/json")).await
}

/// Serves one connection with `answer` byte for byte; gives the result and what was asked.
async fn raw(answer: &[u8]) -> (Result<Page, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let client = client(&format!("http://{address}")).expect("plain options");
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("the client comes");
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let n_bytes = socket.read_buf(&mut heard).await.expect("it speaks");
            assert_ne!(n_bytes, 0, "it hung up in the middle of a request");
        }
        socket.write_all(answer).await.expect("it listens");
        socket.shutdown().await.expect("it is still there");
        String::from_utf8(heard).expect("requests are ASCII")
    };
    let request = request();
    tokio::join!(client.list_repo_sync_task(&request), serve)
}

#[tokio::test]
async fn the_request_line_is_the_canonical_query_and_the_body_is_empty() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"SyncTasks\":[]}";
    let (page, heard) = raw(answer).await;
    assert_eq!(page.unwrap().n_rows(), 0);
    let line = "POST /?InstanceId=cri-1&RepoNamespaceName=team%20a%2Fb HTTP/1.1\r\n";
    assert!(heard.starts_with(line), "{heard}");
    let heard = heard.to_ascii_lowercase();
    assert!(heard.contains("\r\nhost: 127.0.0.1:"), "{heard}");
    assert!(heard.contains("\r\ncontent-length: 0\r\n"), "{heard}");
    assert!(!heard.contains("\r\ncontent-type:"), "{heard}");
}

#[tokio::test]
async fn the_signature_can_be_verified_by_code_of_another_hand() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::{Digest as _, Sha256};

    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"SyncTasks\":[]}";
    let (_, heard) = raw(answer).await;
    let mut lines = heard.split("\r\n");
    let target = lines.next().unwrap().split(' ').nth(1).unwrap();
    let header = |wanted: &str| {
        let found = heard.split("\r\n").skip(1).find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
        });
        found.unwrap_or_else(|| panic!("no header {wanted}"))
    };
    let authorization = header("authorization");
    let (_, names) = authorization.split_once("SignedHeaders=").unwrap();
    let (names, signature) = names.split_once(",Signature=").unwrap();
    let block: Vec<String> = names
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name)))
        .collect();
    let canonical = format!(
        "POST\n/\n{}\n{}\n{names}\n{}",
        target.strip_prefix("/?").unwrap(),
        block.concat(),
        hex::encode(Sha256::digest(b""))
    );
    let hash = hex::encode(Sha256::digest(canonical));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush-secret").unwrap();
    mac.update(format!("ACS3-HMAC-SHA256\n{hash}").as_bytes());
    assert_eq!(signature, hex::encode(mac.finalize().into_bytes()));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let to = ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str());
    assert!(ask(to).await.is_err());
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_told_as_a_text_is_not_an_empty_list() {
    let told = r#"{"IsSuccess":"false","Code":"INSTANCE_NOT_EXIST","SyncTasks":[]}"#;
    assert_eq!(body(200, told).await.unwrap_err().class(), "rejected");
}

#[tokio::test]
async fn a_body_that_no_error_quotes() {
    for text in [
        "<html>hush</html>",
        "\"hush\"",
        "{\"hush\":",
        "[\"hush\"]",
        "",
    ] {
        for status in [200, 400, 403, 404, 502] {
            let error = body(status, text).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn our_secrets_do_not_come_back_in_the_servers_words() {
    let told = r#"{"Code":"SignatureDoesNotMatch","RequestId":"hush-token",
        "Message":"server string to sign is: x-acs-security-token:hush-token key hush-secret"}"#;
    let error = body(400, told).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hush"), "{shown}");
    // Nor a part of one, where the text is cut: wherever the cut falls.
    for before in 280..410 {
        let message = format!("{}hush-token", "x".repeat(before));
        let told = format!(r#"{{"Code":"NoPrivilege","Message":"{message}"}}"#);
        let error = body(403, &told).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("xh"), "{before}: {shown}");
    }
}

#[tokio::test]
async fn the_servers_words_are_short_and_on_one_line() {
    let long = format!(
        r#"{{"Code":"{0}\u001b[31m","RequestId":"{0}","Message":"a\rb\u001b[2J{0}"}}"#,
        "x".repeat(100_000)
    );
    let shown = body(400, &long).await.unwrap_err().to_string();
    assert!(shown.len() < 2_000, "{} bytes", shown.len());
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

#[tokio::test]
async fn one_row_that_cannot_be_parsed_leaves_its_neighbours() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for bad in [
        r#"{"SyncTaskId":"b","CreateTime":1e999}"#.to_owned(),
        r#"{"SyncTaskId":"b","TaskIssue":"\ud83d"}"#.to_owned(),
        format!(r#"{{"SyncTaskId":"b","TaskIssue":{deep}}}"#),
    ] {
        let all = format!(r#"{{"SyncTasks":[{{"SyncTaskId":"a"}},{bad},{{"SyncTaskId":"c"}}]}}"#);
        let page = body(200, &all).await.unwrap();
        let (tasks, refused) = page.tasks();
        let ids: Vec<_> = tasks.iter().map(|task| task.task_id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!((refused[0].index, page.n_rows()), (1, 3));
        assert_eq!(refused[0].task_id.as_deref(), Some("b"));
    }
}

#[tokio::test]
async fn unknown_fields_of_an_image_are_kept() {
    let told =
        r#"{"SyncTasks":[{"SyncTaskId":"a","ImageFrom":{"RepoName":"r","Digest":"sha256:1"}}]}"#;
    let page = body(200, told).await.unwrap();
    let extra = serde_json::to_string(&page.tasks().0[0].extra).unwrap();
    assert_eq!(extra, r#"{"ImageFrom":{"Digest":"sha256:1"}}"#);
}

#[tokio::test]
async fn a_time_before_1970_is_refused() {
    let told = r#"{"SyncTasks":[{"SyncTaskId":"a","CreateTime":-5}]}"#;
    assert_eq!(body(200, told).await.unwrap().tasks().1.len(), 1);
}

#[tokio::test]
async fn a_delay_of_nothing_is_no_delay() {
    let zero = ResponseTemplate::new(429).insert_header("retry-after", "0");
    let error = ask(zero).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Backoff);
    let past = ResponseTemplate::new(429)
        .insert_header("date", "Fri, 02 Jan 2026 03:00:00 GMT")
        .insert_header("retry-after", "Fri, 02 Jan 2026 02:00:00 GMT");
    assert_eq!(ask(past).await.unwrap_err().retry(), Retry::Backoff);
}

#[tokio::test]
async fn a_date_to_wait_for_is_measured_by_the_servers_clock() {
    let until = ResponseTemplate::new(429)
        .insert_header("date", "Fri, 02 Jan 2026 03:00:00 GMT")
        .insert_header("retry-after", "Fri, 02 Jan 2026 03:00:30 GMT");
    let error = ask(until).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(30)));
}

#[tokio::test]
async fn a_busy_server_that_names_a_delay_is_obeyed() {
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "5");
    let error = ask(busy).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(5)));
    let long = ResponseTemplate::new(429).insert_header("retry-after", "600");
    let error = ask(long).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_mins(10)));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_malformed_and_a_connection_that_is_is_not() {
    let (page, _) = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"SyncTasks\":").await;
    let error = page.unwrap_err();
    assert_eq!(error.class(), "malformed", "{error}");
    assert!(error.to_string().contains("HTTP 200"), "{error}");
    let (page, _) = raw(b"").await;
    assert_eq!(page.unwrap_err().class(), "unavailable");
}

#[tokio::test]
async fn a_refused_connection_is_unavailable_and_tells_no_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(&format!("http://{address}")).unwrap();
    let error = client.list_repo_sync_task(&request()).await.unwrap_err();
    assert_eq!(error.class(), "unavailable");
    let shown = error.to_string();
    assert!(
        shown.contains("refused") && !shown.contains("InstanceId"),
        "{shown}"
    );
}

#[test]
fn an_endpoint_with_more_than_scheme_host_and_port_is_refused_without_its_password() {
    for bad in [
        "http://hush:hush@h",
        "ftp://h",
        "http://h/path",
        "http://h/?q=1",
    ] {
        let error = client(bad)
            .err()
            .unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
    for good in [
        "http://127.0.0.1:8080",
        "https://cr.cn-shanghai.aliyuncs.com/",
        "http://[::1]:1",
    ] {
        assert!(client(good).is_ok(), "{good}");
    }
}
