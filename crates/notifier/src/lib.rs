#![doc = include_str!("../README.md")]

mod run;
mod consume;
mod decide;
mod notify;
mod group;
mod route;
mod ledger;
mod rows;
mod delivery;
mod render;
mod deliver;
mod outcome;
mod api;
mod metrics;
mod error;

pub use api::{DeliveryRow, IncidentRow, api};
pub use error::Error;
pub use ledger::DeadLetter;
pub use run::{Handle, Notifier, Parts, check, open_bus, open_store};

// Handed out by `open_bus` and `open_store`: the command line passes them on without naming their crates.
pub use syncbell_bus::Bus;
pub use syncbell_store::Store;
