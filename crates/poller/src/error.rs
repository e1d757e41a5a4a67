//! How the poller can end otherwise than by being told to.

/// Why [`run`](crate::run) or [`check`](crate::check) failed. None of these is about the upstream:
/// a poll that fails is tried again for ever.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store is broken. Stop the process, start it again (exit 75): what was acknowledged is
    /// there.
    #[error("could not keep the poller's state: {0}")]
    Store(#[from] syncbell_store::Error),
    /// A row of the store is not what this version wrote. Run the version that wrote it, or set the
    /// store aside.
    #[error("could not read the row \"{key}\" of the poller's store: {what}")]
    Row {
        /// Its key, escaped.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file beside the store cannot be read or written. Correct its owner or its disk.
    #[error("could not read {path}: {source}", path = path.display())]
    Sightings {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::sync::Arc<std::io::Error>,
    },
    /// The event log is broken: it will not take records again. Stop the process.
    #[error("could not publish to the event log: {0}")]
    Bus(#[from] syncbell_bus::Error),
    /// An instance's endpoint cannot be used. Correct the configuration.
    #[error("could not prepare the client of instance {instance}: {source}")]
    Client {
        /// The instance's id.
        instance: String,
        /// What the client said.
        source: syncbell_acr::Error,
    },
    /// A loop panicked: a fault in this program. Stop the process.
    #[error("the task {task} panicked")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
}
