//! What librdkafka says of itself, for Prometheus. Nothing of it appears with the embedded log.

use syncbell_notifier::Bus;
use syncbell_service::Metrics;
use syncbell_service::metrics::Sample;

/// Adds the families; they are read from `bus` at each scrape and change every 15 s.
pub(crate) fn observe(bus: &Bus, metrics: &Metrics) {
    per_broker(bus, metrics);
    per_client(bus, metrics);
    let of = bus.clone();
    let help = "Records between what a reader took and the end, by partition.";
    metrics.observe("kafka_lag_records", help, move || {
        let clients = of.statistics().into_iter();
        let lags = clients.flat_map(|client| {
            let partitions = client.lag_records.into_iter();
            partitions.map(move |(partition, lag)| Sample {
                labels: vec![
                    ("client", client.role.clone()),
                    ("partition", partition.to_string()),
                ],
                value: number(lag),
            })
        });
        lags.collect()
    });
}

fn per_broker(bus: &Bus, metrics: &Metrics) {
    type Read = fn(&syncbell_notifier::BrokerStatistics) -> Option<f64>;
    let families: [(&str, &str, Read); 3] = [
        (
            "kafka_broker_up",
            "1 while a client is connected to a broker and logged in.",
            |broker| Some(f64::from(u8::from(broker.up))),
        ),
        (
            "kafka_broker_rtt_p99_seconds",
            "99th percentile of requests' round trips in the last 15 s.",
            |broker| broker.rtt_p99_seconds,
        ),
        (
            "kafka_broker_failed_requests",
            "Requests that were not sent or not answered in time, since the client was made.",
            |broker| Some(number(broker.failed_requests)),
        ),
    ];
    for (name, help, read) in families {
        let of = bus.clone();
        metrics.observe(name, help, move || {
            let clients = of.statistics().into_iter();
            let samples = clients.flat_map(|client| {
                let brokers = client.brokers.into_iter();
                brokers.filter_map(move |(broker, state)| {
                    Some(Sample {
                        value: read(&state)?,
                        labels: vec![("client", client.role.clone()), ("broker", broker)],
                    })
                })
            });
            samples.collect()
        });
    }
}

fn per_client(bus: &Bus, metrics: &Metrics) {
    type Read = fn(&syncbell_notifier::ClientStatistics) -> u64;
    let families: [(&str, &str, Read); 2] = [
        (
            "kafka_queued_records",
            "Records that wait in a client to be sent or acknowledged.",
            |client| client.queued_records,
        ),
        ("kafka_queued_bytes", "Their size.", |client| {
            client.queued_bytes
        }),
    ];
    for (name, help, read) in families {
        let of = bus.clone();
        metrics.observe(name, help, move || {
            let clients = of.statistics().into_iter();
            let samples = clients.map(|client| Sample {
                value: number(read(&client)),
                labels: vec![("client", client.role)],
            });
            samples.collect()
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn number(n: u64) -> f64 {
    n as f64
}
