//! Options → librdkafka's properties. What each value is for, and what was measured, stands in
//! librdkafka's CONFIGURATION.md and beside the value here.

use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::ExposeSecret as _;

use super::options::{KafkaLogin, KafkaOptions, KafkaSasl, RESERVED_PROPERTIES};
use crate::{Error, Stream};

/// How long a record may wait for its acknowledgement before the append fails. librdkafka itself
/// repeats until then, in order and without doubles, which nobody else can do as well.
const DELIVERY_TIMEOUT_MS: &str = "120000";

/// The longest pause between tries to connect. The default of 10 s would be added to each outage.
const RECONNECT_MAX_MS: &str = "2000";

/// How often statistics come.
const STATISTICS_EVERY_MS: &str = "15000";

/// The group id under which a reader's position is shown to lag tools.
pub(super) fn group_id(options: &KafkaOptions, stream: Stream) -> String {
    let reader = match stream {
        Stream::Changes => "notifier",
        Stream::Requests => "poller",
        Stream::DeadLetters => "dead-letters",
    };
    format!("{}.{reader}", options.topic_prefix)
}

/// For the one producer: idempotent, in order, acknowledged by all in-sync replicas.
pub(super) fn producer(options: &KafkaOptions) -> Result<ClientConfig, Error> {
    let mut config = base(options)?;
    apply(&mut config, options, &PRODUCER_ONLY, |config| {
        config
            // The outbox is the buffer, not memory.
            .set("queue.buffering.max.messages", "10000")
            .set("queue.buffering.max.kbytes", "65536")
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT_MS)
            // librdkafka batches by itself under load; 5 ms more bring nothing at our rates.
            .set("linger.ms", "0")
            .set("compression.type", "lz4")
            // Acknowledged is written; and where one record fails for good, none behind it is written.
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            // As Java clients do, so that other tools find a key's partition.
            .set("partitioner", "murmur2_random");
    });
    Ok(config)
}

/// For a reader of `stream`. Reading one record by itself needs a group too, though nobody joins it.
pub(super) fn consumer(options: &KafkaOptions, stream: Stream) -> Result<ClientConfig, Error> {
    let mut config = base(options)?;
    apply(&mut config, options, &CONSUMER_ONLY, |config| {
        config
            // The position is a row of the reader's ledger; a lost range must be noticed.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "16384")
            // Waits for new records on the broker; an answer comes at once when there are some.
            .set("fetch.wait.max.ms", "500")
            .set("fetch.error.backoff.ms", "100")
            // How long it does not fetch once more than that waits: a second by default, in which all of it is
            // decided many times over.
            .set("fetch.queue.backoff.ms", "10")
            .set("group.id", group_id(options, stream));
    });
    Ok(config)
}

/// For creating and describing topics.
pub(super) fn admin(options: &KafkaOptions) -> Result<ClientConfig, Error> {
    let mut config = base(options)?;
    apply(&mut config, options, &[], |_| {});
    Ok(config)
}

/// Properties that one kind of client knows and the other warns about: an operator's own value goes
/// only to the kind that has a use for it.
const PRODUCER_ONLY: [&str; 14] = [
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.timeout.ms",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.timeout.ms",
    "retries",
];

const CONSUMER_ONLY: [&str; 14] = [
    "check.crcs",
    "client.rack",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// Ours first, then the operator's, which win: what may not be overridden was refused before.
fn apply(
    config: &mut ClientConfig,
    options: &KafkaOptions,
    mine: &[&str],
    ours: impl FnOnce(&mut ClientConfig),
) {
    ours(config);
    let others = [&PRODUCER_ONLY[..], &CONSUMER_ONLY[..]].concat();
    for (name, value) in &options.properties {
        if mine.contains(&name.as_str()) || !others.contains(&name.as_str()) {
            config.set(name, value);
        }
    }
}

fn base(options: &KafkaOptions) -> Result<ClientConfig, Error> {
    for name in RESERVED_PROPERTIES {
        if options.properties.contains_key(name) {
            let what =
                format!("the property {name} may not be set: the promises of the log rest on it");
            return Err(Error::Options { what });
        }
    }
    let mut config = ClientConfig::new();
    config
        // rdkafka would take it from the `log` crate, which nobody sets up here.
        .set_log_level(RDKafkaLogLevel::Info)
        .set("bootstrap.servers", options.brokers.join(","))
        .set("client.id", &options.client_id)
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
        .set("statistics.interval.ms", STATISTICS_EVERY_MS)
        .set("security.protocol", security_protocol(options));
    if let Some(tls) = &options.tls {
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.cert_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, readable(file)?);
            }
        }
        if tls.ca_file.is_none() {
            // OpenSSL is linked in: without this it would look where it was built.
            config.set("ssl.ca.location", "probe");
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", password.expose_secret());
        }
    }
    match &options.sasl {
        None => {}
        Some(KafkaSasl::Plain(login)) => sasl(&mut config, "PLAIN", login),
        Some(KafkaSasl::ScramSha256(login)) => sasl(&mut config, "SCRAM-SHA-256", login),
        Some(KafkaSasl::ScramSha512(login)) => sasl(&mut config, "SCRAM-SHA-512", login),
        Some(KafkaSasl::OauthBearer { .. }) => {
            config.set("sasl.mechanisms", "OAUTHBEARER");
        }
    }
    Ok(config)
}

