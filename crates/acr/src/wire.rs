//! The answer's envelope: success and error, both as loose as the vendor is.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::page::{self, Page, Parts, Rows};

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
pub(crate) fn page(head: &Head, body: Vec<u8>, now: Timestamp) -> Result<Page, Error> {
    let ok = (200..300).contains(&head.status);
    let body = match String::from_utf8(body) {
        Ok(body) => body,
        Err(error) => return Err(not_json(head, error.as_bytes(), now)),
    };
    let Some(Parts { fields, rows }) = page::take_apart(&body) else {
        return Err(not_json(head, body.as_bytes(), now));
    };
    if !ok || is_failure(&fields) {
        return Err(Fault::of_json(&fields).classify(head, now));
    }
    let rows = match rows {
        Rows::List(rows) => rows,
        Rows::None { is_null: true } => Vec::new(),
        Rows::None { is_null: false } if whole(&fields, "TotalCount") == Some(0) => Vec::new(),
        Rows::None { .. } | Rows::Unreadable => {
            return Err(malformed(head, "without a list of SyncTasks"));
        }
    };
    Ok(Page {
        request_id: string(&fields, "RequestId"),
        code: string(&fields, "Code"),
        page_no: whole(&fields, "PageNo"),
        page_size: whole(&fields, "PageSize"),
        total_count: whole(&fields, "TotalCount"),
        date: head.date,
        body,
        rows,
    })
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
