//! Topics: made, changed and looked at, by Kafka's own protocol over a plain-text listener.
//!
//! Each call asks the brokers one after the other until one answers, repeats what is worth repeating,
//! and panics with Kafka's words after 30 s: setting up has failed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Answer, Request};

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);
/// How long a broker may take for a change, less than the answer is waited for.
const CHANGE_TIMEOUT_MS: i32 = 1_500;
/// `ConfigResource.Type.TOPIC`.
const RESOURCE_TOPIC: i8 = 2;
/// `ListOffsetsRequest.EARLIEST_TIMESTAMP` and `LATEST_TIMESTAMP`.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

// Error codes: `org.apache.kafka.common.protocol.Errors`.
const NONE: i16 = 0;
const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_EXISTS: i16 = 36;
/// Leader not available, not leader, request timed out, coordinator loading and not available, not
/// controller, not enough replicas, broker not available.
const WORTH_REPEATING: [i16; 9] = [5, 6, 7, 8, 14, 15, 16, 19, 41];

/// What asks. Cheap to make and to copy: it holds no connection.
#[derive(Clone, Debug)]
pub struct Admin {
    addresses: Vec<String>,
}

/// A topic to create.
#[derive(Clone, Debug)]
#[must_use = "nothing is created before create_topic()"]
pub struct Topic {
    name: String,
    partitions: i32,
    replication: i16,
    config: Vec<(String, String)>,
}

impl Topic {
    /// One partition, one replica, the broker's settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 1,
            replication: 1,
            config: Vec::new(),
        }
    }

    /// How many partitions.
    pub fn partitions(mut self, n: i32) -> Self {
        self.partitions = n;
        self
    }

    /// How many brokers keep each.
    pub fn replication(mut self, n: i16) -> Self {
        self.replication = n;
        self
    }

    /// A setting of the topic, such as `min.insync.replicas`.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// One partition as a broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; none at this moment.
    pub leader: Option<i32>,
    /// The brokers that keep it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
}

#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) brokers: BTreeMap<i32, String>,
    pub(super) topics: BTreeMap<String, Vec<Partition>>,
}

#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Refused(i16, Option<String>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Refused(code, None) => write!(f, "Kafka's error {code}"),
            Self::Refused(code, Some(words)) => write!(f, "Kafka's error {code}, {words}"),
        }
    }
}

impl Failure {
    fn is_worth_repeating(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Refused(code, _) => WORTH_REPEATING.contains(code),
        }
    }
}

impl Admin {
    /// Asks the brokers of `bootstrap`: `HOST:PORT`, with commas between several.
    pub fn new(bootstrap: &str) -> Self {
        Self {
            addresses: bootstrap.split(',').map(str::to_owned).collect(),
        }
    }

    /// Waits until a broker answers a metadata request; a connection alone would say little.
    pub async fn wait_until_it_answers(&self) {
        self.metadata().await;
    }

    /// The topics that there are, without Kafka's own.
    pub async fn topics(&self) -> Vec<String> {
        let names = self.metadata().await.topics.into_keys();
        names.filter(|name| !name.starts_with("__")).collect()
    }

    /// The partitions of a topic, in order; none if there is no such topic.
    pub async fn partitions(&self, topic: &str) -> Vec<Partition> {
        let mut topics = self.metadata().await.topics;
        topics.remove(topic).unwrap_or_default()
    }

    /// The broker that leads a partition; none at this moment, or no such partition.
    pub async fn leader_of(&self, topic: &str, partition: i32) -> Option<i32> {
        let partitions = self.partitions(topic).await;
        let mut partitions = partitions.into_iter();
        partitions.find(|one| one.index == partition)?.leader
    }

    /// Creates a topic, and waits until every broker that answers names a leader for each partition.
    pub async fn create_topic(&self, topic: &Topic) {
        // CreateTopics
        let mut request = Request::new(19, 4)
            .array(1)
            .text(&topic.name)
            .i32(topic.partitions)
            .i16(topic.replication)
            .array(0)
            .array(topic.config.len());
        for (key, value) in &topic.config {
            request = request.text(key).text(value);
        }
        let request = request.i32(CHANGE_TIMEOUT_MS).bool(false);
        let what = format!("create topic {}", topic.name);
        self.change(&what, &request, Some(TOPIC_EXISTS), |answer| {
            answer.i32()?; // Throttle time.
            answer.array(|topic| {
                topic.text()?;
                Ok((topic.i16()?, topic.nullable()?))
            })
        })
        .await;
        self.wait_for_leaders(&topic.name, topic.partitions).await;
    }

