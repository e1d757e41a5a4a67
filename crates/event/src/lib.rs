#![doc = include_str!("../README.md")]

mod task;
mod id;
mod change;
mod watch;
mod trace;
mod envelope;
mod request;
mod alert;
pub mod schema;

pub use alert::{Alert, AlertData, AlertItem, AlertStatus, Replay, Severity};
pub use change::{Change, Kind};
pub use envelope::{
    BatchCounts, CONTENT_TYPE, DecodeError, Detail, Envelope, Event, Source, TaskData,
};
pub use id::{EventId, TaskId, digest_id};
pub use request::SnapshotRequest;
pub use task::{Image, Phase, Route, Status, SyncTask};
pub use trace::{NotATraceParent, TraceParent};
pub use watch::{Failing, Recovered, SweepKind, Swept};
