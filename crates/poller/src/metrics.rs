//! What the poller counts. Labels come from closed sets; every series is there from the start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use syncbell_event::Kind;
use syncbell_service::Metrics;
use syncbell_service::metrics::LATENCY_BUCKETS_SECONDS;

use crate::outbox::Depth;

/// How a poll can end; most are classes of `syncbell_acr::Error`.
const OUTCOMES: [&str; 11] = [
    "complete",
    "unstable",
    "denied",
    "throttled",
    "unavailable",
    "malformed",
    "rejected",
    "clock",
    "signature",
    "credentials",
    "disk_full",
];

const KINDS: [Kind; 4] = [Kind::Snapshot, Kind::Created, Kind::Updated, Kind::Vanished];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfInstance {
    instance: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOutcome {
    instance: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    instance: String,
    kind: &'static str,
}

/// The poller's metrics; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PollerMetrics {
    polls: Family<OfOutcome, Counter>,
    poll_seconds: Family<OfInstance, Histogram, fn() -> Histogram>,
    tasks_seen: Family<OfInstance, Counter>,
    tasks_refused: Family<OfInstance, Counter>,
    changes: Family<OfKind, Counter>,
    last_complete: Family<OfInstance, Gauge>,
    age: Family<OfInstance, Age>,
    poll_interval: Family<OfInstance, Gauge<f64, AtomicU64>>,
    request_rate: Family<OfInstance, Gauge<f64, AtomicU64>>,
    baseline_complete: Family<OfInstance, Gauge>,
    baseline_untold: Family<OfInstance, Gauge>,
    outbox_rows: Gauge,
    outbox_bytes: Gauge,
    published: Counter,
    publish_failures: Counter,
}

impl PollerMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS_SECONDS);
        Self {
            polls: metrics.register("polls", "Polls by how they ended", Family::default()),
            poll_seconds: metrics.register(
                "poll_seconds",
                "How long polls took",
                Family::new_with_constructor(histogram),
            ),
            tasks_seen: metrics.register("tasks_seen", "Rows read", Family::default()),
            tasks_refused: metrics.register(
                "tasks_refused",
                "Rows that could not be understood or kept",
                Family::default(),
            ),
            changes: metrics.register("changes", "Task events found", Family::default()),
            last_complete: metrics.register(
                "last_complete_sweep_timestamp_seconds",
                "When the last complete sweep ended; 0 for never",
                Family::default(),
            ),
            age: metrics.register(
                "last_complete_sweep_age_seconds",
                "Time since the last complete sweep ended, or since the start",
                Family::default(),
            ),
            poll_interval: metrics.register(
                "poll_interval_seconds",
                "The time between polls now: longer than configured while the server throttles",
                Family::default(),
            ),
            request_rate: metrics.register(
                "request_rate_limit",
                "Requests a second that the instance's account may make in its region now",
                Family::default(),
            ),
            baseline_complete: metrics.register(
                "baseline_complete",
                "1 once the baseline is complete",
                Family::default(),
            ),
            baseline_untold: metrics.register(
                "baseline_untold",
                "Failures from before the baseline that were not told",
                Family::default(),
            ),
            outbox_rows: metrics.register("outbox_rows", "Events not sent yet", Gauge::default()),
            outbox_bytes: metrics.register(
                "outbox_bytes",
                "Bytes of the events not sent yet",
                Gauge::default(),
            ),
            published: metrics.register(
                "events_published",
                "Events that the log acknowledged",
                Counter::default(),
            ),
            publish_failures: metrics.register(
                "publish_failures",
                "Appends that the log did not take",
                Counter::default(),
            ),
        }
    }

    pub(crate) fn set_outbox(&self, depth: Depth) {
        self.outbox_rows.set(clamp(depth.rows));
        self.outbox_bytes.set(clamp(depth.bytes));
    }

    pub(crate) fn published(&self, n: u64) {
        self.published.inc_by(n);
    }

    pub(crate) fn publish_failed(&self) {
        self.publish_failures.inc();
    }

    /// The part of one instance, every series made.
    pub(crate) fn of(&self, instance: &str, now: Timestamp) -> InstanceMetrics {
        let of = InstanceMetrics {
            all: self.clone(),
            instance: OfInstance {
                instance: instance.to_owned(),
            },
        };
        for outcome in OUTCOMES {
            drop(self.polls.get_or_create(&of.outcome(outcome)));
        }
        for kind in KINDS {
            drop(self.changes.get_or_create(&of.kind(kind)));
        }
        drop(self.poll_seconds.get_or_create(&of.instance));
        drop(self.tasks_seen.get_or_create(&of.instance));
        drop(self.tasks_refused.get_or_create(&of.instance));
        drop(self.last_complete.get_or_create(&of.instance));
        drop(self.baseline_complete.get_or_create(&of.instance));
        drop(self.baseline_untold.get_or_create(&of.instance));
        self.age.get_or_create(&of.instance).set(now);
        of
    }
}

