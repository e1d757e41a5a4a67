//! The CloudEvents 1.0 envelope in structured JSON: the same bytes in the outbox, in the log, in the
//! dead letters and on a terminal.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::watch::watch_id;
use crate::{EventId, Failing, Kind, Recovered, Swept, SyncTask, TraceParent};

/// The `content-type` header of a record that holds an [`Envelope`] (CloudEvents Kafka binding).
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

const TYPE_PREFIX: &str = "dev.syncbell.";

/// Where an event comes from: `/acr/{region}/{instance}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The region that was asked.
    pub region: String,
    /// The ACR instance that was asked.
    pub instance: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/acr/{}/{}", self.region, self.instance)
    }
}

impl Source {
    fn parse(text: &str) -> Option<Self> {
        let (region, instance) = text.strip_prefix("/acr/")?.split_once('/')?;
        Some(Self {
            region: region.to_owned(),
            instance: instance.to_owned(),
        })
    }
}

/// What a task event carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskData {
    /// How the task stood before; null if it was not known.
    pub before: Option<SyncTask>,
    /// How it stands now; null if it vanished.
    pub after: Option<SyncTask>,
    /// The fields that differ.
    #[serde(default)]
    pub changed: Vec<String>,
    /// What else was found out, where there was budget for it. Never part of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// What the poller could add to a change. Every field may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// 0 just begun or failed, 1 done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Bytes copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_size_bytes: Option<u64>,
    /// Digests of the layers that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_layers: Vec<String>,
    /// The sync rule's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_rule_name: Option<String>,
    /// How the batch stands that the task belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchCounts>,
    /// The vendor's RequestId of the answer that showed it: what their support asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// On a snapshot: it was asked for, and bad states that the ledger does not know are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requested: bool,
}

/// Tasks of one batch, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchCounts {
    /// All of them.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those still open.
    pub open: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `dev.syncbell.sync-task.{snapshot,created,updated,vanished}.v1`
    Task {
        /// Which of the four.
        kind: Kind,
        /// What is known about it.
        data: Box<TaskData>,
    },
    /// `dev.syncbell.watch.swept.v1`
    Swept(Swept),
    /// `dev.syncbell.watch.failing.v1`
    Failing(Failing),
    /// `dev.syncbell.watch.recovered.v1`
    Recovered(Recovered),
}

/// One event with everything CloudEvents wants around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// 32 hex; the same for the same transition, whoever found it.
    pub id: EventId,
    /// The instance it is about. Its id is also the record's key.
    pub source: Source,
    /// The task id; of watch events, the instance id.
    pub subject: String,
    /// When it was observed.
    pub time: Timestamp,
    /// The poll that found it. Never part of the id.
    pub traceparent: Option<TraceParent>,
    /// What happened.
    pub event: Event,
}

/// Why bytes are not an event. The record goes to the dead letters with this text.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or a required attribute or field is missing or has another type.
    #[error("could not decode the event: {0}")]
    Json(#[from] serde_json::Error),
    /// What `data` holds is not what `type` says; a position is one within it.
    #[error("could not decode the data of the event: {0}")]
    Data(serde_json::Error),
    /// `specversion` is not 1.0.
    #[error("could not decode the event: specversion {0:?} is not 1.0")]
    SpecVersion(String),
    /// A type this version does not know.
    #[error("could not decode the event: type {0:?} is not known")]
    Type(String),
    /// A source that is not `/acr/{{region}}/{{instance}}`.
    #[error("could not decode the event: source {0:?} is not /acr/region/instance")]
    Source(String),
    /// A task event without a task.
    #[error("could not decode the event: neither before nor after is there")]
    Empty,
}

