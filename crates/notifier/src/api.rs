//! `/api/v1` of the notifier: what the command line asks. Also usable without a server: each answer is a
//! function over the ledger.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use syncbell_event::Alert;

use crate::dead_letters::{LetterRow, LettersReplayed, LettersWanted, ReplayWanted};
use crate::decide::{ClosedBy, Incident};
use crate::deliver::record;
use crate::delivery::{Attempt, Closed, Delivery, DeliveryId, DeliveryState, Ending};
use crate::explain::{shown, stands};
use crate::render;
use crate::replay::EventsReplay;
use crate::run::Handle;
use crate::silences::{SilenceRow, SilenceWanted, unknown_rules};
use crate::{Error, receivers, rows, status};

/// Rows of one answer, unless asked otherwise.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// Rows that are read at once.
const ROWS_A_PAGE: usize = 256;
/// Incidents are short rows, and after a storm somebody wants all of them.
const INCIDENTS_MAX: usize = 20_000;

const NO_INCIDENT: &str = "no such incident";

/// One incident in a list.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// `open`, `resolved`, `moved` (to a graver rule), `expired`, `closed` (by hand), `told` (once, as it does not
    /// go on) or `unwatched` (it left the configuration).
    pub state: &'static str,
    /// Its rule.
    pub rule: String,
    /// The instance that listed its first cause.
    pub instance: String,
    /// What it is about.
    pub image: String,
    /// When it opened.
    pub opened_at: String,
    /// Failures told while open.
    pub occurrences: u32,
    /// Tasks that hold it open.
    pub tasks: Vec<String>,
}

/// One delivery in a list.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryRow {
    /// Its id.
    pub id: String,
    /// `pending`, `delivered`, `dead`, `dropped` or `merged` (into another one, which its note names).
    pub state: &'static str,
    /// Receiver, and address if it is mail.
    pub target: String,
    /// What it tells, in one line.
    pub summary: String,
    /// When it was decided.
    pub created_at: String,
    /// Attempts made.
    pub attempts: u32,
    /// The last error, or why it ended.
    pub note: String,
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    limit: Option<usize>,
}

impl Asked {
    fn limit(&self, most: usize) -> usize {
        self.limit.unwrap_or(LIMIT).min(most)
    }
}

/// The routes, to be nested under `/api/v1`.
pub fn api(handle: Handle) -> Router {
    Router::new()
        .route("/incidents", get(incidents))
        .route("/incidents/{id}", get(incident))
        .route("/incidents/{id}/close", post(close_incident))
        .route("/explain/{id}", get(explain))
        .route("/deliveries", get(deliveries))
        .route("/deliveries/{id}", get(delivery))
        .route("/deliveries/{id}/retry", post(retry))
        .route("/silences", get(silences).post(add_silence))
        .route("/silences/{id}/expire", post(expire_silence))
        .route("/replay", post(replay))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/replay", post(replay_letters))
        .route("/dead-letters/{id}", get(dead_letter))
        .with_state(handle.clone())
        .merge(receivers::api(handle.clone()))
        .merge(status::api(handle))
}

