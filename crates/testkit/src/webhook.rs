//! A webhook receiver: keeps what it gets, checks signatures with the standard's own crate, and answers
//! as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{Authority, eventually};

mod connection;

use connection::{Connections, Hangup};

/// Larger bodies get 413 and are not kept.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// Behaviours that can wait for their request.
const ANSWERS_MAX: usize = 10_000;

/// How a request is answered.
#[derive(Clone, Debug)]
#[must_use = "an answer is given to the receiver"]
pub struct Answer {
    /// None: the connection is closed without an answer.
    status: Option<StatusCode>,
    headers: HeaderMap,
    delay: Duration,
}

impl Answer {
    /// With this HTTP status and an empty body.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(StatusCode::from_u16(status).expect("an HTTP status is 100 to 999")),
            headers: HeaderMap::new(),
            delay: Duration::ZERO,
        }
    }

    /// With 301 to `location`.
    pub fn redirect(location: &str) -> Self {
        Self::status(301).with_header("location", location)
    }

    /// The connection is closed after the request was read.
    pub fn close() -> Self {
        Self {
            status: None,
            ..Self::status(200)
        }
    }

    /// With a header more, such as `retry-after`.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header value is printable");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// Only after `delay`.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its body was read.
    pub received_at: Timestamp,
    /// The HTTP method.
    pub method: Method,
    /// The path and query.
    pub path: String,
    /// `webhook-id`; empty if absent.
    pub id: String,
    /// `webhook-timestamp`, in seconds; None if absent or not a number.
    pub timestamp: Option<i64>,
    /// All headers.
    pub headers: HeaderMap,
    /// The bytes that were signed.
    pub raw: Bytes,
    /// The body as JSON; null if it is none.
    pub body: serde_json::Value,
    /// Whether the `standardwebhooks` crate accepts signature and timestamp. False without a secret.
    pub verified: bool,
    /// The status that was answered; None while that is not done, for ever if the connection was closed.
    pub answered: Option<u16>,
}

