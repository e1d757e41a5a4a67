//! What is known of why something was told, or was not: for `syncbell explain`.
//!
//! In: the id of a task, an event or an incident. Out: the trails of its events, the oldest first, with how the
//! deliveries stand that tell of them. A function over the ledger, with a service or without.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_event::EventId;
use syncbell_store::{Error, Reader};

use crate::api::{incident_row, state};
use crate::decide::Incident;
use crate::delivery::{Closed, Delivery, DeliveryId, DeliveryState};
use crate::group::Group;
use crate::read_ids;
use crate::rows;
use crate::run::Handle;
use crate::trail::{self, Ending, Fate, Trail, Way};

/// Events of one answer: the newest.
const EVENTS_LIMIT: usize = 50;

/// Rows of trails that are read at once: some 16 KB each.
const TRAIL_ROWS_A_PAGE: usize = 64;

/// How often a row that moves while it is looked for is looked for.
const READINGS: u32 = 3;

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
    let digits = trail::digits(&event_id);
    let incident: Option<Incident> = rows::find(reader, &rows::incident(id))?;
    let mut what = "event";
    let mut events = trailed(reader, |trail| trail.is_of(&digits))?;
    if events.is_empty() && read_at(reader, &digits)?.is_some() {
        events.push(digits);
    }
    if events.is_empty() {
        what = "incident";
        events = trailed(reader, |trail| trail.touches(id))?;
    }
    if events.is_empty() && incident.is_none() {
        what = "task";
        let task = trail::short(id);
        events = trailed(reader, |trail| trail.task.as_ref() == Some(&task))?;
    }
    if events.is_empty() && incident.is_none() {
        return Ok(None);
    }
    let mut trails = whole_trails(reader, &events)?;
    // An event is as old as its first trail, whatever became of it later.
    events.sort_by_key(|digits| Reverse(trails.get(digits).map_or(0, |whole| whole.n_newer)));
    let mut shown = Vec::new();
    for digits in events {
        let whole = trails.remove(&digits);
        shown.push(event(reader, &digits, whole)?);
    }
    Ok(Some(json!({
        "id": id,
        "what": what,
        "incident": incident.as_ref().map(incident_row),
        "events": shown,
    })))
}

/// Looks at all trails, the newest first, with when each was made, as long as `look` says so.
fn each_trail(
    reader: &Reader,
    mut look: impl FnMut(Timestamp, Trail) -> bool,
) -> Result<(), Error> {
    let mut before: Option<rows::Key> = None;
    loop {
        let page = reader.scan_back(rows::TRAILS_NUMBERED, before.as_deref(), TRAIL_ROWS_A_PAGE)?;
        let Some((first, _)) = page.last() else {
            return Ok(());
        };
        before = Some(first.clone());
        for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece_of_trail(key)) {
            let row = rows::seen_bytes(reader, key, row)?;
            let Some((at, trails)) = row.as_deref().and_then(trail::read) else {
                continue;
            };
            for trail in trails.into_iter().rev() {
                if !look(at, trail) {
                    return Ok(());
                }
            }
        }
    }
}

/// The newest events with such a trail, in no order.
fn trailed(reader: &Reader, is_it: impl Fn(&Trail) -> bool) -> Result<Vec<String>, Error> {
    let mut events: Vec<String> = Vec::new();
    each_trail(reader, |_, trail| {
        if is_it(&trail) && !events.contains(&trail.event) {
            events.push(trail.event);
        }
        events.len() < EVENTS_LIMIT
    })?;
    Ok(events)
}

/// A trail with what became of its event later.
struct Whole {
    began_at: Timestamp,
    trail: Trail,
    /// Trails, of whatever event, that are newer than its first one.
    n_newer: usize,
}

/// The trails of these events.
fn whole_trails(reader: &Reader, events: &[String]) -> Result<BTreeMap<String, Whole>, Error> {
    let mut all: BTreeMap<String, Whole> = BTreeMap::new();
    let mut n_newer = 0;
    each_trail(reader, |began_at, mut trail| {
        if events.contains(&trail.event) {
            if let Some(later) = all.remove(&trail.event) {
                trail.continue_with(later.trail);
            }
            let whole = Whole {
                began_at,
                trail,
                n_newer,
            };
            all.insert(whole.trail.event.clone(), whole);
        }
        n_newer += 1;
        true
    })?;
    Ok(all)
}

/// When the event was read for which these digits stand; none if it was not, or that is forgotten.
fn read_at(reader: &Reader, digits: &str) -> Result<Option<Timestamp>, Error> {
    match rows::hex_bytes(digits) {
        Some(event) => read_ids::read_at(reader, &event),
        None => Ok(None),
    }
}

fn event(reader: &Reader, id: &str, whole: Option<Whole>) -> Result<Value, Error> {
    let (began_at, mut trail) = whole.map_or_else(
        || (None, Trail::default()),
        |whole| (Some(whole.began_at), whole.trail),
    );
    let mut at = began_at;
    if trail.what.is_empty() {
        // No event but time, or an event whose trail is forgotten.
        let read_at = read_at(reader, id)?;
        let what = read_at.map_or("time", |_| "event");
        what.clone_into(&mut trail.what);
        at = read_at.or(began_at);
    }
    let mut fates = Vec::new();
    for fate in &trail.fates {
        fates.push(shown_fate(reader, id, fate)?);
    }
    Ok(json!({
        "event_id": id,
        "read_at": at,
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
    }))
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
    let mut ids = way.deliveries.clone();
    for (key, _) in reader.scan(&prefix, None, DELIVERIES_LIMIT)? {
        let id = key.get(prefix.len()..).unwrap_or_default();
        if let Ok(id) = <[u8; 16]>::try_from(id) {
            ids.push(DeliveryId(rows::hex(&id)));
        }
    }
    let mut deliveries = Vec::new();
    for id in ids {
        if let Some(stands) = stands(reader, &id)?
            && let (delivery, state, note) = shown(stands)
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
        trail::digits(&entry.event_id) == trail::digits(&EventId(event_id.to_owned()))
            && entry.item.incident == fate.incident
            && entry.item.status == fate.status
    })
}

/// A delivery, the name of its state, and why.
pub(crate) fn shown(stands: DeliveryState) -> (Delivery, &'static str, Option<String>) {
    match stands {
        DeliveryState::Pending(delivery) => {
            let note = delivery.last_error.clone();
            (delivery, "pending", note)
        }
        DeliveryState::Over(closed) => (closed.delivery, state(&closed.ending), closed.reason),
    }
}

/// How the delivery of this id stands; none if there is none.
pub(crate) fn stands(reader: &Reader, id: &DeliveryId) -> Result<Option<DeliveryState>, Error> {
    // It may be over between the two look-ups.
    for _ in 0..READINGS {
        let Some(place) = reader.get(&rows::place(id))? else {
            return Ok(None);
        };
        let key = rows::bytes(reader, &rows::place(id), &place)?;
        let pending: Option<Delivery> = rows::find(reader, &key)?;
        if let Some(delivery) = pending.filter(|delivery| delivery.id == *id) {
            return Ok(Some(DeliveryState::Pending(delivery)));
        }
        let closed: Option<Closed> = rows::find(reader, &rows::closed(rows::number(&key)))?;
        if let Some(closed) = closed.filter(|closed| closed.delivery.id == *id) {
            return Ok(Some(DeliveryState::Over(closed)));
        }
    }
    Ok(None)
}
