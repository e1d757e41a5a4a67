//! The event log on Kafka: brokers that can be called, credentials that are complete, and no property
//! that would break what the log promises.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use super::receiver::{is_host, is_loopback};
use crate::config::{Bus, Kafka, KafkaLogin, KafkaSasl, KafkaTls};
use crate::raw;
use crate::secret::{RawSecret, Secret};

const BY_BROKERS: &str = "the key `brokers` says it";
const BY_CLIENT_ID: &str = "the key `client_id` says it";
const BY_TLS_AND_SASL: &str = "the keys `tls` and `sasl` say it";
const BY_SASL: &str = "the key `sasl` says it";
const PROMISE: &str =
    "what the event log promises (nothing lost, nothing out of order) rests on it";

/// librdkafka's properties that may not be set, each with the reason.
pub const RESERVED_KAFKA_PROPERTIES: [(&str, &str); 18] = [
    ("bootstrap.servers", BY_BROKERS),
    ("metadata.broker.list", BY_BROKERS),
    ("client.id", BY_CLIENT_ID),
    ("group.id", PROMISE),
    ("security.protocol", BY_TLS_AND_SASL),
    ("sasl.mechanism", BY_SASL),
    ("sasl.mechanisms", BY_SASL),
    ("sasl.username", BY_SASL),
    ("sasl.password", BY_SASL),
    ("enable.idempotence", PROMISE),
    ("enable.gapless.guarantee", PROMISE),
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("transactional.id", PROMISE),
    ("enable.auto.commit", PROMISE),
    ("enable.auto.offset.store", PROMISE),
    ("auto.offset.reset", PROMISE),
    ("partitioner", PROMISE),
];

/// Kafka's limit for a topic's name is 249; the stream's name follows the prefix.
const PREFIX_LIMIT: usize = 200;

/// A client id goes into every request.
const CLIENT_ID_LIMIT: usize = 200;

/// The kinds of `sasl`.
const KINDS: &str = "`plain`, `scram_sha_256`, `scram_sha_512` or `oauth_bearer`";