/// A failure of the ledger, as an answer.
pub(crate) struct Failed(Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0 {
            Error::Refused { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = json!({"error": self.0.to_string()});
        (status, Json(error)).into_response()
    }
}

async fn incidents(
    State(handle): State<Handle>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<IncidentRow>>, Failed> {
    Ok(Json(handle.incidents(asked.limit(INCIDENTS_MAX)).await?))
}

async fn incident(
    State(handle): State<Handle>,
    Path(id): Path<String>,
) -> Result<Response, Failed> {
    Ok(found_or(handle.incident_by_id(&id).await?, NO_INCIDENT))
}

#[derive(Debug, Default, Deserialize)]
struct CloseAsked {
    #[serde(default)]
    reason: String,
}

async fn close_incident(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(asked): Json<CloseAsked>,
) -> Result<Response, Failed> {
    let closed = handle.close_incident(&id, &asked.reason).await?;
    Ok(found_or(closed.map(|closed| json!(closed)), NO_INCIDENT))
}

async fn explain(State(handle): State<Handle>, Path(id): Path<String>) -> Result<Response, Failed> {
    let missing = "nothing is known of it: trails are kept for 24 hours";
    Ok(found_or(handle.explain(&id).await?, missing))
}

async fn deliveries(
    State(handle): State<Handle>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<DeliveryRow>>, Failed> {
    Ok(Json(handle.deliveries(asked.limit(LIMIT_MAX)).await?))
}

async fn delivery(
    State(handle): State<Handle>,
    Path(id): Path<String>,
) -> Result<Response, Failed> {
    Ok(found(handle.delivery_by_id(&id).await?))
}

async fn retry(State(handle): State<Handle>, Path(id): Path<String>) -> Result<Response, Failed> {
    let retried = handle.retry_by_id(&id).await?;
    Ok(found(retried.then(|| json!({"retried": true}))))
}

#[derive(Debug, Default, Deserialize)]
struct SilencesAsked {
    #[serde(default)]
    expired: bool,
}

async fn silences(
    State(handle): State<Handle>,
    Query(asked): Query<SilencesAsked>,
) -> Result<Json<Vec<SilenceRow>>, Failed> {
    Ok(Json(handle.silences(asked.expired).await?))
}

async fn add_silence(
    State(handle): State<Handle>,
    Json(wanted): Json<SilenceWanted>,
) -> Result<Json<Value>, Failed> {
    let silence = handle.add_silence(wanted).await?;
    let own = handle.setup().map(|setup| setup.rules.own.iter());
    let own = own.into_iter().flatten();
    let own: Vec<String> = own.map(|own| own.name.as_str().to_owned()).collect();
    let warning = unknown_rules(&silence.matchers, &own);
    let mut answer = json!(silence);
    if let Some(warning) = warning {
        answer["warning"] = warning.into();
    }
    Ok(Json(answer))
}

async fn expire_silence(
    State(handle): State<Handle>,
    Path(id): Path<String>,
) -> Result<Response, Failed> {
    let expired = handle.expire_silence(&id).await?;
    let expired = expired.map(|silence| json!(silence));
    Ok(found_or(expired, "no such silence"))
}

async fn dead_letters(
    State(handle): State<Handle>,
    Query(wanted): Query<LettersWanted>,
) -> Result<Json<Vec<LetterRow>>, Failed> {
    Ok(Json(handle.letter_box().list(&wanted).await?))
}

async fn dead_letter(
    State(handle): State<Handle>,
    Path(id): Path<String>,
) -> Result<Response, Failed> {
    Ok(found_or(
        handle.letter_box().show(&id).await?,
        "no such dead letter",
    ))
}

async fn replay_letters(
    State(handle): State<Handle>,
    Json(wanted): Json<ReplayWanted>,
) -> Result<Json<LettersReplayed>, Failed> {
    Ok(Json(handle.replay_letters(&wanted).await?))
}

async fn replay(
    State(handle): State<Handle>,
    Json(wanted): Json<EventsReplay>,
) -> Result<Response, Failed> {
    let refusal = |status, error: &str| (status, Json(json!({"error": error}))).into_response();
    match handle.replay_events(wanted).await {
        Ok(Some(replayed)) => Ok(Json(replayed).into_response()),
        Ok(None) => Ok(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "another replay is under way",
        )),
        Err(Error::Setup { what }) => Ok(refusal(StatusCode::BAD_REQUEST, &what)),
        Err(error) => Err(error.into()),
    }
}

fn found(value: Option<Value>) -> Response {
    found_or(value, "no such delivery, or it was delivered")
}

fn found_or(value: Option<Value>, missing: &str) -> Response {
    if let Some(value) = value {
        Json(value).into_response()
    } else {
        let error = json!({"error": missing});
        (StatusCode::NOT_FOUND, Json(error)).into_response()
    }
}

impl Handle {
    /// Incidents, those that changed last first, at most `limit`.
    pub async fn incidents(&self, limit: usize) -> Result<Vec<IncidentRow>, Error> {
        let incidents = self.ledger.store.read(|reader| {
            let mut incidents: Vec<Incident> = Vec::new();
            for (key, row) in reader.scan(rows::INCIDENTS, None, 100_000)? {
                if !rows::is_piece(&key) {
                    incidents.extend(rows::seen::<Incident>(reader, &key, &row)?);
                }
            }
            Ok(incidents)
        });
        let mut incidents = incidents.await?;
        incidents
            .sort_by_key(|incident| (!incident.is_open(), std::cmp::Reverse(incident.changed_at)));
        Ok(incidents.iter().take(limit).map(incident_row).collect())
    }

    /// Deliveries, pending ones first, then those that are over, each the newest first, at most `limit`.
    pub async fn deliveries(&self, limit: usize) -> Result<Vec<DeliveryRow>, Error> {
        let listed = self.ledger.store.read(move |reader| {
            let (mut pending, mut closed): (Vec<Delivery>, Vec<Closed>) = (Vec::new(), Vec::new());
            for (key, row) in reader.scan(rows::PENDING, None, 10_000)? {
                if !rows::is_piece(&key) {
                    pending.extend(rows::seen::<Delivery>(reader, &key, &row)?);
                }
            }
            let mut before: Option<rows::Key> = None;
            while closed.len() < limit {
                let page = reader.scan_back(rows::CLOSED, before.as_deref(), ROWS_A_PAGE)?;
                let Some((first, _)) = page.last() else { break };
                before = Some(first.clone());
                for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                    closed.extend(rows::seen::<Closed>(reader, key, row)?);
                }
            }
            Ok((pending, closed))
        });
        let (mut pending, closed) = listed.await?;
        pending.sort_by_key(|delivery| std::cmp::Reverse(delivery.seq));
        let pending = pending.iter().map(|delivery| {
            delivery_row(
                delivery,
                "pending",
                delivery.last_error.as_deref().unwrap_or_default(),
            )
        });
        let closed = closed.iter().map(|closed| {
            let note = closed.reason.as_deref().unwrap_or_default();
            delivery_row(&closed.delivery, state(&closed.ending), note)
        });
        Ok(pending.chain(closed).take(limit).collect())
    }

    /// One delivery with its alert as on the wire and its attempts; none if there is no such.
    pub async fn delivery_by_id(&self, id: &str) -> Result<Option<Value>, Error> {
        let id = DeliveryId(id.to_owned());
        let found = self.ledger.store.read(move |reader| {
            let Some(stands) = stands(reader, &id)? else {
                return Ok(None);
            };
            let last = match &stands {
                DeliveryState::Over(closed) => closed.attempt.clone(),
                DeliveryState::Pending(_) => None,
            };
            let (delivery, state, note) = shown(stands);
            let mut attempts: Vec<Attempt> = Vec::new();
            for (key, row) in reader.scan(&rows::attempts(delivery.seq), None, LIMIT_MAX)? {
                attempts.extend(rows::seen::<Attempt>(reader, &key, &row)?);
            }
            attempts.extend(last);
            Ok(Some((delivery, state, note, attempts)))
        });
        let Some((delivery, state, note, attempts)) = found.await? else {
            return Ok(None);
        };
        let alert: Option<Alert> = serde_json::from_slice(&render::webhook(&delivery)).ok();
        Ok(Some(json!({
            "delivery": delivery_row(&delivery, state, note.as_deref().unwrap_or_default()),
            "due_at": delivery.due_at,
            "attempts": attempts,
            "alert": alert,
        })))
    }

    /// Tries a dead, dropped or pending delivery again. False if there is none to try.
    pub async fn retry_by_id(&self, id: &str) -> Result<bool, Error> {
        let id = DeliveryId(id.to_owned());
        let held = self.ledger.by_hand.write().await;
        let target = self
            .ledger
            .patiently(move |draft, now| record::retry(draft, &id, now))
            .await?;
        drop(held);
        if let Some(signal) = target.as_ref().and_then(|target| self.signals.get(target)) {
            signal.reload();
        }
        Ok(target.is_some())
    }
}

pub(crate) fn state(ending: &Ending) -> &'static str {
    match ending {
        Ending::Delivered => "delivered",
        Ending::Dead => "dead",
        Ending::Dropped => "dropped",
        Ending::Merged => "merged",
    }
}

