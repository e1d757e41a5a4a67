//! The Prometheus registry: made once, handed down.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

/// Upper bounds in seconds, from 1 ms to 60 s: fit for requests, commits and deliveries.
pub const LATENCY_BUCKETS_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// A handle to the registry; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry whose metrics begin with `syncbell_`.
    pub fn new() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("syncbell"))),
        }
    }

    /// Adds `metric` under `syncbell_{name}` (a counter's `_total` is added by the encoder) and gives it
    /// back.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// Adds a family of gauges that is read anew at each scrape: for what somebody else counts, and
    /// whose series come and go.
    pub fn observe(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.collect(name, help, MetricType::Gauge, read);
    }

    /// As [`Metrics::observe`], of what only grows while the process lives; `_total` is added to the name.
    pub fn observe_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.collect(name, help, MetricType::Counter, read);
    }

    fn collect(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(Observed {
            name,
            help,
            kind,
            read: Box::new(read),
        }));
    }

    /// Everything as OpenMetrics text, with the memory of the process.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if encode(&mut text, &registry).is_err() {
            tracing::error!("could not write the metrics as text");
        }
        drop(registry);
        if let Some(bytes) = resident_memory_bytes() {
            let end = text.rfind("# EOF").unwrap_or(text.len());
            text.truncate(end);
            let written = write!(
                text,
                "# HELP process_resident_memory_bytes Resident memory.\n\
                 # TYPE process_resident_memory_bytes gauge\n\
                 process_resident_memory_bytes {bytes}\n# EOF\n"
            );
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        text
    }
}

/// One value of a family that is read at each scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values; every sample of a family has the same names.
    pub labels: Vec<(&'static str, String)>,
    /// In the unit that the family's name ends with.
    pub value: f64,
}

/// What [`Metrics::observe`] was given.
struct Observed {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for sample in (self.read)() {
            let series = family.encode_family(&sample.labels)?;
            match self.kind {
                MetricType::Counter => ConstCounter::new(sample.value).encode(series)?,
                _ => ConstGauge::new(sample.value).encode(series)?,
            }
        }
        Ok(())
    }
}

/// `VmRSS` of this process (proc(5)), in bytes; none where there is no `/proc`.
pub fn resident_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_observed_is_read_at_each_scrape() {
        let metrics = Metrics::new();
        let lag = Arc::new(Mutex::new(vec![1.0, 2.5]));
        let read = lag.clone();
        metrics.observe("lag_records", "Behind.", move || {
            let lag = read.lock().unwrap();
            let samples = lag.iter().enumerate().map(|(n, value)| Sample {
                labels: vec![("partition", n.to_string())],
                value: *value,
            });
            samples.collect()
        });
        let text = metrics.encode();
        assert!(text.contains("# TYPE syncbell_lag_records gauge"), "{text}");
        assert!(
            text.contains("syncbell_lag_records{partition=\"1\"} 2.5"),
            "{text}"
        );
        lag.lock().unwrap().truncate(1);
        assert!(!metrics.encode().contains("partition=\"1\""));
    }

    #[test]
    fn what_only_grows_is_a_counter() {
        let metrics = Metrics::new();
        metrics.observe_counter("compactions", "Made.", || {
            vec![Sample {
                labels: vec![("store", "poller".to_owned())],
                value: 2.0,
            }]
        });
        let text = metrics.encode();
        assert!(
            text.contains("# TYPE syncbell_compactions counter"),
            "{text}"
        );
        let line = "syncbell_compactions_total{store=\"poller\"} 2";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_text_has_our_prefix_the_memory_and_one_end() {
        let metrics = Metrics::new();
        let polls = metrics.register("polls", "Polls made.", Counter::<u64>::default());
        polls.inc_by(3);
        let text = metrics.encode();
        assert!(text.contains("syncbell_polls_total 3"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