    /// Deletes a topic, and waits until no broker that answers knows it.
    pub async fn delete_topic(&self, name: &str) {
        // DeleteTopics
        let request = Request::new(20, 3).array(1).text(name);
        let request = request.i32(CHANGE_TIMEOUT_MS);
        let what = format!("delete topic {name}");
        self.change(&what, &request, Some(UNKNOWN_TOPIC), |answer| {
            answer.i32()?; // Throttle time.
            answer.array(|topic| {
                topic.text()?;
                Ok((topic.i16()?, None))
            })
        })
        .await;
        let gone = |metadata: &Metadata| !metadata.topics.contains_key(name);
        self.wait_until_all_see(&format!("topic {name} to be gone"), gone)
            .await;
    }

    /// Gives a topic more partitions: `total` altogether.
    pub async fn add_partitions(&self, topic: &str, total: i32) {
        // CreatePartitions
        let request = Request::new(37, 1).array(1).text(topic).i32(total);
        let request = request.null_array().i32(CHANGE_TIMEOUT_MS).bool(false);
        let what = format!("give topic {topic} {total} partitions");
        self.change(&what, &request, None, |answer| {
            answer.i32()?; // Throttle time.
            answer.array(|topic| {
                topic.text()?;
                Ok((topic.i16()?, topic.nullable()?))
            })
        })
        .await;
        self.wait_for_leaders(topic, total).await;
    }

    /// Changes a setting of a topic.
    pub async fn alter_config(&self, topic: &str, key: &str, value: &str) {
        // IncrementalAlterConfigs; operation 0 is SET.
        let request = Request::new(44, 0).array(1).i8(RESOURCE_TOPIC).text(topic);
        let request = request.array(1).text(key).i8(0).text(value).bool(false);
        let what = format!("set {key}={value} of topic {topic}");
        self.change(&what, &request, None, |answer| {
            answer.i32()?; // Throttle time.
            answer.array(|resource| {
                let refusal = (resource.i16()?, resource.nullable()?);
                resource.i8()?;
                resource.text()?;
                Ok(refusal)
            })
        })
        .await;
    }