impl Request {
    /// Whether it was answered with 2xx: the sender need not send it again.
    pub fn accepted(&self) -> bool {
        self.answered
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// The receiver; it ends when dropped.
#[derive(Debug)]
pub struct WebhookReceiver {
    url: String,
    address: SocketAddr,
    state: Receiver,
    ca_pem_path: Option<PathBuf>,
    _authority: Option<Authority>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Receiver {
    verifier: Option<Arc<standardwebhooks::Webhook>>,
    kept: Arc<Mutex<Kept>>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

struct Kept {
    requests: Vec<Request>,
    next: VecDeque<Answer>,
    always: Answer,
}

impl WebhookReceiver {
    /// A receiver on a free port of 127.0.0.1 that answers 204. `secret` is `whsec_…` as in the
    /// configuration.
    pub async fn start(secret: &str) -> Self {
        Self::listen(Some(secret), None).await
    }

    /// The same without a secret: no request is verified.
    pub async fn start_without_secret() -> Self {
        Self::listen(None, None).await
    }

    /// The same over HTTPS, with a certificate of [`WebhookReceiver::ca_pem_path`] for `localhost` and
    /// 127.0.0.1.
    pub async fn start_tls(secret: &str) -> Self {
        Self::listen(Some(secret), Some(Authority::new())).await
    }

    async fn listen(secret: Option<&str>, authority: Option<Authority>) -> Self {
        let verifier = secret.map(|secret| {
            Arc::new(standardwebhooks::Webhook::new(secret).expect("a secret is whsec_ and base64"))
        });
        let state = Receiver {
            verifier,
            kept: Arc::new(Mutex::new(Kept {
                requests: Vec::new(),
                next: VecDeque::new(),
                always: Answer::status(204),
            })),
        };
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("could not listen");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let scheme = if authority.is_some() { "https" } else { "http" };
        let identity = authority
            .as_ref()
            .map(|ca| ca.issue(&["localhost", "127.0.0.1"]));
        let connections =
            Connections::new(listener, identity.map(|identity| identity.server_config()));
        let app = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
            .with_state(state.clone())
            .into_make_service_with_connect_info::<Hangup>();
        let stop = CancellationToken::new();
        let served = stop.clone().run_until_cancelled_owned(async move {
            axum::serve(connections, app)
                .await
                .expect("axum serves until it is dropped");
        });
        TaskTracker::new().spawn(served);
        Self {
            url: format!("{scheme}://{address}/syncbell"),
            address,
            state,
            ca_pem_path: authority.as_ref().map(Authority::ca_pem_path),
            _authority: authority,
            _stop: stop.drop_guard(),
        }
    }

    /// What goes into `webhook.url`. Every other path is answered too.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What goes into `webhook.ca_file`. Panics without TLS.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.ca_pem_path
            .clone()
            .expect("only a receiver with TLS has an authority")
    }

    /// Answers the next `n` requests so. Behind what is already waiting.
    pub fn answer_next(&self, n: usize, answer: Answer) {
        let mut kept = self.state.lock();
        assert!(
            kept.next.len() + n <= ANSWERS_MAX,
            "more than {ANSWERS_MAX} answers"
        );
        kept.next.extend(std::iter::repeat_n(answer, n));
    }

    /// Answers every request so for which nothing is waiting.
    pub fn answer_always(&self, answer: Answer) {
        self.state.lock().always = answer;
    }

    /// Everything that came, in the order in which the bodies were read.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    /// The requests that were answered with 2xx.
    pub fn accepted(&self) -> Vec<Request> {
        let requests = self.requests().into_iter();
        requests.filter(Request::accepted).collect()
    }

    /// How many requests were answered with 2xx, without copying them.
    pub fn n_accepted(&self) -> usize {
        let kept = self.state.lock();
        kept.requests.iter().filter(|one| one.accepted()).count()
    }

    /// Waits until `n` requests came, however they were answered.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<Request> {
        self.wait(n, timeout, "requests", Self::requests).await
    }

    /// Waits until `n` requests were answered with 2xx.
    pub async fn wait_for_accepted(&self, n: usize, timeout: Duration) -> Vec<Request> {
        self.wait(n, timeout, "accepted requests", Self::accepted)
            .await
    }

    async fn wait(
        &self,
        n: usize,
        timeout: Duration,
        what: &str,
        asked: impl Fn(&Self) -> Vec<Request>,
    ) -> Vec<Request> {
        let what = format!("{n} {what} at {}", self.url);
        eventually(&what, timeout, || {
            let requests = asked(self);
            async move { (requests.len() >= n).then_some(requests) }
        })
        .await
    }
}

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request; gives its index and how to answer it.
    fn keep(&self, request: Request) -> (usize, Answer) {
        let mut kept = self.lock();
        kept.requests.push(request);
        let answer = kept.next.pop_front().unwrap_or_else(|| kept.always.clone());
        (kept.requests.len() - 1, answer)
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    ConnectInfo(hangup): ConnectInfo<Hangup>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let verifier = receiver.verifier.as_ref();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request = Request {
        received_at: Timestamp::now(),
        method,
        path: uri.to_string(),
        id: text("webhook-id").unwrap_or_default().to_owned(),
        timestamp: text("webhook-timestamp").and_then(|text| text.parse().ok()),
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        verified: verifier.is_some_and(|verifier| verifier.verify(&raw, &headers).is_ok()),
        answered: None,
        headers,
        raw,
    };
    let (index, answer) = receiver.keep(request);
    tokio::time::sleep(answer.delay).await;
    let Some(status) = answer.status else {
        hangup.now();
        return std::future::pending().await;
    };
    receiver.lock().requests[index].answered = Some(status.as_u16());
    (status, answer.headers).into_response()
}

#[cfg(test)]
mod tests;
