#![doc = include_str!("../README.md")]

mod server;
mod connection;
mod control;
mod rpc;
mod verify;
mod nonces;
mod list;
mod answer;
mod fault;
mod task;
mod world;
mod script;
mod generator;
mod ledger;
mod compare;
pub mod receiver;
pub mod standard_webhooks;

use std::io;
use std::net::SocketAddr;

pub use compare::{Comparison, Got, compare};
pub use fault::{Extent, Fault};
pub use generator::{Generator, Load, Running};
pub use ledger::{Ledger, Rule, Told};
pub use script::{
    Act, DEMO_FAILED, DEMO_FAILED_AGAIN, DEMO_HEALTHY, DEMO_ISSUE, DEMO_RECOVERY, Script, Step,
};
pub use server::{Handle, Instance, Options, Simulator};
pub use task::{
    DEMO_INSTANCE, DEMO_REGION, DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION, ModifiedTime, NewTask,
};
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
    /// Wait until some are over, or clear them.
    #[error("could not add a fault: too many are switched on")]
    TooManyFaults,
}