impl Checker<'_> {
    pub(super) fn bus(&mut self, raw: Option<Spanned<raw::Bus>>) -> Bus {
        let Some(raw) = raw else { return Bus::Embedded };
        match (raw.value.embedded, raw.value.kafka) {
            (Some(_), None) => Bus::Embedded,
            (None, Some(kafka)) => self
                .kafka(kafka)
                .map_or(Bus::Embedded, |kafka| Bus::Kafka(Box::new(kafka))),
            (found, _) => {
                let message = if found.is_some() {
                    "`bus` has embedded and kafka: expected exactly one kind"
                } else {
                    "`bus`: expected `{embedded: {}}` or `{kafka: {brokers: [HOST:PORT]}}`"
                };
                self.error(raw.referenced, message);
                Bus::Embedded
            }
        }
    }

    /// None only where a problem was told.
    fn kafka(&mut self, raw: Spanned<raw::Kafka>) -> Option<Kafka> {
        let at = raw.referenced;
        let raw = raw.value;
        let brokers = self.brokers(raw.brokers, at);
        let topic_prefix = raw.topic_prefix.map_or_else(
            || Some("syncbell".to_owned()),
            |prefix| self.topic_prefix(prefix),
        );
        let client_id = raw.client_id.map(|id| self.client_id(id));
        let tls = raw.tls.map(|tls| self.kafka_tls(tls));
        let has_tls = tls.is_some();
        let sasl = raw.sasl.map(|sasl| {
            let at = sasl.referenced;
            let sasl = self.kafka_sasl(sasl);
            if let Some(sasl) = &sasl
                && !has_tls
                && !brokers.iter().all(|broker| is_loopback(host_of(broker)))
            {
                self.warn(at, in_the_clear(sasl));
            }
            sasl
        });
        let properties = raw.properties.map_or_else(BTreeMap::new, |raw| {
            self.properties(raw, has_tls, sasl.is_some())
        });
        Some(Kafka {
            brokers,
            topic_prefix: topic_prefix?,
            client_id,
            tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
            sasl: sasl.map_or(Some(None), |sasl| sasl.map(Some))?,
            properties,
        })
    }

    fn brokers(&mut self, raw: Option<Spanned<Vec<Spanned<String>>>>, at: Location) -> Vec<String> {
        let mut brokers = Vec::new();
        let Some(raw) = raw else {
            self.error(at, "the key `brokers` is missing here");
            return brokers;
        };
        if raw.value.is_empty() {
            self.error(
                raw.referenced,
                "`brokers` is empty: expected at least one `HOST:PORT`",
            );
        }
        for broker in raw.value {
            let text = broker.value.trim();
            if let Err(message) = check_broker(text) {
                self.error(broker.referenced, format!("`brokers`: {message}"));
            } else if !brokers.iter().any(|known| known == text) {
                brokers.push(text.to_owned());
            }
        }
        brokers
    }

    fn topic_prefix(&mut self, raw: Spanned<String>) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let prefix = raw.value;
        if (1..=PREFIX_LIMIT).contains(&prefix.len()) && prefix.chars().all(fits) {
            return Some(prefix);
        }
        self.error(
            raw.referenced,
            "`topic_prefix`: expected 1 to 200 of the characters `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`",
        );
        None
    }

    fn client_id(&mut self, raw: Spanned<String>) -> String {
        let id = &raw.value;
        if id.trim().is_empty() || id.len() > CLIENT_ID_LIMIT || id.chars().any(char::is_control) {
            let message = "`client_id`: expected a text of 1 to 200 characters";
            self.error(raw.referenced, message);
        }
        raw.value
    }

    /// A key that stands there without a value.
    fn empty(&mut self, key: &str, at: Location, hint: &str) {
        let message = format!("`{key}` is empty: {hint}");
        self.problems
            .push(self.source.problem_at_key(key, at, message));
    }

    /// None where a problem was told.
    fn kafka_tls(&mut self, raw: Spanned<Option<raw::KafkaTls>>) -> Option<KafkaTls> {
        let at = raw.referenced;
        let Some(raw) = raw.value else {
            self.empty("tls", at, "`{}` is TLS with the system's certificates");
            return None;
        };
        if raw.cert_file.is_some() != raw.key_file.is_some() {
            self.error(at, "`cert_file` and `key_file` belong together");
        }
        if let (Some(password), None) = (&raw.key_password, &raw.key_file) {
            let message = "`key_password` opens a `key_file`, and there is none";
            self.error(password.referenced, message);
        }
        let key_file = raw.key_file.and_then(|key| {
            let (path, pem) =
                self.pem_file("key_file", "PRIVATE KEY-----", "a private key", &key)?;
            if pem.contains("ENCRYPTED") && raw.key_password.is_none() {
                let message = "`key_file` is encrypted: the key `key_password` is missing";
                self.error(key.referenced, message);
            }
            Some(path)
        });
        Some(KafkaTls {
            ca_file: self.certificates("ca_file", raw.ca_file),
            cert_file: self.certificates("cert_file", raw.cert_file),
            key_file,
            key_password: raw.key_password.and_then(|password| {
                self.secret("key_password", &password.value, password.referenced)
            }),
        })
    }

    /// None where a problem was told.
    fn kafka_sasl(&mut self, raw: Spanned<Option<raw::KafkaSasl>>) -> Option<KafkaSasl> {
        let at = raw.referenced;
        let Some(raw) = raw.value else {
            self.empty("sasl", at, &format!("expected {KINDS}"));
            return None;
        };
        let kinds = [
            ("plain", raw.plain.is_some()),
            ("scram_sha_256", raw.scram_sha_256.is_some()),
            ("scram_sha_512", raw.scram_sha_512.is_some()),
            ("oauth_bearer", raw.oauth_bearer.is_some()),
        ];
        let found = kinds.iter().filter(|(_, found)| *found);
        let found: Vec<&str> = found.map(|(kind, _)| *kind).collect();
        if found.len() != 1 {
            let message = if found.is_empty() {
                format!("`sasl`: expected {KINDS}")
            } else {
                let found = found.join(" and ");
                format!("`sasl` has {found}: expected exactly one kind")
            };
            self.error(at, message);
            return None;
        }
        if let Some(login) = raw.plain {
            self.login(login).map(KafkaSasl::Plain)
        } else if let Some(login) = raw.scram_sha_256 {
            self.login(login).map(KafkaSasl::ScramSha256)
        } else if let Some(login) = raw.scram_sha_512 {
            self.login(login).map(KafkaSasl::ScramSha512)
        } else {
            let token_file = self.token_file(raw.oauth_bearer?)?;
            Some(KafkaSasl::OauthBearer { token_file })
        }
    }

    fn login(&mut self, raw: Spanned<raw::KafkaLogin>) -> Option<KafkaLogin> {
        let at = raw.referenced;
        let username = self.required("username", raw.value.username, at);
        let password = if let Some(password) = raw.value.password {
            self.secret("password", &password.value, password.referenced)
        } else {
            self.error(at, "the key `password` is missing here");
            None
        };
        Some(KafkaLogin {
            username: username?.value,
            password: password?,
        })
    }

    fn token_file(&mut self, raw: Spanned<raw::KafkaOauthBearer>) -> Option<PathBuf> {
        let at = raw.referenced;
        let file = self.required("token_file", raw.value.token_file, at)?;
        self.token_in(&file)
    }

    fn properties(
        &mut self,
        raw: raw::KafkaProperties,
        has_tls: bool,
        has_sasl: bool,
    ) -> BTreeMap<String, Secret<String>> {
        let mut properties = BTreeMap::new();
        for (name, value) in raw.0 {
            let at = name.referenced;
            let name = name.value;
            let reserved = RESERVED_KAFKA_PROPERTIES
                .iter()
                .find(|(reserved, _)| *reserved == name);
            if let Some((_, why)) = reserved {
                self.error(at, format!("`{name}` may not be set: {why}"));
                continue;
            }
            for (prefix, key, there) in [("ssl.", "tls", has_tls), ("sasl.", "sasl", has_sasl)] {
                if name.starts_with(prefix) && !there {
                    self.warn(at, format!("`{name}` does nothing without the key `{key}`"));
                }
            }
            let place = value.referenced;
            let value = match value.value.0 {
                // Most are no secrets, and an empty text is a value like any other.
                RawSecret::Literal(text) if !is_secret_property(&name) => Some(text),
                secret => self.secret(&name, &secret, place),
            };
            properties.extend(value.map(|value| (name, value)));
        }
        properties
    }
}

