//! Faults that take the place of an answer.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Context, Cut, Reply};
use crate::action::Action;
use crate::fault::{ErrorFault, ErrorShape, Fault, Throttling, known_error};
use crate::rpc::action;
use crate::task::skewed;
use crate::verify::{Call, string_to_sign};

const THROTTLED: &str = "Request was denied due to user flow control.";

impl Context {
    /// A fault that takes the place of an answer; `None` if it is of another kind.
    pub(crate) fn fault(&self, fault: &Fault, call: &Call, server_now: Timestamp) -> Option<Reply> {
        let permission = action(call).map_or("", Action::permission);
        Some(match fault {
            Fault::Throttled { retry_after_ms } => {
                let reply = self.error(400, "Throttling.User", THROTTLED);
                let reply = reply.throttled(*retry_after_ms);
                match retry_after_ms {
                    Some(wait) => reply.with("x-acs-retry-after", *wait),
                    None => reply,
                }
            }
            Fault::TooManyRequests { retry_after_s } => self
                .error(429, "Throttling", THROTTLED)
                .with("retry-after", *retry_after_s)
                .throttled(Some(retry_after_s.saturating_mul(1000))),
            Fault::NoPrivilege => self.denied(permission),
            Fault::SystemError => self.error(500, "SystemError", "Unknown error."),
            Fault::Unavailable => self.error(
                503,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            Fault::BadGateway => html(StatusCode::BAD_GATEWAY),
            Fault::LowerCamelError => {
                let mut body = self.lower_camel("NoPrivilege", "Access denied for this user.");
                body["accessDeniedDetail"] = access_denied_detail(permission);
                Reply::json(StatusCode::FORBIDDEN, &body)
            }
            Fault::XmlError => self.xml(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            Fault::NotSuccessful { code } => self.not_successful(code),
            Fault::Closed | Fault::Silent => Reply::closed(),
            Fault::Error(error) => self.own_error(error, call),
            Fault::Throttling(throttling) => self.throttling(throttling, server_now),
            Fault::Truncated { .. }
            | Fault::TaskWithoutId
            | Fault::NullFields
            | Fault::UnknownValues
            | Fault::Slow { .. }
            | Fault::ClockSkew { .. }
            | Fault::PageNoIgnored { .. }
            | Fault::Drift { .. }
            | Fault::PagesCapped { .. }
            | Fault::RowsTwice
            | Fault::TotalCount(_)
            | Fault::Order(_)
            | Fault::Drip { .. }
            | Fault::Reset(_)
            | Fault::Huge { .. } => return None,
        })
    }

    fn denied(&self, permission: &str) -> Reply {
        let mut body = self.error_body("NoPrivilege", "Access denied for this user.");
        body.insert(
            "AccessDeniedDetail".to_owned(),
            access_denied_detail(permission),
        );
        Reply::json(StatusCode::FORBIDDEN, &Value::Object(body))
    }

    fn lower_camel(&self, code: &str, message: &str) -> Value {
        json!({"requestId": self.request_id, "code": code, "message": message})
    }

    fn xml(&self, status: StatusCode, code: &str, message: &str) -> Reply {
        let escaped = message
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let body = format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>{}</RequestId>\
             <HostId>{}</HostId><Code>{code}</Code><Message>{escaped}</Message></Error>",
            self.request_id, self.host
        );
        Reply::new(status, "text/xml;charset=utf-8", body)
    }

    fn own_error(&self, error: &ErrorFault, call: &Call) -> Reply {
        let known = known_error(&error.code);
        let status = error.status.or(known.map(|known| known.status));
        let status = StatusCode::from_u16(status.unwrap_or(400)).unwrap_or(StatusCode::BAD_REQUEST);
        let message = error.message.clone().unwrap_or_else(|| {
            let mut text = known.map_or("An error.", |known| known.message).to_owned();
            if error.code == "SignatureDoesNotMatch" {
                text.push_str(&string_to_sign(call).unwrap_or_default());
            }
            text
        });
        let json = || {
            let mut body = self.error_body(&error.code, &message);
            if status == StatusCode::FORBIDDEN {
                let permission = action(call).map_or("", Action::permission);
                let detail = access_denied_detail(permission);
                body.insert("AccessDeniedDetail".to_owned(), detail);
            }
            Reply::json(status, &Value::Object(body))
        };
        let mut reply = match error.shape {
            ErrorShape::Json => json(),
            ErrorShape::LowerCamel => Reply::json(status, &self.lower_camel(&error.code, &message)),
            ErrorShape::Xml => self.xml(status, &error.code, &message),
            ErrorShape::Html => html(status),
            ErrorShape::CutOff => {
                let mut reply = json();
                reply.cut = Some(Cut { honest: true });
                reply
            }
        };
        let wait = error.headers.get("x-acs-retry-after");
        let wait_ms = wait.and_then(|wait| wait.parse().ok());
        if wait_ms.is_some() || error.code.starts_with("Throttling") {
            reply = reply.throttled(wait_ms);
        }
        for (name, value) in &error.headers {
            if let Ok(name) = HeaderName::try_from(name)
                && let Ok(value) = HeaderValue::try_from(value)
            {
                reply.headers.push((name, value));
            }
        }
        reply
    }

    fn throttling(&self, throttling: &Throttling, server_now: Timestamp) -> Reply {
        let seconds = throttling.retry_after_s.or(throttling.retry_after_date_s);
        let waits_ms = [
            throttling
                .x_acs_retry_after
                .as_ref()
                .and_then(|text| text.parse().ok()),
            throttling.ratelimit_user_api_ms,
            throttling.ratelimit_user_ms,
            seconds.map(|seconds| seconds.saturating_mul(1000)),
        ];
        let wait_ms = waits_ms.into_iter().flatten().max();
        let reply = self.error(throttling.status, &throttling.code, THROTTLED);
        let mut reply = reply.throttled(wait_ms);
        let mut header = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                reply.headers.push((HeaderName::from_static(name), value));
            }
        };
        if let Some(text) = &throttling.x_acs_retry_after {
            header("x-acs-retry-after", text.clone());
        }
        let limits = [
            ("x-ratelimit-user-api", throttling.ratelimit_user_api_ms),
            ("x-ratelimit-user", throttling.ratelimit_user_ms),
        ];
        for (name, time_left_ms) in limits {
            if let Some(ms) = time_left_ms {
                let pairs = format!("Limit:50,Interval:1000,Remain:0,TimeLeft:{ms}");
                header(name, pairs);
            }
        }
        if let Some(seconds) = throttling.retry_after_s {
            header("retry-after", seconds.to_string());
        }
        if let Some(seconds) = throttling.retry_after_date_s {
            let ahead = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
            let date = skewed(server_now, ahead);
            let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
            header("retry-after", printed.unwrap_or_default());
        }
        reply
    }

    /// The quota's answer to one call too many.
    pub(crate) fn beyond_quota(&self, wait: Duration) -> Reply {
        // Rounded up: who waits just as long as told must be let in.
        let wait_ms = wait.as_nanos().div_ceil(1_000_000).max(1);
        let wait_ms = u64::try_from(wait_ms).unwrap_or(u64::MAX);
        self.error(400, "Throttling.User", THROTTLED)
            .with("x-acs-retry-after", wait_ms)
            .throttled(Some(wait_ms))
    }
}

fn html(status: StatusCode) -> Reply {
    let reason = status.canonical_reason().unwrap_or("Error");
    let title = format!("{} {reason}", status.as_u16());
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n<hr><center>Tengine</center>\r\n\
         </body>\r\n</html>\r\n"
    );
    Reply::new(status, "text/html", body)
}

fn access_denied_detail(permission: &str) -> Value {
    json!({
        "AuthAction": permission,
        "AuthPrincipalType": "SubUser",
        "AuthPrincipalDisplayName": "syncbell",
        "AuthPrincipalOwnerId": "1000000000000001",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
        "NoPermissionType": "ImplicitDeny",
        "EncodedDiagnosticMessage": "AQEAAAAA",
    })
}
