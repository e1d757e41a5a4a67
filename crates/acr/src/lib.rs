#![doc = include_str!("../README.md")]

pub mod sign;
mod transport;
mod credentials;
mod operation;
mod request;
mod client;
mod asked;
mod head;
mod fields;
mod signature;
mod fault;
mod page;
mod decode;
mod envelope;
mod task_report;
mod instances;
mod sync_rules;
mod error;
#[doc(hidden)]
pub mod measure;

pub use client::{Client, ClientOptions, Gate};
pub use credentials::{
    BoxFuture, Credentials, CredentialsProvider, Environment, Limits, Role, Static, Surroundings,
    sts_endpoint,
};
pub use decode::Refused;
pub use error::{Error, Retry};
pub use instances::{InstanceInfo, InstancePage, ListInstance};
pub use operation::Operation;
pub use page::{Page, Row};
pub use request::ListRepoSyncTask;
pub use signature::Mismatch;
pub use sync_rules::{ListRepoSyncRule, SyncRule, SyncRulePage};
pub use task_report::{LayerTask, TaskReport};
