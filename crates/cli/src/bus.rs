//! The event log that the configuration names.

use anyhow::{Context as _, anyhow};
use syncbell_config as config;
use syncbell_notifier::{
    Bus, KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls, SecretString, open_bus,
};

use crate::exit::Failure;

/// Opens the log: its folder, or Kafka's clients (no broker need be there). `client_id`
/// is how brokers name the process, unless the configuration does.
pub(crate) async fn open(config: &config::Config, client_id: &str) -> anyhow::Result<Bus> {
    match config.bus.clone() {
        config::Bus::Embedded => {
            let (data_dir, retention) = (config.data_dir.clone(), config.retention.clone());
            let disk = config.disk;
            let opening =
                tokio::task::spawn_blocking(move || open_bus(&data_dir, &retention, disk));
            opening
                .await
                .context("opening the event log panicked")?
                .context(Failure::TryAgain)
        }
        config::Bus::Kafka(kafka) => {
            Bus::kafka(options(*kafka, client_id)).context(Failure::Configuration)
        }
    }
}

/// Opens the log for a question, while no service runs (`missing` says so). A folder is not made for it.
pub(crate) async fn open_kept(
    config: &config::Config,
    client_id: &str,
    missing: &str,
) -> anyhow::Result<Bus> {
    if config.bus != config::Bus::Embedded {
        return open(config, client_id).await;
    }
    let folder = config.data_dir.join("log");
    if !folder.is_dir() {
        let what = format!("{missing}, and there is no folder {}", folder.display());
        return Err(anyhow!(what)).context(Failure::Unavailable);
    }
    let opened = open(config, client_id).await;
    opened.with_context(|| elsewhere(missing))
}

/// What may help where a folder is locked though no service was found.
pub(crate) fn elsewhere(missing: &str) -> String {
    format!("{missing} (if it runs elsewhere: --admin ADDRESS)")
}

fn options(kafka: config::Kafka, client_id: &str) -> KafkaOptions {
    let properties = kafka.properties.into_iter();
    KafkaOptions {
        brokers: kafka.brokers,
        topic_prefix: kafka.topic_prefix,
        client_id: kafka.client_id.unwrap_or_else(|| client_id.to_owned()),
        tls: kafka.tls.map(|tls| KafkaTls {
            ca_file: tls.ca_file,
            cert_file: tls.cert_file,
            key_file: tls.key_file,
            key_password: tls.key_password.as_ref().map(secret),
        }),
        sasl: kafka.sasl.map(|sasl| match sasl {
            config::KafkaSasl::Plain(it) => KafkaSasl::Plain(login(&it)),
            config::KafkaSasl::ScramSha256(it) => KafkaSasl::ScramSha256(login(&it)),
            config::KafkaSasl::ScramSha512(it) => KafkaSasl::ScramSha512(login(&it)),
            config::KafkaSasl::OauthBearer { token_file } => KafkaSasl::OauthBearer { token_file },
        }),
        properties: properties
            .map(|(name, value)| (name, value.expose().clone()))
            .collect(),
    }
}

fn login(login: &config::KafkaLogin) -> KafkaLogin {
    KafkaLogin {
        username: login.username.clone(),
        password: secret(&login.password),
    }
}

fn secret(secret: &config::Secret<String>) -> SecretString {
    secret.expose().clone().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The configuration names the key to use instead; the log refuses whoever comes another way.
    #[test]
    fn the_configuration_refuses_what_the_log_refuses() {
        let of_log: BTreeSet<&str> = syncbell_notifier::RESERVED_PROPERTIES.into();
        let of_config = super::config::RESERVED_KAFKA_PROPERTIES.iter();
        assert_eq!(
            of_config.map(|(name, _)| *name).collect::<BTreeSet<_>>(),
            of_log
        );
    }
}
