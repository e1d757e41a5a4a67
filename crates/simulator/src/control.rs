//! The control surface on the server's own port, under `/_simulator/`: for people with curl.
//!
//! The crate's README has an example of each. What is named in a path and not there is a 404, what cannot
//! be read is a 4xx with the reason. Unsigned: bind it to loopback.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use syncbell_event::Status;

use crate::bulk::StaticLoad;
use crate::fault::{Extent, Fault, Target};
use crate::identity::Identity;
use crate::instance::NewInstance;
use crate::quota::Quota;
use crate::server::Server;
use crate::sync_rule::NewRule;
use crate::task::{NewTask, Progress};

type Refused = (StatusCode, String);

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/ledger", get(ledger))
        .route("/state", get(state))
        .route("/calls", get(calls).delete(forget_calls))
        .route("/fault", post(fault).delete(clear))
        .route("/quota", post(quota).delete(no_quota))
        .route("/task", post(task))
        .route("/task/{id}", delete(remove_task))
        .route("/task/{id}/progress", post(progress))
        .route("/batch/{id}", post(add_batch).put(set_batch))
        .route("/load", post(load))
        .route("/instance", post(instance))
        .route("/instance/{id}", delete(remove_instance))
        .route("/rule", post(rule))
        .route("/rule/{id}", delete(remove_rule))
        .route(
            "/identity",
            get(identity).post(set_identity).delete(forget_issued),
        )
        .route("/identity/expire", post(expire_issued))
        .route("/retention", post(retention))
        .route("/baseline-done", post(baseline_done))
        .route("/story", post(story))
}

async fn ledger(State(server): State<Server>) -> Json<Value> {
    Json(json!(server.world.ledger()))
}

async fn state(State(server): State<Server>) -> Json<Value> {
    Json(json!({"counts": server.world.counts(), "notes": server.world.notes()}))
}

async fn calls(State(server): State<Server>) -> Json<Value> {
    Json(json!(server.world.calls()))
}

async fn forget_calls(State(server): State<Server>) -> StatusCode {
    server.world.forget_calls();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    fault: Fault,
    #[serde(default)]
    calls: Option<u32>,
    #[serde(default)]
    seconds: Option<u64>,
    #[serde(default)]
    only: Option<crate::Action>,
    #[serde(default)]
    instance: Option<String>,
}

async fn fault(
    State(server): State<Server>,
    Json(order): Json<Order>,
) -> Result<StatusCode, Refused> {
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
    let target = Target {
        action: order.only,
        instance_id: order.instance,
    };
    server
        .world
        .fault_for(target, order.fault, extent)
        .map_err(|error| (StatusCode::TOO_MANY_REQUESTS, format!("{error}\n")))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(server): State<Server>) -> StatusCode {
    server.world.clear_faults();
    StatusCode::NO_CONTENT
}

async fn quota(State(server): State<Server>, Json(quota): Json<Quota>) -> StatusCode {
    server.world.set_quota(Some(quota));
    StatusCode::NO_CONTENT
}

async fn no_quota(State(server): State<Server>) -> StatusCode {
    server.world.set_quota(None);
    StatusCode::NO_CONTENT
}

async fn task(State(server): State<Server>, Json(task): Json<NewTask>) -> Json<Value> {
    Json(json!({"task_id": server.world.add_task(task)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// It is listed no more; its id still finds it.
    #[serde(default)]
    unlist_only: bool,
}

async fn remove_task(
    State(server): State<Server>,
    Path(id): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<StatusCode, Refused> {
    let removed = if removal.unlist_only {
        server.world.unlist_task(&id)
    } else {
        server.world.remove_task(&id)
    };
    done(removed)
}

async fn progress(
    State(server): State<Server>,
    Path(id): Path<String>,
    Json(progress): Json<Progress>,
) -> Result<StatusCode, Refused> {
    done(server.world.set_progress(&id, progress))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBatch {
    tasks: usize,
    #[serde(default)]
    like: NewTask,
}

/// More in one call are refused: the list of ids must fit an answer.
const MAX_BATCH: usize = 100_000;

async fn add_batch(
    State(server): State<Server>,
    Path(id): Path<String>,
    Json(batch): Json<NewBatch>,
) -> Result<Json<Value>, Refused> {
    if batch.tasks > MAX_BATCH {
        let reason = format!("a batch has at most {MAX_BATCH} tasks\n");
        return Err((StatusCode::BAD_REQUEST, reason));
    }
    let ids = server.world.add_batch(&id, batch.tasks, &batch.like);
    Ok(Json(json!({"task_ids": ids})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchState {
    status: Status,
    #[serde(default)]
    issue: Option<String>,
    /// How many of those that are still open; absent: all.
    #[serde(default)]
    tasks: Option<usize>,
}

async fn set_batch(
    State(server): State<Server>,
    Path(id): Path<String>,
    Json(to): Json<BatchState>,
) -> Json<Value> {
    let changed = server
        .world
        .set_batch(&id, to.tasks, &to.status, to.issue.as_deref());
    Json(json!({"changed": changed}))
}

async fn load(
    State(server): State<Server>,
    Json(load): Json<StaticLoad>,
) -> Result<StatusCode, Refused> {
    let refused = |error| (StatusCode::BAD_REQUEST, format!("{error}\n"));
    server.world.load_static(&load).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn instance(State(server): State<Server>, Json(instance): Json<NewInstance>) -> StatusCode {
    server.world.add_instance(instance);
    StatusCode::NO_CONTENT
}

async fn remove_instance(State(server): State<Server>, Path(id): Path<String>) -> StatusCode {
    found(server.world.remove_instance(&id))
}

async fn rule(State(server): State<Server>, Json(rule): Json<NewRule>) -> StatusCode {
    server.world.add_rule(rule);
    StatusCode::NO_CONTENT
}

async fn remove_rule(State(server): State<Server>, Path(id): Path<String>) -> StatusCode {
    found(server.world.remove_rule(&id))
}

async fn identity(State(server): State<Server>) -> Json<Value> {
    let (identity, issued) = (server.world.identity(), server.world.issued());
    Json(json!({"identity": identity, "issued": issued}))
}

async fn set_identity(State(server): State<Server>, Json(identity): Json<Identity>) -> StatusCode {
    server.world.set_identity(identity);
    StatusCode::NO_CONTENT
}

async fn forget_issued(State(server): State<Server>) -> StatusCode {
    server.world.forget_issued();
    StatusCode::NO_CONTENT
}

async fn expire_issued(State(server): State<Server>) -> StatusCode {
    server.world.expire_issued();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    /// Null: for ever.
    seconds: Option<u64>,
}

async fn retention(State(server): State<Server>, Json(kept): Json<Retention>) -> StatusCode {
    let age = kept.seconds.map(Duration::from_secs);
    server.world.set_retention(age);
    StatusCode::NO_CONTENT
}

async fn baseline_done(State(server): State<Server>) -> StatusCode {
    server.world.baseline_done();
    StatusCode::NO_CONTENT
}

async fn story(State(server): State<Server>) -> StatusCode {
    server.world.start_story();
    StatusCode::ACCEPTED
}

fn found(is_found: bool) -> StatusCode {
    if is_found {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

fn done(outcome: Result<(), crate::Error>) -> Result<StatusCode, Refused> {
    match outcome {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::NOT_FOUND, format!("{error}\n"))),
    }
}
