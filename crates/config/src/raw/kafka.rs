//! The shape of `bus.kafka`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::Text;
use crate::secret::{RawSecret, Secret};

/// Topics of an Apache Kafka cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    /// `HOST:PORT` of some brokers; the others are learnt from them.
    #[schemars(with = "Vec<String>")]
    pub(crate) brokers: Option<Spanned<Vec<Spanned<String>>>>,
    /// Topics are named `{topic_prefix}.changes` and so on. Default `syncbell`.
    #[schemars(with = "Option<String>", extend("pattern" = "^[a-zA-Z0-9._-]{1,200}$"))]
    pub(crate) topic_prefix: Text,
    /// How brokers name this process in logs and quotas. Default: `syncbell` of `run`, else
    /// `syncbell-poller` and `syncbell-notifier`.
    #[schemars(with = "Option<String>")]
    pub(crate) client_id: Text,
    /// Talk TLS; `{}` trusts the system's certificates. Default: in the clear.
    #[schemars(with = "KafkaTls")]
    #[serde(default, deserialize_with = "even_if_empty")]
    pub(crate) tls: Option<Spanned<Option<KafkaTls>>>,
    /// Say who this is. Default: nobody, or the certificate's subject.
    #[schemars(with = "KafkaSasl")]
    #[serde(default, deserialize_with = "even_if_empty")]
    pub(crate) sasl: Option<Spanned<Option<KafkaSasl>>>,
    /// Any further property of librdkafka, by the name in its CONFIGURATION.md. They win over what
    /// Syncbell sets; those that its promises rest on are refused.
    #[schemars(with = "Option<std::collections::BTreeMap<String, RawProperty>>")]
    pub(crate) properties: Option<KafkaProperties>,
}

/// A key without a value is not the same as no key: behind a bare `tls:` nothing must go in the clear.
fn even_if_empty<'de, T, D>(deserializer: D) -> Result<Option<Spanned<Option<T>>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Spanned::deserialize(deserializer).map(Some)
}

/// How connections are protected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaTls {
    /// Certificates to trust instead of the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Our own certificate, PEM, together with `key_file`: mutual TLS.
    #[schemars(with = "Option<String>")]
    pub(crate) cert_file: Text,
    /// The private key of `cert_file`, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) key_file: Text,
    /// What opens `key_file`, if it is encrypted.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) key_password: Option<Spanned<RawSecret>>,
}

/// Exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaSasl {
    /// SASL/PLAIN: the password travels as it is, so only over TLS.
    #[schemars(with = "Option<KafkaLogin>")]
    pub(crate) plain: Option<Spanned<KafkaLogin>>,
    /// SCRAM-SHA-256.
    #[schemars(with = "Option<KafkaLogin>")]
    pub(crate) scram_sha_256: Option<Spanned<KafkaLogin>>,
    /// SCRAM-SHA-512.
    #[schemars(with = "Option<KafkaLogin>")]
    pub(crate) scram_sha_512: Option<Spanned<KafkaLogin>>,
    /// OAUTHBEARER, with a token that something else keeps fresh in a file.
    #[schemars(with = "Option<KafkaOauthBearer>")]
    pub(crate) oauth_bearer: Option<Spanned<KafkaOauthBearer>>,
}

/// A name and its password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaLogin {
    /// The user name.
    #[schemars(with = "String")]
    pub(crate) username: Text,
    /// Its password.
    #[schemars(with = "RawSecret")]
    pub(crate) password: Option<Spanned<RawSecret>>,
}

/// A token in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaOauthBearer {
    /// Holds the token (a JWT) and nothing else; read again at each refresh.
    #[schemars(with = "String")]
    pub(crate) token_file: Text,
}

/// librdkafka's own properties, in the order of the file.
#[derive(Debug)]
pub(crate) struct KafkaProperties(pub(crate) Vec<(Spanned<String>, Spanned<RawProperty>)>);

impl<'de> Deserialize<'de> for KafkaProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = KafkaProperties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping: `property: value`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut properties = Vec::new();
                while let Some(property) = map.next_entry()? {
                    properties.push(property);
                }
                Ok(KafkaProperties(properties))
            }
        }

        deserializer.deserialize_map(Seen)
    }
}

/// A property's value: librdkafka takes text, which may be written as a number or `true`, and may be
/// a secret from elsewhere.
#[derive(Debug)]
pub(crate) struct RawProperty(pub(crate) RawSecret);

impl RawProperty {
    fn literal(value: impl Into<String>) -> Self {
        Self(RawSecret::Literal(Secret::new(value.into())))
    }
}

impl<'de> Deserialize<'de> for RawProperty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = RawProperty;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, `true` or `false`, `{env: NAME}` or `{file: PATH}`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawProperty, E> {
                Ok(RawProperty::literal(text))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawProperty, E> {
                Ok(RawProperty::literal(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawProperty, E> {
                Ok(RawProperty::literal(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawProperty, E> {
                Ok(RawProperty::literal(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawProperty, E> {
                Ok(RawProperty::literal(value.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawProperty, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                RawSecret::deserialize(map).map(RawProperty)
            }
        }

        deserializer.deserialize_any(Seen)
    }
}

impl JsonSchema for RawProperty {
    fn schema_name() -> Cow<'static, str> {
        "KafkaProperty".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<RawSecret>();
        json_schema!({
            "description": "A value as librdkafka takes it; a secret as `{env: NAME}` or \
                            `{file: PATH}`.",
            "anyOf": [secret, { "type": ["string", "number", "boolean"] }]
        })
    }
}
