//! For the benchmark of many events: the outbox and its publish loop, fed without a registry.

use std::sync::Arc;

use syncbell_bus::Publisher;
use syncbell_event::Envelope;
use syncbell_service::{Health, Metrics};
use syncbell_store::{Batch, Store};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::publish::Relay;

/// The outbox of one store.
#[derive(Clone)]
pub struct Feed {
    outbox: Arc<Outbox>,
    no_more: CancellationToken,
}

impl Feed {
    /// Counts what waits in `store`.
    pub async fn open(store: Store) -> Result<Self, Error> {
        Ok(Self::of(Arc::new(Outbox::load(store).await?)))
    }

    pub(super) fn of(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            no_more: CancellationToken::new(),
        }
    }

    /// Puts `events` durably, as a page of changes; waits while the outbox is full.
    pub async fn put(&self, events: &[Envelope]) -> Result<(), Error> {
        self.outbox.room().await;
        self.outbox.put(Batch::new(), events).await
    }

    /// Events that wait.
    pub fn waiting(&self) -> u64 {
        self.outbox.depth().rows
    }

    /// Nothing more is put: the publish loop ends once nothing waits.
    pub fn end(&self) {
        self.no_more.cancel();
    }

    /// The publish loop.
    pub async fn relay(&self, publisher: Arc<dyn Publisher>) -> Result<(), Error> {
        let relay = Relay {
            outbox: Arc::clone(&self.outbox),
            publisher,
            metrics: PollerMetrics::new(&Metrics::new()),
            condition: Health::new().condition("poller"),
            stop: CancellationToken::new(),
            no_more: self.no_more.clone(),
        };
        relay.run().await
    }
}