pub(crate) fn incident_row(incident: &Incident) -> IncidentRow {
    let image = incident
        .causes
        .last()
        .and_then(|cause| cause.task.from.as_ref());
    IncidentRow {
        id: incident.id.clone(),
        state: match incident.closed.as_ref().map(|closing| &closing.why) {
            None => "open",
            Some(
                ClosedBy::Well(_)
                | ClosedBy::Final
                | ClosedBy::Listed
                | ClosedBy::Seen
                | ClosedBy::Ran,
            ) => "resolved",
            Some(ClosedBy::Once) => "told",
            Some(ClosedBy::Unwatched) => "unwatched",
            Some(ClosedBy::Graver) => "moved",
            Some(ClosedBy::Expired) => "expired",
            Some(ClosedBy::Hand { .. }) => "closed",
        },
        rule: incident.rule.as_str().to_owned(),
        instance: incident.instance.clone(),
        image: image.map_or_else(|| incident.subject.name(), syncbell_event::Image::name),
        opened_at: incident.opened_at.to_string(),
        occurrences: incident.occurrences,
        tasks: incident
            .causes
            .iter()
            .map(|cause| cause.task.task_id.to_string())
            .collect(),
    }
}

fn delivery_row(delivery: &Delivery, state: &'static str, note: &str) -> DeliveryRow {
    let summary = match delivery.entries.as_slice() {
        [entry] => format!("{}: {}", entry.item.status.as_str(), entry.item.summary),
        entries => format!("{} conditions", entries.len()),
    };
    DeliveryRow {
        id: delivery.id.0.clone(),
        state,
        target: delivery.target.to_string(),
        summary,
        created_at: delivery.created_at.to_string(),
        attempts: delivery.attempts,
        note: note.to_owned(),
    }
}
