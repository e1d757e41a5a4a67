//! How large the stores are and whether they take rows, for Prometheus.
//!
//! In: the stores. Out: families that are read at each scrape, as a task of its own last measured them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncbell_notifier::{Store, StoreFigures};
use syncbell_service::metrics::Sample;
use syncbell_service::{Metrics, Shutdown};

/// How often they are measured: it takes a turn among the commits.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// The last size of each store by name; `None` while it does not say.
type Sizes = Arc<Mutex<BTreeMap<&'static str, Measured>>>;

#[derive(Clone, Copy, Default)]
struct Measured {
    /// The last that was told.
    size: Option<StoreFigures>,
    /// True while the store tells it.
    answers: bool,
}

/// A family's name, its help, and its value for one store.
type Family = (&'static str, &'static str, fn(&Measured) -> Option<f64>);

const GAUGES: [Family; 5] = [
    ("store_files_bytes", "Length of a store's files.", |one| {
        Some(number(one.size?.files_bytes))
    }),
    (
        "store_live_bytes",
        "Keys and values that a store holds.",
        |one| Some(number(one.size?.live_bytes)),
    ),
    ("store_rows", "Rows that a store holds.", |one| {
        Some(number(one.size?.rows))
    }),
    (
        "store_disk_free_bytes",
        "Free space on a store's disk.",
        |one| Some(number(one.size?.free_bytes?)),
    ),
    (
        "store_refuses_rows",
        "1 while a store takes no rows: its disk is too full, or it failed.",
        |one| {
            let takes = one.answers && one.size.is_some_and(|size| size.takes_rows);
            Some(f64::from(u8::from(!takes)))
        },
    ),
];

const COMPACTIONS: Family = (
    "store_compactions",
    "How often a store's files were compacted since the start.",
    |one| Some(number(one.size?.compactions)),
);

/// Adds the families, and measures `stores` until the shutdown.
pub(crate) fn observe(stores: Vec<(&'static str, Store)>, metrics: &Metrics, shutdown: &Shutdown) {
    let sizes = Sizes::default();
    for (name, help, read) in GAUGES {
        let of = Arc::clone(&sizes);
        metrics.observe(name, help, move || samples(&of, read));
    }
    let ((name, help, read), of) = (COMPACTIONS, Arc::clone(&sizes));
    metrics.observe_counter(name, help, move || samples(&of, read));
    let stop = shutdown.token();
    let measure = async move {
        let mut ticks = tokio::time::interval(MEASURE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => measure(&stores, &sizes).await,
            }
        }
    };
    drop(shutdown.spawn("store-metrics", measure));
}

async fn measure(stores: &[(&'static str, Store)], sizes: &Sizes) {
    for (name, store) in stores {
        let told = store.size().await;
        let mut sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let one = sizes.entry(name).or_default();
        one.answers = told.is_ok();
        one.size = told.ok().or(one.size);
    }
}

fn samples(sizes: &Sizes, read: fn(&Measured) -> Option<f64>) -> Vec<Sample> {
    let sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = sizes.iter().filter_map(|(name, one)| {
        Some(Sample {
            labels: vec![("store", (*name).to_owned())],
            value: read(one)?,
        })
    });
    samples.collect()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn number(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_store_is_measured_and_one_that_is_closed_takes_no_rows() {
        let (open, closed) = (Store::memory(), Store::memory());
        let sizes = Sizes::default();
        let stores = [("poller", open), ("notifier", closed.clone())];
        measure(&stores, &sizes).await;
        closed.close().await.unwrap();
        measure(&stores, &sizes).await;
        for (name, _, read) in GAUGES.into_iter().chain([COMPACTIONS]) {
            let values: Vec<_> = samples(&sizes, read)
                .into_iter()
                .map(|sample| (sample.labels[0].1.clone(), sample.value))
                .collect();
            let expected = match name {
                "store_disk_free_bytes" => vec![],
                "store_refuses_rows" => {
                    vec![("notifier".to_owned(), 1.0), ("poller".to_owned(), 0.0)]
                }
                _ => vec![("notifier".to_owned(), 0.0), ("poller".to_owned(), 0.0)],
            };
            assert_eq!(values, expected, "{name}");
        }
    }
}
