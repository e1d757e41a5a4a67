#![doc = include_str!("../README.md")]

mod run;
mod fleet;
mod accounts;
mod discovery;
mod instance;
mod schedule;
mod pace;
mod poll;
mod sweeping;
mod upstream;
mod budget;
mod head;
mod plan;
mod sweep;
mod order;
mod intake;
mod admit;
mod sightings;
mod baseline;
mod diff;
mod enrich;
mod row;
mod index;
mod state;
mod outbox;
mod publish;
mod requests;
mod snapshot;
mod watch;
mod blind;
mod failure;
mod metrics;
mod status;
mod known;
mod live;
mod error;
#[doc(hidden)]
pub mod measure;

pub use error::Error;
pub use known::{KnownTask, KnownTasks, TasksAsked, TasksError, known_tasks};
pub use live::{LiveCause, LiveError, LivePage, live};
pub use run::{Opened, Parts, check, credentials_from, default_credentials, open, open_store, run};
pub use sightings::Sightings;
pub use status::{PollerStatus, Status, api, status_of};
pub use syncbell_acr::{CredentialsProvider, Surroundings};
