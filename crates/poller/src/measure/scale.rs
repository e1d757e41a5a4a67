//! For the benchmark of the poll loop: one instance without its clock and without a budget, so that
//! what it costs can be measured in seconds.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::CredentialsProvider;
use syncbell_bus::Publisher;
use syncbell_config::Instance;
use syncbell_event::SweepKind;
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Feed;
use crate::budget::Budget;
use crate::failure::Stopped;
use crate::fleet::Fleet;
use crate::instance::{Report, Watcher};
use crate::intake::{Wish, sort};
use crate::metrics::PollerMetrics;
use crate::outbox::Outbox;
use crate::{Error, Parts};

/// Requests a second: none is ever waited for.
const NO_BUDGET: f64 = 1_000_000.0;

/// One instance.
pub struct Scale {
    watcher: Watcher,
    outbox: Arc<Outbox>,
    stop: CancellationToken,
}

/// What a turn did.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Pages read.
    pub pages: u32,
    /// Events put into the outbox.
    pub told: u64,
    /// How long it took.
    pub took: Duration,
}

impl Scale {
    /// Reads what `parts.store` knows of the first instance.
    pub async fn open(parts: &Parts) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let outbox = Arc::new(Outbox::load(parts.store.clone()).await?);
        let metrics = PollerMetrics::new(&Metrics::new());
        let fleet = Fleet::new(parts, &Shutdown::new(), &stop, &outbox, metrics);
        let budget = Arc::new(Budget::with_rate(NO_BUDGET));
        let instance = &parts.instances[0];
        let account = fleet.account(instance)?;
        let watcher = fleet.watcher(instance, account, budget).await?;
        Ok(Self {
            watcher,
            outbox,
            stop,
        })
    }

    /// Tasks known.
    pub fn tasks(&self) -> u64 {
        self.watcher.state.index.counts().tasks
    }

    /// Events that wait to be sent.
    pub fn waiting(&self) -> u64 {
        self.outbox.depth().rows
    }

    /// A page's bytes to what is not known of it: how many tasks have to be looked at.
    pub fn sift(&mut self, body: &[u8]) -> usize {
        let page = syncbell_acr::measure::page(body).expect("a page");
        let wish = Wish {
            first_rank: 0,
            all: false,
        };
        sort(&page, &mut self.watcher.state, wish).seen.len()
    }

    /// Takes a page in; gives how many events it told.
    pub async fn take(&mut self, body: &[u8], page_no: u32) -> usize {
        let page = syncbell_acr::measure::page(body).expect("a page");
        let taken = self.watcher.take(&page, page_no).await;
        taken.expect("the store takes it").1.len()
    }

    /// A new turn: the next failures may be enriched.
    pub fn begin_turn(&mut self) {
        self.watcher.begin_turn();
    }

    /// A full sweep.
    pub async fn sweep(&mut self) -> Turn {
        loop {
            let done = self.watcher.sweep_on(None, &self.stop).await;
            if let Some(report) = well(done) {
                return turn(report, SweepKind::Full);
            }
        }
    }

    /// A head poll.
    pub async fn poll(&mut self) -> Turn {
        let report = well(self.watcher.poll(&self.stop).await);
        turn(report, SweepKind::Head)
    }

    /// Sends what waits to `publisher`, until every row is durably deleted.
    pub async fn relay(&self, publisher: Arc<dyn Publisher>) -> Result<(), Error> {
        let feed = Feed::of(Arc::clone(&self.outbox));
        feed.end();
        feed.relay(publisher).await
    }
}

/// What a poller of one instance is made of.
pub fn parts(
    instance: Instance,
    credentials: Arc<dyn CredentialsProvider>,
    store: Store,
    bus: syncbell_bus::Bus,
) -> Parts {
    Parts {
        instances: vec![instance],
        discoveries: Vec::new(),
        baseline: syncbell_config::Baseline { alert: false },
        blind_after: Duration::from_mins(2),
        store,
        sightings: crate::Sightings::memory(),
        publisher: bus.publisher(),
        bus,
        credentials,
        surroundings: syncbell_acr::Surroundings::new(|_| None),
        metrics: Metrics::new(),
        health: Health::new(),
        status: crate::Status::new(),
    }
}

/// How long opening took, with what was opened.
pub async fn timed<T>(opening: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let opened = opening.await;
    (opened, began.elapsed())
}

fn well<T>(done: Result<T, Stopped>) -> T {
    match done {
        Ok(done) => done,
        Err(stopped) => panic!("the turn came to no end: {stopped:?}"),
    }
}

fn turn(report: Report, expected: SweepKind) -> Turn {
    assert_eq!(report.sweep, expected, "it is the turn that was asked for");
    Turn {
        pages: report.pages,
        told: report.told,
        took: report.took,
    }
}
