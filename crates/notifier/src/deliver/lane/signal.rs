//! What a lane and others tell each other: that rows changed, and how it stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{BREAKER_FAILURES, LaneState};

/// Tells a lane that its rows changed.
#[derive(Debug, Default)]
pub(crate) struct LaneSignal {
    wake: Notify,
    reload: AtomicBool,
    standing: Mutex<Standing>,
}

/// How a lane stands, for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The receiver refuses us, with this note.
    pub(crate) stopped: Option<String>,
    /// It asked for a pause until then.
    pub(crate) paused_until: Option<Instant>,
    /// It fails: one attempt at a time is made, the next one then.
    pub(crate) probing: bool,
    pub(crate) probe_at: Option<Instant>,
    /// In a row.
    pub(crate) failures: u32,
}

impl LaneSignal {
    /// New rows stand behind those it knows.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How the lane stood when it last looked up.
    pub(crate) fn standing(&self) -> Standing {
        let standing = self.standing.lock();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, state: &LaneState) {
        let standing = self.standing.lock();
        let mut standing = standing.unwrap_or_else(PoisonError::into_inner);
        let asked_of_all = state.budget.lock().paused_until();
        standing.paused_until = state.paused_until.max(asked_of_all);
        standing.probe_at = state.probe_at;
        standing.failures = state.failures;
        standing.probing = state.failures >= BREAKER_FAILURES;
        if standing.stopped != state.stopped {
            standing.stopped.clone_from(&state.stopped);
        }
    }

    /// Rows that it knows were changed by somebody else; a stopped lane goes on.
    pub(crate) fn reload(&self) {
        self.reload.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether that was called since it was last asked.
    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }

    /// Waits for either call.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}
