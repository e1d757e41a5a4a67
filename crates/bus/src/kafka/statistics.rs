//! What a client of librdkafka says of itself every 15 s, cut down to what an operator looks at.

use std::collections::BTreeMap;

/// One client's state. Counts are since the client was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientStatistics {
    /// `producer`, `lookups`, `admin`, or the stream that is read.
    pub role: String,
    /// The brokers that the client talks to, by `HOST:PORT`.
    pub brokers: BTreeMap<String, BrokerStatistics>,
    /// Records that wait to be sent or acknowledged.
    pub queued_records: u64,
    /// Their size.
    pub queued_bytes: u64,
    /// Of a reader: records between what it took and the end of each partition.
    pub lag_records: BTreeMap<u32, u64>,
}

/// One broker as a client sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerStatistics {
    /// Connected, and logged in where that is asked.
    pub up: bool,
    /// The 99th percentile of requests' round trips in the last 15 s; `None` where there were none.
    pub rtt_p99_seconds: Option<f64>,
    /// Requests that were not sent or not answered in time.
    pub failed_requests: u64,
}

impl ClientStatistics {
    pub(super) fn of(role: &str, statistics: &rdkafka::Statistics) -> ClientStatistics {
        let brokers = statistics.brokers.values();
        let brokers = brokers
            // Logical ones (coordinators) and names that only led to the others come with -1.
            .filter(|broker| broker.nodeid >= 0)
            .map(|broker| (broker.nodename.clone(), BrokerStatistics::of(broker)));
        let partitions = statistics
            .topics
            .values()
            .flat_map(|topic| &topic.partitions);
        let lag_records = partitions.filter_map(|(partition, state)| {
            let partition = u32::try_from(*partition).ok()?;
            Some((partition, u64::try_from(state.consumer_lag).ok()?))
        });
        ClientStatistics {
            role: role.to_owned(),
            brokers: brokers.collect(),
            queued_records: statistics.msg_cnt,
            queued_bytes: statistics.msg_size,
            lag_records: lag_records.collect(),
        }
    }
}

impl BrokerStatistics {
    fn of(broker: &rdkafka::statistics::Broker) -> BrokerStatistics {
        let rtt = broker.rtt.as_ref().filter(|window| window.cnt > 0);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a round trip")]
        let rtt_p99_seconds = rtt.map(|window| window.p99 as f64 / 1e6);
        BrokerStatistics {
            up: broker.state == "UP",
            rtt_p99_seconds,
            failed_requests: broker.txerrs.saturating_add(broker.req_timeouts),
        }
    }
}
