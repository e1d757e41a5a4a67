//! What is known of why something was told, or was not: for `syncbell explain`.
//!
//! In: the id of a task, an event or an incident. Out: the trails of its events, the oldest first, with how the
//! deliveries stand that tell of them. A function over the ledger, with a service or without.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_event::{EventId, TaskId};
use syncbell_store::{Error, Reader};

use crate::api::{incident_row, state};
use crate::decide::Incident;
use crate::delivery::{Closed, Delivery, DeliveryId};
use crate::group::Group;
use crate::rows;
use crate::run::Handle;
use crate::trail::{self, Ending, Fate, Trail, Way};

/// Events of one answer: the newest.
const EVENTS_LIMIT: usize = 50;

/// Rows that are looked at to find them.
const INDEX_LIMIT: usize = 10_000;

/// Deliveries of one event.
const DELIVERIES_LIMIT: usize = 200;

impl Handle {
    /// Why what was told of `id`, or was not; none if nothing is known of it. Event trails are kept 24 h, or less where
    /// there are very many.
    pub async fn explain(&self, id: &str) -> Result<Option<Value>, crate::Error> {
        let id = id.to_owned();
        let explained = self.ledger.store.read(move |reader| explain(reader, &id));
        Ok(explained.await?)
    }
}

fn explain(reader: &Reader, id: &str) -> Result<Option<Value>, Error> {
    let event_id = EventId(id.to_owned());
    let (mut what, mut events) = ("event", Vec::new());
    if reader.get(&rows::event(&event_id))?.is_some() {
        events.push(rows::event(&event_id));
    }
    let incident_key = rows::incident(id);
    let incident: Option<Incident> = rows::find(reader, &incident_key)?;
    if events.is_empty() {
        what = "incident";
        events = indexed(reader, &rows::trails_of_incident(id))?;
    }
    if events.is_empty() && incident.is_none() {
        what = "task";
        events = indexed(reader, &rows::trails_of_task(&TaskId(id.to_owned())))?;
    }
    if events.is_empty() && incident.is_none() {
        return Ok(None);
    }
    let mut shown = Vec::new();
    for key in events {
        shown.extend(event(reader, &key)?);
    }
    Ok(Some(json!({
        "id": id,
        "what": what,
        "incident": incident.as_ref().map(incident_row),
        "events": shown,
    })))
}

/// The keys of the newest events under an index, the oldest first.
fn indexed(reader: &Reader, prefix: &[u8]) -> Result<Vec<rows::Key>, Error> {
    let (mut keys, mut known) = (Vec::new(), BTreeSet::new());
    for (key, _) in reader.scan(prefix, None, INDEX_LIMIT)? {
        if let Some(id) = key.get(prefix.len() + rows::PLACE_BYTES..) {
            let key = [b"e/", id].concat();
            if known.insert(key.clone()) {
                keys.push(key);
            }
        }
    }
    let from = keys.len().saturating_sub(EVENTS_LIMIT);
    Ok(keys.split_off(from))
}

fn event(reader: &Reader, key: &[u8]) -> Result<Option<Value>, Error> {
    let Some(row) = reader.get(key)? else {
        return Ok(None);
    };
    let Some(row) = rows::seen_bytes(reader, key, &row)? else {
        return Ok(None);
    };
    let read_at = rows::second(&row[..row.len().min(4)]);
    let trail = trail::read(&row).unwrap_or_else(|| Trail {
        what: "event".to_owned(),
        ..Trail::default()
    });
    let id: &[u8] = key.get(2..).unwrap_or_default();
    let id = <[u8; 16]>::try_from(id).map_or_else(|_| String::new(), |id| rows::hex(&id));
    let mut fates = Vec::new();
    for fate in &trail.fates {
        fates.push(shown_fate(reader, &id, fate)?);
    }
    Ok(Some(json!({
        "event_id": id,
        "read_at": read_at,
        "what": trail.what,
        "instance": trail.instance,
        "task": trail.task,
        "status": trail.status,
        "issue": trail.issue,
        "rule": trail.rule,
        "why": trail.why,
        "words": trail.why.map(trail::Why::words),
        "fates": fates,
        "more": trail.more,
    })))
}

