//! The log on Apache Kafka, for poller and notifier in two processes or on two machines.

mod options;

pub use self::options::{KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls, RESERVED_PROPERTIES};
