//! `ListRepoSyncRule`: the rules that make sync tasks, for their names.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::envelope::{Envelope, row};
use crate::error::Error;
use crate::fields::{numbers, text};
use crate::head::Head;

/// One page of the synchronization rules of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRepoSyncRule {
    /// Required.
    pub instance_id: String,
    /// From 1.
    pub page_no: Option<u32>,
    /// Rows a page.
    pub page_size: Option<u32>,
}

impl ListRepoSyncRule {
    /// The parameters by their names on the wire; absent ones are left out.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let optional = [
            ("InstanceId", Some(self.instance_id.clone())),
            ("PageNo", numbers(self.page_no)),
            ("PageSize", numbers(self.page_size)),
        ];
        let given = optional.into_iter();
        given
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRulePage {
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// The page that was answered; compare it with the one asked for.
    pub page_no: Option<u64>,
    /// The size that the server used; it may cap what was asked for.
    pub page_size: Option<u64>,
    /// Rules in all, as a number or a string on the wire.
    pub total_count: Option<u64>,
    /// The rows that have an id, in the server's order.
    pub rules: Vec<SyncRule>,
    /// Rows in the answer, those without an id too.
    pub n_rows: usize,
    /// The answer's Date header: the server's clock.
    pub date: Option<Timestamp>,
}

/// One rule. Nothing but the id is sure to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncRule {
    /// `crsr-…`
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// `INSTANCE`, `NAMESPACE` or `REPO`.
    pub scope: Option<String>,
    /// `INITIATIVE` (by hand) or `PASSIVE` (by itself).
    pub trigger: Option<String>,
    /// `FROM` or `TO` the instance that was asked.
    pub direction: Option<String>,
    /// On the side of the instance that was asked.
    pub namespace: Option<String>,
    /// On the side of the instance that was asked.
    pub repo: Option<String>,
}

/// Reads an answer.
pub(crate) fn page(head: &Head, body: &[u8], now: Timestamp) -> Result<SyncRulePage, Error> {
    let envelope = Envelope::open(head, body, now)?;
    let rows = envelope.rows("SyncRules")?;
    let listed = envelope.listed();
    Ok(SyncRulePage {
        request_id: listed.request_id,
        page_no: listed.page_no,
        page_size: listed.page_size,
        total_count: listed.total_count,
        n_rows: rows.len(),
        rules: rows.into_iter().filter_map(rule).collect(),
        date: head.date,
    })
}

fn rule(raw: &RawValue) -> Option<SyncRule> {
    let fields = row(raw)?;
    Some(SyncRule {
        id: text(&fields, "SyncRuleId")?,
        name: text(&fields, "SyncRuleName"),
        scope: text(&fields, "SyncScope"),
        trigger: text(&fields, "SyncTrigger"),
        direction: text(&fields, "SyncDirection"),
        namespace: text(&fields, "LocalNamespaceName"),
        repo: text(&fields, "LocalRepoName"),
    })
}
