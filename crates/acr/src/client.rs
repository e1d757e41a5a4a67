//! One request: signed anew, bounded in time and size, never redirected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;
use url::{Position, Url};

use crate::Error;
use crate::credentials::{Credentials, CredentialsProvider};
use crate::request::ListRepoSyncTask;
use crate::sign::{EMPTY_SHA256, Unsigned, is_signed_by_default, sign};
use crate::wire::{self, Head, Page};

const VERSION: &str = "2018-12-01";

/// The SDKs cap `x-acs-retry-after` at two minutes; so do we, for any such header.
const RETRY_AFTER_LIMIT: Duration = Duration::from_mins(2);

/// How a client asks.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Scheme, host and port; path and query are not used.
    pub endpoint: Url,
    /// For messages.
    pub region: String,
    /// To connect.
    pub connect_timeout: Duration,
    /// For one request in all, its body included.
    pub timeout: Duration,
    /// The largest body that is read.
    pub body_limit_bytes: usize,
}

impl ClientOptions {
    /// 5 s to connect, 15 s in all, 8 MiB.
    pub fn new(endpoint: Url, region: impl Into<String>) -> Self {
        Self {
            endpoint,
            region: region.into(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            body_limit_bytes: 8 * 1024 * 1024,
        }
    }
}

/// Asks one endpoint. Cheap to share behind an `Arc`.
pub struct Client {
    http: reqwest::Client,
    options: ClientOptions,
    host: String,
    credentials: Arc<dyn CredentialsProvider>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.options.endpoint.as_str())
            .field("credentials", &self.credentials.name())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a client; asks nothing.
    pub fn new(
        options: ClientOptions,
        credentials: Arc<dyn CredentialsProvider>,
    ) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("syncbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Setup {
                what: chain(&error),
            })?;
        let host = options.endpoint[Position::BeforeHost..Position::AfterPort].to_owned();
        if host.is_empty() {
            return Err(Error::Setup {
                what: "the endpoint has no host".to_owned(),
            });
        }
        Ok(Self {
            http,
            options,
            host,
            credentials,
        })
    }

    /// Reads one page. A used nonce is answered by one more try at once; every other failure is the
    /// caller's to wait for, see [`Error::retry`].
    pub async fn list_repo_sync_task(&self, request: &ListRepoSyncTask) -> Result<Page, Error> {
        match self.ask(request).await {
            Err(Error::Rejected { code, .. }) if code == "SignatureNonceUsed" => {
                self.ask(request).await
            }
            answered => answered,
        }
    }

    async fn ask(&self, request: &ListRepoSyncTask) -> Result<Page, Error> {
        let credentials = self.credentials.credentials().await?;
        let sent = tokio::time::timeout(self.options.timeout, self.exchange(request, &credentials));
        let (head, body) = sent.await.map_err(|_| Error::Unavailable {
            what: format!("no answer within {} ms", self.options.timeout.as_millis()),
        })??;
        wire::page(&head, &body, Timestamp::now())
    }

    async fn exchange(
        &self,
        request: &ListRepoSyncTask,
        credentials: &Credentials,
    ) -> Result<(Head, Vec<u8>), Error> {
        let unavailable = |error: reqwest::Error| Error::Unavailable {
            what: chain(&error.without_url()),
        };
        let headers = self.headers(credentials);
        let query = request.query();
        let unsigned = Unsigned {
            method: "POST",
            query: &query,
            headers: &headers,
            body_sha256: EMPTY_SHA256,
        };
        let signed = sign(
            &unsigned,
            &credentials.access_key_id,
            credentials.secret.expose_secret(),
            is_signed_by_default,
        );
        let mut url = self.options.endpoint.clone();
        url.set_path("/");
        // The canonical form itself goes on the wire: nothing re-encodes it on the way.
        url.set_query(Some(&signed.query));
        let mut builder = self
            .http
            .post(url)
            .header("authorization", secret(&signed.authorization)?);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            builder = builder.header(*name, secret(value)?);
        }
        let mut answer = builder.send().await.map_err(unavailable)?;
        let head = head(answer.status().as_u16(), answer.headers());
        let limit = self.options.body_limit_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > limit {
                let what = format!("HTTP {}: more than {limit} bytes", head.status);
                return Err(Error::Malformed { what });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((head, body))
    }

    /// All headers but the signature: new date and nonce each time.
    fn headers(&self, credentials: &Credentials) -> Vec<(&'static str, String)> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce: [u8; 16] = rand::random();
        let mut headers = vec![
            ("host", self.host.clone()),
            ("accept", "application/json".to_owned()),
            ("x-acs-action", ListRepoSyncTask::ACTION.to_owned()),
            ("x-acs-version", VERSION.to_owned()),
            ("x-acs-date", now),
            ("x-acs-signature-nonce", hex::encode(nonce)),
            ("x-acs-content-sha256", EMPTY_SHA256.to_owned()),
        ];
        if let Some(token) = &credentials.security_token {
            headers.push(("x-acs-accesskey-id", credentials.access_key_id.clone()));
            headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
        }
        headers
    }
}

/// A header value that HTTP libraries do not print.
fn secret(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Credentials {
        what: "the access key or token has characters that a header cannot carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let date = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.and_then(|date| Timestamp::try_from(date).ok());
    let acs = text("x-acs-retry-after").and_then(|ms| ms.trim().parse::<u64>().ok());
    let acs = acs.filter(|ms| *ms > 0).map(Duration::from_millis);
    let time_left = ["x-ratelimit-user-api", "x-ratelimit-user"]
        .into_iter()
        .filter_map(text)
        .filter_map(time_left)
        .max();
    let standard = text("retry-after").and_then(|value| {
        let seconds = value.trim().parse::<u64>().ok().map(Duration::from_secs);
        seconds.or_else(|| {
            let at = Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()?;
            Duration::try_from(at.duration_since(date?)).ok()
        })
    });
    Head {
        status,
        content_type: text("content-type").unwrap_or_default().to_owned(),
        date,
        retry_after: acs
            .or(time_left)
            .or(standard)
            .map(|delay| delay.min(RETRY_AFTER_LIMIT)),
        throttled: acs.is_some() && !(200..300).contains(&status),
    }
}

/// `TimeLeft` in milliseconds of `Key:Value,Key:Value`.
fn time_left(value: &str) -> Option<Duration> {
    let pairs = value.split(',').filter_map(|pair| pair.split_once(':'));
    let left = pairs
        .into_iter()
        .find(|(key, _)| key.trim() == "TimeLeft")?
        .1;
    left.trim()
        .parse()
        .ok()
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis)
}

/// The error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
