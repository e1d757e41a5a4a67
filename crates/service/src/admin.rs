//! The admin interface: health, metrics, and the API that the command line asks.
//!
//! `/api/v1` answers only to this machine and only under a name of this machine, so that neither a
//! neighbour nor a page in a browser (DNS rebinding) can reach it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::{Error, Health, Metrics, Shutdown};

const BODY_LIMIT_BYTES: usize = 1024 * 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the shutdown waits for answers that are under way.
const GRACE: Duration = Duration::from_secs(3);

/// A bound admin listener that does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Takes the address, so that a second process is refused before it touches anything.
    pub async fn bind(listen: SocketAddr) -> Result<Self, Error> {
        let bind = async {
            let listener = TcpListener::bind(listen).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind.await.map_err(|source| Error::Bind {
            address: listen,
            source,
        })
    }

    /// Where it listens: the port, where the configuration said 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until shutdown. `api` is nested under `/api/v1`.
    pub async fn serve(self, health: Health, metrics: Metrics, api: Router, shutdown: Shutdown) {
        let api = api.layer(middleware::from_fn(only_this_machine));
        let app = Router::new()
            .route(
                "/health/live",
                get(|| async { Json(json!({"live": true})) }),
            )
            .route("/health/ready", get(ready).with_state(health))
            .route("/metrics", get(metrics_text).with_state(metrics))
            .nest("/api/v1", api)
            .fallback(|| async { refusal(StatusCode::NOT_FOUND, "there is nothing here") })
            .layer(RequestBodyLimitLayer::new(BODY_LIMIT_BYTES))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                REQUEST_TIMEOUT,
            ));
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let token = shutdown.token();
        let served = axum::serve(self.listener, service)
            .with_graceful_shutdown(async move { token.cancelled().await });
        let too_late = async {
            shutdown.triggered().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = served.into_future() => if let Err(error) = served {
                tracing::error!(%error, "the admin interface stopped");
            },
            // Somebody who does not read its answer must not hold up the end of the process.
            () = too_late => tracing::info!("answers of the admin interface were left unread"),
        }
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let ready = health.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"ready": ready, "conditions": health.states()})),
    )
        .into_response()
}

async fn metrics_text(State(metrics): State<Metrics>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}

async fn only_this_machine(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // A page in a browser may not ask, wherever it comes from: requests of browsers carry an Origin.
    let origin = request.headers().contains_key(header::ORIGIN);
    if origin || !peer.ip().to_canonical().is_loopback() || !host.is_some_and(is_loopback_host) {
        return refusal(
            StatusCode::FORBIDDEN,
            "the API answers only to this machine",
        );
    }
    next.run(request).await
}

/// Whether a Host header names this machine: a loopback address or `localhost`, with any port.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, path: &str, host: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_metrics_and_an_api_for_this_machine_only() {
        let health = Health::new();
        let store = health.condition("store");
        let shutdown = Shutdown::new();
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.local_addr();
        let api = Router::new().route("/incidents", get(|| async { "[]" }));
        let serve = admin.serve(health, Metrics::new(), api, shutdown.clone());
        shutdown.spawn("admin", serve);

        assert!(
            ask(address, "/health/live", "x")
                .await
                .starts_with("HTTP/1.1 200")
        );
        let starting = ask(address, "/health/ready", "x").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.contains("starting"));
        store.ready();
        assert!(
            ask(address, "/health/ready", "x")
                .await
                .starts_with("HTTP/1.1 200")
        );
        assert!(ask(address, "/metrics", "x").await.contains("# EOF"));
        assert!(
            ask(address, "/api/v1/incidents", "localhost:1")
                .await
                .ends_with("[]")
        );
        assert!(
            ask(address, "/api/v1/incidents", "[::1]:1")
                .await
                .ends_with("[]")
        );
        let rebound = ask(address, "/api/v1/incidents", "evil.example").await;
        assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
        assert!(
            ask(address, "/nothing", "x")
                .await
                .starts_with("HTTP/1.1 404")
        );

        let second = Admin::bind(address).await.unwrap_err().to_string();
        assert!(second.contains(&address.to_string()), "{second}");
        shutdown.trigger();
        assert!(shutdown.drained(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_does_not_hold_up_the_shutdown() {
        let shutdown = Shutdown::new();
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.local_addr();
        let large = || async { "x".repeat(64 * 1024 * 1024) };
        let api = Router::new().route("/large", get(large));
        let serve = admin.serve(Health::new(), Metrics::new(), api, shutdown.clone());
        shutdown.spawn("admin", serve);
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"GET /api/v1/large HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.read_u8().await.unwrap();
        shutdown.trigger();
        assert!(shutdown.drained(Duration::from_secs(10)).await);
        drop(stream);
    }
}
