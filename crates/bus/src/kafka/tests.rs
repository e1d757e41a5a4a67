//! The Kafka backend against real brokers.

use std::collections::BTreeSet;
use std::time::Duration;

use syncbell_testkit::kafka::{self, Admin, KafkaCluster};
use syncbell_testkit::{ChaosProxy, Mode, eventually};

use super::*;
use crate::{Bus, Subscriber};

mod security;

const WAIT: Duration = Duration::from_mins(1);

/// Topics of a test's own on the broker that the test binary shares.
struct Fixture {
    options: KafkaOptions,
    admin: Admin,
}

impl Fixture {
    /// `None` where no Kafka is wanted.
    async fn new(name: &str) -> Option<Fixture> {
        let shared = kafka::shared().await?;
        let mut options = KafkaOptions::new([shared.bootstrap()]);
        options.topic_prefix = kafka::unique_prefix(name);
        Some(Fixture {
            options,
            admin: shared.admin(),
        })
    }

    #[expect(clippy::unused_async, reason = "as the suite wants it")]
    async fn open(&self) -> Bus {
        Bus::kafka(self.options.clone()).expect("plain options")
    }

    fn changes(&self) -> String {
        topics::name(&self.options, Stream::Changes)
    }
}

mod conformance {
    crate::conformance_tests!(super::Fixture::new("suite").await);
}

async fn append(bus: &Bus, keys: std::ops::Range<usize>) {
    let records = keys.map(|n| Record::new(format!("key-{n}"), n.to_string()));
    let publisher = bus.publisher();
    let appended = publisher.append(Stream::Changes, records.collect());
    appended.await.expect("the append is taken");
}

async fn take(subscriber: &mut dyn Subscriber, n: usize) -> Vec<Read> {
    let mut reads = Vec::new();
    let all = async {
        while reads.len() < n {
            reads.extend(
                subscriber
                    .next(n - reads.len())
                    .await
                    .expect("records come"),
            );
        }
    };
    tokio::time::timeout(WAIT, all).await.expect("in time");
    reads
}

