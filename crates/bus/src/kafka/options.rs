//! What a connection to Kafka needs to know, in the terms of an operator. [`super::client`] turns it
//! into librdkafka's properties.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

/// Where the brokers are, who we are to them, and how the topics are named. [`KafkaOptions::new`]
/// fills in what an installation without protection uses.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `HOST:PORT` of some brokers; the others are learnt from them. At least one.
    pub brokers: Vec<String>,
    /// Topics are named `{topic_prefix}.{stream}`. Default `syncbell`.
    pub topic_prefix: String,
    /// How brokers name us in their logs and quotas, and the start of the group id that lag tools
    /// show. Default `syncbell`.
    pub client_id: String,
    /// Talk TLS; `None`: in the clear.
    pub tls: Option<KafkaTls>,
    /// Say who we are; `None`: anonymous (or by certificate).
    pub sasl: Option<KafkaSasl>,
    /// Any further librdkafka property, as its CONFIGURATION.md names it. They win over ours, except
    /// [`RESERVED_PROPERTIES`].
    pub properties: BTreeMap<String, String>,
}

/// Properties that an operator may not set: the promises of the log rest on them, or a key of our own
/// says the same.
pub const RESERVED_PROPERTIES: [&str; 18] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "group.id",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "acks",
    "request.required.acks",
    "transactional.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "partitioner",
];

/// How a connection is protected.
#[derive(Clone, Debug, Default)]
pub struct KafkaTls {
    /// Certificates to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM, with `key_file`: mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// The key of `cert_file`, PEM.
    pub key_file: Option<PathBuf>,
    /// What opens `key_file`, where it is encrypted.
    pub key_password: Option<SecretString>,
}

/// Who we are, by SASL.
#[derive(Clone, Debug)]
pub enum KafkaSasl {
    /// PLAIN: the password travels as it is; only sensible over TLS.
    Plain(KafkaLogin),
    /// SCRAM-SHA-256 (RFC 5802, RFC 7677).
    ScramSha256(KafkaLogin),
    /// SCRAM-SHA-512.
    ScramSha512(KafkaLogin),
    /// OAUTHBEARER (RFC 7628): the token in this file, read again at each refresh. The token is a JWT
    /// with `exp`, and `sub` where the broker wants a principal.
    OauthBearer {
        /// The file that holds the token and nothing else.
        token_file: PathBuf,
    },
}

/// A name and its password.
#[derive(Clone, Debug)]
pub struct KafkaLogin {
    /// The user name.
    pub username: String,
    /// Its password.
    pub password: SecretString,
}

impl KafkaOptions {
    /// These brokers, in the clear, with the default names.
    pub fn new(brokers: impl IntoIterator<Item = impl Into<String>>) -> KafkaOptions {
        KafkaOptions {
            brokers: brokers.into_iter().map(Into::into).collect(),
            topic_prefix: "syncbell".to_owned(),
            client_id: "syncbell".to_owned(),
            tls: None,
            sasl: None,
            properties: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for KafkaOptions {
    /// Without the properties' values: any of them may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic_prefix", &self.topic_prefix)
            .field("client_id", &self.client_id)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .field("properties", &self.properties.keys())
            .finish()
    }
}
