//! Faults that take the place of an answer.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Context, Reply};
use crate::fault::Fault;

impl Context {
    /// A fault that takes the place of an answer; `None` if it is of another kind.
    pub(crate) fn fault(&self, fault: &Fault, permission: &str) -> Option<Reply> {
        const THROTTLED: &str = "Request was denied due to user flow control.";
        Some(match fault {
            Fault::Throttled { retry_after_ms } => {
                let reply = self.error(400, "Throttling.User", THROTTLED);
                match retry_after_ms {
                    Some(wait) => reply.with("x-acs-retry-after", *wait),
                    None => reply,
                }
            }
            Fault::TooManyRequests { retry_after_s } => self
                .error(429, "Throttling", THROTTLED)
                .with("retry-after", *retry_after_s),
            Fault::NoPrivilege => self.denied(permission),
            Fault::SystemError => self.error(500, "SystemError", "Unknown error."),
            Fault::Unavailable => self.error(
                503,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            Fault::BadGateway => Reply::new(
                StatusCode::BAD_GATEWAY,
                "text/html",
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                 <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Tengine</center>\r\n\
                 </body>\r\n</html>\r\n",
            ),
            Fault::LowerCamelError => {
                let body = json!({
                    "requestId": self.request_id,
                    "code": "NoPrivilege",
                    "message": "Access denied for this user.",
                    "accessDeniedDetail": access_denied_detail(permission),
                });
                Reply::json(StatusCode::FORBIDDEN, &body)
            }
            Fault::XmlError => Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/xml;charset=utf-8",
                format!(
                    "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>{}</RequestId>\
                     <HostId>{}</HostId><Code>ServiceUnavailable</Code><Message>The request has \
                     failed due to a temporary failure of the server.</Message></Error>",
                    self.request_id, self.host
                ),
            ),
            Fault::NotSuccessful { code } => self.not_successful(code),
            Fault::Closed => Reply::closed(),
            Fault::Truncated { .. }
            | Fault::TaskWithoutId
            | Fault::NullFields
            | Fault::UnknownValues
            | Fault::Slow { .. }
            | Fault::ClockSkew { .. }
            | Fault::PageNoIgnored { .. } => return None,
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
