//! How the poller stands, for people: `GET /poller/status`; what `GET /poller/tasks` reads.
//!
//! In: what the poll loops say after each turn. Out: JSON. Must never happen: a lock held while
//! something waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use syncbell_store::{Size, Store};
use tokio::time::Instant;

use crate::Error;
use crate::baseline::Stand;
use crate::known;
use crate::outbox::{Depth, Outbox};
use crate::sweeping::SweepStand;

/// A handle on the status of a poller; cheap to clone. The same one goes into
/// [`Parts`](crate::Parts) and to [`api`].
#[derive(Clone, Debug, Default)]
pub struct Status {
    inner: Arc<Mutex<Inner>>,
    /// Held by whoever reads all rows for people.
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Inner {
    instances: BTreeMap<String, InstanceStatus>,
    outbox: Option<Arc<Outbox>>,
    store: Option<Store>,
}

/// One instance, after its last turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InstanceStatus {
    pub(crate) region: String,
    pub(crate) baseline: Stand,
    pub(crate) last_sweep: Option<LastSweep>,
    /// The full sweep under way.
    pub(crate) sweeping: Option<SweepStand>,
    pub(crate) tasks: u64,
    pub(crate) open: u64,
    /// The list stands newest first: head polls see what is new. Else only full sweeps do.
    pub(crate) newest_first: bool,
    /// Single tasks can be asked for.
    pub(crate) by_id: bool,
    /// As it is now: longer than configured while the server throttles.
    pub(crate) poll_every_ms: u64,
    /// Set while polls fail.
    pub(crate) failing: Option<Failing>,
}

/// The last complete sweep.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LastSweep {
    /// By our clock.
    pub(crate) ended_at: Timestamp,
    /// By the server's clock.
    pub(crate) seen_until: Timestamp,
    pub(crate) took_ms: u64,
    pub(crate) pages: u32,
    pub(crate) tasks: u64,
    pub(crate) open: u64,
    /// False where the list has rows without id, or fewer than it promises: nothing vanishes then.
    pub(crate) proves_absence: bool,
}

/// Polls that failed, one after the other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failing {
    pub(crate) outcome: &'static str,
    pub(crate) message: String,
    pub(crate) since: Timestamp,
    pub(crate) attempts: u32,
    /// So many of these were of head polls.
    #[serde(skip)]
    pub(crate) of_head: u32,
    /// Of a page of a full sweep; head polls may go well.
    pub(crate) of_sweep: bool,
    #[serde(skip)]
    pub(crate) began: Instant,
}

impl Status {
    /// Of a poller that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set_store(&self, store: Store) {
        self.lock().store = Some(store);
    }

    pub(crate) fn store(&self) -> Option<Store> {
        self.lock().store.clone()
    }

    /// Returns when nobody else reads all rows.
    pub(crate) async fn reading(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading.lock().await
    }

    pub(crate) fn set_outbox(&self, outbox: Arc<Outbox>) {
        self.lock().outbox = Some(outbox);
    }

    pub(crate) fn set_instance(&self, instance: &str, status: InstanceStatus) {
        self.lock().instances.insert(instance.to_owned(), status);
    }

    pub(crate) fn forget_instance(&self, instance: &str) {
        self.lock().instances.remove(instance);
    }

    pub(crate) async fn shown(&self) -> PollerStatus {
        let (instances, outbox, store) = {
            let inner = self.lock();
            let outbox = inner.outbox.as_ref().map(|outbox| outbox.depth());
            (inner.instances.clone(), outbox, inner.store.clone())
        };
        let size = match store {
            // While the disk is full nobody can say.
            Some(store) => store.size().await.ok(),
            None => None,
        };
        PollerStatus {
            instances,
            outbox,
            store: size,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The poller's part of `/api/v1`.
pub fn api(status: Status) -> Router {
    Router::new()
        .route("/poller/status", get(show))
        .route("/poller/tasks", get(known::show))
        .with_state(status)
}

/// How a poller stands.
#[derive(Serialize)]
pub struct PollerStatus {
    instances: BTreeMap<String, InstanceStatus>,
    outbox: Option<Depth>,
    store: Option<Size>,
}

async fn show(State(status): State<Status>) -> Json<PollerStatus> {
    Json(status.shown().await)
}

/// For the command line when no poller runs: what its store alone says. `Err` is the store's.
pub async fn status_of(store: &Store) -> Result<PollerStatus, Error> {
    let outbox = Outbox::load(store.clone()).await?;
    Ok(PollerStatus {
        instances: BTreeMap::new(),
        outbox: Some(outbox.depth()),
        store: Some(store.size().await?),
    })
}
