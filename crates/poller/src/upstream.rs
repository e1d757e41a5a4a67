//! Asks the cloud about one instance, within the budget that all instances of an account and region
//! share.
//!
//! In: what is asked for, and in which lane. Out: the answer, or why not. Must never happen: a request
//! before a throttled server said that it may come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncbell_acr::{
    Client, ClientOptions, CredentialsProvider, Gate, ListRepoSyncRule, ListRepoSyncTask, Page,
    Retry, SyncRulePage, TaskReport,
};
use syncbell_config::Instance;
use tokio::time::Instant;

use crate::Error;
use crate::budget::{Budget, Lane};

/// The largest page that the vendor gives for lists of this product.
pub(crate) const PAGE_SIZE: u32 = 100;

/// A refused operation is tried again after this: somebody may have given the permission.
const REFUSED_FOR: Duration = Duration::from_hours(1);

/// One that fails is left alone for this long: each try may take the whole time of a request.
const FAILED_FOR: Duration = Duration::from_mins(1);

/// The list of one instance, and what else can be asked about it.
pub(crate) struct Upstream {
    client: Client,
    budget: Arc<Budget>,
    instance: Instance,
    by_id: Optional,
    rules: Optional,
}

/// An operation that Syncbell can do without.
#[derive(Debug)]
struct Optional {
    action: &'static str,
    what_for: &'static str,
    refused_until: Mutex<Option<Instant>>,
    rests_until: Mutex<Option<Instant>>,
}

impl Upstream {
    /// Prepares a client; asks nothing.
    pub(crate) fn new(
        instance: &Instance,
        credentials: Arc<dyn CredentialsProvider>,
        budget: Arc<Budget>,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: client(instance, credentials, &budget)?,
            budget,
            instance: instance.clone(),
            by_id: Optional::new(
                "GetRepoSyncTask",
                "open tasks are seen by pages and sweeps only",
            ),
            rules: Optional::new(
                "ListRepoSyncRule",
                "alerts name sync rules by their ids only",
            ),
        })
    }

    /// Returns when a request of `lane` may go out. Cancel-safe.
    pub(crate) async fn admitted(&self, lane: Lane) {
        self.budget.take(lane).await;
    }

    /// Requests a second that may go out now.
    pub(crate) fn rate(&self) -> f64 {
        self.budget.rate()
    }

    /// One page of the list, asked for at once: it was admitted before.
    pub(crate) async fn page(&self, page_no: u32) -> Result<Page, syncbell_acr::Error> {
        let mut request = self.request();
        request.page_no = Some(page_no);
        self.client.list_repo_sync_task(&request).await
    }

    /// The tasks of one batch, whatever the filters, as many as a page holds; `None` where there is
    /// no budget for it now.
    pub(crate) async fn batch(&self, batch_id: &str) -> Option<Result<Page, syncbell_acr::Error>> {
        if !self.budget.try_take(Lane::Extra) {
            return None;
        }
        let request = ListRepoSyncTask {
            instance_id: self.instance.id.clone(),
            sync_record_id: Some(batch_id.to_owned()),
            page_no: Some(1),
            page_size: Some(PAGE_SIZE),
            ..ListRepoSyncTask::default()
        };
        Some(self.client.list_repo_sync_task(&request).await)
    }

    /// Whether single tasks can be asked for, as far as is known.
    pub(crate) fn has_tasks_by_id(&self) -> bool {
        self.by_id.is_allowed()
    }

    /// Whether it makes sense to ask for one now: it is allowed, and did not fail a moment ago.
    pub(crate) fn answers_by_id(&self) -> bool {
        self.by_id.is_allowed() && self.by_id.works()
    }

    /// One task, when the budget allows it. `Ok(None)`: there is no such task.
    pub(crate) async fn task(
        &self,
        task_id: &str,
    ) -> Result<Option<TaskReport>, syncbell_acr::Error> {
        self.budget.take(Lane::Extra).await;
        let id = &self.instance.id;
        let asked = self.client.get_repo_sync_task(id, task_id).await;
        asked.inspect_err(|error| self.by_id.note(id, error))
    }

    /// One task, at once; `None` where there is no budget for it now, or it cannot be had.
    pub(crate) async fn task_now(&self, task_id: &str) -> Option<TaskReport> {
        if !self.answers_by_id() || !self.budget.try_take(Lane::Extra) {
            return None;
        }
        let id = &self.instance.id;
        let asked = self.client.get_repo_sync_task(id, task_id).await;
        let asked = asked.inspect_err(|error| self.by_id.note(id, error));
        asked.ok().flatten()
    }

    /// One page of the sync rules, at once; `None` where there is no budget for it now, or it cannot
    /// be had.
    pub(crate) async fn rules_now(&self, page_no: u32) -> Option<SyncRulePage> {
        if !self.rules.is_allowed() || !self.budget.try_take(Lane::Extra) {
            return None;
        }
        let request = ListRepoSyncRule {
            instance_id: self.instance.id.clone(),
            page_no: Some(page_no),
            page_size: Some(PAGE_SIZE),
        };
        let asked = self.client.list_repo_sync_rule(&request).await;
        let id = &self.instance.id;
        asked.inspect_err(|error| self.rules.note(id, error)).ok()
    }

    fn request(&self) -> ListRepoSyncTask {
        let filters = &self.instance.filters;
        ListRepoSyncTask {
            instance_id: self.instance.id.clone(),
            repo_namespace_name: filters.namespace.clone(),
            repo_name: filters.repo.clone(),
            tag: filters.tag.clone(),
            page_no: None,
            page_size: Some(PAGE_SIZE),
            sync_record_id: filters.batch_id.clone(),
        }
    }
}

