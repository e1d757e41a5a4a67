//! One incident: how it stands, and closing it by hand.
//!
//! Who closes writes a row; the consume loop, which alone changes incidents, closes it in its next turn and tells the
//! all-clear. Without a running service that is the next start.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use syncbell_store::{Error, Reader};

use crate::api::{IncidentRow, incident_row};
use crate::decide::{self, Incident};
use crate::done::Done;
use crate::draft::Draft;
use crate::held;
use crate::hold::HoldRecord;
use crate::hold::Holder;
use crate::mirror::Digest;
use crate::rows::{self, Key};
use crate::run::Handle;
use crate::setup::Setup;
use crate::tell;

/// Incidents that are closed in one batch.
const CLOSED_A_TURN: usize = 32;

/// Incidents that are read at once, some 1 KB each.
const ROWS_A_PAGE: usize = 1_000;

/// How long who closes waits for the consume loop, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 1_024;

/// That an incident is to be closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Closing {
    reason: String,
    asked_at: Timestamp,
}

/// What became of a wish to close an incident.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentClosed {
    /// As it stands now.
    pub incident: IncidentRow,
    /// What is to be known beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Closes the incidents that somebody wants to be closed, a slice of them. True if there may be more.
pub(crate) fn close_asked(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let (prefix, until) = rows::within(rows::CLOSINGS.to_vec());
    let keys = draft.keys(&prefix, &until, CLOSED_A_TURN)?;
    for key in &keys {
        let asked: Option<Closing> = draft.get(key)?;
        draft.delete(key.clone());
        let id = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let incident = draft.get::<Incident>(&rows::incident(&id))?;
        if let (Some(asked), Some(incident)) = (asked, incident.filter(Incident::is_open)) {
            let (incident, entry) = decide::close(incident, &asked.reason, &setup.rules, now);
            tracing::info!(
                incident = id,
                reason = asked.reason,
                "an incident was closed by hand"
            );
            draft.put_incident(&incident);
            if entry.is_none() {
                held::drop_if_over(draft, &rows::held(&id), now)?;
            }
            tell::tell(draft, setup, entry.as_slice(), now, done)?;
        }
    }
    Ok(keys.len() == CLOSED_A_TURN)
}

/// What stands for each incident of the ledger, open or closed.
pub(crate) fn all(reader: &Reader) -> Result<HashSet<Digest>, Error> {
    let (mut all, mut after): (_, Option<Key>) = (HashSet::new(), None);
    loop {
        let page = reader.scan(rows::INCIDENTS, after.as_deref(), ROWS_A_PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(all);
        };
        after = Some(last.clone());
        let keys = page.iter().map(|(key, _)| key);
        let keys = keys.filter(|key| !rows::is_piece(key));
        all.extend(keys.filter_map(|key| rows::incident_digest(key)));
    }
}

impl Handle {
    /// Closes an incident by hand. None if there is none of this id; one that is over stays as it is.
    pub async fn close_incident(
        &self,
        id: &str,
        reason: &str,
    ) -> Result<Option<IncidentClosed>, crate::Error> {
        if reason.len() > REASON_BYTES {
            let what = format!("a reason has at most {REASON_BYTES} bytes");
            return Err(crate::Error::Refused { what });
        }
        let (key, asked, reason) = (id.to_owned(), rows::closing(id), reason.to_owned());
        let found = self.ledger.patiently(move |draft, now| {
            let incident = draft.get::<Incident>(&rows::incident(&key))?;
            if incident.as_ref().is_some_and(Incident::is_open) {
                let closing = Closing {
                    reason: reason.clone(),
                    asked_at: now,
                };
                draft.put(asked.clone(), &closing);
            }
            Ok(incident)
        });
        let Some(incident) = found.await? else {
            return Ok(None);
        };
        let answer = |incident: &Incident, note| {
            Some(IncidentClosed {
                incident: incident_row(incident),
                note,
            })
        };
        if !incident.is_open() {
            return Ok(answer(&incident, Some("it was over already")));
        }
        if !self.is_running() {
            let note = "it is closed, and its end told, at the next start";
            return Ok(answer(&incident, Some(note)));
        }
        self.wake_consumer();
        let mut looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
        loop {
            let incident = self.incident(id).await?;
            match incident {
                Some(incident) if !incident.is_open() => return Ok(answer(&incident, None)),
                Some(incident) if looks == 0 => {
                    return Ok(answer(&incident, Some("it will be closed")));
                }
                None => return Ok(None),
                Some(_) => {}
            }
            looks -= 1;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, Error> {
        let key = rows::incident(id);
        let read = self
            .ledger
            .store
            .read(move |reader| rows::find(reader, &key));
        read.await
    }

    /// One incident with what holds it open and what it holds back; none if there is no such.
    pub async fn incident_by_id(&self, id: &str) -> Result<Option<Value>, crate::Error> {
        let Some(incident) = self.incident(id).await? else {
            return Ok(None);
        };
        let key = rows::hold_record(&Holder::Incident(id.to_owned()));
        let read = self
            .ledger
            .store
            .read(move |reader| rows::find::<HoldRecord>(reader, &key));
        let hides = read.await?;
        let causes = incident.causes.iter().map(|cause| {
            json!({"task": cause.task, "since": cause.since, "told": cause.told, "event_id": cause.event_id})
        });
        let notice = incident.notice.as_ref();
        Ok(Some(json!({
            "incident": incident_row(&incident),
            "subject": incident.subject.name(),
            "changed_at": incident.changed_at,
            "closed": incident.closed,
            "causes": causes.collect::<Vec<Value>>(),
            "summary": notice.map(|notice| &notice.summary),
            "hides": hides,
        })))
    }
}