/// The metrics of one instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceMetrics {
    all: PollerMetrics,
    instance: OfInstance,
}

impl InstanceMetrics {
    pub(crate) fn polled(&self, outcome: &'static str, took: Duration) {
        self.all.polls.get_or_create(&self.outcome(outcome)).inc();
        let seconds = self.all.poll_seconds.get_or_create(&self.instance);
        seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn read(&self, n_rows: u64, n_refused: u64) {
        self.all
            .tasks_seen
            .get_or_create(&self.instance)
            .inc_by(n_rows);
        self.all
            .tasks_refused
            .get_or_create(&self.instance)
            .inc_by(n_refused);
    }

    pub(crate) fn told(&self, kinds: &[Kind]) {
        for kind in kinds {
            self.all.changes.get_or_create(&self.kind(*kind)).inc();
        }
    }

    pub(crate) fn swept(&self, now: Timestamp) {
        let last = self.all.last_complete.get_or_create(&self.instance);
        last.set(now.as_second());
        self.all.age.get_or_create(&self.instance).set(now);
    }

    /// The interval between polls, and the requests a second that may go out.
    pub(crate) fn pace(&self, interval: Duration, rate: f64) {
        let of = &self.instance;
        self.all
            .poll_interval
            .get_or_create(of)
            .set(interval.as_secs_f64());
        self.all.request_rate.get_or_create(of).set(rate);
    }

    pub(crate) fn baseline(&self, complete: bool) {
        let gauge = self.all.baseline_complete.get_or_create(&self.instance);
        gauge.set(complete.into());
    }

    pub(crate) fn untold(&self, n: u64) {
        let gauge = self.all.baseline_untold.get_or_create(&self.instance);
        gauge.set(clamp(n));
    }

    pub(crate) fn outbox(&self, depth: Depth) {
        self.all.set_outbox(depth);
    }

    fn outcome(&self, outcome: &'static str) -> OfOutcome {
        OfOutcome {
            instance: self.instance.instance.clone(),
            outcome,
        }
    }

    fn kind(&self, kind: Kind) -> OfKind {
        OfKind {
            instance: self.instance.instance.clone(),
            kind: kind_name(kind),
        }
    }
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Snapshot => "snapshot",
        Kind::Created => "created",
        Kind::Updated => "updated",
        Kind::Vanished => "vanished",
    }
}

/// A gauge that is computed when it is read: seconds since a moment.
#[derive(Clone, Debug, Default)]
struct Age {
    since_ms: Arc<AtomicI64>,
}

impl Age {
    fn set(&self, at: Timestamp) {
        self.since_ms.store(at.as_millisecond(), Ordering::Relaxed);
    }
}

impl TypedMetric for Age {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Age {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let age_ms = Timestamp::now().as_millisecond() - self.since_ms.load(Ordering::Relaxed);
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        encoder.encode_gauge(&age.as_secs_f64())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
