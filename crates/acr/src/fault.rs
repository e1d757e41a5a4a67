//! What the vendor says when it refuses → an [`Error`] by what the caller does next.
//!
//! In: the answer's head and body. Out: the error. Must never happen: a body's own words in it, beyond the
//! code, one line of the message and the RequestId.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::asked::skew_seconds;
use crate::error::Error;
use crate::fields::{get, string, text};
use crate::head::Head;
use crate::signature::{self, Mismatch};

/// RequestId where there is none.
const NO_ID: &str = "-";

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

/// An answer that is no JSON object: XML from the gateway, HTML from what stands before it, or cut off.
pub(crate) fn not_json(head: &Head, body: &[u8], now: Timestamp) -> Error {
    if let Some(fault) = Fault::of_xml(head, body) {
        return fault.classify(head, now);
    }
    let n_bytes = body.len();
    unreadable(head, &format!("{n_bytes} bytes that are not a JSON object"))
}

/// An answer of which only the head can be read: what the status and the headers say still counts.
pub(crate) fn unreadable(head: &Head, what: &str) -> Error {
    let what = format!("{}, {what}", describe(head));
    match head.status {
        _ if head.throttled() => throttled(head, Fault::default()),
        500.. => Error::Unavailable { what },
        _ => Error::Malformed { what },
    }
}

/// What the vendor says when it refuses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault {
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    /// `AccessDeniedDetail.AuthAction`: what was not allowed.
    permission: Option<String>,
    /// `AccessDeniedDetail.AuthPrincipalOwnerId`: whose account.
    account: Option<String>,
}

impl Fault {
    pub(crate) fn of_json(fields: &Map<String, Value>) -> Self {
        let detail = get(fields, "AccessDeniedDetail").and_then(Value::as_object);
        let detail = |name: &str| text(detail?, name);
        Self {
            code: text(fields, "Code"),
            message: string(fields, "Message").unwrap_or_default(),
            request_id: text(fields, "RequestId"),
            permission: detail("AuthAction"),
            account: detail("AuthPrincipalOwnerId"),
        }
    }

    /// `<Error><Code>…</Code>…`: the elements, wherever they stand. `None` if it is not XML or has no code.
    fn of_xml(head: &Head, body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let start = text.trim_start_matches('\u{feff}').trim_start();
        let says_xml = head.content_type.contains("xml");
        if !says_xml && !start.starts_with("<?xml") && !start.starts_with("<Error") {
            return None;
        }
        let element = |name: &str| {
            let begin = text.find(&format!("<{name}>"))? + name.len() + 2;
            let end = begin + text[begin..].find("</")?;
            Some(unescaped(text[begin..end].trim())).filter(|text| !text.is_empty())
        };
        Some(Self {
            code: Some(element("Code").or_else(|| element("code"))?),
            message: element("Message")
                .or_else(|| element("message"))
                .unwrap_or_default(),
            request_id: element("RequestId").or_else(|| element("requestId")),
            permission: element("AuthAction"),
            account: element("AuthPrincipalOwnerId"),
        })
    }

    /// The whole table of the vendor's codes; those that it does not name go by the HTTP status.
    pub(crate) fn classify(self, head: &Head, now: Timestamp) -> Error {
        let code = self.code.clone().unwrap_or_default();
        if head.asks_to_wait || head.throttled() || is(&code, "Throttling") {
            return throttled(head, self);
        }
        if is(&code, "NoPrivilege") || is(&code, "Forbidden") {
            return self.denied(head, code);
        }
        let request_id = self.request_id.unwrap_or_else(|| NO_ID.to_owned());
        if code == "InvalidTimeStamp.Expired" {
            let skew_seconds = skew_seconds(head.date, now);
            return Error::Clock {
                skew_seconds,
                code,
                request_id,
            };
        }
        if is(&code, "SignatureDoesNotMatch") || is(&code, "IncompleteSignature") {
            let skew = skew_seconds(head.date, now);
            let why = head.asked.as_ref().map_or(Mismatch::Untold, |asked| {
                signature::compare(&self.message, asked.canonical.expose(), skew)
            });
            return Error::Signature {
                code,
                why,
                request_id,
            };
        }
        let message = first_line(&self.message);
        let down = [
            "SystemError",
            "InternalError",
            "UnknownError",
            "ServiceUnavailable",
        ];
        if head.status >= 500 || down.iter().any(|down| is(&code, down)) {
            let status = head.status;
            // The id before the text, which may be cut.
            let what = format!("HTTP {status}: {code} (request {request_id}): {message}");
            return Error::Unavailable { what };
        }
        if code.is_empty() {
            return malformed(head, "with neither success nor a code");
        }
        Error::Rejected {
            code,
            message,
            request_id,
        }
    }

    /// The statement that the RAM policy lacks, as far as the answer and the request tell it.
    fn denied(self, head: &Head, code: String) -> Error {
        let word = |c: char| c.is_ascii_alphanumeric() || c == ':';
        let permission = self.permission.as_deref();
        let permission =
            permission.filter(|name| name.starts_with("cr:") && name.chars().all(word));
        let account = self.account.as_deref();
        let account = account.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
        let statement = head.asked.as_ref().map(|asked| {
            let (region, instance) = (&asked.region, &asked.instance_id);
            asked
                .operation
                .statement(permission, region, account, instance)
        });
        Error::Denied {
            statement: statement.unwrap_or_default(),
            code,
            message: first_line(&self.message),
            request_id: self.request_id.unwrap_or_else(|| NO_ID.to_owned()),
        }
    }
}

/// `code` itself, or a finer one of it: `Forbidden`, `Forbidden.RAM`.
fn is(code: &str, family: &str) -> bool {
    code.strip_prefix(family)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The five entities of XML.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

fn throttled(head: &Head, fault: Fault) -> Error {
    Error::Throttled {
        after: head.retry_after,
        code: fault
            .code
            .unwrap_or_else(|| format!("HTTP {}", head.status)),
        message: first_line(&fault.message),
        request_id: fault.request_id.unwrap_or_else(|| NO_ID.to_owned()),
    }
}

/// Not cut to a length here: a secret that is cut in two is no longer found by [`Error::cleaned`].
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
