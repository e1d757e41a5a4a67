//! A webhook receiver for the demo: it believes only what is signed, fails when told to, and keeps
//! what came.
//!
//! In: POSTs on a port of its own. Out: [`Receipt`]s in the order they came. Must never happen: a
//! receipt for an answer that said something else, or memory without a bound.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::compare::Got;
use crate::standard_webhooks::{Headers, verify};

/// The oldest receipts are dropped beyond this.
const MAX_RECEIPTS: usize = 10_000;
const MAX_BODY_BYTES: usize = 1 << 20;
const DRAIN: Duration = Duration::from_secs(5);

/// How the receiver is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// `whsec_…`; absent: signatures are not looked at.
    pub secret: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            secret: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// One attempt that reached the receiver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receipt {
    /// When its body had come in full.
    pub received_at: Timestamp,
    /// The `webhook-id` header: the same for each attempt of one delivery.
    pub webhook_id: String,
    /// The body; null if it was not JSON.
    pub body: Value,
    /// The HTTP status that it was answered with.
    pub answered: u16,
}

impl Receipt {
    /// Whether the sender was told that it arrived.
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.answered)
    }

    /// The entries of the alert, to compare with the ledger; none if it was not accepted.
    pub fn got(&self) -> Vec<Got> {
        if self.is_accepted() {
            Got::of_alert(&self.webhook_id, &self.body)
        } else {
            Vec::new()
        }
    }
}

/// A running receiver. Clones are the same one; dropping it leaves it running.
#[derive(Clone, Debug)]
pub struct Receiver {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    secret: Option<String>,
    state: Mutex<Kept>,
    /// The number of receipts there ever were.
    count: watch::Sender<usize>,
    tracker: TaskTracker,
    token: CancellationToken,
}

#[derive(Debug, Default)]
struct Kept {
    receipts: VecDeque<Receipt>,
    n_dropped: usize,
    fail_left: u32,
    fail_status: StatusCode,
}

impl Receiver {
    /// Binds and serves until [`Receiver::stop`].
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listen_error = |source| Error::Listen {
            addr: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let inner = Arc::new(Inner {
            secret: options.secret,
            state: Mutex::default(),
            count: watch::Sender::new(0),
            tracker: TaskTracker::new(),
            token: CancellationToken::new(),
        });
        let router = Router::new()
            .route("/", post(receive))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::clone(&inner));
        let token = inner.token.clone();
        inner.tracker.spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(token.cancelled_owned())
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the webhook receiver stopped");
            }
        });
        Ok(Self { addr, inner })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where to POST to.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// The next `n` messages with a right signature are answered with `status`.
    pub fn fail_next(&self, n: u32, status: StatusCode) {
        let mut kept = self.inner.kept();
        (kept.fail_left, kept.fail_status) = (n, status);
    }

    /// What came so far, the oldest first, at most the last 10,000.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.inner.kept().receipts.iter().cloned().collect()
    }

    /// The entries of all accepted receipts, to compare with the ledger.
    pub fn got(&self) -> Vec<Got> {
        self.inner
            .kept()
            .receipts
            .iter()
            .flat_map(Receipt::got)
            .collect()
    }

    /// Waits for the receipt number `index`, from 0; the oldest one kept if that was dropped.
    /// `None` once the receiver is stopped.
    pub async fn receipt(&self, index: usize) -> Option<Receipt> {
        let mut count = self.inner.count.subscribe();
        tokio::select! {
            arrived = count.wait_for(|&n| n > index) => arrived.ok().map(drop)?,
            () = self.inner.token.cancelled() => return None,
        }
        let kept = self.inner.kept();
        kept.receipts
            .get(index.saturating_sub(kept.n_dropped))
            .cloned()
    }

    /// Stops listening; false if a connection was still busy after five seconds.
    pub async fn stop(&self) -> bool {
        self.inner.token.cancel();
        self.inner.tracker.close();
        tokio::time::timeout(DRAIN, self.inner.tracker.wait())
            .await
            .is_ok()
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, receipt: Receipt) {
        let n = {
            let mut kept = self.kept();
            kept.receipts.push_back(receipt);
            if kept.receipts.len() > MAX_RECEIPTS {
                kept.receipts.pop_front();
                kept.n_dropped += 1;
            }
            kept.n_dropped + kept.receipts.len()
        };
        self.count.send_modify(|count| *count = n.max(*count));
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let received_at = Timestamp::now();
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let signed = Headers {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let believed = match &inner.secret {
        Some(secret) => verify(secret, signed, &body, received_at),
        None => Ok(()),
    };
    let parsed: Result<Value, _> = serde_json::from_slice(&body);
    let status = match (believed, &parsed) {
        (Err(refusal), _) => {
            tracing::warn!(%refusal, webhook.id = signed.id, "refused a webhook");
            StatusCode::UNAUTHORIZED
        }
        (Ok(()), Err(_)) => StatusCode::BAD_REQUEST,
        (Ok(()), Ok(_)) => {
            let mut kept = inner.kept();
            if kept.fail_left > 0 {
                kept.fail_left -= 1;
                kept.fail_status
            } else {
                StatusCode::NO_CONTENT
            }
        }
    };
    inner.keep(Receipt {
        received_at,
        webhook_id: signed.id.to_owned(),
        body: parsed.unwrap_or(Value::Null),
        answered: status.as_u16(),
    });
    status
}
