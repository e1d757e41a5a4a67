//! Questions about topics: which partitions, from where to where, what stands at one place. librdkafka
//! answers them blocking, so all of this runs on the blocking pool, one question at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::context::{Context, Told};
use super::options::{KafkaOptions, KafkaSasl};
use super::{LetGo, properties, unusable};
use crate::{Bounds, Error, Next, Position, Read, Record, Stream};

/// No question waits longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between questions while a partition moves.
const MOVING_PAUSE: Duration = Duration::from_millis(50);

/// Events served before a question; there are a few a minute.
const SERVED_AT_ONCE: usize = 256;

/// librdkafka asks for a token within this.
const TOKEN_PATIENCE: Duration = Duration::from_secs(2);

/// Asks the cluster.
#[derive(Clone)]
pub(super) struct Lookups {
    consumer: Arc<Mutex<LetGo<BaseConsumer<Context>>>>,
    told: Arc<Told>,
    /// librdkafka asks for a token only while it is polled.
    needs_token: bool,
}

/// What the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// By partition: how many replicas. Empty: there is no such topic.
    pub(super) replicas: Vec<usize>,
    /// Brokers of the cluster.
    pub(super) n_brokers: usize,
}

impl Lookups {
    pub(super) fn try_new(options: &KafkaOptions, told: &Arc<Told>) -> Result<Lookups, Error> {
        let mut config = properties::consumer(options, Stream::Changes)?;
        // One place is read, then another: a fetch that waits would hold up the next one.
        config.set("fetch.wait.max.ms", "10");
        let made: Result<BaseConsumer<Context>, _> =
            config.create_with_context(Context::new(told, "lookups"));
        Ok(Lookups {
            consumer: Arc::new(Mutex::new(LetGo::new(
                "lookups",
                made.map_err(|error| unusable(&error))?,
            ))),
            told: told.clone(),
            needs_token: matches!(options.sasl, Some(KafkaSasl::OauthBearer { .. })),
        })
    }

    /// Asks nobody: for tests of what goes on without an answer.
    #[cfg(test)]
    pub(super) fn nowhere() -> Lookups {
        let options = KafkaOptions::new(["127.0.0.1:1"]);
        Lookups::try_new(&options, &Arc::default()).expect("plain options")
    }

    /// Which partitions `topic` has.
    pub(super) async fn topic(&self, topic: &str) -> Result<Topic, Error> {
        let topic = topic.to_owned();
        let what = format!("could not ask for the topic {topic}");
        self.ask(what, move |consumer| {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE)?;
            let n_brokers = metadata.brokers().len();
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let error = found
                .and_then(rdkafka::metadata::MetadataTopic::error)
                .map(RDKafkaErrorCode::from);
            match error {
                None => {}
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => {
                    return Ok(Topic {
                        replicas: Vec::new(),
                        n_brokers,
                    });
                }
                Some(code) => return Err(KafkaError::MetadataFetch(code)),
            }
            let partitions = found.map_or(&[][..], |found| found.partitions());
            let replicas = partitions.iter().map(|one| one.replicas().len());
            Ok(Topic {
                replicas: replicas.collect(),
                n_brokers,
            })
        })
        .await
    }

    /// What the first `n` partitions of `topic` hold now.
    pub(super) async fn bounds(&self, topic: &str, n: usize) -> Result<Bounds, Error> {
        let topic = topic.to_owned();
        let what = format!("could not ask what the topic {topic} holds");
        self.ask(what, move |consumer| {
            Ok(Bounds {
                start: offsets(consumer, &topic, n, Offset::Beginning)?,
                end: offsets(consumer, &topic, n, Offset::End)?,
            })
        })
        .await
    }

    /// Where the first `n` partitions of `topic` end now.
    pub(super) async fn ends(&self, topic: &str, n: usize) -> Result<Next, Error> {
        let topic = topic.to_owned();
        let what = format!("could not ask where the topic {topic} ends");
        self.ask(what, move |consumer| {
            offsets(consumer, &topic, n, Offset::End)
        })
        .await
    }

    /// The record at `position`, which lies between start and end. `None` where there is a hole.
    pub(super) async fn read_at(
        &self,
        topic: &str,
        position: Position,
    ) -> Result<Option<Read>, Error> {
        let topic = topic.to_owned();
        let what = format!("could not read {topic} at {position:?}");
        self.ask(what, move |consumer| {
            let read = read_one(consumer, &topic, position);
            consumer.unassign()?;
            read
        })
        .await
    }

    /// Asks again while the answer is only that a leader is being chosen.
    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        question: impl Fn(&BaseConsumer<Context>) -> Result<T, KafkaError> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (question, began) = (Arc::new(question), Instant::now());
        loop {
            let (consumer, needs_token) = (self.consumer.clone(), self.needs_token);
            let question = question.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let consumer = consumer.lock().unwrap_or_else(PoisonError::into_inner);
                serve(&consumer, needs_token);
                question(&consumer)
            });
            let answered = asked.await.map_err(|error| Error::Unavailable {
                what: format!("{what}: {error}"),
            })?;
            match answered {
                Ok(answer) => {
                    self.told.troubles.clear();
                    return Ok(answer);
                }
                Err(error) if moves(&error) && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(MOVING_PAUSE).await;
                }
                Err(error) => {
                    return Err(Error::Unavailable {
                        what: self.told.troubles.explain(&what, Some(&error)),
                    });
                }
            }
        }
    }
}

