//! What the client does by itself when it is refused, and what it then says.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use syncbell_acr::sign::{EMPTY_SHA256, Unsigned, is_signed_by_default, sign};
use syncbell_acr::{
    BoxFuture, Client, ClientOptions, Credentials, CredentialsProvider, Error, Gate, ListInstance,
    ListRepoSyncTask, Mismatch, Page, Retry, Static,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn credentials(key: &str) -> Credentials {
    Credentials {
        access_key_id: key.to_owned(),
        secret: format!("hush-{key}").into(),
        security_token: Some(format!("hush-token-{key}").into()),
    }
}

fn client(endpoint: &str, provider: impl CredentialsProvider + 'static) -> Client {
    let endpoint = endpoint.parse().expect("the tests write URLs");
    let options = ClientOptions::new(endpoint, "cn-shanghai");
    Client::new(options, Arc::new(provider)).expect("plain options")
}

fn request() -> ListRepoSyncTask {
    ListRepoSyncTask {
        instance_id: "cri-1".to_owned(),
        ..ListRepoSyncTask::default()
    }
}

/// Answers each request with `answer`, and counts them.
async fn serve(
    answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn fault(code: &str, message: &str) -> ResponseTemplate {
    let body = json!({"Code": code, "Message": message, "RequestId": "R-1"});
    ResponseTemplate::new(400).set_body_json(body)
}

fn empty() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"SyncTasks": []}))
}

async fn n_requests(server: &MockServer) -> usize {
    server.received_requests().await.expect("recorded").len()
}

/// What a server signs that got `request` through something that changes the host to `host`.
fn signed_by_server(request: &Request, host: Option<&str>) -> (String, String) {
    let query: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
    let query: Vec<_> = query.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII").to_owned()))
        .map(|(name, value)| match host {
            Some(host) if name == "host" => (name, host.to_owned()),
            _ => (name, value),
        })
        .collect();
    let unsigned = Unsigned {
        method: "POST",
        query: &query,
        headers: &headers,
        body_sha256: EMPTY_SHA256,
    };
    let signed = sign(&unsigned, "key", "another secret", is_signed_by_default);
    let to_sign = format!("ACS3-HMAC-SHA256\n{}", signed.canonical_sha256);
    (to_sign, signed.canonical.expose().to_owned())
}

async fn mismatch(
    host: Option<&'static str>,
    whole: bool,
    date: &'static str,
) -> (Mismatch, String) {
    let server = serve(move |request| {
        let (to_sign, canonical) = signed_by_server(request, host);
        let more = if whole { canonical } else { String::new() };
        let message = format!("No match. server string to sign is:{to_sign}\n{more}");
        let answer = fault("SignatureDoesNotMatch", &message);
        if date.is_empty() {
            answer
        } else {
            answer.insert_header("date", date)
        }
    })
    .await;
    let client = client(&server.uri(), Static(credentials("key")));
    let answered = client.list_repo_sync_task(&request()).await;
    let error = answered.expect_err("it is refused");
    assert_eq!((error.class(), error.retry()), ("signature", Retry::Slowly));
    assert_eq!(n_requests(&server).await, 1);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hush"), "{shown}");
    let Error::Signature { why, .. } = error else {
        panic!("another error: {error}");
    };
    (why, shown)
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_changed_request_and_from_a_wrong_clock() {
    let (why, shown) = mismatch(None, false, "").await;
    assert_eq!(why, Mismatch::WrongSecret);
    assert!(shown.contains("R-1"), "{shown}");
    // Its own words do not matter where the texts are equal.
    let (why, _) = mismatch(None, true, "Fri, 02 Jan 2026 03:04:05 GMT").await;
    assert_eq!(why, Mismatch::WrongSecret);

    let (why, shown) = mismatch(Some("gateway:81"), true, "").await;
    assert!(matches!(why, Mismatch::Changed { .. }), "{why}");
    assert!(
        shown.contains("the header host was \"127.0.0.1:"),
        "{shown}"
    );
    assert!(shown.contains("arrived as \"gateway:81\""), "{shown}");
    let (why, _) = mismatch(Some("gateway:81"), false, "").await;
    assert!(matches!(why, Mismatch::Changed { .. }), "{why}");

    let (why, _) = mismatch(Some("gateway:81"), false, "Fri, 02 Jan 1998 03:04:05 GMT").await;
    assert!(
        matches!(why, Mismatch::Clock { skew_seconds } if skew_seconds > 800_000_000),
        "{why}"
    );
}

/// Has one key after the other.
struct Rotating {
    renewals: Arc<AtomicU32>,
    renewed: fn() -> Result<Option<Credentials>, Error>,
}

impl CredentialsProvider for Rotating {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(std::future::ready(Ok(credentials("old"))))
    }

    fn renew<'a>(
        &'a self,
        refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        assert_eq!(refused.access_key_id, "old");
        self.renewals.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready((self.renewed)()))
    }

    fn name(&self) -> &'static str {
        "rotating"
    }
}

