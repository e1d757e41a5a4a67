//! Stopping: one token, every task tracked by name, a deadline for the rest.
//!
//! A task that panics triggers the shutdown: a process that limps on without one of its loops is worse
//! than one that a supervisor starts again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::Error;

/// The handle that all loops of a process share.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

/// Counts a named task for as long as it runs, also when it panics.
struct Running {
    name: &'static str,
    counts: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    token: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
        drop(running);
        if std::thread::panicking() {
            tracing::error!(task.name = self.name, "a task panicked: the process stops");
            self.token.cancel();
        }
    }
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that loops select on.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Asks everything to stop. Idempotent.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether it was asked to stop.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it is asked to stop.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// Runs `future` as a tracked task. `name` is for people and appears in late-drain warnings.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        *self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_insert(0) += 1;
        let guard = Running {
            name,
            counts: self.running.clone(),
            token: self.token.clone(),
        };
        let task = async move {
            let _guard = guard;
            future.await
        };
        self.tracker
            .spawn(task.instrument(tracing::info_span!("task", task.name = name)))
    }

    /// Names of the tasks that still run.
    pub fn running(&self) -> Vec<&'static str> {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    /// Waits for all tracked tasks. False if `deadline` passed first; who is late is logged.
    pub async fn drained(&self, deadline: Duration) -> bool {
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_ok()
        {
            return true;
        }
        let late = self.running().join(", ");
        tracing::warn!(
            deadline_ms = deadline.as_millis(),
            late,
            "not all tasks ended in time"
        );
        false
    }
}

/// Waits for SIGTERM or SIGINT and gives its name. Listens from the call on, not from the first poll: a signal
/// that comes while the process still starts ends it in order, too. Call it on the runtime.
pub fn signalled() -> impl Future<Output = Result<&'static str, Error>> {
    let term = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        let mut term = term.map_err(Error::Signals)?;
        let mut interrupt = interrupt.map_err(Error::Signals)?;
        tokio::select! {
            _ = term.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
        }
    }
}

/// Ready `after` the stop: for work that may be finished when the process stops, but not for ever.
pub async fn past(stop: &CancellationToken, after: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(after).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_listen_are_drained_and_late_ones_are_named() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        shutdown.spawn("polite", async move { token.cancelled().await });
        shutdown.spawn("late", std::future::pending::<()>());
        shutdown.trigger();
        assert!(!shutdown.drained(Duration::from_millis(50)).await);
        assert_eq!(shutdown.running(), ["late"]);
    }

    #[tokio::test]
    async fn a_panic_stops_the_process() {
        let shutdown = Shutdown::new();
        let task = shutdown.spawn("broken", async { panic!("on purpose") });
        assert!(task.await.is_err());
        shutdown.triggered().await;
        assert!(shutdown.drained(Duration::from_secs(5)).await);
    }
}
