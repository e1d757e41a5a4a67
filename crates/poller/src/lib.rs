#![doc = include_str!("../README.md")]

mod run;
mod instance;
mod poll;
mod budget;
mod upstream;
mod sweep;
mod admit;
mod baseline;
mod diff;
mod row;
mod state;
mod outbox;
mod publish;
mod requests;
mod snapshot;
mod watch;
mod metrics;
mod status;
mod error;
#[doc(hidden)]
pub mod measure;

pub use error::Error;
pub use run::{Parts, check, credentials_from, credentials_from_environment, open_store, run};
pub use status::{Status, api};
pub use syncbell_acr::CredentialsProvider;