fn security_protocol(options: &KafkaOptions) -> &'static str {
    match (&options.tls, &options.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn sasl(config: &mut ClientConfig, mechanism: &str, login: &KafkaLogin) {
    config
        .set("sasl.mechanisms", mechanism)
        .set("sasl.username", &login.username)
        .set("sasl.password", login.password.expose_secret());
}

/// The path as a text, if the file can be read: librdkafka's own words do not name the file.
fn readable(file: &Path) -> Result<&str, Error> {
    let refused = |what: String| Error::Options {
        what: format!("cannot use {}: {what}", file.display()),
    };
    std::fs::File::open(file).map_err(|error| refused(error.to_string()))?;
    file.to_str()
        .ok_or_else(|| refused("its name is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> KafkaLogin {
        KafkaLogin {
            username: "syncbell".to_owned(),
            password: "sesame".into(),
        }
    }

    #[test]
    fn an_operators_property_goes_to_the_client_that_knows_it_and_wins() {
        let mut options = KafkaOptions::new(["a:9092", "b:9092"]);
        options.properties = [
            ("linger.ms", "7"),
            ("fetch.min.bytes", "2"),
            ("client.dns.lookup", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let (producer, consumer) = (
            producer(&options).unwrap(),
            consumer(&options, Stream::Changes).unwrap(),
        );
        assert_eq!(producer.get("bootstrap.servers"), Some("a:9092,b:9092"));
        assert_eq!(producer.get("linger.ms"), Some("7"));
        assert_eq!(producer.get("fetch.min.bytes"), None);
        assert_eq!(consumer.get("linger.ms"), None);
        assert_eq!(consumer.get("fetch.min.bytes"), Some("2"));
        assert_eq!(consumer.get("client.dns.lookup"), Some("x"));
    }

    #[test]
    fn a_reader_that_has_enough_for_the_moment_fetches_again_at_once() {
        let consumer = consumer(&KafkaOptions::new(["a:9092"]), Stream::Changes).unwrap();
        // A second by default: 5,000 alerts at once took 1.7 s instead of 0.9.
        assert_eq!(consumer.get("fetch.queue.backoff.ms"), Some("10"));
    }

    #[test]
    fn a_property_that_the_promises_rest_on_is_refused_by_name() {
        let mut options = KafkaOptions::new(["a:9092"]);
        options.properties.insert("acks".to_owned(), "1".to_owned());
        let refused = producer(&options).unwrap_err();
        assert!(refused.to_string().contains("acks"), "{refused}");
    }

    #[test]
    fn protection_chooses_the_protocol() {
        let mut options = KafkaOptions::new(["a:9092"]);
        let protocol = |options: &KafkaOptions| {
            let config = admin(options).unwrap();
            config.get("security.protocol").map(str::to_owned)
        };
        assert_eq!(protocol(&options).as_deref(), Some("plaintext"));
        options.tls = Some(crate::KafkaTls::default());
        assert_eq!(protocol(&options).as_deref(), Some("ssl"));
        options.sasl = Some(KafkaSasl::ScramSha512(login()));
        assert_eq!(protocol(&options).as_deref(), Some("sasl_ssl"));
        options.tls = None;
        options.sasl = Some(KafkaSasl::Plain(login()));
        assert_eq!(protocol(&options).as_deref(), Some("sasl_plaintext"));
    }

    #[test]
    fn a_certificate_file_that_is_not_there_is_named() {
        let mut options = KafkaOptions::new(["a:9092"]);
        options.tls = Some(crate::KafkaTls {
            ca_file: Some("/nowhere/ca.pem".into()),
            ..crate::KafkaTls::default()
        });
        let refused = producer(&options).unwrap_err();
        assert!(refused.to_string().contains("/nowhere/ca.pem"), "{refused}");
    }
}
