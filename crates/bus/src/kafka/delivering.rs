//! One append while its records are on their way: counts their reports, and wakes who waits for the last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::KafkaError;
use tokio::sync::watch;

/// One append under way: how many records are not done, and the first failure.
#[derive(Debug)]
pub(super) struct Delivering {
    left: AtomicUsize,
    failed: Mutex<Option<KafkaError>>,
    done: watch::Sender<bool>,
}

impl Delivering {
    /// Of `n` records, and one more for the caller who is still handing them over.
    pub(super) fn of(n: usize) -> Arc<Delivering> {
        Arc::new(Delivering {
            left: AtomicUsize::new(n + 1),
            failed: Mutex::new(None),
            done: watch::Sender::new(false),
        })
    }

    /// librdkafka's report on one record.
    pub(super) fn one_done(&self, failed: Option<KafkaError>) {
        self.many_done(1, failed);
    }

    /// `n` reports at once, and why they failed where they did.
    pub(super) fn many_done(&self, n: usize, failed: Option<KafkaError>) {
        if let Some(failed) = failed {
            let mut first = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(failed);
        }
        if self.left.fetch_sub(n, Ordering::AcqRel) == n {
            self.done.send_replace(true);
        }
    }

    /// Ready with the last report; the first failure, if there was one.
    pub(super) async fn wait(&self) -> Result<(), KafkaError> {
        // The sender is `self`: it cannot be gone.
        drop(self.done.subscribe().wait_for(|done| *done).await);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.clone().map_or(Ok(()), Err)
    }
}