    /// Deletes the records of a partition below `offset`.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        // DeleteRecords
        let request = Request::new(21, 1).array(1).text(topic).array(1);
        let request = request.i32(partition).i64(offset).i32(CHANGE_TIMEOUT_MS);
        let what = format!("delete the records of {topic}/{partition} below {offset}");
        self.ask_leader(&what, (topic, partition), &request, |answer| {
            answer.i32()?; // Throttle time.
            of_one_partition(answer, |partition| {
                partition.i64()?; // The new start.
                Ok(((), partition.i16()?))
            })
        })
        .await;
    }

    /// The first offset of a partition, and the one after its last.
    pub async fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let start = self.offset(topic, partition, EARLIEST).await;
        (start, self.offset(topic, partition, LATEST).await)
    }

    async fn offset(&self, topic: &str, partition: i32, which: i64) -> i64 {
        // ListOffsets; replica -1 is a client, isolation 0 reads what is not committed too.
        let request = Request::new(2, 2).i32(-1).i8(0).array(1).text(topic);
        let request = request.array(1).i32(partition).i64(which);
        let what = format!("find the offsets of {topic}/{partition}");
        self.ask_leader(&what, (topic, partition), &request, |answer| {
            answer.i32()?; // Throttle time.
            of_one_partition(answer, |partition| {
                let error = partition.i16()?;
                partition.i64()?; // Time stamp.
                Ok((partition.i64()?, error))
            })
        })
        .await
    }

    pub(super) async fn metadata(&self) -> Metadata {
        self.repeat("read the metadata", async || {
            self.first_answer(&metadata_request(), read_metadata).await
        })
        .await
    }

    /// What each broker that answers now says of the cluster.
    pub(super) async fn each_metadata(&self) -> Vec<Metadata> {
        let mut all = Vec::new();
        for address in &self.addresses {
            let body = metadata_request().send(address).await;
            all.extend(body.and_then(|body| read_metadata(&mut Answer(&body))));
        }
        all
    }

    async fn wait_for_leaders(&self, topic: &str, partitions: i32) {
        let what = format!("{partitions} leaders of topic {topic}");
        self.wait_until_all_see(&what, |metadata| {
            let Some(found) = metadata.topics.get(topic) else {
                return false;
            };
            usize::try_from(partitions) == Ok(found.len())
                && found.iter().all(|one| one.leader.is_some())
        })
        .await;
    }

    pub(super) async fn wait_until_all_see(&self, what: &str, seen: impl Fn(&Metadata) -> bool) {
        crate::eventually(what, PATIENCE, || async {
            let all = self.each_metadata().await;
            (!all.is_empty() && all.iter().all(&seen)).then_some(())
        })
        .await;
    }

    /// Asks for a change. `done` is the code that says that an earlier try, whose answer was lost, did it.
    pub(super) async fn change(
        &self,
        what: &str,
        request: &Request,
        done: Option<i16>,
        read: impl Fn(&mut Answer<'_>) -> io::Result<Vec<(i16, Option<String>)>>,
    ) {
        let mut n_asked = 0;
        self.repeat(what, async || {
            n_asked += 1;
            for (code, words) in self.first_answer(request, &read).await? {
                if code != NONE && (n_asked == 1 || Some(code) != done) {
                    return Err(Failure::Refused(code, words));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Asks the leader of a partition.
    pub(super) async fn ask_leader<T>(
        &self,
        what: &str,
        (topic, partition): (&str, i32),
        request: &Request,
        read: impl Fn(&mut Answer<'_>) -> io::Result<(T, i16)>,
    ) -> T {
        self.repeat(what, async || {
            let metadata = self
                .first_answer(&metadata_request(), read_metadata)
                .await?;
            let leader = metadata.leader_address(topic, partition);
            let leader = leader.ok_or_else(|| io::Error::other("it has no leader"))?;
            let body = request.send(leader).await?;
            match read(&mut Answer(&body))? {
                (value, NONE) => Ok(value),
                // One broker knows of a new topic before its leader does.
                (_, UNKNOWN_TOPIC) => Err(io::Error::other("its leader does not know it").into()),
                (_, code) => Err(Failure::Refused(code, None)),
            }
        })
        .await
    }

    async fn first_answer<T>(
        &self,
        request: &Request,
        read: impl Fn(&mut Answer<'_>) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let mut last = io::Error::other("no broker to ask");
        for address in &self.addresses {
            match request.send(address).await {
                Ok(body) => return Ok(read(&mut Answer(&body))?),
                Err(error) => last = io::Error::other(format!("{address}: {error}")),
            }
        }
        Err(last.into())
    }

    async fn repeat<T>(&self, what: &str, mut once: impl AsyncFnMut() -> Result<T, Failure>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match once().await {
                Ok(value) => return value,
                Err(failure) if failure.is_worth_repeating() && Instant::now() < deadline => {
                    tokio::time::sleep(STEP).await;
                }
                Err(failure) => panic!("could not {what} at {:?}: {failure}", self.addresses),
            }
        }
    }
}

impl Metadata {
    fn leader_address(&self, topic: &str, partition: i32) -> Option<&str> {
        let mut partitions = self.topics.get(topic)?.iter();
        let leader = partitions.find(|one| one.index == partition)?.leader?;
        self.brokers.get(&leader).map(String::as_str)
    }
}

/// All topics, none created.
fn metadata_request() -> Request {
    Request::new(3, 4).null_array().bool(false)
}

fn read_metadata(answer: &mut Answer<'_>) -> io::Result<Metadata> {
    answer.i32()?; // Throttle time.
    let brokers = answer.array(|broker| {
        let (id, host, port) = (broker.i32()?, broker.text()?, broker.i32()?);
        broker.nullable()?; // Rack.
        Ok((id, format!("{host}:{port}")))
    })?;
    answer.nullable()?; // Cluster id.
    answer.i32()?; // Controller id: any broker, with KRaft.
    let topics = answer.array(|topic| {
        topic.i16()?; // Error.
        let name = topic.text()?;
        topic.i8()?; // Whether it is internal.
        let mut partitions = topic.array(|partition| {
            partition.i16()?; // Error.
            Ok(Partition {
                index: partition.i32()?,
                leader: Some(partition.i32()?).filter(|leader| *leader >= 0),
                replicas: partition.array(Answer::i32)?,
                in_sync: partition.array(Answer::i32)?,
            })
        })?;
        partitions.sort_by_key(|partition| partition.index);
        Ok((name, partitions))
    })?;
    Ok(Metadata {
        brokers: brokers.into_iter().collect(),
        topics: topics.into_iter().collect(),
    })
}

/// Topics with partitions, of which one was asked for: its number first, then what `read` reads.
pub(super) fn of_one_partition<T>(
    answer: &mut Answer<'_>,
    read: impl Fn(&mut Answer<'_>) -> io::Result<(T, i16)>,
) -> io::Result<(T, i16)> {
    let topics = answer.array(|topic| {
        topic.text()?;
        topic.array(|partition| {
            partition.i32()?;
            read(partition)
        })
    })?;
    let mut all = topics.into_iter().flatten();
    all.next()
        .ok_or_else(|| io::Error::other("the answer names no partition"))
}
