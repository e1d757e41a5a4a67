//! What librdkafka tells its clients: errors, log lines, statistics, the outcome of each send, and
//! that it wants a token. Called on whatever thread polls; nothing here waits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Statistics};

use super::delivering::Delivering;
use super::statistics::ClientStatistics;
use super::token;
use super::trouble::Troubles;

/// What all clients of one log share.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) troubles: Troubles,
    /// By number of the client.
    statistics: Mutex<BTreeMap<u64, ClientStatistics>>,
    /// Of OAUTHBEARER.
    pub(super) token_file: Option<PathBuf>,
    clients: AtomicU64,
}

impl Told {
    pub(super) fn new(token_file: Option<PathBuf>) -> Told {
        Told {
            token_file,
            ..Told::default()
        }
    }

    /// One row a role: of two readers of a stream the older, which is the service's own.
    pub(super) fn statistics(&self) -> Vec<ClientStatistics> {
        let rows = self.statistics.lock();
        let rows = rows.unwrap_or_else(PoisonError::into_inner);
        let mut by_role: BTreeMap<&str, &ClientStatistics> = BTreeMap::new();
        for row in rows.values() {
            by_role.entry(&row.role).or_insert(row);
        }
        by_role.into_values().cloned().collect()
    }
}

/// One client's ear.
#[derive(Debug)]
pub(super) struct Context {
    told: Arc<Told>,
    /// `producer`, `lookups`, or the name of the stream that is read.
    role: &'static str,
    number: u64,
    asked_for_token: AtomicBool,
}

impl Context {
    pub(super) fn new(told: &Arc<Told>, role: &'static str) -> Context {
        let number = told.clients.fetch_add(1, Ordering::Relaxed);
        Context {
            told: told.clone(),
            role,
            number,
            asked_for_token: AtomicBool::new(false),
        }
    }

    /// Whether librdkafka has wanted a token, and had its answer.
    pub(super) fn was_asked_for_token(&self) -> bool {
        self.asked_for_token.load(Ordering::Acquire)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let rows = self.told.statistics.lock();
        rows.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

impl ClientContext for Context {
    /// librdkafka asks only where OAUTHBEARER is set.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.role;
        self.told.troubles.note_line(client, message);
        match level {
            // What goes wrong with brokers comes by `error` too, and is told there in our words.
            // That we ask for it knowingly is said in `properties`.
            RDKafkaLogLevel::Warning
                if facility.starts_with("CONF") && !message.contains("gapless") =>
            {
                tracing::warn!(client, facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(client, facility, "librdkafka: {message}");
            }
            _ => tracing::debug!(client, facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let row = ClientStatistics::of(self.role, &statistics);
        if row.brokers.values().any(|broker| broker.up) {
            self.told.troubles.clear();
        }
        let rows = self.told.statistics.lock();
        rows.unwrap_or_else(PoisonError::into_inner)
            .insert(self.number, row);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.troubles.note(self.role, &error, reason);
    }

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.asked_for_token.store(true, Ordering::Release);
        let file = self.told.token_file.as_ref();
        let file = file.ok_or("no token file is set")?;
        Ok(token::read(file).inspect_err(|error| {
            tracing::error!(client = self.role, error, "Kafka: no token to log in with");
        })?)
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Delivering>;

    fn delivery(&self, result: &DeliveryResult<'_>, append: Arc<Delivering>) {
        append.one_done(result.as_ref().err().map(|(error, _)| error.clone()));
    }
}