/// A partition is being created, or its leader changes: the next answer is another one.
fn moves(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::KafkaStorageError
        )
    )
}

/// Lets librdkafka tell what waits: log lines, errors, statistics, and the wish for a token, without
/// which no question is answered.
fn serve(consumer: &BaseConsumer<Context>, needs_token: bool) {
    let began = Instant::now();
    while needs_token
        && !consumer.context().was_asked_for_token()
        && began.elapsed() < TOKEN_PATIENCE
    {
        consumer.poll(Duration::from_millis(10));
    }
    // A poll that serves an event looks like one that found nothing.
    for _ in 0..SERVED_AT_ONCE {
        consumer.poll(Duration::ZERO);
    }
}

fn offsets(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    n: usize,
    which: Offset,
) -> Result<Next, KafkaError> {
    let mut asked = TopicPartitionList::with_capacity(n);
    for partition in 0..i32::try_from(n).unwrap_or(i32::MAX) {
        // A "time" of -1 or -2 asks for the end or the beginning (ListOffsets).
        asked.add_partition_offset(topic, partition, which)?;
    }
    let answered = consumer.offsets_for_times(asked, PATIENCE)?;
    let mut next = Next::new();
    for element in answered.elements() {
        element.error()?;
        let partition = u32::try_from(element.partition());
        let offset = match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        };
        match (partition, offset) {
            (Ok(partition), Some(offset)) => next.set(partition, offset),
            _ => {
                return Err(KafkaError::OffsetFetch(
                    RDKafkaErrorCode::OffsetNotAvailable,
                ));
            }
        }
    }
    Ok(next)
}

fn read_one(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    position: Position,
) -> Result<Option<Read>, KafkaError> {
    let (Ok(partition), Ok(offset)) = (
        i32::try_from(position.partition),
        i64::try_from(position.offset),
    ) else {
        return Ok(None);
    };
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.assign(&list)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.topic() == topic && message.partition() == partition => {
                let read = read_of(&message);
                return Ok(read.filter(|read| read.position == position));
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => match error.rdkafka_error_code() {
                // What librdkafka gets over by itself.
                Some(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ) => {}
                _ => return Err(error),
            },
        }
    }
    Err(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    ))
}

/// A message in our own words. `None` for a negative place, which no broker gives.
pub(super) fn read_of(message: &BorrowedMessage<'_>) -> Option<Read> {
    let headers = message.headers().map(|headers| {
        let all = headers.iter();
        all.map(|header| {
            (
                header.key.to_owned(),
                header.value.unwrap_or_default().to_vec(),
            )
        })
        .collect()
    });
    Some(Read {
        position: Position {
            partition: u32::try_from(message.partition()).ok()?,
            offset: u64::try_from(message.offset()).ok()?,
        },
        record: Record {
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
        },
        appended_at_ms: message.timestamp().to_millis(),
    })
}
