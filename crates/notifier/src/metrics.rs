//! What the notifier counts. Series exist from the start, so that a rate of zero is seen as zero.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use syncbell_service::Metrics;
use syncbell_service::metrics::LATENCY_BUCKETS_SECONDS;

use crate::outcome::Outcome;

/// Of an attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DeliveryLabels {
    receiver: String,
    channel: &'static str,
    outcome: &'static str,
}

/// Why something went to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum DeadKind {
    Record,
    Delivery,
}

/// A kind of rows of the ledger of which some are forgotten in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub(crate) enum RowKind {
    /// The ids of the events of a turn.
    Event,
    /// Trails of a turn, or a delivery of an event that was made later.
    Trail,
    Incident,
    /// A delivery that is over.
    Delivery,
    DeadTrigger,
    DroppedResolve,
    /// That a dead letter was replayed.
    Replay,
    Group,
    /// What is held back.
    Held,
    /// That an incident hides others.
    Source,
    Silence,
    /// When an incident began and ended of late.
    Turns,
    Watch,
    Task,
    Route,
}

impl RowKind {
    /// In the order of a pass.
    pub(crate) const ALL: [Self; 15] = [
        Self::Event,
        Self::Trail,
        Self::Incident,
        Self::Delivery,
        Self::DeadTrigger,
        Self::DroppedResolve,
        Self::Replay,
        Self::Group,
        Self::Held,
        Self::Source,
        Self::Silence,
        Self::Turns,
        Self::Watch,
        Self::Task,
        Self::Route,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    kind: RowKind,
}

/// What became of a turn of the heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatOutcome {
    Sent,
    Failed,
    HeldBack,
}

impl HeartbeatOutcome {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::HeldBack];

    fn labels(self) -> HeartbeatLabels {
        let outcome = match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::HeldBack => "held_back",
        };
        HeartbeatLabels { outcome }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeartbeatLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReceiverLabels {
    receiver: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TemplateLabels {
    template: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLabels {
    kind: DeadKind,
}

/// A handle to all of them.
#[derive(Clone, Debug)]
pub(crate) struct NotifierMetrics {
    pub(crate) events: Counter,
    pub(crate) lag: Gauge,
    pub(crate) log_restarts: Counter,
    pub(crate) told: Counter,
    pub(crate) held: Counter,
    deliveries: Family<DeliveryLabels, Counter>,
    merged: Family<ReceiverLabels, Counter>,
    dead: Family<DeadLabels, Counter>,
    rows: Family<RowLabels, Gauge>,
    forgotten: Family<RowLabels, Counter>,
    pub(crate) latency: Histogram,
    templates: Family<TemplateLabels, Counter>,
    pub(crate) receivers_failing: Gauge,
    heartbeats: Family<HeartbeatLabels, Counter>,
}

impl NotifierMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            events: metrics.register("events_consumed", "Events read.", Counter::default()),
            lag: metrics.register("events_lag", "Events not read yet.", Gauge::default()),
            log_restarts: metrics.register(
                "events_log_restarts",
                "Times the event log was not the one that was read, and was read from its start.",
                Counter::default(),
            ),
            told: metrics.register("alerts_told", "Conditions told.", Counter::default()),
            held: metrics.register(
                "alerts_held",
                "Conditions held back by silences and inhibition, and ends of what was.",
                Counter::default(),
            ),
            deliveries: metrics.register(
                "deliveries",
                "Attempts at deliveries, by how they ended.",
                Family::default(),
            ),
            merged: metrics.register(
                "deliveries_merged",
                "Deliveries that waited for a receiver's rate and were told by one message with others.",
                Family::default(),
            ),
            dead: metrics.register("dead_letters", "Dead letters written.", Family::default()),
            rows: metrics.register(
                "ledger_rows",
                "Rows of the ledger that the last pass of forgetting left, by kind.",
                Family::default(),
            ),
            forgotten: metrics.register(
                "ledger_rows_forgotten",
                "Rows of the ledger that were over and were forgotten, by kind.",
                Family::default(),
            ),
            latency: metrics.register(
                "alert_latency_seconds",
                "From the poll that saw a change to the receiver that took its alert.",
                Histogram::new(LATENCY_BUCKETS_SECONDS),
            ),
            receivers_failing: metrics.register(
                "receivers_failing",
                "Receivers, of mail each address, that nothing has reached for long.",
                Gauge::default(),
            ),
            heartbeats: metrics.register(
                "heartbeats",
                "Turns of the heartbeat: pings sent, pings that did not arrive, and those held back.",
                Family::default(),
            ),
            templates: metrics.register(
                "template_failures",
                "Times a template failed and the built-in text was sent in its place.",
                Family::default(),
            ),
        };
        this.begin_at_zero();
        this
    }

    /// Creates the series of which the labels are known.
    fn begin_at_zero(&self) {
        let names = syncbell_config::TEMPLATE_NAMES.into_iter();
        for template in names.chain([crate::render::BODY_TEMPLATE]) {
            let template = template.to_owned();
            let labels = TemplateLabels { template };
            self.templates.get_or_create(&labels).inc_by(0);
        }
        for outcome in HeartbeatOutcome::ALL {
            self.heartbeats.get_or_create(&outcome.labels()).inc_by(0);
        }
        for kind in [DeadKind::Record, DeadKind::Delivery] {
            self.dead(kind, 0);
        }
        for kind in RowKind::ALL {
            self.forgotten(kind, 0);
        }
    }

    /// Creates a receiver's series.
    pub(crate) fn prepare(&self, receiver: &str, channel: &'static str) {
        for outcome in Outcome::NAMES {
            let labels = DeliveryLabels {
                receiver: receiver.to_owned(),
                channel,
                outcome,
            };
            self.deliveries.get_or_create(&labels).inc_by(0);
        }
        self.merged(receiver, 0);
    }

    /// So many deliveries became one.
    pub(crate) fn merged(&self, receiver: &str, count: usize) {
        let labels = ReceiverLabels {
            receiver: receiver.to_owned(),
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.merged.get_or_create(&labels).inc_by(count);
    }

    pub(crate) fn attempt(&self, receiver: &str, channel: &'static str, outcome: &Outcome) {
        let labels = DeliveryLabels {
            receiver: receiver.to_owned(),
            channel,
            outcome: outcome.name(),
        };
        self.deliveries.get_or_create(&labels).inc();
    }

    pub(crate) fn heartbeat(&self, outcome: HeartbeatOutcome) {
        self.heartbeats.get_or_create(&outcome.labels()).inc();
    }

    /// A template failed: one of the operator's, or with `built-in/` before its name one of ours.
    pub(crate) fn template_failed(&self, template: &str) {
        let template = template.to_owned();
        let labels = TemplateLabels { template };
        self.templates.get_or_create(&labels).inc();
    }

    pub(crate) fn dead(&self, kind: DeadKind, count: u64) {
        self.dead.get_or_create(&DeadLabels { kind }).inc_by(count);
    }

    /// So many rows of a kind stand.
    pub(crate) fn rows(&self, kind: RowKind, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.rows.get_or_create(&RowLabels { kind }).set(count);
    }

    pub(crate) fn forgotten(&self, kind: RowKind, count: u64) {
        let labels = RowLabels { kind };
        self.forgotten.get_or_create(&labels).inc_by(count);
    }
}
