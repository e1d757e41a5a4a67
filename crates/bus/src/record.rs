//! What travels: records, and the three streams they travel in. Bytes in, bytes out: nothing here
//! knows what a record says.

use std::fmt;

use crate::Position;

/// The most one record may take, in bytes: key, value, headers, and what the log
/// adds to them ([`Record::size_bytes`]).
/// The same as Kafka's default `message.max.bytes`, so that a log can change its backend.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// What the log adds to a record besides its headers: version, time, and three lengths.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 1 + 8 + 4 + 4 + 4;

/// What the log adds to one header: two lengths.
const HEADER_OVERHEAD_BYTES: usize = 4 + 4;

/// One of the three logs of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Events about sync tasks, from the poller to the notifier.
    Changes,
    /// What could not be delivered or understood. Has no consumer that must have read it.
    DeadLetters,
    /// What the notifier asks of the poller.
    Requests,
}

impl Stream {
    /// All streams, in the order of their index.
    pub const ALL: [Stream; 3] = [Stream::Changes, Stream::DeadLetters, Stream::Requests];

    /// The name of its folder, and of its topic behind the prefix.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Changes => "changes",
            Stream::DeadLetters => "dead-letters",
            Stream::Requests => "requests",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Stream::Changes => 0,
            Stream::DeadLetters => 1,
            Stream::Requests => 2,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record, as it is appended and as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Records of one key stay in order. May be empty.
    pub key: Vec<u8>,
    /// The payload.
    pub value: Vec<u8>,
    /// Names and values, in order; a name may come more than once.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// A record without headers.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Record {
        Record {
            key: key.into(),
            value: value.into(),
            headers: Vec::new(),
        }
    }

    /// What this record takes in the log, in bytes; at most [`MAX_RECORD_BYTES`] is accepted.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| HEADER_OVERHEAD_BYTES + name.len() + value.len())
            .sum();
        RECORD_OVERHEAD_BYTES + self.key.len() + self.value.len() + headers
    }
}

/// A record with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where the record stands.
    pub position: Position,
    /// The record.
    pub record: Record,
    /// When it was put there, in ms since 1970, by the clock of the log; none where the log does not say.
    pub appended_at_ms: Option<i64>,
}
