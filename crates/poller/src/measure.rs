//! For the benchmarks: what is private to the poller, run once and timed.

mod feed;
mod scale;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_bus::{Publisher, Record};
use syncbell_event::{Envelope, Source, SweepKind, Swept};
use syncbell_service::{Health, Metrics};
use syncbell_store::{Batch, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::publish::Relay;

pub use feed::Feed;
pub use scale::{Scale, Turn, parts, timed};

/// Rows that are put into the outbox at once.
const BATCH: u64 = 256;

/// `n` events of one instance, as a poll would find them.
pub fn events(n: u64) -> impl Iterator<Item = Envelope> {
    let source = Source {
        region: "cn-shanghai".to_owned(),
        instance: "cri-kmsiwlxxdcva0001".to_owned(),
    };
    (0..n).map(move |n| {
        let swept = Swept {
            seen_until: Timestamp::UNIX_EPOCH,
            tasks: n,
            open: 0,
            sweep: SweepKind::Full,
            next_by: Timestamp::UNIX_EPOCH,
        };
        Envelope::swept(&source, Timestamp::UNIX_EPOCH, swept)
    })
}

/// The record of an event, as the publish loop writes it.
pub fn record(event: &Envelope) -> Record {
    Record::new(event.source.instance.as_bytes(), event.encode())
}

/// Fills the outbox of `store` with `n` events, then relays them to `publisher` until every row is
/// durably deleted. Gives how long the relay took.
pub async fn relay(store: Store, publisher: Arc<dyn Publisher>, n: u64) -> Result<Duration, Error> {
    let outbox = Arc::new(Outbox::load(store.clone()).await?);
    let events: Vec<Envelope> = events(n).collect();
    for events in events.chunks(usize::try_from(BATCH).unwrap_or(1)) {
        let mut batch = Batch::new();
        let added = outbox.add(&mut batch, events);
        store.commit(batch).await?;
        outbox.committed(&added);
    }
    let (stop, no_more) = (CancellationToken::new(), CancellationToken::new());
    let relay = Relay {
        outbox: outbox.clone(),
        publisher,
        metrics: PollerMetrics::new(&Metrics::new()),
        condition: Health::new().condition("poller"),
        stop,
        no_more: no_more.clone(),
    };
    // Nothing more will come: it ends once the outbox is empty.
    no_more.cancel();
    let began = Instant::now();
    relay.run().await?;
    let took = began.elapsed();
    assert_eq!(outbox.depth().rows, 0, "every row was deleted");
    Ok(took)
}
