//! The log on Apache Kafka, for poller and notifier in two processes or on two machines.
//!
//! A stream is a topic, a record's key chooses its partition, and a reader is assigned all partitions
//! at the offsets of its own ledger. Traps and figures behind the choices are beside each setting in
//! [`properties`]. librdkafka's closing calls can hang when no broker answers (rust-rdkafka issue 611):
//! every client is let go on a thread of its own, and nobody waits for it without a bound.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::{oneshot, watch};

mod options;
mod properties;
mod token;
mod trouble;
mod statistics;
mod delivering;
mod context;
mod lookups;
mod topics;
mod publisher;
mod subscriber;
#[cfg(test)]
mod tests;

pub use self::options::{KafkaLogin, KafkaOptions, KafkaSasl, KafkaTls, RESERVED_PROPERTIES};
pub use self::statistics::{BrokerStatistics, ClientStatistics};

use self::context::Told;
use self::lookups::Lookups;
use self::publisher::Producer;
use self::subscriber::{KafkaSubscriber, outside};
use self::topics::Topics;
use crate::{
    Bounds, BoxFuture, Error, MAX_RECORD_BYTES, Next, Position, Publisher, Read, Record, StartAt,
    Stream,
};

/// What is under way at the close may take this long.
const FLUSH: Duration = Duration::from_secs(3);

/// The close as a whole.
const CLOSE: Duration = Duration::from_secs(5);

/// The log, on a cluster.
pub(crate) struct KafkaLog {
    options: Arc<KafkaOptions>,
    told: Arc<Told>,
    lookups: Lookups,
    topics: Topics,
    producer: Producer,
    closed: watch::Sender<bool>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Makes the clients. No broker need be there; settings that cannot be used are refused.
    pub(crate) fn try_new(options: KafkaOptions) -> Result<KafkaLog, Error> {
        let options = Arc::new(options);
        let token_file = match &options.sasl {
            Some(KafkaSasl::OauthBearer { token_file }) => Some(token_file.clone()),
            _ => None,
        };
        let told = Arc::new(Told::new(token_file));
        let lookups = Lookups::try_new(&options, &told)?;
        let topics = Topics::new(options.clone(), told.clone(), lookups.clone());
        let producer = Producer::try_new(options.clone(), told.clone())?;
        Ok(KafkaLog {
            options,
            told,
            lookups,
            topics,
            producer,
            closed: watch::Sender::new(false),
        })
    }

    /// `Closed` after the close.
    fn alive(&self) -> Result<(), Error> {
        if *self.closed.borrow() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// `work`, or `Closed` as soon as the log is closed.
    async fn while_open<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(Error::Closed),
            done = work => done,
        }
    }

    async fn n_partitions(&self, stream: Stream) -> Result<usize, Error> {
        let partitions = self.topics.partitions().await?;
        Ok(partitions.get(&stream).copied().unwrap_or(0))
    }

    async fn held(&self, stream: Stream) -> Result<Bounds, Error> {
        let n = self.n_partitions(stream).await?;
        let topic = topics::name(&self.options, stream);
        let bounds = self.lookups.bounds(&topic, n).await;
        if bounds.is_err() {
            // It may be gone: the next question makes it again, or says why not.
            self.topics.forget().await;
        }
        bounds
    }

    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        stream: Stream,
        from: StartAt,
    ) -> Result<KafkaSubscriber, Error> {
        let bounds = self.while_open(self.held(stream)).await?;
        let mut next = bounds.start.clone();
        if let StartAt::At(at) = from {
            if let Some(refused) = outside(stream, &at, &bounds) {
                return Err(refused);
            }
            for (partition, offset) in at.iter() {
                next.set(partition, offset);
            }
        }
        KafkaSubscriber::try_new(self.clone(), stream, next)
    }

    pub(crate) async fn bounds(&self, stream: Stream) -> Result<Bounds, Error> {
        self.while_open(self.held(stream)).await
    }

    pub(crate) async fn read_at(
        &self,
        stream: Stream,
        position: Position,
    ) -> Result<Option<Read>, Error> {
        self.while_open(async {
            let bounds = self.held(stream).await?;
            let at = Next::from_iter([(position.partition, position.offset)]);
            let end = bounds.end.get(position.partition);
            let is_behind_end = end.is_none_or(|end| position.offset >= end);
            if is_behind_end || outside(stream, &at, &bounds).is_some() {
                return Ok(None);
            }
            let topic = topics::name(&self.options, stream);
            self.lookups.read_at(&topic, position).await
        })
        .await
    }

    pub(crate) fn statistics(&self) -> Vec<ClientStatistics> {
        self.told.statistics()
    }

    pub(crate) async fn close(self: &Arc<Self>) {
        if self.closed.send_replace(true) {
            return;
        }
        let (done, finished) = oneshot::channel();
        let log = self.clone();
        release("producer", move || {
            log.producer.finish(FLUSH);
            // Nobody listens any more where the close took too long.
            done.send(()).ok();
        });
        if tokio::time::timeout(CLOSE, finished).await.is_err() {
            tracing::warn!("Kafka did not answer while closing: left as it is");
        }
    }
}

impl Publisher for KafkaLog {
    fn append(&self, stream: Stream, records: Vec<Record>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.alive()?;
            let sizes = records.iter().map(Record::size_bytes);
            if let Some(size_bytes) = sizes.max().filter(|size| *size > MAX_RECORD_BYTES) {
                return Err(Error::TooLarge {
                    stream,
                    size_bytes,
                    limit_bytes: MAX_RECORD_BYTES,
                });
            }
            if records.is_empty() {
                return Ok(());
            }
            self.while_open(async {
                // Before the first record: a broker would make the topic by itself, with other settings.
                self.topics.partitions().await?;
                let topic = topics::name(&self.options, stream);
                let appended = self.producer.append(&topic, &records).await;
                if appended.is_err() {
                    self.topics.forget().await;
                }
                appended
            })
            .await
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.while_open(async {
            let topic = topics::name(&self.options, Stream::Changes);
            self.topics.partitions().await?;
            self.lookups.topic(&topic).await.map(drop)
        }))
    }
}

/// A client of librdkafka that is let go on a thread of its own, wherever its last owner drops it: that may
/// take long, or for ever, and neither the runtime nor the end of the process waits for it.
struct LetGo<T: Send + 'static> {
    what: &'static str,
    /// `None` only while it is dropped.
    client: Option<T>,
}

impl<T: Send + 'static> LetGo<T> {
    fn new(what: &'static str, client: T) -> LetGo<T> {
        let client = Some(client);
        LetGo { what, client }
    }
}

impl<T: Send + 'static> std::ops::Deref for LetGo<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.client.as_ref().expect("it is taken only by the drop")
    }
}

impl<T: Send + 'static> Drop for LetGo<T> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            release(self.what, move || drop(client));
        }
    }
}

/// Runs `letting_go` on a thread of its own: it may take long, or for ever, and the end of the process
/// does not wait for it.
fn release(what: &'static str, letting_go: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(format!("kafka-{what}"));
    if let Err(error) = thread.spawn(letting_go) {
        tracing::error!(%error, what, "could not start a thread to let go of a Kafka client");
    }
}

/// librdkafka does not take a setting.
fn unusable(error: &KafkaError) -> Error {
    let what = match error {
        // Its own text repeats the value, which may be a secret.
        KafkaError::ClientConfig(_, what, property, _) => format!("{what} ({property})"),
        other => other.to_string(),
    };
    Error::Options { what }
}
