//! The event log on Apache Kafka, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Secret;

/// Topics of an Apache Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `HOST:PORT`, an IPv6 address in brackets; at least one.
    pub brokers: Vec<String>,
    /// Topics are named `{topic_prefix}.{stream}`.
    pub topic_prefix: String,
    /// How brokers name the process; each service has a default of its own.
    pub client_id: Option<String>,
    /// Talk TLS; none: in the clear.
    pub tls: Option<KafkaTls>,
    /// Say who this is; none: nobody, or the certificate's subject.
    pub sasl: Option<KafkaSasl>,
    /// Further librdkafka properties, none of [`RESERVED_KAFKA_PROPERTIES`](crate::RESERVED_KAFKA_PROPERTIES).
    /// Any of them may be a secret.
    pub properties: BTreeMap<String, Secret<String>>,
}

/// How connections to brokers are protected. All files were readable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Certificates to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM; together with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The key of `cert_file`, PEM.
    pub key_file: Option<PathBuf>,
    /// What opens `key_file`, where it is encrypted.
    pub key_password: Option<Secret<String>>,
}

/// Who this is to the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaSasl {
    /// PLAIN.
    Plain(KafkaLogin),
    /// SCRAM-SHA-256.
    ScramSha256(KafkaLogin),
    /// SCRAM-SHA-512.
    ScramSha512(KafkaLogin),
    /// OAUTHBEARER.
    OauthBearer {
        /// Holds the token and nothing else; something else keeps it fresh.
        token_file: PathBuf,
    },
}

/// A name and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// The user name.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
}
