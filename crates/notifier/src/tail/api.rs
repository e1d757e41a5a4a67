//! `GET /events`: a tail over HTTP, as lines of JSON. Bounded: so many tails at once, a few batches in
//! memory each, and the end for one whose lines are not read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use syncbell_bus::Bus;
use syncbell_service::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Tail, Wanted};

/// The last line of a tail that failed is an object with only this key.
pub const ERROR_KEY: &str = "syncbell_error";

/// Tails at once.
const TAILS: usize = 8;

/// Batches that wait for the connection.
const WAITING: usize = 1;

/// A tail whose lines are not read for so long is ended.
const STALLED: Duration = Duration::from_mins(1);

#[derive(Clone)]
struct Tails {
    bus: Bus,
    shutdown: Shutdown,
    free: Arc<Semaphore>,
}

/// The route, to be nested under `/api/v1`. Tails end with the shutdown.
pub fn api(bus: Bus, shutdown: Shutdown) -> Router {
    let tails = Tails {
        bus,
        shutdown,
        free: Arc::new(Semaphore::new(TAILS)),
    };
    Router::new()
        .route("/events", get(events))
        .with_state(tails)
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}

async fn events(
    State(tails): State<Tails>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let Ok(permit) = tails.free.clone().try_acquire_owned() else {
        let error = format!("{TAILS} tails are being read already");
        return refusal(StatusCode::SERVICE_UNAVAILABLE, &error);
    };
    let tail = match Tail::open(&tails.bus, wanted).await {
        Ok(tail) => tail,
        Err(error) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let (chunks, waiting) = mpsc::channel(WAITING);
    let pump = pump(tail, chunks, tails.shutdown.clone(), permit);
    tails.shutdown.spawn("tail", pump);
    let body = futures_util::stream::unfold(waiting, |mut waiting| async {
        let chunk: Bytes = waiting.recv().await?;
        Some((Ok::<_, Infallible>(chunk), waiting))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(body)).into_response()
}

/// Moves lines to the connection until either ends.
pub(super) async fn pump(
    mut tail: Tail,
    chunks: mpsc::Sender<Bytes>,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
) {
    loop {
        let lines = tokio::select! {
            () = shutdown.triggered() => return,
            () = chunks.closed() => return,
            lines = tail.next() => lines,
        };
        let (lines, is_last) = match lines {
            Ok(Some(lines)) => (lines, false),
            Ok(None) => return,
            Err(error) => (
                vec![json!({ERROR_KEY: error.to_string()}).to_string()],
                true,
            ),
        };
        let chunk = lines
            .into_iter()
            .fold(String::new(), |chunk, line| chunk + &line + "\n");
        let sent = tokio::select! {
            () = shutdown.triggered() => return,
            sent = tokio::time::timeout(STALLED, chunks.send(chunk.into())) => sent,
        };
        match sent {
            Ok(Ok(())) if !is_last => {}
            Ok(_) => return,
            Err(_) => {
                tracing::info!("a tail of events is not read: it is ended");
                return;
            }
        }
    }
}
