//! The topics: made when they are missing, looked at when they are there.
//!
//! A topic whose settings contradict what the log promises is used all the same, with a warning that
//! names the setting: it is the operator's cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use super::context::{Context, Told};
use super::lookups::{Lookups, Topic};
use super::options::{KafkaOptions, KafkaSasl};
use super::{LetGo, properties, unusable};
use crate::{Error, Stream};

/// An admin request is given up after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic that was made is known to every broker within this.
const SPREAD: Duration = Duration::from_secs(15);

/// What is made: enough copies that one broker may be lost.
const REPLICAS: usize = 3;

/// As the embedded log keeps it.
const RETENTION_MS: &str = "604800000";

/// A notifier that is down for a day must find everything.
const RETENTION_AT_LEAST_MS: u64 = 24 * 60 * 60 * 1000;

/// Made and looked at once; again where a topic turns out to be gone.
pub(super) struct Topics {
    options: Arc<KafkaOptions>,
    told: Arc<Told>,
    lookups: Lookups,
    /// Partitions by stream, once all is well.
    known: tokio::sync::Mutex<Option<Partitions>>,
}

/// How many partitions each stream has.
pub(super) type Partitions = BTreeMap<Stream, usize>;

/// The name of a stream's topic.
pub(super) fn name(options: &KafkaOptions, stream: Stream) -> String {
    format!("{}.{stream}", options.topic_prefix)
}

/// Partitions that are made. Instances are spread over those of `changes`.
fn n_partitions(stream: Stream) -> usize {
    match stream {
        Stream::Changes => 6,
        Stream::DeadLetters | Stream::Requests => 1,
    }
}

impl Topics {
    pub(super) fn new(options: Arc<KafkaOptions>, told: Arc<Told>, lookups: Lookups) -> Topics {
        Topics {
            options,
            told,
            lookups,
            known: tokio::sync::Mutex::new(None),
        }
    }

    /// The partitions of every stream; makes and checks the topics at the first call.
    pub(super) async fn partitions(&self) -> Result<Partitions, Error> {
        let mut known = self.known.lock().await;
        if let Some(partitions) = &*known {
            return Ok(partitions.clone());
        }
        let partitions = self.prepare().await?;
        *known = Some(partitions.clone());
        Ok(partitions)
    }

