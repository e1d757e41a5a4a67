//! The answer's envelope: success and error, both as loose as the vendor is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use syncbell_event::SyncTask;

use crate::decode::{self, Refused};
use crate::error::Error;

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

/// What the answer's head says, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<Duration>,
    /// `x-acs-retry-after` was there: the request was throttled, whatever its code says.
    pub(crate) throttled: bool,
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

/// Success is true, or absent; anything else is taken for the worse.
fn is_failure(fields: &Map<String, Value>) -> bool {
    match get(fields, "IsSuccess") {
        None => false,
        Some(Value::Bool(success)) => !success,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("true"),
        Some(_) => true,
    }
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

fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    // Errors also come with lower camel case keys; the SDKs read both.
    let lower = || name[..1].to_ascii_lowercase() + &name[1..];
    fields
        .get(name)
        .or_else(|| fields.get(&lower()))
        .filter(|value| !value.is_null())
}

fn string(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match get(fields, name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn whole(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    match get(fields, name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn describe(head: &Head) -> String {
    let kind = if head.content_type.is_empty() {
        "no content type"
    } else {
        &head.content_type
    };
    format!("HTTP {} ({kind})", head.status)
}

fn malformed(head: &Head, what: &str) -> Error {
    Error::Malformed {
        what: format!("{} {what}", describe(head)),
    }
}

fn not_json(head: &Head, body: &[u8], now: Timestamp) -> Error {
    if head.content_type.contains("xml")
        && let Some(fault) = Fault::of_xml(body)
    {
        return fault.classify(head, now);
    }
    let what = format!(
        "{}, {} bytes that are not a JSON object",
        describe(head),
        body.len()
    );
    match head.status {
        _ if head.throttled || head.status == 429 => throttled(head, Fault::default()),
        500.. => Error::Unavailable { what },
        _ => Error::Malformed { what },
    }
}

/// What the vendor says when it refuses.
#[derive(Clone, Debug, Default)]
struct Fault {
    code: Option<String>,
    message: String,
    request_id: Option<String>,
}

impl Fault {
    fn of_json(fields: &Map<String, Value>) -> Self {
        Self {
            code: string(fields, "Code"),
            message: string(fields, "Message").unwrap_or_default(),
            request_id: string(fields, "RequestId"),
        }
    }

    /// `<Error><Code>…</Code>…`: the three elements, wherever they stand.
    fn of_xml(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let element = |name: &str| {
            let begin = text.find(&format!("<{name}>"))? + name.len() + 2;
            let end = begin + text[begin..].find("</")?;
            Some(text[begin..end].trim().to_owned())
        };
        Some(Self {
            code: Some(element("Code")?),
            message: element("Message").unwrap_or_default(),
            request_id: element("RequestId"),
        })
    }

    fn classify(self, head: &Head, now: Timestamp) -> Error {
        let code = self.code.clone().unwrap_or_default();
        if head.throttled || head.status == 429 || code.starts_with("Throttling") {
            return throttled(head, self);
        }
        let request_id = self.request_id.unwrap_or_else(|| "-".to_owned());
        let message = first_line(&self.message);
        if code == "NoPrivilege" || code == "Forbidden" || code.starts_with("Forbidden.") {
            return Error::Denied {
                code,
                message,
                request_id,
            };
        }
        if code == "InvalidTimeStamp.Expired" {
            let skew_seconds = head.date.map(|date| now.duration_since(date).as_secs());
            return Error::Clock {
                skew_seconds,
                code,
                request_id,
            };
        }
        let down = [
            "SystemError",
            "InternalError",
            "UnknownError",
            "ServiceUnavailable",
        ];
        if head.status >= 500 || down.contains(&code.as_str()) {
            let what = format!(
                "HTTP {}: {code}: {message} (request {request_id})",
                head.status
            );
            return Error::Unavailable { what };
        }
        if code.is_empty() {
            let what = format!("{} with neither success nor a code", describe(head));
            return Error::Malformed { what };
        }
        Error::Rejected {
            code,
            message,
            request_id,
        }
    }
}

fn throttled(head: &Head, fault: Fault) -> Error {
    Error::Throttled {
        after: head.retry_after,
        code: fault
            .code
            .unwrap_or_else(|| format!("HTTP {}", head.status)),
        message: first_line(&fault.message),
        request_id: fault.request_id.unwrap_or_else(|| "-".to_owned()),
    }
}

/// One line of bounded length. The server's string to sign is cut off: it spans lines.
fn first_line(message: &str) -> String {
    message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}
