//! For the fuzzer: the decoders of all operations, without a server.

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use syncbell_event::SyncTask;

use crate::asked::Asked;
use crate::error::Error;
use crate::head::head;
use crate::operation::{
    GET_REPO_SYNC_TASK, LIST_INSTANCE, LIST_REPO_SYNC_RULE, LIST_REPO_SYNC_TASK, Operation,
};
use crate::sign::{EMPTY_SHA256, Unsigned, sign};
use crate::{Page, instances, page, sync_rules, task_report};

/// The task that is asked for by its id.
pub const TASK_ID: &str = "rst-1";

/// What an answer comes to.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// The tasks that were read.
    pub tasks: Vec<SyncTask>,
    /// Rows that were understood.
    pub n_taken: usize,
    /// Rows that were not.
    pub n_refused: usize,
    /// Rows in all.
    pub n_rows: usize,
}

/// The security token that the request had: no error shows it.
pub const TOKEN: &str = "hush";

/// Reads the body of a successful answer to `ListRepoSyncTask`.
pub fn page(body: &[u8]) -> Result<Page, Error> {
    let head = head(200, &HeaderMap::new());
    page::page(&head, body.to_vec(), Timestamp::UNIX_EPOCH)
}

/// Reads the answer to `operation`. Headers that HTTP does not allow are left out.
pub fn answer(
    operation: Operation,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answered, Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            map.append(name, value);
        }
    }
    let mut head = head(status, &map);
    head.asked = Some(asked(operation));
    let now = Timestamp::UNIX_EPOCH;
    let answered = match operation {
        LIST_REPO_SYNC_TASK => page::page(&head, body.to_vec(), now).map(|page| {
            let (tasks, refused) = page.tasks();
            Answered {
                n_taken: tasks.len(),
                n_refused: refused.len(),
                n_rows: page.n_rows(),
                tasks,
            }
        }),
        GET_REPO_SYNC_TASK => {
            task_report::report(&head, body, TASK_ID, now).map(|report| Answered {
                tasks: report.into_iter().map(|report| report.task).collect(),
                ..Answered::default()
            })
        }
        LIST_INSTANCE => {
            instances::page(&head, body, now).map(|page| listed(page.instances.len(), page.n_rows))
        }
        LIST_REPO_SYNC_RULE => {
            sync_rules::page(&head, body, now).map(|page| listed(page.rules.len(), page.n_rows))
        }
        _ => Ok(Answered::default()),
    };
    answered.map_err(|error| error.cleaned(&[TOKEN]))
}

fn listed(n_taken: usize, n_rows: usize) -> Answered {
    Answered {
        n_taken,
        n_refused: n_rows.saturating_sub(n_taken),
        n_rows,
        ..Answered::default()
    }
}

fn asked(operation: Operation) -> Asked {
    let headers = [
        ("host", "cr.cn-shanghai.aliyuncs.com".to_owned()),
        ("x-acs-security-token", TOKEN.to_owned()),
    ];
    let query = [("InstanceId", "cri-1".to_owned())];
    let unsigned = Unsigned {
        method: "POST",
        query: &query,
        headers: &headers,
        body_sha256: EMPTY_SHA256,
    };
    Asked {
        operation,
        region: "cn-shanghai".to_owned(),
        instance_id: "cri-1".to_owned(),
        canonical: sign(&unsigned, "key", "secret", |_| true).canonical,
    }
}
