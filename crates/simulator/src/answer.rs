//! What goes back over the wire: right answers, and each kind of error in the vendor's shape.
//!
//! In: a listing, a refusal or a fault. Out: a [`Reply`], which the server sends. Shapes and texts
//! are those of the vendor's page and of published samples.

mod instead;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::calls::Answered;
use crate::ledger::Served;
use crate::list::Listing;
use crate::verify::Refusal;

/// An answer before it is sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// The states that it carries, if it is a list.
    pub(crate) served: Option<Served>,
    /// How much of the body is sent, and whether the content-length says so.
    pub(crate) cut: Option<Cut>,
    /// Nothing is sent: the connection closes.
    pub(crate) close: bool,
    /// It says that the client is too fast.
    pub(crate) throttled: bool,
    /// How long it tells the client to wait.
    pub(crate) wait_ms: Option<u64>,
}

/// A body of which the end is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) honest: bool,
}

const JSON: &str = "application/json;charset=utf-8";

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let (headers, served, cut, close) = (Vec::new(), None, None, false);
        Self {
            status,
            content_type,
            headers,
            body,
            served,
            cut,
            close,
            throttled: false,
            wait_ms: None,
        }
    }

    /// For the log of calls.
    pub(crate) fn answered(&self) -> Answered {
        Answered {
            status: self.status.as_u16(),
            throttled: self.throttled,
            wait_ms: self.wait_ms,
        }
    }

    fn throttled(mut self, wait_ms: Option<u64>) -> Self {
        self.throttled = true;
        self.wait_ms = wait_ms;
        self
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    /// What is no JSON.
    pub(crate) fn text(status: StatusCode, body: &str) -> Self {
        Self::new(status, "text/plain", body.to_owned())
    }

    pub(crate) fn closed() -> Self {
        Self {
            close: true,
            ..Self::new(StatusCode::OK, JSON, "")
        }
    }

    fn with(mut self, name: &'static str, value: u64) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.push((name, HeaderValue::from(value)));
        self
    }
}

/// What every answer of one call has in common.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) request_id: String,
    pub(crate) host: String,
}

impl Context {
    pub(crate) fn new(host: Option<&str>) -> Self {
        let id = hex::encode_upper(rand::random::<[u8; 16]>());
        let request_id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        Self {
            request_id,
            host: host.unwrap_or("cr.aliyuncs.com").to_owned(),
        }
    }

    fn error_body(&self, code: &str, message: &str) -> Map<String, Value> {
        let id = &self.request_id;
        let recommend =
            format!("https://api.aliyun.com/troubleshoot?q={code}&product=cr&requestId={id}");
        let body = json!({
            "RequestId": id,
            "HostId": self.host,
            "Code": code,
            "Message": message,
            "Recommend": recommend,
        });
        match body {
            Value::Object(body) => body,
            _ => Map::new(),
        }
    }

    /// An error of the gateway or the service.
    pub(crate) fn error(&self, status: u16, code: &str, message: &str) -> Reply {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply::json(status, &Value::Object(self.error_body(code, message)))
    }

    pub(crate) fn refusal(&self, refusal: &Refusal) -> Reply {
        match refusal {
            Refusal::Unsigned => self.error(
                400,
                "MissingAccessKeyId",
                "AccessKeyId is mandatory for this action.",
            ),
            Refusal::Incomplete => self.error(
                400,
                "IncompleteSignature",
                "The request signature does not conform to Aliyun standards.",
            ),
            Refusal::UnknownKey => self.error(
                404,
                "InvalidAccessKeyId.NotFound",
                "Specified access key is not found.",
            ),
            Refusal::Token => self.error(
                400,
                "InvalidSecurityToken.MismatchWithAccessKey",
                "Specified SecurityToken is mismatched with the AccessKey.",
            ),
            Refusal::Expired => self.error(
                400,
                "InvalidSecurityToken.Expired",
                "Specified SecurityToken is expired.",
            ),
            Refusal::DateFormat => self.error(
                400,
                "InvalidTimeStamp.Format",
                "Specified time stamp or date value is not well formatted.",
            ),
            Refusal::DateExpired => self.error(
                400,
                "InvalidTimeStamp.Expired",
                "Specified time stamp or date value is expired.",
            ),
            Refusal::Mismatch { string_to_sign } => self.error(
                400,
                "SignatureDoesNotMatch",
                &format!(
                    "Specified signature is not matched with our calculation. \
                     server string to sign is:{string_to_sign}"
                ),
            ),
        }
    }

    pub(crate) fn nonce_used(&self) -> Reply {
        self.error(
            400,
            "SignatureNonceUsed",
            "Specified signature nonce was used already.",
        )
    }

    /// HTTP 200 that is a failure all the same.
    pub(crate) fn not_successful(&self, code: &str) -> Reply {
        let body = json!({"RequestId": self.request_id, "Code": code, "IsSuccess": false});
        Reply::json(StatusCode::OK, &body)
    }

    /// HTTP 200 with these fields beside those that every answer has.
    pub(crate) fn success(&self, fields: Map<String, Value>) -> Reply {
        let mut body = fields;
        body.insert("RequestId".to_owned(), json!(self.request_id));
        body.insert("Code".to_owned(), json!("success"));
        body.insert("IsSuccess".to_owned(), json!(true));
        Reply::json(StatusCode::OK, &Value::Object(body))
    }

    /// A page of the list.
    pub(crate) fn page(&self, listing: &Listing, total: Option<Value>, unknown: bool) -> Reply {
        let mut body = Map::new();
        body.insert("PageNo".to_owned(), json!(listing.page_no));
        body.insert("PageSize".to_owned(), json!(listing.page_size));
        if let Some(total) = total {
            body.insert("TotalCount".to_owned(), total);
        }
        body.insert("SyncTasks".to_owned(), json!(listing.rows));
        if unknown {
            let hints = json!({"Style": "none", "Hints": [null]});
            body.insert("Continuation".to_owned(), hints);
        }
        self.success(body)
    }
}

#[cfg(test)]
mod tests;