/// With a server that knows only the key `new`: the answer, the requests, the renewals.
async fn with_old_key(
    code: &'static str,
    renewed: fn() -> Result<Option<Credentials>, Error>,
) -> (Result<Page, Error>, usize, u32) {
    let server = serve(move |request| {
        let new = request.headers["authorization"]
            .to_str()
            .is_ok_and(|text| text.contains("Credential=new,"));
        if new { empty() } else { fault(code, "No.") }
    })
    .await;
    let renewals = Arc::new(AtomicU32::new(0));
    let provider = Rotating {
        renewals: Arc::clone(&renewals),
        renewed,
    };
    let client = client(&server.uri(), provider);
    let answered = client.list_repo_sync_task(&request()).await;
    let renewals = renewals.load(Ordering::Relaxed);
    (answered, n_requests(&server).await, renewals)
}

#[tokio::test]
async fn a_key_that_expired_or_is_not_known_is_renewed_once() {
    for code in [
        "InvalidSecurityToken.Expired",
        "InvalidAccessKeyId.NotFound",
    ] {
        let (page, requests, renewals) = with_old_key(code, || Ok(Some(credentials("new")))).await;
        assert!(page.is_ok(), "{page:?}");
        assert_eq!((requests, renewals), (2, 1));

        let (page, requests, renewals) =
            with_old_key(code, || Ok(Some(credentials("still-old")))).await;
        let told = format!("{:?}", page.unwrap_err());
        assert!(told.contains(code) && !told.contains("hush"), "{told}");
        assert_eq!((requests, renewals), (2, 1));

        let (page, requests, renewals) = with_old_key(code, || Ok(None)).await;
        assert_eq!(page.unwrap_err().code(), code);
        assert_eq!((requests, renewals), (1, 1));

        let (page, requests, _) = with_old_key(code, || {
            let what = "the metadata service does not answer".to_owned();
            Err(Error::Credentials { what })
        })
        .await;
        assert_eq!(page.unwrap_err().class(), "credentials");
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn no_other_refusal_is_tried_again_at_once() {
    for code in [
        "InvalidAccessKeyId.Inactive",
        "InvalidSecurityToken.Malformed",
        "SignatureDoesNotMatch",
        "NoPrivilege",
        "Throttling.User",
        "InvalidParameter",
    ] {
        let (page, requests, renewals) = with_old_key(code, || Ok(Some(credentials("new")))).await;
        assert_eq!(page.unwrap_err().code(), code);
        assert_eq!((requests, renewals), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn every_operation_says_what_permission_it_lacks() {
    let server = serve(|_| fault("NoPrivilege", "Access denied for this user.")).await;
    let client = client(&server.uri(), Static(credentials("key")));
    let listed = client.list_repo_sync_task(&request()).await.unwrap_err();
    let one = client
        .get_repo_sync_task("cri-1", "rst-1")
        .await
        .unwrap_err();
    let instances = client
        .list_instance(&ListInstance::default())
        .await
        .unwrap_err();
    let repository = "cr:GetRepositorySync on acs:cr:cn-shanghai:*:repository/cri-1";
    for (error, statement) in [
        (listed, repository),
        (one, repository),
        (instances, "cr:ListInstance on * (request"),
    ] {
        assert_eq!(error.class(), "denied");
        assert!(error.to_string().contains(statement), "{error}");
    }
}

/// Notes what it is asked and told.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

impl Noting {
    fn note(&self, text: String) {
        self.0.lock().expect("no test panics in it").push(text);
    }

    fn notes(&self) -> Vec<String> {
        self.0.lock().expect("no test panics in it").clone()
    }
}

impl Gate for Noting {
    fn pass(&self, again: bool) -> BoxFuture<'_, ()> {
        self.note(format!("pass, again: {again}"));
        Box::pin(std::future::ready(()))
    }

    fn throttled(&self, delay: Option<Duration>) {
        self.note(format!("throttled: {delay:?}"));
    }
}

async fn noted(answer: ResponseTemplate) -> Vec<String> {
    let server = serve(move |_| answer.clone()).await;
    let gate = Arc::new(Noting::default());
    let client = client(&server.uri(), Static(credentials("key")));
    let client = client.gated(Arc::clone(&gate) as Arc<dyn Gate>);
    // How it ends is told by the other tests.
    drop(client.list_repo_sync_task(&request()).await);
    gate.notes()
}

#[tokio::test]
async fn the_gate_is_passed_before_each_sending_and_told_once_of_each_throttle() {
    assert_eq!(noted(empty()).await, ["pass, again: false"]);
    assert_eq!(
        noted(fault("SignatureNonceUsed", "")).await,
        ["pass, again: false", "pass, again: true"]
    );
    let by_code = fault("Throttling.User", "");
    assert_eq!(
        noted(by_code.clone()).await,
        ["pass, again: false", "throttled: None"]
    );
    let by_head = by_code.insert_header("x-acs-retry-after", "1234");
    assert_eq!(
        noted(by_head).await,
        ["pass, again: false", "throttled: Some(1.234s)"]
    );
    let not_success = json!({"IsSuccess": false, "Code": "Throttling.User"});
    let not_success = ResponseTemplate::new(200)
        .insert_header("x-acs-retry-after", "7")
        .set_body_json(not_success);
    assert_eq!(
        noted(not_success).await,
        ["pass, again: false", "throttled: Some(7ms)"]
    );
    assert_eq!(
        noted(fault("NoPrivilege", "")).await,
        ["pass, again: false"]
    );
}

#[tokio::test]
async fn a_throttle_is_told_when_its_head_is_read_and_holds_though_its_body_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let gate = Arc::new(Noting::default());
    let client = client(&format!("http://{address}"), Static(credentials("key")));
    let client = client.gated(Arc::clone(&gate) as Arc<dyn Gate>);
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("the client comes");
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let n_bytes = socket.read_buf(&mut heard).await.expect("it speaks");
            assert_ne!(n_bytes, 0, "it hung up in the middle of a request");
        }
        let head =
            b"HTTP/1.1 400 Bad Request\r\nx-acs-retry-after: 1234\r\nContent-Length: 9\r\n\r\n{";
        socket.write_all(head).await.expect("it listens");
        while gate.notes().len() < 2 {
            tokio::task::yield_now().await;
        }
        socket.shutdown().await.expect("it is still there");
    };
    let asked = request();
    let both = async { tokio::join!(client.list_repo_sync_task(&asked), serve) };
    let both = tokio::time::timeout(Duration::from_secs(30), both).await;
    let (answered, ()) = both.expect("the gate is told before the body is read");
    let delay = Duration::from_millis(1_234);
    assert_eq!(answered.unwrap_err().retry(), Retry::After(delay));
    assert_eq!(
        gate.notes(),
        ["pass, again: false", "throttled: Some(1.234s)"]
    );
}
