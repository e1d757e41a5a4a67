#![doc = include_str!("../README.md")]

mod run;
mod begin;
mod reader;
mod consume;
mod done;
mod setup;
mod decide;
mod watch;
mod judge;
mod hold;
mod held;
mod sources;
mod silence;
mod silences;
mod trail;
mod tell;
mod notify;
mod group;
mod label;
mod route;
mod ledger;
mod standing;
mod draft;
mod numbers;
mod mirror;
mod read_ids;
mod compact;
mod retention;
mod rows;
mod delivery;
mod render;
mod deliver;
mod outcome;
mod dead_letters;
mod replay;
mod trial;
mod rehearsal;
mod receivers;
mod fallback;
mod watchdog;
mod heartbeat;
mod lag;
pub mod tail;
mod api;
mod incidents;
mod explain;
mod status;
mod metrics;
mod error;

pub use api::{DeliveryRow, IncidentRow, api};
pub use begin::LedgerLost;
pub use dead_letters::{
    DeadLetter, DeathClass, LETTERS_LIMIT, LetterBox, LetterKind, LetterReplay, LetterRow,
    LettersReplayed, LettersWanted, Origin, ReplayWanted, Replayed,
};
pub use delivery::{DeliveryId, Target};
pub use error::Error;
pub use hold::HeldLine;
pub use incidents::IncidentClosed;
pub use receivers::ReceiverRow;
pub use rehearsal::{Rehearsed, rehearse, sample_names};
pub use replay::{
    BEFORE as REPLAY_BEFORE, EventsReplay, EventsReplayed, Notification, Replayer, replay_log,
};
pub use run::{Handle, Notifier, Parts, check, open, open_bus, open_store};
pub use silence::{SILENCES_LIMIT, Silence};
pub use silences::{SilenceRow, SilenceWanted, unknown_rules};
pub use status::{LogStatus, NotifierStatus, PartitionStatus, PendingStatus};
pub use trial::{ToldBy, Trial, Tried, Verdict};

// The command line opens the log and passes stores on without naming their crates.

pub use syncbell_bus::{
    BrokerStatistics, Bus, ClientStatistics, KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls,
    RESERVED_PROPERTIES, SecretString,
};
pub use syncbell_store::{Error as StoreError, Size as StoreFigures, Store};
