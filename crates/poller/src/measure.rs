//! For the benchmarks: what is private to the poller, run once and timed.

mod feed;
mod scale;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_bus::{Publisher, Record};
use syncbell_event::{Envelope, Source, SweepKind, Swept};
use syncbell_store::Store;
use tokio::time::Instant;

use crate::Error;

pub use feed::Feed;
pub use scale::{Scale, Turn, parts, timed};

/// Rows that are put into the outbox at once.
const BATCH: usize = 256;

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

/// Fills the outbox of `store` with `n` events, at most as many as it holds, then relays them to `publisher` until every row is
/// durably deleted. Gives how long the relay took.
pub async fn relay(store: Store, publisher: Arc<dyn Publisher>, n: u64) -> Result<Duration, Error> {
    let feed = Feed::open(store).await?;
    let events: Vec<Envelope> = events(n).collect();
    for events in events.chunks(BATCH) {
        feed.put(events).await?;
    }
    // Nothing more will come: it ends once the outbox is empty.
    feed.end();
    let began = Instant::now();
    feed.relay(publisher).await?;
    let took = began.elapsed();
    assert_eq!(feed.waiting(), 0, "every row was deleted");
    Ok(took)
}
