//! What stands around a provider in a test: a home folder, variables, and servers in the place of the
//! vendor's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_acr::{Credentials, CredentialsProvider, Surroundings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// A machine of nobody: an empty home, no metadata service, no STS.
pub(crate) struct Machine {
    pub(crate) home: TempDir,
    pub(crate) surroundings: Surroundings,
}

impl Machine {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let mut known: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let path = home.path().to_str().expect("a plain path").to_owned();
        known.insert("HOME".to_owned(), path);
        let mut surroundings = Surroundings::new(move |name| known.get(name).cloned());
        surroundings.metadata = nowhere().parse().expect("a URL");
        surroundings.sts = Some(nowhere().parse().expect("a URL"));
        Self { home, surroundings }
    }

    pub(crate) fn sts(mut self, server: &MockServer) -> Self {
        self.surroundings.sts = Some(server.uri().parse().expect("a URL"));
        self
    }

    pub(crate) fn metadata(mut self, server: &MockServer) -> Self {
        self.surroundings.metadata = server.uri().parse().expect("a URL");
        self
    }

    /// Writes a file in the home folder; gives its path.
    pub(crate) fn file(&self, path: &str, text: &str) -> String {
        let path = self.home.path().join(path);
        let folder = path.parent().expect("it is in the home folder");
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    }
}

/// Nobody listens there.
pub(crate) fn nowhere() -> String {
    "http://127.0.0.1:1".to_owned()
}

/// Answers each request with `answer`, and keeps them.
pub(crate) async fn serve(
    answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

pub(crate) async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.expect("recorded")
}

/// Writes `answer` to each connection once something was asked, and closes it.
pub(crate) struct Raw {
    pub(crate) url: String,
    _serving: JoinSet<()>,
}

pub(crate) async fn raw(answer: String) -> Raw {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answer = Arc::new(answer);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 64 * 1024];
            if stream.read(&mut asked).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    Raw {
        url,
        _serving: serving,
    }
}

/// An answer that ends before its end.
pub(crate) fn cut_off(body: &Value) -> String {
    let body = body.to_string();
    let (half, _) = body.split_at(body.len() / 2);
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{half}"
    )
}

/// What is in a request's query, or in its form.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

pub(crate) fn form(request: &Request) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(&request.body).expect("a form");
    pairs(text).into_iter().collect()
}

pub(crate) fn query(request: &Request) -> BTreeMap<String, String> {
    pairs(request.url.query().unwrap_or_default())
        .into_iter()
        .collect()
}

/// Credentials named `key`, under the names of STS and the metadata service.
pub(crate) fn issued(key: &str, life: Duration) -> Value {
    let ends = (Timestamp::now() + life).strftime("%Y-%m-%dT%H:%M:%SZ");
    json!({
        "Code": "Success", "AccessKeyId": key, "AccessKeySecret": format!("hush-{key}"),
        "SecurityToken": format!("hush-token-{key}"), "Expiration": ends.to_string(),
    })
}

/// Those that STS issues.
pub(crate) fn from_sts(key: &str) -> ResponseTemplate {
    let body = json!({
        "RequestId": "R-1", "AssumedRoleUser": {}, "Credentials": issued(key, Duration::from_hours(1)),
    });
    ResponseTemplate::new(200).set_body_json(body)
}

/// The vendor's shape of a refusal.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> ResponseTemplate {
    let body = json!({"Code": code, "Message": message, "RequestId": "R-1", "HostId": "sts"});
    ResponseTemplate::new(status).set_body_json(body)
}

pub(crate) fn of(key: &str) -> Credentials {
    Credentials {
        access_key_id: key.to_owned(),
        secret: format!("hush-{key}").into(),
        security_token: Some(format!("hush-token-{key}").into()),
    }
}

/// The key that `provider` gives; else what it says, without a secret.
pub(crate) async fn key(provider: &dyn CredentialsProvider) -> Result<String, String> {
    match provider.credentials().await {
        Ok(given) => Ok(given.access_key_id),
        Err(error) => {
            let said = format!("{}: {error}", error.class());
            assert!(!format!("{error:?} {said}").contains("hush"), "{said}");
            Err(said)
        }
    }
}

/// Asserts that `provider` fails with an error of `class` that says all of `words`.
pub(crate) async fn fails(provider: &dyn CredentialsProvider, class: &str, words: &[&str]) {
    let said = key(provider).await.expect_err("it has nothing to give");
    assert!(said.starts_with(&format!("{class}: ")), "{class}: {said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// Time goes on by `by`, at once, without the timeouts of what waits for a socket.
pub(crate) async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().expect("the folder can be read")
}
