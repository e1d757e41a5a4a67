//! One reader of one topic. It is assigned every partition at the offsets of its own ledger; no group
//! moves it about.
//!
//! What must never happen: a record skipped because the client failed, the topic changed, or a caller
//! dropped the future. So the place in each partition is kept here, outside librdkafka, and a client
//! that stalls or breaks is made anew at that place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;

use super::context::Context;
use super::lookups::{self, Lookups};
use super::{KafkaLog, LetGo, properties, topics, unusable};
use crate::{BoxFuture, Error, Next, Read, Stream, Subscriber};

/// A batch ends with the record that reaches this.
const BATCH_BYTES: usize = 1024 * 1024;

/// How often the reader looks whether the topic grew and whether it stands still for no reason.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often the position is shown to lag tools at most.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// A reader.
pub(crate) struct KafkaSubscriber {
    owner: Arc<KafkaLog>,
    stream: Stream,
    topic: String,
    closed: watch::Receiver<bool>,
    /// The next offset to give, of every partition.
    next: Next,
    client: Option<LetGo<StreamConsumer<Context>>>,
    /// Came behind records that had to be given first.
    failed: Option<KafkaError>,
    /// Stays: the caller has to decide where to start.
    refused: Option<Error>,
    look: Look,
    acknowledged: Acknowledged,
}

/// Looks at the topic beside reading it.
struct Look {
    lookups: Lookups,
    due_at: Instant,
    under_way: Option<BoxFuture<'static, Result<Looked, Error>>>,
    /// Where the reader stood at the last look.
    stood: Next,
    /// Partitions that had something to read at the last look and of which nothing had come.
    behind: BTreeSet<u32>,
}

struct Looked {
    n_partitions: usize,
    ends: Next,
}

#[derive(Default)]
struct Acknowledged {
    next: Next,
    shown: Next,
    shown_at: Option<Instant>,
}

/// What woke the reader.
enum Woken {
    Closed,
    Read(Result<Read, KafkaError>),
    Looked(Result<Looked, Error>),
}

impl KafkaSubscriber {
    /// A reader that starts at `next`, which names every partition and was found to be held.
    pub(super) fn try_new(
        owner: Arc<KafkaLog>,
        stream: Stream,
        next: Next,
    ) -> Result<KafkaSubscriber, Error> {
        let mut subscriber = KafkaSubscriber {
            topic: topics::name(&owner.options, stream),
            closed: owner.closed.subscribe(),
            look: Look {
                lookups: owner.lookups.clone(),
                due_at: Instant::now() + LOOK_EVERY,
                under_way: None,
                stood: Next::new(),
                behind: BTreeSet::new(),
            },
            owner,
            stream,
            next,
            client: None,
            failed: None,
            refused: None,
            acknowledged: Acknowledged::default(),
        };
        subscriber.client = Some(subscriber.make_client()?);
        Ok(subscriber)
    }

