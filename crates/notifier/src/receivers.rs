//! How the lanes stand, for people: `GET /receivers`; and `POST /receivers/{name}/resume`, after which a stopped lane goes on.
//!
//! In: what the lanes show, and the ledger. Out: a row a target.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::Error;
use crate::api::Failed;
use crate::deliver::Standing;
use crate::delivery::Target;
use crate::run::Handle;
use crate::status::PendingStatus;

/// One lane.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiverRow {
    /// The receiver.
    pub receiver: String,
    /// Receiver, and address if it is mail.
    pub target: String,
    /// `running`; `paused`, because the receiver asked for it; `probing`, because it fails; `stopped`, because it
    /// refuses us; `offline`, because no notifier runs.
    pub state: &'static str,
    /// Paused, or the next probe, until then.
    pub until: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Deliveries that wait.
    pub pending: usize,
    /// When the oldest of them was decided.
    pub oldest_at: Option<Timestamp>,
    /// Why it stopped, or how the last attempt at the oldest one ended.
    pub why: Option<String>,
}

/// The routes, to be nested under `/api/v1`.
pub(crate) fn api(handle: Handle) -> Router {
    Router::new()
        .route("/receivers", get(list))
        .route("/receivers/{name}/resume", post(resume))
        .with_state(handle)
}

async fn list(State(handle): State<Handle>) -> Result<Json<Vec<ReceiverRow>>, Failed> {
    Ok(Json(handle.receivers().await?))
}

async fn resume(State(handle): State<Handle>, Path(name): Path<String>) -> Response {
    let resumed = handle.resume(&name);
    if resumed.is_empty() {
        let error = json!({"error": format!("no receiver is named `{name}`")});
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    Json(resumed).into_response()
}

impl Handle {
    /// Every lane, and what waits for targets that have none. `Err` is the ledger's.
    pub async fn receivers(&self) -> Result<Vec<ReceiverRow>, Error> {
        let pending = self.pending().await?;
        let mut waiting: BTreeMap<String, PendingStatus> = pending
            .into_iter()
            .map(|one| (one.target.clone(), one))
            .collect();
        let (now, instant) = (Timestamp::now(), Instant::now());
        let mut rows: Vec<ReceiverRow> = Vec::new();
        for (target, signal) in self.signals.iter() {
            let waits = waiting.remove(&target.to_string());
            let until = |at: Instant| {
                let rest = SignedDuration::try_from(at.saturating_duration_since(instant));
                now.saturating_add(rest.unwrap_or_default()).unwrap_or(now)
            };
            let standing = signal.standing();
            rows.push(row(target, &standing, waits.as_ref(), until, instant));
        }
        rows.extend(waiting.into_values().map(|waits| ReceiverRow {
            receiver: waits.receiver,
            target: waits.target,
            state: "offline",
            until: None,
            failures: 0,
            pending: waits.deliveries,
            oldest_at: Some(waits.oldest_at),
            why: waits.last_error,
        }));
        Ok(rows)
    }

    /// Lets every lane of a receiver go on, whether it stopped or not. Gives their targets; none if there is no such
    /// receiver here.
    pub fn resume(&self, receiver: &str) -> Vec<String> {
        let lanes = self.signals.iter();
        let lanes = lanes.filter(|(target, _)| target.receiver == receiver);
        lanes
            .map(|(target, signal)| {
                signal.reload();
                target.to_string()
            })
            .collect()
    }
}

fn row(
    target: &Target,
    standing: &Standing,
    waits: Option<&PendingStatus>,
    until: impl Fn(Instant) -> Timestamp,
    now: Instant,
) -> ReceiverRow {
    let ahead = |at: Option<Instant>| at.filter(|at| *at > now);
    let (state, at) = if standing.stopped.is_some() {
        ("stopped", None)
    } else if let Some(at) = ahead(standing.paused_until) {
        ("paused", Some(at))
    } else if standing.probing {
        ("probing", ahead(standing.probe_at))
    } else {
        ("running", None)
    };
    let last_error = waits.and_then(|waits| waits.last_error.clone());
    ReceiverRow {
        receiver: target.receiver.clone(),
        target: target.to_string(),
        state,
        until: at.map(until),
        failures: standing.failures,
        pending: waits.map_or(0, |waits| waits.deliveries),
        oldest_at: waits.map(|waits| waits.oldest_at),
        why: standing.stopped.clone().or(last_error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lane_is_called_what_it_is() {
        let now = Instant::now();
        let soon = Some(now + Duration::from_secs(5));
        let past = now.checked_sub(Duration::from_secs(5));
        let standing = |stopped: Option<&str>, paused_until, probe_at, failures| Standing {
            stopped: stopped.map(str::to_owned),
            paused_until,
            probe_at,
            probing: failures >= 5,
            failures,
        };
        let cases = [
            (standing(None, None, None, 0), "running", false),
            (standing(None, past, None, 4), "running", false),
            (standing(None, soon, None, 0), "paused", true),
            (standing(None, None, soon, 5), "probing", true),
            (standing(None, past, past, 7), "probing", false),
            (standing(None, soon, soon, 7), "paused", true),
            (standing(Some("HTTP 401"), soon, soon, 7), "stopped", false),
        ];
        let target = Target {
            receiver: "ops".into(),
            address: None,
        };
        for (standing, expected, timed) in cases {
            let row = row(&target, &standing, None, |_| Timestamp::UNIX_EPOCH, now);
            assert_eq!(row.state, expected, "{standing:?}");
            assert_eq!(row.until.is_some(), timed, "{standing:?}");
            assert_eq!(row.why.as_deref(), standing.stopped.as_deref());
        }
    }
}
