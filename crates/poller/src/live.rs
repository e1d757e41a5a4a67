//! One page of the list as the cloud has it now, for people: `syncbell tasks --live`.
//!
//! In: an instance, which page. Out: its tasks and the totals. Must never happen: a question that touches
//! what a running poller keeps.

use std::sync::Arc;

use jiff::Timestamp;
use syncbell_acr::{CredentialsProvider, ListRepoSyncTask, Surroundings};
use syncbell_config::Instance;
use syncbell_event::SyncTask;

use crate::accounts::Accounts;
use crate::budget::Budget;
use crate::upstream::client;

/// One page.
#[derive(Clone, Debug)]
pub struct LivePage {
    /// The page that the server says it is.
    pub page_no: Option<u64>,
    /// Rows a page by its own word; it may be less than was asked for.
    pub page_size: Option<u64>,
    /// Tasks in all.
    pub total_count: Option<u64>,
    /// The server's clock.
    pub server_time: Option<Timestamp>,
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// In the server's order.
    pub tasks: Vec<SyncTask>,
    /// Rows that are no tasks, each with the reason.
    pub refused: Vec<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct LiveError {
    /// Who has to do something.
    pub cause: LiveCause,
    /// For people; without secrets.
    pub what: String,
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveCause {
    /// A permission is missing.
    Denied,
    /// It is asked too much: later.
    TooFast,
    /// The server, or the way to it, is down, or something else answers there.
    Down,
    /// The key, its secret, the instance, the endpoint or this machine's clock is wrong.
    Setup,
}

/// Asks for one page of `instance`, with its filters, once. `page_size` is at most 100 for the vendor.
pub async fn live(
    instance: &Instance,
    page_no: u32,
    page_size: u32,
    credentials: Arc<dyn CredentialsProvider>,
    surroundings: Surroundings,
) -> Result<LivePage, LiveError> {
    let account = Accounts::new(credentials, surroundings).of(instance);
    let budget = Arc::new(Budget::new());
    let client = account.and_then(|account| client(instance, account.credentials, &budget));
    let client = client.map_err(|error| LiveError {
        cause: LiveCause::Setup,
        what: error.to_string(),
    })?;
    let filters = instance.filters.clone();
    let request = ListRepoSyncTask {
        instance_id: instance.id.clone(),
        repo_namespace_name: filters.namespace,
        repo_name: filters.repo,
        tag: filters.tag,
        page_no: Some(page_no),
        page_size: Some(page_size),
        sync_record_id: filters.batch_id,
    };
    let page = client.list_repo_sync_task(&request).await?;
    let (tasks, refused) = page.tasks();
    let refused = refused.into_iter().map(|row| {
        let id = row.task_id.unwrap_or_else(|| "no id".to_owned());
        format!("row {} ({id}): {}", row.index + 1, row.reason)
    });
    Ok(LivePage {
        page_no: page.page_no,
        page_size: page.page_size,
        total_count: page.total_count,
        server_time: page.date,
        request_id: page.request_id.clone(),
        refused: refused.collect(),
        tasks,
    })
}

impl From<syncbell_acr::Error> for LiveError {
    fn from(error: syncbell_acr::Error) -> Self {
        use syncbell_acr::Error::{Denied, Malformed, Throttled, Unavailable};

        Self {
            cause: match &error {
                Denied { .. } => LiveCause::Denied,
                Throttled { .. } => LiveCause::TooFast,
                Unavailable { .. } | Malformed { .. } => LiveCause::Down,
                _ => LiveCause::Setup,
            },
            what: error.to_string(),
        }
    }
}