/// The bytes' shape; `data` depends on `type`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire<D> {
    pub(crate) specversion: String,
    pub(crate) id: String,
    pub(crate) source: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) time: Timestamp,
    #[serde(default = "json_type")]
    pub(crate) datacontenttype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    pub(crate) data: D,
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl Event {
    /// The CloudEvents `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Task {
                kind: Kind::Snapshot,
                ..
            } => "dev.syncbell.sync-task.snapshot.v1",
            Self::Task {
                kind: Kind::Created,
                ..
            } => "dev.syncbell.sync-task.created.v1",
            Self::Task {
                kind: Kind::Updated,
                ..
            } => "dev.syncbell.sync-task.updated.v1",
            Self::Task {
                kind: Kind::Vanished,
                ..
            } => "dev.syncbell.sync-task.vanished.v1",
            Self::Swept(_) => "dev.syncbell.watch.swept.v1",
            Self::Failing(_) => "dev.syncbell.watch.failing.v1",
            Self::Recovered(_) => "dev.syncbell.watch.recovered.v1",
        }
    }

    fn decode(type_name: &str, data: &RawValue) -> Result<Self, DecodeError> {
        let short = type_name.strip_prefix(TYPE_PREFIX).unwrap_or_default();
        let task = |kind| -> Result<Self, DecodeError> {
            let data: Box<TaskData> = read(data)?;
            if data.before.is_none() && data.after.is_none() {
                return Err(DecodeError::Empty);
            }
            if kind != Kind::Vanished && data.after.is_none() {
                return Err(DecodeError::Empty);
            }
            Ok(Self::Task { kind, data })
        };
        match short {
            "sync-task.snapshot.v1" => task(Kind::Snapshot),
            "sync-task.created.v1" => task(Kind::Created),
            "sync-task.updated.v1" => task(Kind::Updated),
            "sync-task.vanished.v1" => task(Kind::Vanished),
            "watch.swept.v1" => Ok(Self::Swept(read(data)?)),
            "watch.failing.v1" => Ok(Self::Failing(read(data)?)),
            "watch.recovered.v1" => Ok(Self::Recovered(read(data)?)),
            _ => Err(DecodeError::Type(type_name.to_owned())),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a RawValue) -> Result<T, DecodeError> {
    serde_json::from_str(data.get()).map_err(DecodeError::Data)
}

impl Envelope {
    /// `watch.swept` in its envelope.
    pub fn swept(source: &Source, observed_at: Timestamp, swept: Swept) -> Self {
        let since = swept.seen_until;
        Self::watch(source, observed_at, Event::Swept(swept), "swept", since)
    }

    /// `watch.failing` in its envelope.
    pub fn failing(source: &Source, observed_at: Timestamp, failing: Failing) -> Self {
        let (reason, since) = (failing.reason.clone(), failing.since);
        Self::watch(source, observed_at, Event::Failing(failing), &reason, since)
    }

    /// `watch.recovered` in its envelope.
    pub fn recovered(source: &Source, observed_at: Timestamp, recovered: Recovered) -> Self {
        let (reason, since) = (recovered.reason.clone(), recovered.since);
        Self::watch(
            source,
            observed_at,
            Event::Recovered(recovered),
            &reason,
            since,
        )
    }

    fn watch(
        source: &Source,
        time: Timestamp,
        event: Event,
        reason: &str,
        since: Timestamp,
    ) -> Self {
        Self {
            id: watch_id(&source.to_string(), event.type_name(), reason, since),
            source: source.clone(),
            subject: source.instance.clone(),
            time,
            traceparent: None,
            event,
        }
    }

    /// The bytes that travel: one JSON object.
    pub fn encode(&self) -> Vec<u8> {
        let data = match &self.event {
            Event::Task { data, .. } => serde_json::to_value(data),
            Event::Swept(data) => serde_json::to_value(data),
            Event::Failing(data) => serde_json::to_value(data),
            Event::Recovered(data) => serde_json::to_value(data),
        }
        .expect("our own structs have string keys and no failing serializer");
        let wire = Wire {
            specversion: "1.0".to_owned(),
            id: self.id.0.clone(),
            source: self.source.to_string(),
            kind: self.event.type_name().to_owned(),
            subject: self.subject.clone(),
            time: self.time,
            datacontenttype: json_type(),
            traceparent: self.traceparent.map(String::from),
            data,
        };
        serde_json::to_vec(&wire).expect("a JSON value and strings always serialize")
    }

    /// The `traceparent` of an encoded event, without reading the rest.
    pub fn traceparent_of(bytes: &[u8]) -> Option<TraceParent> {
        #[derive(Deserialize)]
        struct Traced {
            traceparent: Option<TraceParent>,
        }
        let traced: Traced = serde_json::from_slice(bytes).ok()?;
        traced.traceparent
    }

    /// Reads the bytes back. Unknown attributes and fields are accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // `data` is read once, as what `type` says it is.
        let wire: Wire<&RawValue> = serde_json::from_slice(bytes)?;
        if wire.specversion != "1.0" {
            return Err(DecodeError::SpecVersion(wire.specversion));
        }
        let Some(source) = Source::parse(&wire.source) else {
            return Err(DecodeError::Source(wire.source));
        };
        Ok(Self {
            id: EventId(wire.id),
            source,
            subject: wire.subject,
            time: wire.time,
            // Another's, of a version that is not ours: the event counts, not its trace.
            traceparent: wire.traceparent.and_then(|text| text.parse().ok()),
            event: Event::decode(&wire.kind, wire.data)?,
        })
    }
}
