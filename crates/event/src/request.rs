//! What the notifier asks of the poller, on the stream `requests`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::{DecodeError, Wire};
use crate::{EventId, digest_id};

const TYPE: &str = "dev.syncbell.request.snapshot.v1";

const SOURCE: &str = "/notifier";

/// "Tell me how everything stands": the event log was not the one that was read, so changes may be
/// missing from it. A CloudEvent of type `dev.syncbell.request.snapshot.v1`.
///
/// The poller answers after its next complete sweep with snapshots that carry `detail.requested`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// 32 hex. The same request may be read twice.
    pub id: EventId,
    /// Why, for people.
    pub reason: String,
    /// Changes before this were read: only tasks modified since, and those open or bad, are wanted.
    pub since: Timestamp,
    /// The asker knows nothing: what was so before `since`, or before the poller's baseline, is only for
    /// it to know, not to be told.
    pub fresh: bool,
    /// When it was asked.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Data {
    reason: String,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fresh: bool,
}

impl SnapshotRequest {
    /// A request made `at`.
    pub fn new(reason: impl Into<String>, since: Timestamp, at: Timestamp) -> Self {
        let reason = reason.into();
        let (since_text, at_text) = (since.to_string(), at.to_string());
        let parts = [TYPE, &reason, &since_text, &at_text];
        Self {
            id: EventId(digest_id(parts.map(Some))),
            reason,
            since,
            fresh: false,
            at,
        }
    }

    /// A request of an asker that knows nothing.
    #[must_use]
    pub fn fresh(self) -> Self {
        Self {
            fresh: true,
            ..self
        }
    }

    /// The bytes that travel: one JSON object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            specversion: "1.0".to_owned(),
            id: self.id.0.clone(),
            source: SOURCE.to_owned(),
            kind: TYPE.to_owned(),
            subject: "snapshot".to_owned(),
            time: self.at,
            datacontenttype: "application/json".to_owned(),
            traceparent: None,
            data: Data {
                reason: self.reason.clone(),
                since: self.since,
                fresh: self.fresh,
            },
        };
        serde_json::to_vec(&wire).expect("strings and times always serialize")
    }

    /// Reads the bytes back. Unknown attributes and fields are accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire: Wire<Data> = serde_json::from_slice(bytes)?;
        if wire.kind != TYPE {
            return Err(DecodeError::Type(wire.kind));
        }
        Ok(Self {
            id: EventId(wire.id),
            reason: wire.data.reason,
            since: wire.data.since,
            fresh: wire.data.fresh,
            at: wire.time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = "2026-01-02T04:00:00Z".parse().unwrap();
        let request = SnapshotRequest::new("it ends before", since, at);
        assert_eq!(SnapshotRequest::decode(&request.encode()).unwrap(), request);
        let fresh = request.clone().fresh();
        assert_eq!(SnapshotRequest::decode(&fresh.encode()).unwrap(), fresh);
        assert_ne!(fresh, request);
        assert_eq!(request.id.0.len(), 32);
        let other = String::from_utf8(request.encode())
            .unwrap()
            .replace("snapshot.v1", "x.v1");
        assert!(SnapshotRequest::decode(other.as_bytes()).is_err());
    }
}
