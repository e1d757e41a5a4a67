//! The control surface on the server's own port, under `/_simulator/`: for people with curl.
//!
//! `GET ledger`, `GET state`, `POST fault` (`{"fault": …, "calls": n}` or `"seconds": n`, else until
//! cleared), `DELETE fault`, `POST task` (a [`NewTask`]; with the id of one that is there: its next
//! state), `POST story`. Unsigned: bind it to loopback.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::{Extent, Fault};
use crate::server::Server;
use crate::task::NewTask;

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/ledger", get(ledger))
        .route("/state", get(state))
        .route("/fault", post(fault).delete(clear))
        .route("/task", post(task))
        .route("/story", post(story))
}

async fn ledger(State(server): State<Server>) -> Json<Value> {
    Json(json!(server.world.ledger()))
}

async fn state(State(server): State<Server>) -> Json<Value> {
    Json(json!({"counts": server.world.counts(), "notes": server.world.notes()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    fault: Fault,
    #[serde(default)]
    calls: Option<u32>,
    #[serde(default)]
    seconds: Option<u64>,
}

async fn fault(
    State(server): State<Server>,
    Json(order): Json<Order>,
) -> Result<StatusCode, (StatusCode, String)> {
    let extent = match (order.calls, order.seconds) {
        (Some(calls), None) => Extent::Calls(calls),
        (None, Some(seconds)) => Extent::For(Duration::from_secs(seconds)),
        (None, None) => Extent::Always,
        (Some(_), Some(_)) => {
            return Err((
                StatusCode::BAD_REQUEST,
                "give calls or seconds, not both\n".to_owned(),
            ));
        }
    };
    server
        .world
        .fault(order.fault, extent)
        .map_err(|error| (StatusCode::TOO_MANY_REQUESTS, format!("{error}\n")))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(server): State<Server>) -> StatusCode {
    server.world.clear_faults();
    StatusCode::NO_CONTENT
}

async fn task(State(server): State<Server>, Json(task): Json<NewTask>) -> Json<Value> {
    Json(json!({"task_id": server.world.add_task(task)}))
}

async fn story(State(server): State<Server>) -> StatusCode {
    server.world.start_story();
    StatusCode::ACCEPTED
}
