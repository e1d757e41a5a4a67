#![doc = include_str!("../README.md")]

pub mod shutdown;
pub mod telemetry;
pub mod metrics;
pub mod health;
pub mod admin;
pub mod backoff;
pub mod rate;
pub mod adaptive;
pub mod crash_point;
pub mod open_files;

pub use adaptive::AdaptiveBucket;
pub use admin::Admin;
pub use backoff::Backoff;
pub use crash_point::crash_point;
pub use health::{Condition, Health};
pub use metrics::Metrics;
pub use rate::Bucket;
pub use shutdown::Shutdown;

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin address cannot be had: the operator frees it or names another.
    #[error("could not listen on {address} for the admin interface: {source}")]
    Bind {
        /// The address of the configuration.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Signals cannot be listened for.
    #[error("could not listen for signals: {0}")]
    Signals(std::io::Error),
}
