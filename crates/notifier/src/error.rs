//! What stops a notifier. Failures of receivers never do.

/// Why the notifier cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A receiver's settings do not work: the operator changes them.
    #[error("could not set up a receiver: {what}")]
    Setup {
        /// What does not work.
        what: String,
    },
    /// What was asked for is not to be had: whoever asked asks for something else.
    #[error("{what}")]
    Refused {
        /// Why not.
        what: String,
    },
    /// A template does not compile, or does not render: the operator changes it.
    #[error("the templates do not work:\n{0}")]
    Templates(syncbell_config::Problems),
    /// The ledger is broken: the process stops.
    #[error("the ledger failed: {0}")]
    Ledger(#[from] syncbell_store::Error),
    /// A loop panicked: a fault in this program. Stop the process.
    #[error("a loop of the notifier panicked")]
    Panicked,
    /// The event log is broken: the process stops.
    #[error("the event log failed: {0}")]
    Bus(#[from] syncbell_bus::Error),
}
