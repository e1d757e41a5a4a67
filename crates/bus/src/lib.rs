#![doc = include_str!("../README.md")]

mod record;
mod position;
mod error;
mod publisher;
mod subscriber;
mod embedded;
mod kafka;
mod bus;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use bus::{Bus, StartAt};
pub use embedded::EmbeddedOptions;
pub use error::{Error, Retry};
pub use kafka::{
    BrokerStatistics, ClientStatistics, KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls,
    RESERVED_PROPERTIES,
};
pub use position::{Bounds, Next, Position};
pub use publisher::Publisher;
pub use record::{MAX_RECORD_BYTES, Read, Record, Stream};
/// What passwords in [`KafkaOptions`] are: never shown by `Debug`.
pub use secrecy::SecretString;
pub use subscriber::Subscriber;

/// A boxed future that can move between threads: what the traits of this crate return, so that
/// they can be used as trait objects.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
