#![doc = include_str!("../README.md")]

mod run;
mod begin;
mod reader;
mod consume;
mod setup;
mod decide;
mod watch;
mod judge;
mod notify;
mod group;
mod route;
mod ledger;
mod draft;
mod rows;
mod delivery;
mod render;
mod deliver;
mod outcome;
mod dead_letters;
mod lag;
pub mod tail;
mod api;
mod status;
mod metrics;
mod error;

pub use api::{DeliveryRow, IncidentRow, api, dead_letters_of};
pub use begin::LedgerLost;
pub use error::Error;
pub use ledger::DeadLetter;
pub use run::{Handle, Notifier, Parts, check, open, open_bus, open_store};
pub use status::{LogStatus, NotifierStatus, PartitionStatus, PendingStatus, StoreSize};

// The command line opens the log and passes stores on without naming their crates.

pub use syncbell_bus::{
    BrokerStatistics, Bus, ClientStatistics, KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls,
    RESERVED_PROPERTIES, SecretString,
};
pub use syncbell_store::{Error as StoreError, Size as StoreFigures, Store};
