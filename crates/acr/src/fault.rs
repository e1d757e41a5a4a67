//! What the vendor says when it refuses → an [`Error`] by what the caller does next.
//!
//! In: the answer's head and body. Out: the error. Must never happen: a body's own words in it, beyond the
//! code, one line of the message and the RequestId.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::fields::string;
use crate::head::Head;

fn describe(head: &Head) -> String {
    let kind = if head.content_type.is_empty() {
        "no content type"
    } else {
        &head.content_type
    };
    format!("HTTP {} ({kind})", head.status)
}

pub(crate) fn malformed(head: &Head, what: &str) -> Error {
    Error::Malformed {
        what: format!("{} {what}", describe(head)),
    }
}

pub(crate) fn not_json(head: &Head, body: &[u8], now: Timestamp) -> Error {
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
pub(crate) struct Fault {
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Fault {
    pub(crate) fn of_json(fields: &Map<String, Value>) -> Self {
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

    pub(crate) fn classify(self, head: &Head, now: Timestamp) -> Error {
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
