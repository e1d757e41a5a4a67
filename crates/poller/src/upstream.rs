//! Asks for pages, within the budget that all instances of an account and region share.
//!
//! In: a page number. Out: the page, or why not. Must never happen: a request before a throttled
//! server said that it may come.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::{
    Client, ClientOptions, CredentialsProvider, Gate, ListRepoSyncTask, Page, Retry,
};
use syncbell_config::Instance;

use crate::Error;
use crate::budget::{Budget, Lane};

/// The largest page that the vendor gives for lists of this product.
const PAGE_SIZE: u32 = 100;

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
        // It re-checks the budget right before it sends, and tells it when the server throttles.
        let client = client.gated(Arc::clone(&budget) as Arc<dyn Gate>);
        Ok(Self {
            client,
            budget,
            instance: instance.clone(),
        })
    }

    /// One request, when the budget allows it. A delay that the server asks for holds for the whole
    /// budget.
    pub(crate) async fn page(&self, page_no: u32) -> Result<Page, syncbell_acr::Error> {
        self.budget.take(Lane::Head).await;
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
        self.client.list_repo_sync_task(&request).await
    }
}

/// The delay that a throttled answer asks for.
pub(crate) fn asked_to_wait(error: &syncbell_acr::Error) -> Option<Duration> {
    match error.retry() {
        Retry::After(delay) => Some(delay),
        Retry::Backoff | Retry::Slowly => None,
    }
}