    /// A client that reads on at `self.next`.
    fn make_client(&self) -> Result<LetGo<StreamConsumer<Context>>, Error> {
        let config = properties::consumer(&self.owner.options, self.stream)?;
        let context = Context::new(&self.owner.told, self.stream.as_str());
        let client: StreamConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| unusable(&error))?;
        let assigned = assignment(&self.topic, &self.next).and_then(|list| client.assign(&list));
        assigned.map_err(|error| Error::Unavailable {
            what: format!("could not read {}: {error}", self.topic),
        })?;
        Ok(LetGo::new("reader", client))
    }

    /// Every `await` here leaves `self` in a state from which the next call goes on.
    async fn read_on(&mut self, max: usize) -> Result<Vec<Read>, Error> {
        loop {
            self.owner.alive()?;
            if let Some(refused) = &self.refused {
                return Err(refused.clone());
            }
            // Forgotten only once it was dealt with: this future may be dropped in between.
            if let Some(error) = self.failed.clone() {
                let survived = self.survive(&error).await;
                self.failed = None;
                survived?;
                continue;
            }
            if self.client.is_none() {
                self.client = Some(self.make_client()?);
            }
            match self.wait().await {
                Woken::Closed => return Err(Error::Closed),
                Woken::Read(Ok(read)) => {
                    let reads = self.gather(read, max.max(1));
                    if !reads.is_empty() {
                        return Ok(reads);
                    }
                }
                Woken::Read(Err(error)) => self.failed = Some(error),
                Woken::Looked(looked) => self.looked(looked),
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let Some(client) = &self.client else {
            return Woken::Closed;
        };
        tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => Woken::Closed,
            looked = self.look.wait(&self.topic) => Woken::Looked(looked),
            read = client.recv() => Woken::Read(read.map(|message| lookups::read_of(&message)).and_then(
                |read| read.ok_or(KafkaError::NoMessageReceived)
            )),
        }
    }

    /// The first record, and those that are there already. No `await`: what is taken out is given.
    fn gather(&mut self, first: Read, max: usize) -> Vec<Read> {
        let mut size_bytes = 0;
        let mut reads = Vec::new();
        let mut read = Some(first);
        while let Some(one) = read.take() {
            // A client that was made anew may give what was given before.
            if !self.next.is_past(one.position) {
                self.next.advance(one.position);
                size_bytes += one.record.size_bytes();
                reads.push(one);
            }
            if reads.len() >= max || size_bytes >= BATCH_BYTES {
                break;
            }
            let Some(client) = &self.client else { break };
            match client.recv().now_or_never() {
                Some(Ok(message)) => read = lookups::read_of(&message),
                Some(Err(error)) => self.failed = Some(error),
                None => {}
            }
        }
        reads
    }

    /// What an error of the client means: most of them it gets over by itself.
    async fn survive(&mut self, error: &KafkaError) -> Result<(), Error> {
        use RDKafkaErrorCode as Code;
        let unavailable = |what: String| Err(Error::Unavailable { what });
        let what = format!("could not read {}", self.topic);
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.out_of_range().await,
            Some(
                Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicId,
            ) => {
                self.leave_client();
                self.owner.topics.forget().await;
                unavailable(format!("{what}: the topic is gone, or was made anew"))
            }
            // Not of the group: only lag tools miss something, and the context has told.
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                self.leave_client();
                unavailable(self.owner.told.troubles.explain(&what, Some(error)))
            }
            // librdkafka would go on behind it: it is read again until it is whole, or a person has looked.
            Some(Code::BadMessage | Code::BadCompression | Code::NotImplemented) => {
                self.leave_client();
                unavailable(format!("{what}: a record is damaged ({error})"))
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                tracing::error!(topic = self.topic, %error, "the Kafka reader is made anew");
                self.leave_client();
                Ok(())
            }
            // Told to the context too, in our words; librdkafka goes on trying.
            _ => {
                tracing::debug!(topic = self.topic, %error, "a Kafka reader's error");
                Ok(())
            }
        }
    }

    /// Finds the partition that does not reach to where the reader stands.
    async fn out_of_range(&mut self) -> Result<(), Error> {
        let n_partitions = self.next.iter().count();
        self.leave_client();
        let bounds = self.look.lookups.bounds(&self.topic, n_partitions).await;
        if let Some(refused) = outside(self.stream, &self.next, &bounds?) {
            self.refused = Some(refused.clone());
            return Err(refused);
        }
        // It fits again, as another log would that has grown meanwhile: the owner compares.
        Err(Error::Unavailable {
            what: format!("could not read {}: its bounds have changed", self.topic),
        })
    }

    fn looked(&mut self, looked: Result<Looked, Error>) {
        self.look.due_at = Instant::now() + LOOK_EVERY;
        if let Some(client) = &self.client
            && let Some((code, reason)) = client.client().fatal_error()
        {
            tracing::error!(topic = self.topic, %code, reason, "the Kafka reader is made anew");
            self.leave_client();
        }
        let Ok(looked) = looked else { return };
        let known = self.next.iter().count();
        if looked.n_partitions > known {
            let (topic, now) = (&self.topic, looked.n_partitions);
            tracing::warn!(
                topic,
                before = known,
                now,
                "the topic has more partitions: they are read from their start; an instance's \
                 events may have moved to another one"
            );
            for partition in known..now {
                self.next
                    .set(u32::try_from(partition).unwrap_or(u32::MAX), 0);
            }
            self.leave_client();
        }
        if self.look.stands_still(&self.next, &looked.ends) {
            let topic = &self.topic;
            tracing::error!(topic, "the Kafka reader stands still: it is made anew");
            self.leave_client();
        }
        self.show();
    }

    /// Lets go of the client; the next call makes another at the same place.
    pub(super) fn leave_client(&mut self) {
        self.client = None;
    }

    /// Shows lag tools how far the ledger is. Nothing rests on it.
    fn show(&mut self) {
        let acknowledged = &mut self.acknowledged;
        let due = acknowledged
            .shown_at
            .is_none_or(|at| at.elapsed() >= COMMIT_EVERY);
        if !due || acknowledged.next == acknowledged.shown {
            return;
        }
        let Some(client) = &self.client else { return };
        let committed = assignment(&self.topic, &acknowledged.next)
            .and_then(|list| client.commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!(topic = self.topic, %error, "the group offset could not be committed");
        }
        acknowledged.shown = acknowledged.next.clone();
        acknowledged.shown_at = Some(Instant::now());
    }
}

