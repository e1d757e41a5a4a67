use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use syncbell_bus::{BoxFuture, Error as BusError};
use syncbell_event::{Envelope, Source, SweepKind, Swept};
use syncbell_service::{Health, Metrics};
use syncbell_store::{Batch, Store};

use super::*;

/// A log that fails the first so many appends, after it has written a part of each.
#[derive(Default)]
struct Log {
    failures: AtomicU32,
    broken: bool,
    written: Mutex<Vec<Record>>,
}

impl Log {
    fn values(&self) -> Vec<Vec<u8>> {
        let written = self.written.lock().unwrap();
        written.iter().map(|record| record.value.clone()).collect()
    }
}

impl Publisher for Log {
    fn append(&self, stream: Stream, records: Vec<Record>) -> BoxFuture<'_, Result<(), BusError>> {
        assert_eq!(stream, Stream::Changes);
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok();
        let n = if fails {
            records.len() / 2
        } else {
            records.len()
        };
        self.written
            .lock()
            .unwrap()
            .extend(records.into_iter().take(n));
        Box::pin(async move {
            match (fails, self.broken) {
                (false, _) => Ok(()),
                (true, true) => Err(BusError::Closed),
                (true, false) => Err(BusError::Unavailable {
                    what: "the disk is full".to_owned(),
                }),
            }
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    store: Store,
    outbox: Arc<Outbox>,
    log: Arc<Log>,
    health: Health,
    stop: CancellationToken,
    no_more: CancellationToken,
}

impl Bench {
    async fn new(log: Log) -> Self {
        let store = Store::memory();
        Self {
            outbox: Arc::new(Outbox::load(store.clone()).await.unwrap()),
            store,
            log: Arc::new(log),
            health: Health::new(),
            stop: CancellationToken::new(),
            no_more: CancellationToken::new(),
        }
    }

    fn relay(&self) -> Relay {
        Relay {
            outbox: self.outbox.clone(),
            publisher: self.log.clone(),
            metrics: PollerMetrics::new(&Metrics::new()),
            condition: self.health.condition("poller"),
            stop: self.stop.clone(),
            no_more: self.no_more.clone(),
        }
    }

    async fn put(&self, numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        let envelopes: Vec<Envelope> = numbers.map(envelope).collect();
        let mut batch = Batch::new();
        let added = self.outbox.add(&mut batch, &envelopes);
        self.store.commit(batch).await.unwrap();
        self.outbox.committed(&added);
        envelopes.iter().map(Envelope::encode).collect()
    }

    fn end(&self) {
        self.stop.cancel();
        self.no_more.cancel();
    }
}

fn envelope(n: u64) -> Envelope {
    let source = Source {
        region: "cn-shanghai".to_owned(),
        instance: "cri-a".to_owned(),
    };
    let swept = Swept {
        seen_until: Timestamp::UNIX_EPOCH,
        tasks: n,
        open: 0,
        sweep: SweepKind::Full,
        next_by: Timestamp::UNIX_EPOCH,
    };
    Envelope::swept(&source, Timestamp::UNIX_EPOCH, swept)
}

#[tokio::test]
async fn all_that_waits_is_sent_in_order_and_deleted() {
    let bench = Bench::new(Log::default()).await;
    let sent = bench.put(0..1_300).await;
    bench.end();
    bench.relay().run().await.unwrap();
    assert_eq!(bench.log.values(), sent);
    assert_eq!(bench.outbox.oldest(1).await.unwrap(), []);
    assert!(bench.health.is_ready());
    let written = bench.log.written.lock().unwrap();
    assert_eq!(written[0].key, b"cri-a");
    let content_type = syncbell_event::CONTENT_TYPE.as_bytes().to_vec();
    assert_eq!(
        written[0].headers,
        [("content-type".to_owned(), content_type)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_while_it_runs_wakes_it() {
    let bench = Bench::new(Log::default()).await;
    let start = tokio::time::Instant::now();
    let story = async {
        for n in 0..20 {
            bench.put(n..n + 1).await;
            while bench.outbox.depth().rows > 0 {
                tokio::task::yield_now().await;
            }
        }
        bench.end();
    };
    let (ended, ()) = tokio::join!(bench.relay().run(), story);
    ended.unwrap();
    assert_eq!(bench.log.values().len(), 20);
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "nothing waited for a timer"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_it_sends_again_from_the_oldest() {
    let log = Log {
        failures: AtomicU32::new(3),
        ..Log::default()
    };
    let bench = Bench::new(log).await;
    let sent = bench.put(0..10).await;
    let story = async {
        while bench.outbox.depth().rows > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.end();
    };
    let (ended, ()) = tokio::join!(bench.relay().run(), story);
    ended.unwrap();
    let half = &sent[..5];
    assert_eq!(bench.log.values(), [half, half, half, &sent[..]].concat());
    assert!(bench.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_a_dead_log_keeps_nobody_and_the_rows_stay_for_the_next_start() {
    let log = Log {
        failures: AtomicU32::new(u32::MAX),
        ..Log::default()
    };
    let bench = Bench::new(log).await;
    let sent = bench.put(0..2).await;
    bench.end();
    bench.relay().run().await.unwrap();
    assert!(!bench.health.is_ready());

    let again = Outbox::load(bench.store.clone()).await.unwrap();
    assert_eq!(again.depth().rows, 2);
    bench.log.failures.store(0, Ordering::SeqCst);
    bench.log.written.lock().unwrap().clear();
    bench.relay().run().await.unwrap();
    assert_eq!(bench.log.values(), sent);
}

#[tokio::test]
async fn a_broken_log_ends_it_with_an_error() {
    let log = Log {
        failures: AtomicU32::new(1),
        broken: true,
        ..Log::default()
    };
    let bench = Bench::new(log).await;
    bench.put(0..1).await;
    let ended = bench.relay().run().await;
    assert!(matches!(ended, Err(Error::Bus(BusError::Closed))));
    assert_eq!(bench.outbox.depth().rows, 1);
}

#[tokio::test]
async fn a_record_carries_its_type_and_the_trace_of_its_poll() {
    let bench = Bench::new(Log::default()).await;
    let mut traced = envelope(1);
    traced.traceparent = Some(syncbell_event::TraceParent::new(0xabc, 0xdef));
    let mut batch = Batch::new();
    let added = bench.outbox.add(&mut batch, &[traced, envelope(2)]);
    bench.store.commit(batch).await.unwrap();
    bench.outbox.committed(&added);
    bench.end();
    bench.relay().run().await.unwrap();
    let written = bench.log.written.lock().unwrap();
    let header = |n: usize, name: &str| {
        let headers = &written[n].headers;
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let trace = "00-00000000000000000000000000000abc-0000000000000def-01";
    assert_eq!(header(0, "traceparent").as_deref(), Some(trace));
    assert_eq!(header(1, "traceparent"), None);
    assert_eq!(
        header(1, "content-type").as_deref(),
        Some(syncbell_event::CONTENT_TYPE)
    );
}