fn shown_fate(reader: &Reader, event_id: &str, fate: &Fate) -> Result<Value, Error> {
    let delivered_as = fate.event_id.as_ref().map_or(event_id, |id| id.as_str());
    let mut receivers = Vec::new();
    let (ending, words) = match &fate.ending {
        Ending::Told(ways) if ways.is_empty() => ("no_route", "no route takes it".to_owned()),
        Ending::Told(ways) => {
            for way in ways {
                receivers.push(shown_way(reader, delivered_as, fate, way)?);
            }
            ("told", "told".to_owned())
        }
        Ending::Held(by) => ("held", format!("held back: {}", by.words())),
        Ending::Over => (
            "over",
            "not told: nobody was told that it began, or it was over first".to_owned(),
        ),
        Ending::Before => ("before", "told by the ledger before this one".to_owned()),
    };
    let by = match &fate.ending {
        Ending::Held(by) => json!(by),
        _ => Value::Null,
    };
    Ok(json!({
        "at": fate.at,
        "incident": fate.incident,
        "rule": fate.rule,
        "status": fate.status,
        "ending": ending,
        "words": words,
        "held_by": by,
        "receivers": receivers,
    }))
}

fn shown_way(reader: &Reader, event_id: &str, fate: &Fate, way: &Way) -> Result<Value, Error> {
    let prefix = rows::deliveries_of_event(&EventId(event_id.to_owned()));
    let mut deliveries = Vec::new();
    for (key, _) in reader.scan(&prefix, None, DELIVERIES_LIMIT)? {
        let id = key.get(prefix.len()..).unwrap_or_default();
        let Ok(id) = <[u8; 16]>::try_from(id) else {
            continue;
        };
        if let Some((delivery, state, note)) = stands(reader, &DeliveryId(rows::hex(&id)))?
            && delivery.target.receiver == way.receiver
            && tells(&delivery, event_id, fate)
        {
            deliveries.push(json!({
                "id": delivery.id,
                "target": delivery.target.to_string(),
                "repeat": delivery.repeat,
                "state": state,
                "attempts": delivery.attempts,
                "created_at": delivery.created_at,
                "note": note,
            }));
        }
    }
    let mut waits_until: Option<Timestamp> = None;
    let mut labels = Value::Null;
    if let Some(digest) = &way.group {
        let key = rows::group(&way.receiver, digest);
        if let Some(group) = rows::find::<Group>(reader, &key)? {
            labels = json!(group.labels);
            waits_until = group.due_at.filter(|_| deliveries.is_empty());
        }
    }
    Ok(json!({
        "receiver": way.receiver,
        "route": way.route,
        "group": labels,
        "waits_until": waits_until,
        "deliveries": deliveries,
    }))
}

fn tells(delivery: &Delivery, event_id: &str, fate: &Fate) -> bool {
    delivery.entries.iter().any(|entry| {
        // Ids of other writers may be any text, and are shown as what stands for them.
        rows::event(&entry.event_id) == rows::event(&EventId(event_id.to_owned()))
            && entry.item.incident == fate.incident
            && entry.item.status == fate.status
    })
}

/// A delivery, how it stands, and why.
pub(crate) type Standing = (Delivery, &'static str, Option<String>);

/// How the delivery of this id stands; none if there is none.
pub(crate) fn stands(reader: &Reader, id: &DeliveryId) -> Result<Option<Standing>, Error> {
    let closed_key = rows::closed(id);
    if let Some(closed) = rows::find::<Closed>(reader, &closed_key)? {
        return Ok(Some((
            closed.delivery,
            state(&closed.ending),
            closed.reason,
        )));
    }
    let Some(key) = rows::find::<String>(reader, &rows::pending(id))? else {
        return Ok(None);
    };
    let Some(delivery) = rows::find::<Delivery>(reader, key.as_bytes())? else {
        return Ok(None);
    };
    let note = delivery.last_error.clone();
    Ok(Some((delivery, "pending", note)))
}