impl Look {
    /// Whether a partition gives nothing although it has something, for the second look in a row. Each by
    /// itself: one may stand still while the others go on.
    fn stands_still(&mut self, next: &Next, ends: &Next) -> bool {
        let behind = ends.iter().filter(|(partition, end)| {
            let at = next.get(*partition);
            at.is_some_and(|at| at < *end) && at == self.stood.get(*partition)
        });
        let behind: BTreeSet<u32> = behind.map(|(partition, _)| partition).collect();
        let stands_still = behind.intersection(&self.behind).next().is_some();
        self.stood = next.clone();
        self.behind = if stands_still {
            BTreeSet::new()
        } else {
            behind
        };
        stands_still
    }

    /// Ready when a look is done. Dropped, it stays under way and is waited for by the next call.
    async fn wait(&mut self, topic: &str) -> Result<Looked, Error> {
        if self.under_way.is_none() {
            tokio::time::sleep_until(self.due_at).await;
        }
        let (lookups, topic) = (&self.lookups, topic);
        let under_way = self
            .under_way
            .get_or_insert_with(|| Box::pin(look(lookups.clone(), topic.to_owned())));
        let looked = under_way.await;
        self.under_way = None;
        looked
    }
}

async fn look(lookups: Lookups, topic: String) -> Result<Looked, Error> {
    let n_partitions = lookups.topic(&topic).await?.replicas.len();
    let ends = lookups.ends(&topic, n_partitions).await?;
    Ok(Looked { n_partitions, ends })
}

/// `Some` where a partition does not hold what `next` asks for.
pub(super) fn outside(stream: Stream, next: &Next, bounds: &crate::Bounds) -> Option<Error> {
    next.iter().find_map(|(partition, wanted)| {
        let start = bounds.start.get(partition).unwrap_or(0);
        let end = bounds.end.get(partition).unwrap_or(0);
        (wanted < start || wanted > end).then_some(Error::OutOfRange {
            stream,
            partition,
            wanted,
            start,
            end,
        })
    })
}

fn assignment(topic: &str, next: &Next) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in next.iter() {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}

impl Subscriber for KafkaSubscriber {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Read>, Error>> {
        Box::pin(self.read_on(max))
    }

    fn acknowledge(&mut self, next: &Next) -> BoxFuture<'_, Result<(), Error>> {
        let alive = self.owner.alive();
        if alive.is_ok() {
            for (partition, offset) in next.iter() {
                if self
                    .acknowledged
                    .next
                    .get(partition)
                    .is_none_or(|known| known < offset)
                {
                    self.acknowledged.next.set(partition, offset);
                }
            }
            self.show();
        }
        Box::pin(std::future::ready(alive))
    }

    fn ends(&self) -> BoxFuture<'_, Result<Next, Error>> {
        let (alive, n_partitions) = (self.owner.alive(), self.next.iter().count());
        let (lookups, topic) = (self.look.lookups.clone(), self.topic.clone());
        Box::pin(async move {
            alive?;
            lookups.ends(&topic, n_partitions).await
        })
    }
}

impl Drop for KafkaSubscriber {
    fn drop(&mut self) {
        self.acknowledged.shown_at = None;
        self.show();
        self.leave_client();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(offsets: [u64; 2]) -> Next {
        (0..).zip(offsets).collect()
    }

    #[test]
    fn a_partition_that_gives_nothing_twice_stands_still_whatever_the_others_do() {
        let mut look = Look {
            lookups: Lookups::nowhere(),
            due_at: Instant::now(),
            under_way: None,
            stood: Next::new(),
            behind: BTreeSet::new(),
        };
        // The first one goes on all the time; the second has ten records and gives none.
        assert!(!look.stands_still(&next([5, 0]), &next([9, 10])));
        assert!(!look.stands_still(&next([9, 0]), &next([20, 10])));
        assert!(look.stands_still(&next([20, 0]), &next([30, 10])));
        // Its client was made anew: it has its two looks again.
        assert!(!look.stands_still(&next([30, 0]), &next([30, 10])));
        assert!(!look.stands_still(&next([30, 10]), &next([30, 10])));
        assert!(!look.stands_still(&next([30, 10]), &next([30, 10])));
    }
}