    /// A topic is not what it was: the next call of [`Topics::partitions`] looks again.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = None;
    }

    async fn prepare(&self) -> Result<Partitions, Error> {
        let mut topics: BTreeMap<Stream, Topic> = BTreeMap::new();
        for stream in Stream::ALL {
            topics.insert(
                stream,
                self.lookups.topic(&name(&self.options, stream)).await?,
            );
        }
        let missing = topics.iter().filter(|(_, topic)| topic.replicas.is_empty());
        let missing: Vec<(Stream, usize)> = missing
            .map(|(stream, topic)| (*stream, topic.n_brokers))
            .collect();
        let admin = self.admin().await?;
        if !missing.is_empty() {
            self.create(admin.as_deref(), &missing).await?;
            for (stream, _) in &missing {
                topics.insert(*stream, self.until_there(*stream).await?);
            }
        }
        self.check(admin.as_deref(), &topics).await;
        let partitions = topics.iter().map(|(s, topic)| (*s, topic.replicas.len()));
        Ok(partitions.collect())
    }

    /// `None` with OAUTHBEARER: the admin client of rdkafka 0.39 does not serve the queue by which
    /// librdkafka asks for a token, so it could never log in.
    async fn admin(&self) -> Result<Option<LetGo<AdminClient<Context>>>, Error> {
        if matches!(self.options.sasl, Some(KafkaSasl::OauthBearer { .. })) {
            return Ok(None);
        }
        let config = properties::admin(&self.options)?;
        let context = Context::new(&self.told, "admin");
        let made =
            tokio::task::spawn_blocking(move || -> Result<AdminClient<Context>, KafkaError> {
                config.create_with_context(context)
            })
            .await;
        let made = made.map_err(|error| Error::Unavailable {
            what: format!("could not make an admin client: {error}"),
        })?;
        made.map(|admin| Some(LetGo::new("admin", admin)))
            .map_err(|error| unusable(&error))
    }

    async fn create(
        &self,
        admin: Option<&AdminClient<Context>>,
        missing: &[(Stream, usize)],
    ) -> Result<(), Error> {
        let names: Vec<String> = missing
            .iter()
            .map(|(stream, _)| name(&self.options, *stream))
            .collect();
        let Some(admin) = admin else {
            let what = format!(
                "the topics {} are missing, and with OAUTHBEARER they cannot be created from here: \
                 create them (6 partitions for changes, 1 for the others)",
                names.join(", ")
            );
            return Err(Error::Unavailable { what });
        };
        let topics = missing
            .iter()
            .zip(&names)
            .map(|((stream, n_brokers), name)| {
                let replicas = REPLICAS.min(*n_brokers).max(1);
                let replication = i32::try_from(replicas).unwrap_or(1);
                let partitions = i32::try_from(n_partitions(*stream)).unwrap_or(1);
                NewTopic::new(name, partitions, TopicReplication::Fixed(replication))
                    .set("cleanup.policy", "delete")
                    .set("retention.ms", RETENTION_MS)
                    .set("min.insync.replicas", if replicas > 2 { "2" } else { "1" })
            });
        let topics: Vec<NewTopic<'_>> = topics.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(PATIENCE))
            .operation_timeout(Some(PATIENCE));
        let failed = |what: &str, error: &KafkaError| Error::Unavailable {
            what: self.told.troubles.explain(what, Some(error)),
        };
        let made = admin.create_topics(&topics, &options).await;
        for result in made.map_err(|error| failed("could not create the topics", &error))? {
            match result {
                Ok(name) => tracing::info!(topic = name, "created the topic"),
                // The other service was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let what = format!("could not create the missing topic {name}");
                    return Err(failed(&what, &KafkaError::AdminOp(code)));
                }
            }
        }
        Ok(())
    }

    /// Waits until the cluster knows the topic that was just made.
    async fn until_there(&self, stream: Stream) -> Result<Topic, Error> {
        let name = name(&self.options, stream);
        let began = Instant::now();
        loop {
            let topic = self.lookups.topic(&name).await?;
            if !topic.replicas.is_empty() {
                return Ok(topic);
            }
            if began.elapsed() > SPREAD {
                let what = format!("the topic {name} was created and is not there");
                return Err(Error::Unavailable { what });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Warns of every setting that contradicts a promise.
    async fn check(&self, admin: Option<&AdminClient<Context>>, topics: &BTreeMap<Stream, Topic>) {
        for (stream, topic) in topics {
            let name = name(&self.options, *stream);
            let settings = match admin {
                Some(admin) => settings(admin, &name).await.unwrap_or_else(|error| {
                    tracing::info!(
                        topic = name,
                        error,
                        "could not look at the topic's settings"
                    );
                    BTreeMap::new()
                }),
                None => BTreeMap::new(),
            };
            for warning in unsafe_settings(*stream, topic, &settings) {
                tracing::warn!(topic = name, "unsafe: {warning}");
            }
        }
    }
}

/// The topic's settings, defaults of the brokers included.
async fn settings(
    admin: &AdminClient<Context>,
    name: &str,
) -> Result<BTreeMap<String, String>, String> {
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let resources = [ResourceSpecifier::Topic(name)];
    let described = admin.describe_configs(&resources, &options).await;
    let described = described.map_err(|error| error.to_string())?;
    let mut settings = BTreeMap::new();
    for resource in described {
        for entry in resource.map_err(|code| code.to_string())?.entries {
            settings.extend(entry.value.map(|value| (entry.name, value)));
        }
    }
    Ok(settings)
}

/// Pure: what is unsafe about a topic, one sentence each.
fn unsafe_settings(
    stream: Stream,
    topic: &Topic,
    settings: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let setting = |name: &str| settings.get(name).map(String::as_str);
    let number = |name: &str| setting(name).and_then(|value| value.parse::<u64>().ok());
    let replicas = topic.replicas.iter().copied().min().unwrap_or(0);
    if replicas < 2 {
        warnings.push(format!(
            "replication {replicas}: what is on a broker that is lost is lost"
        ));
    }
    if let Some(in_sync) = number("min.insync.replicas") {
        if replicas > 1 && in_sync < 2 {
            warnings.push(format!(
                "min.insync.replicas={in_sync}: an acknowledged event may be on one broker only"
            ));
        }
        if replicas > 1 && in_sync >= replicas as u64 {
            warnings.push(format!(
                "min.insync.replicas={in_sync} with replication {replicas}: \
                 publishing stops when one broker is down"
            ));
        }
    }
    if let Some(policy) = setting("cleanup.policy").filter(|policy| policy.contains("compact")) {
        warnings.push(format!(
            "cleanup.policy={policy}: compaction removes events that were not read; use delete"
        ));
    }
    if setting("unclean.leader.election.enable") == Some("true") {
        warnings.push(
            "unclean.leader.election.enable=true: acknowledged events may be lost with a leader"
                .to_owned(),
        );
    }
    if stream != Stream::DeadLetters
        && let Some(retention_ms) = number("retention.ms")
        && retention_ms < RETENTION_AT_LEAST_MS
    {
        warnings.push(format!(
            "retention.ms={retention_ms}: what is not read within that time is lost; \
             use at least {RETENTION_AT_LEAST_MS}"
        ));
    }
    if let Some(limit) = number("max.message.bytes")
        && limit < crate::MAX_RECORD_BYTES as u64
    {
        warnings.push(format!(
            "max.message.bytes={limit}: a larger event would stop publishing; use at least {}",
            crate::MAX_RECORD_BYTES
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(replicas: usize, settings: &[(&str, &str)]) -> String {
        let topic = Topic {
            replicas: vec![replicas; 6],
            n_brokers: 3,
        };
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        unsafe_settings(Stream::Changes, &topic, &settings.collect()).join("\n")
    }

    #[test]
    fn what_is_made_here_is_safe_on_three_brokers() {
        let made = [
            ("min.insync.replicas", "2"),
            ("cleanup.policy", "delete"),
            ("retention.ms", RETENTION_MS),
            ("unclean.leader.election.enable", "false"),
            ("max.message.bytes", "1048588"),
        ];
        assert_eq!(warned(3, &made), "");
    }

    #[test]
    fn each_unsafe_setting_is_named() {
        let cases = [
            (1, ("cleanup.policy", "delete"), "replication 1"),
            (3, ("min.insync.replicas", "1"), "min.insync.replicas=1"),
            (3, ("min.insync.replicas", "3"), "publishing stops"),
            (3, ("cleanup.policy", "compact,delete"), "compaction"),
            (3, ("unclean.leader.election.enable", "true"), "unclean"),
            (3, ("retention.ms", "3600000"), "retention.ms=3600000"),
            (3, ("max.message.bytes", "1000"), "max.message.bytes=1000"),
        ];
        for (replicas, setting, expected) in cases {
            let said = warned(replicas, &[setting]);
            assert!(
                said.contains(expected) && said.lines().count() == 1,
                "{said}"
            );
        }
        // -1 is for ever.
        assert_eq!(warned(3, &[("retention.ms", "-1")]), "");
    }
}
