//! `cargo bench -p syncbell-poller --bench relay`: how fast the outbox is relayed, every row durably
//! deleted, beside the same records appended without a store. On the embedded log, and on Kafka.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use syncbell_bus::{Bus, EmbeddedOptions, KafkaOptions, Publisher, Record, Stream};
use syncbell_poller::measure;
use syncbell_store::{Options, Store};
use tokio::time::Instant;

const EVENTS: u64 = 100_000;

/// Appends of the publish loop's size that the bare producer has under way.
const APPEND: usize = 512;
const UNDER_WAY: usize = 8;

const ROUNDS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        println!(
            "outbox relay, {EVENTS} events a round, median of {ROUNDS} rounds (release profile)"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let embedded = Bus::embedded(folder.path(), EmbeddedOptions::default()).expect("a log");
        measure_on("embedded", &embedded).await;
        embedded.close().await;
        let Some(kafka) = syncbell_testkit::kafka::shared().await else {
            println!("kafka: left out");
            return;
        };
        let mut options = KafkaOptions::new([kafka.bootstrap()]);
        options.topic_prefix = syncbell_testkit::kafka::unique_prefix("relay");
        let kafka = Bus::kafka(options).expect("plain options");
        measure_on("kafka", &kafka).await;
        kafka.close().await;
    });
}

async fn measure_on(name: &str, bus: &Bus) {
    bus.publisher().ready().await.expect("the log answers");
    let (mut relayed, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Options::default()).expect("a store");
        let took = measure::relay(store.clone(), bus.publisher(), EVENTS).await;
        relayed.push(per_second(took.expect("the relay ends").as_secs_f64()));
        store.close().await.expect("the store closes");
        bare.push(per_second(append(bus.publisher()).await));
    }
    let (relayed, bare) = (median(relayed), median(bare));
    println!(
        "{name}: relay, rows deleted durably {relayed:.0} events/s; append alone {bare:.0} events/s \
         ({:.2} of it)",
        relayed / bare
    );
}

/// The same records with several appends under way; seconds.
async fn append(publisher: Arc<dyn Publisher>) -> f64 {
    let records: Vec<Record> = measure::events(EVENTS)
        .map(|e| measure::record(&e))
        .collect();
    let began = Instant::now();
    let appends = records.chunks(APPEND).map(|records| {
        let (publisher, records) = (publisher.clone(), records.to_vec());
        async move { publisher.append(Stream::Changes, records).await }
    });
    let appended: Vec<_> = stream::iter(appends).buffered(UNDER_WAY).collect().await;
    assert!(appended.into_iter().all(|appended| appended.is_ok()));
    began.elapsed().as_secs_f64()
}

fn per_second(seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let n = EVENTS as f64;
    n / seconds
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
