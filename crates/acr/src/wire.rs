//! The answer's envelope: success and error, both as loose as the vendor is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use syncbell_event::SyncTask;

use crate::decode::{self, Refused};
use crate::error::Error;
use crate::fault::{Fault, malformed, not_json};
use crate::fields::{is_failure, string, whole};
use crate::head::Head;

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// `success`
    pub code: Option<String>,
    /// The page that was answered; compare it with the one asked for.
    pub page_no: Option<u64>,
    /// The size that the server used; it may cap what was asked for.
    pub page_size: Option<u64>,
    /// Tasks in all, as a number or a string on the wire.
    pub total_count: Option<u64>,
    /// The rows, in the server's order.
    pub tasks: Vec<SyncTask>,
    /// Rows that are not tasks.
    pub refused: Vec<Refused>,
    /// Rows in the answer, the refused ones too.
    pub n_rows: usize,
    /// The answer's Date header: the server's clock.
    pub date: Option<Timestamp>,
}

/// Reads an answer. `now` tells a wrong clock from a wrong date.
pub(crate) fn page(head: &Head, body: &[u8], now: Timestamp) -> Result<Page, Error> {
    let ok = (200..300).contains(&head.status);
    let Ok(mut raw) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body) else {
        return Err(not_json(head, body, now));
    };
    let rows = raw.remove("SyncTasks");
    let fields = raw
        .into_iter()
        .filter_map(|(name, raw)| Some((name, serde_json::from_str(raw.get()).ok()?)))
        .collect();
    if !ok || is_failure(&fields) {
        return Err(Fault::of_json(&fields).classify(head, now));
    }
    success(head, rows, &fields)
}

/// The rows stay raw until each is decoded: one that no parser takes (1e999, half a surrogate pair, a
/// nesting without end) must not take the others with it.
fn success(
    head: &Head,
    rows: Option<&RawValue>,
    fields: &Map<String, Value>,
) -> Result<Page, Error> {
    let rows: Vec<&RawValue> = match rows.map(RawValue::get) {
        Some("null") => Vec::new(),
        Some(list) if list.starts_with('[') => serde_json::from_str(list)
            .map_err(|_| malformed(head, "with a list of SyncTasks that cannot be taken apart"))?,
        None if whole(fields, "TotalCount") == Some(0) => Vec::new(),
        _ => {
            return Err(malformed(head, "without a list of SyncTasks"));
        }
    };
    let n_rows = rows.len();
    let (mut tasks, mut refused) = (Vec::with_capacity(n_rows), Vec::new());
    for (index, row) in rows.into_iter().enumerate() {
        match decode::raw(index, row.get()) {
            Ok(task) => tasks.push(task),
            Err(why) => refused.push(why),
        }
    }
    Ok(Page {
        request_id: string(fields, "RequestId"),
        code: string(fields, "Code"),
        page_no: whole(fields, "PageNo"),
        page_size: whole(fields, "PageSize"),
        total_count: whole(fields, "TotalCount"),
        tasks,
        refused,
        n_rows,
        date: head.date,
    })
}