impl Optional {
    fn new(action: &'static str, what_for: &'static str) -> Self {
        Self {
            action,
            what_for,
            refused_until: Mutex::new(None),
            rests_until: Mutex::new(None),
        }
    }

    fn is_allowed(&self) -> bool {
        is_over(&self.refused_until)
    }

    fn works(&self) -> bool {
        is_over(&self.rests_until)
    }

    /// One that is refused, or fails, is left alone for a while, and that is said.
    fn note(&self, instance: &str, error: &syncbell_acr::Error) {
        let (until, alone_for, how) = match error.retry() {
            Retry::Slowly => (&self.refused_until, REFUSED_FOR, "is refused"),
            // That is not about this operation: whoever asked has to wait.
            _ if is_throttled(error) => return,
            Retry::Backoff | Retry::After(_) => (&self.rests_until, FAILED_FOR, "fails"),
        };
        let is_news = is_over(until);
        let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + alone_for);
        if is_news {
            let (action, without) = (self.action, self.what_for);
            tracing::warn!(instance, action, %error, "an operation {how}: {without}");
        }
    }
}

fn is_over(until: &Mutex<Option<Instant>>) -> bool {
    let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
    until.is_none_or(|until| Instant::now() >= until)
}

/// The server says that it is asked too much.
pub(crate) fn is_throttled(error: &syncbell_acr::Error) -> bool {
    matches!(error, syncbell_acr::Error::Throttled { .. })
}

/// Prepares a client for `instance`; asks nothing.
pub(crate) fn client(
    instance: &Instance,
    credentials: Arc<dyn CredentialsProvider>,
    budget: &Arc<Budget>,
) -> Result<Client, Error> {
    let mut options = ClientOptions::new(instance.endpoint.clone(), instance.region.clone());
    let way_out = &instance.way_out;
    options.proxy = way_out.proxy.as_ref().map(|proxy| proxy.expose().clone());
    options.ca_pem = way_out.ca.as_ref().map(|ca| ca.pem.as_bytes().to_vec());
    let client = Client::new(options, credentials).map_err(|source| Error::Client {
        instance: instance.id.clone(),
        source,
    })?;
    // It re-checks the budget right before it sends, and tells it when the server throttles.
    Ok(client.gated(Arc::clone(budget) as Arc<dyn Gate>))
}

/// The delay that a throttled answer asks for.
pub(crate) fn asked_to_wait(error: &syncbell_acr::Error) -> Option<Duration> {
    match error.retry() {
        Retry::After(delay) => Some(delay),
        Retry::Backoff | Retry::Slowly => None,
    }
}