/// Properties whose value must not stand in a file that many read.
fn is_secret_property(name: &str) -> bool {
    let words = ["password", "passphrase", "secret"];
    words.iter().any(|word| name.contains(word)) || name.ends_with("key.pem")
}

/// What travels without protection, and what may become of it.
fn in_the_clear(sasl: &KafkaSasl) -> &'static str {
    match sasl {
        KafkaSasl::Plain(_) => "`plain` without the key `tls`: the password travels in the clear",
        KafkaSasl::ScramSha256(_) | KafkaSasl::ScramSha512(_) => {
            "SCRAM without the key `tls`: who listens can read every event, and guess at the password"
        }
        KafkaSasl::OauthBearer { .. } => {
            "`oauth_bearer` without the key `tls`: the token travels in the clear"
        }
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn check_broker(broker: &str) -> Result<(), &'static str> {
    if broker.contains("://") {
        return Err("expected `HOST:PORT` without a protocol: the keys `tls` and `sasl` say it");
    }
    if broker.contains(',') {
        return Err("expected one `HOST:PORT` an item of the list");
    }
    let (_, port) = broker
        .rsplit_once(':')
        .ok_or("expected `HOST:PORT`: the port is missing")?;
    let host = host_of(broker);
    let is_bracketed = broker.starts_with('[') && host.parse::<Ipv6Addr>().is_ok();
    if (host.contains(':') || broker.starts_with('[')) && !is_bracketed {
        return Err("expected `HOST:PORT`: an IPv6 address stands in brackets, `[::1]:9092`");
    }
    if !is_bracketed && !is_host(host) {
        return Err("expected `HOST:PORT` with a host name or an IP address");
    }
    let is_port =
        port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port {
        Ok(())
    } else {
        Err("expected `HOST:PORT` with a port from 1 to 65535")
    }
}

/// The host of `HOST:PORT`, without brackets.
fn host_of(broker: &str) -> &str {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bracketed.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_as_people_write_them() {
        for fine in [
            "kafka:9092",
            "b-1.example.com:9096",
            "127.0.0.1:1",
            "[::1]:9092",
            "[2001:db8::1]:65535",
            "my_broker:9092",
        ] {
            assert_eq!(check_broker(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "kafka",
            "kafka:",
            "kafka:0",
            "kafka:65536",
            "kafka:+1",
            ":9092",
            "::1:9092",
            "[::1]",
            "[kafka]:9092",
            "SASL_SSL://kafka:9092",
            "a:1,b:2",
            "ka fka:9092",
        ] {
            assert!(check_broker(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_all_brokers_on_this_machine_are_loopback() {
        for (broker, loopback) in [
            ("localhost:1", true),
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("kafka:1", false),
        ] {
            assert_eq!(is_loopback(host_of(broker)), loopback, "{broker}");
        }
    }
}