fn next_after(reads: &[Read]) -> Next {
    let mut next = Next::new();
    for read in reads {
        next.advance(read.position);
    }
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_are_made_as_the_design_says() {
    let Some(fixture) = Fixture::new("made").await else {
        return;
    };
    let bus = fixture.open().await;
    bus.publisher().ready().await.unwrap();
    assert_eq!(fixture.admin.partitions(&fixture.changes()).await.len(), 6);
    for stream in [Stream::DeadLetters, Stream::Requests] {
        let topic = topics::name(&fixture.options, stream);
        assert_eq!(fixture.admin.partitions(&topic).await.len(), 1, "{topic}");
    }
    bus.close().await;
}

/// Java clients and the state topic find an instance's partition by the same hash.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_lands_on_the_partition_that_java_clients_choose() {
    let Some(fixture) = Fixture::new("murmur").await else {
        return;
    };
    let bus = fixture.open().await;
    // Of 6 partitions, by org.apache.kafka.common.utils.Utils.murmur2 (its own test has the hashes).
    let expected: [(&str, i32); 3] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
    ];
    for (key, hash) in expected {
        let record = Record::new(key, "x");
        let publisher = bus.publisher();
        publisher
            .append(Stream::Changes, vec![record])
            .await
            .unwrap();
        let partition = u32::try_from((hash & 0x7fff_ffff) % 6).unwrap();
        let bounds = bus.bounds(Stream::Changes).await.unwrap();
        assert!(
            bounds.end.get(partition) >= Some(1),
            "{key}: {:?}",
            bounds.end
        );
    }
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_below_the_start_of_the_log_is_refused_with_its_bounds() {
    let Some(fixture) = Fixture::new("below").await else {
        return;
    };
    let bus = fixture.open().await;
    append(&bus, 0..60).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    let reads = take(&mut *subscriber, 60).await;
    let first = reads[0].position;
    let partition = i32::try_from(first.partition).unwrap();
    let behind_first = next_after(&reads[..1]);
    fixture
        .admin
        .delete_records(&fixture.changes(), partition, 3)
        .await;
    let refused = bus
        .subscribe(Stream::Changes, StartAt::At(behind_first))
        .await;
    match refused.err() {
        Some(Error::OutOfRange {
            partition,
            wanted,
            start,
            ..
        }) => assert_eq!((partition, wanted, start), (first.partition, 1, 3)),
        other => panic!("a position that was cut away gave {other:?}"),
    }
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_is_noticed_by_its_reader() {
    let Some(fixture) = Fixture::new("anew").await else {
        return;
    };
    let bus = fixture.open().await;
    append(&bus, 0..30).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    let reads = take(&mut *subscriber, 30).await;
    fixture.admin.delete_topic(&fixture.changes()).await;
    let told = tokio::time::timeout(WAIT, subscriber.next(1)).await;
    let told = told.expect("it does not wait for ever").unwrap_err();
    assert!(
        matches!(told, Error::Unavailable { .. } | Error::OutOfRange { .. }),
        "{told:?}"
    );
    // The next look makes the topic again; the old position is not one of it.
    eventually("the topic to be there again", WAIT, async || {
        bus.bounds(Stream::Changes).await.ok()
    })
    .await;
    let refused = bus
        .subscribe(Stream::Changes, StartAt::At(next_after(&reads)))
        .await;
    assert!(matches!(refused.err(), Some(Error::OutOfRange { .. })));
    append(&bus, 0..5).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    assert_eq!(take(&mut *subscriber, 5).await.len(), 5);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_read_from_their_start() {
    let Some(fixture) = Fixture::new("grown").await else {
        return;
    };
    let bus = fixture.open().await;
    append(&bus, 0..30).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    take(&mut *subscriber, 30).await;
    fixture.admin.add_partitions(&fixture.changes(), 12).await;
    // A producer of its own, which knows of all twelve.
    let other = fixture.open().await;
    append(&other, 0..200).await;
    let reads = take(&mut *subscriber, 200).await;
    let partitions: BTreeSet<u32> = reads.iter().map(|read| read.position.partition).collect();
    assert!(
        partitions.iter().any(|partition| *partition >= 6),
        "{partitions:?}"
    );
    other.close().await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_later_is_found_and_nothing_is_lost_meanwhile() {
    let Some(fixture) = Fixture::new("later").await else {
        return;
    };
    // Nobody listens where the client looks, at first.
    let target = fixture.options.brokers[0].parse().unwrap();
    let proxy = ChaosProxy::start(target).await;
    proxy.set(Mode::Refuse).await;
    let mut options = fixture.options.clone();
    options.brokers = vec![proxy.addr().to_string()];
    let bus = Bus::kafka(options).unwrap();
    let refused = bus.publisher().ready().await.unwrap_err();
    assert_eq!(refused.retry(), crate::Retry::Later);
    assert!(
        refused.to_string().contains("no broker can be reached"),
        "{refused}"
    );
    proxy.set(Mode::Pass).await;
    eventually("the broker", WAIT, async || {
        bus.publisher().ready().await.ok()
    })
    .await;
    append(&bus, 0..3).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    assert_eq!(take(&mut *subscriber, 3).await.len(), 3);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_client_is_made_anew_goes_on_at_its_place() {
    let Some(fixture) = Fixture::new("client").await else {
        return;
    };
    let log = Arc::new(KafkaLog::try_new(fixture.options.clone()).unwrap());
    let bus = fixture.open().await;
    append(&bus, 0..30).await;
    let subscribed = log.subscribe(Stream::Changes, StartAt::Start).await;
    let mut subscriber = subscribed.unwrap();
    let mut reads = take(&mut subscriber, 10).await;
    subscriber.leave_client();
    append(&bus, 30..40).await;
    reads.extend(take(&mut subscriber, 30).await);
    let places: BTreeSet<_> = reads.iter().map(|read| read.position).collect();
    assert_eq!(places.len(), 40, "each once");
    drop(subscriber);
    log.close().await;
    bus.close().await;
}

/// A record that the topic does not take: nothing is written behind the gap, and the next append works.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_failed_is_made_anew_and_leaves_no_gap() {
    let Some(fixture) = Fixture::new("gap").await else {
        return;
    };
    let bus = fixture.open().await;
    let publisher = bus.publisher();
    publisher.ready().await.unwrap();
    let topic = fixture.changes();
    fixture
        .admin
        .alter_config(&topic, "max.message.bytes", "2000")
        .await;
    // Chance does not compress.
    let large: Vec<u8> = (0..50_000).map(|_| rand::random()).collect();
    let records = vec![
        Record::new("a", "0"),
        Record::new("a", large),
        Record::new("a", "2"),
    ];
    let refused = eventually("the limit to be known", WAIT, async || {
        let appended = publisher.append(Stream::Changes, records.clone()).await;
        appended.err()
    });
    let refused = refused.await;
    assert_eq!(refused.retry(), crate::Retry::Later, "{refused}");
    fixture
        .admin
        .alter_config(&topic, "max.message.bytes", "1048588")
        .await;
    eventually("the append to be taken again", WAIT, async || {
        publisher
            .append(Stream::Changes, records.clone())
            .await
            .ok()
    })
    .await;
    let end = bus.bounds(Stream::Changes).await.unwrap().end;
    let n = usize::try_from(Next::new().lag(&end)).unwrap();
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    let mut first_seen: Vec<Vec<u8>> = Vec::new();
    for read in take(&mut *subscriber, n).await {
        if !first_seen.contains(&read.record.value) {
            first_seen.push(read.record.value);
        }
    }
    let sent: Vec<Vec<u8>> = records.into_iter().map(|record| record.value).collect();
    assert!(
        first_seen == sent,
        "read for the first time in another order"
    );
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_position_is_the_groups_offset_for_lag_tools() {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    let Some(fixture) = Fixture::new("lag").await else {
        return;
    };
    let bus = fixture.open().await;
    append(&bus, 0..5).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    let at = next_after(&take(&mut *subscriber, 5).await);
    subscriber.acknowledge(&at).await.unwrap();
    let tool = properties::consumer(&fixture.options, Stream::Changes).unwrap();
    let tool: BaseConsumer = tool.create().unwrap();
    let mut asked = rdkafka::TopicPartitionList::new();
    for (partition, _) in at.iter() {
        asked.add_partition(&fixture.changes(), i32::try_from(partition).unwrap());
    }
    eventually("the group's offset", WAIT, async || {
        let committed = tool.committed_offsets(asked.clone(), WAIT).ok()?;
        let found = committed.elements().into_iter().filter_map(|element| {
            let offset = u64::try_from(element.offset().to_raw()?).ok()?;
            Some((u32::try_from(element.partition()).ok()?, offset))
        });
        (found.collect::<Next>() == at).then_some(())
    })
    .await;
    bus.close().await;
}

/// Closing ends in its time although no broker answers any more (rust-rdkafka issue 611).
#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_when_the_broker_is_silent() {
    let Some(cluster) = KafkaCluster::start(kafka::KafkaOptions::brokers(1)).await else {
        return;
    };
    let mut options = KafkaOptions::new([cluster.bootstrap()]);
    options.topic_prefix = kafka::unique_prefix("silent");
    let bus = Bus::kafka(options).unwrap();
    append(&bus, 0..3).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    take(&mut *subscriber, 3).await;
    cluster.stop(1);
    let publisher = bus.publisher();
    let append = publisher.append(Stream::Changes, vec![Record::new("a", "b")]);
    let closing = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bus.close().await;
    };
    let both = async { tokio::join!(append, closing) };
    let (appended, ()) = tokio::time::timeout(CLOSE + CLOSE, both)
        .await
        .expect("it ends");
    assert_eq!(appended, Err(Error::Closed));
    cluster.cont(1);
}
