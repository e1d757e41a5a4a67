//! Asks for pages, within the budget that all instances of an account and region share.
//!
//! In: a page number. Out: the page, or why not. Must never happen: a request before a throttled
//! server said that it may come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncbell_acr::{Client, ClientOptions, CredentialsProvider, ListRepoSyncTask, Page, Retry};
use syncbell_config::Instance;
use syncbell_service::Bucket;
use tokio::time::Instant;

use crate::Error;

/// Requests a second that an account may make in a region; the vendor names no number.
const PER_SECOND: f64 = 10.0;

/// Requests that may go out at once.
const BURST: u32 = 10;

/// The largest page that the vendor gives for lists of this product.
const PAGE_SIZE: u32 = 100;

/// The budget of one account and region.
#[derive(Debug)]
pub(crate) struct Budget {
    bucket: Mutex<Bucket>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(PER_SECOND, BURST, Instant::now())),
        }
    }

    /// Returns when a request may go out.
    async fn take(&self) {
        loop {
            let taken = self.bucket().take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn pause(&self, delay: Duration) {
        self.bucket().pause_until(Instant::now() + delay);
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budgets by region. One set of credentials serves all instances, so the account is the same.
#[derive(Debug, Default)]
pub(crate) struct Budgets(HashMap<String, Arc<Budget>>);

impl Budgets {
    pub(crate) fn of(&mut self, region: &str) -> Arc<Budget> {
        let budget = self.0.entry(region.to_owned());
        Arc::clone(budget.or_insert_with(|| Arc::new(Budget::new())))
    }
}

/// The list of one instance.
pub(crate) struct Upstream {
    client: Client,
    budget: Arc<Budget>,
    instance: Instance,
}

impl Upstream {
    /// Prepares a client; asks nothing.
    pub(crate) fn new(
        instance: &Instance,
        credentials: Arc<dyn CredentialsProvider>,
        budget: Arc<Budget>,
    ) -> Result<Self, Error> {
        let options = ClientOptions::new(instance.endpoint.clone(), instance.region.clone());
        let client = Client::new(options, credentials).map_err(|source| Error::Client {
            instance: instance.id.clone(),
            source,
        })?;
        Ok(Self {
            client,
            budget,
            instance: instance.clone(),
        })
    }

    /// One request, when the budget allows it. A delay that the server asks for holds for the whole
    /// budget.
    pub(crate) async fn page(&self, page_no: u32) -> Result<Page, syncbell_acr::Error> {
        self.budget.take().await;
        let filters = &self.instance.filters;
        let request = ListRepoSyncTask {
            instance_id: self.instance.id.clone(),
            repo_namespace_name: filters.namespace.clone(),
            repo_name: filters.repo.clone(),
            tag: filters.tag.clone(),
            page_no: Some(page_no),
            page_size: Some(PAGE_SIZE),
            sync_record_id: None,
        };
        let answered = self.client.list_repo_sync_task(&request).await;
        if let Err(error) = &answered
            && let Some(delay) = asked_to_wait(error)
        {
            self.budget.pause(delay);
        }
        answered
    }
}

/// The delay that a throttled answer asks for.
pub(crate) fn asked_to_wait(error: &syncbell_acr::Error) -> Option<Duration> {
    match error.retry() {
        Retry::After(delay) => Some(delay),
        Retry::Backoff | Retry::Slowly => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_all_that_share_the_budget_to_the_millisecond() {
        let mut budgets = Budgets::default();
        let (one, other) = (budgets.of("cn-shanghai"), budgets.of("cn-shanghai"));
        let elsewhere = budgets.of("cn-beijing");
        let start = Instant::now();
        one.pause(Duration::from_millis(1_234));
        elsewhere.take().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        other.take().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1_234));
    }
}
