#![doc = include_str!("../README.md")]

mod server;
mod connection;
mod control;
mod action;
mod rpc;
mod verify;
mod nonces;
mod identity;
mod list;
mod answer;
mod fault;
mod calls;
mod quota;
mod task;
mod bulk;
mod ordered;
mod tasks;
mod instance;
mod sync_rule;
mod world;
mod script;
mod timeline;
mod generator;
mod ledger;
mod compare;
pub mod mailbox;
pub mod receiver;
pub mod standard_webhooks;

use std::io;
use std::net::SocketAddr;

pub use action::Action;
pub use bulk::StaticLoad;
pub use calls::{CallRecord, busiest_second, inside_pauses};
pub use compare::{Comparison, Got, compare};
pub use fault::{
    ErrorFault, ErrorShape, Extent, Fault, KnownError, ResetIn, Target, Throttling, TotalCount,
    known_errors,
};
pub use generator::{Generator, Load, Running};
pub use identity::{Identity, Issued};
pub use instance::NewInstance;
pub use ledger::{Ledger, Rule, Told};
pub use quota::Quota;
pub use script::{
    Act, DEMO_FAILED, DEMO_FAILED_AGAIN, DEMO_HEALTHY, DEMO_ISSUE, DEMO_RECOVERY, DEMO_SILENCED,
    DEMO_SILENCED_NAMESPACE, Script, Step,
};
pub use server::{Handle, Instance, Options, Simulator};
pub use sync_rule::{NewRule, RuleEnd};
pub use task::{
    DEMO_INSTANCE, DEMO_REGION, DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION, Layer, ModifiedTime,
    NewTask, Progress,
};
pub use tasks::Order;
pub use timeline::{Problem, Problems, Repeat, Timeline};
pub use world::{Counts, Note, World};

/// What can go wrong with the simulator itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had: give another one.
    #[error("could not listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The caller's mistake.
    #[error("could not change task {task_id}: there is none of that id")]
    NoSuchTask {
        /// Which.
        task_id: String,
    },
    /// The caller's mistake.
    #[error("could not make a static load of more than {most} tasks")]
    LoadTooLarge {
        /// The largest that is made.
        most: u64,
    },
    /// Wait until some are over, or clear them.
    #[error("could not add a fault: too many are switched on")]
    TooManyFaults,
}
