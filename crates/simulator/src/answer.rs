//! What goes back over the wire: right answers, and each kind of error in the vendor's shape.
//!
//! In: a listing, a refusal or a fault. Out: a [`Reply`], which the server sends. Shapes and texts
//! are those of the vendor's page and of published samples.

use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::ledger::Served;
use crate::list::Listing;
use crate::verify::Refusal;

/// An answer before it is sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, HeaderValue)>,
    pub(crate) body: Bytes,
    /// The states that it carries, if it is a list.
    pub(crate) served: Option<Served>,
    /// How much of the body is sent, and whether the content-length says so.
    pub(crate) cut: Option<Cut>,
    /// Nothing is sent: the connection closes.
    pub(crate) close: bool,
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
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    pub(crate) fn closed() -> Self {
        Self {
            close: true,
            ..Self::new(StatusCode::OK, JSON, "")
        }
    }

    fn with(mut self, name: &'static str, value: u64) -> Self {
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

    /// A fault that takes the place of an answer; `None` if it is of another kind.
    pub(crate) fn fault(&self, fault: &Fault) -> Option<Reply> {
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
            Fault::NoPrivilege => self.denied(),
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
                    "accessDeniedDetail": access_denied_detail(),
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

    fn denied(&self) -> Reply {
        let mut body = self.error_body("NoPrivilege", "Access denied for this user.");
        body.insert("AccessDeniedDetail".to_owned(), access_denied_detail());
        Reply::json(StatusCode::FORBIDDEN, &Value::Object(body))
    }

    /// A page of the list.
    pub(crate) fn page(&self, listing: &Listing, total_as_number: bool, unknown: bool) -> Reply {
        let total = if total_as_number {
            Value::from(listing.total)
        } else {
            Value::from(listing.total.to_string())
        };
        let mut body = json!({
            "RequestId": self.request_id,
            "Code": "success",
            "IsSuccess": true,
            "PageNo": listing.page_no,
            "PageSize": listing.page_size,
            "TotalCount": total,
            "SyncTasks": listing.rows,
        });
        if unknown {
            body["Continuation"] = json!({"Style": "none", "Hints": [null]});
        }
        Reply::json(StatusCode::OK, &body)
    }
}

fn access_denied_detail() -> Value {
    json!({
        "AuthAction": "cr:GetRepositorySync",
        "AuthPrincipalType": "SubUser",
        "AuthPrincipalDisplayName": "syncbell",
        "AuthPrincipalOwnerId": "1000000000000001",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
        "NoPermissionType": "ImplicitDeny",
        "EncodedDiagnosticMessage": "AQEAAAAA",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::new(Some("cr.cn-hangzhou.aliyuncs.com"))
    }

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn an_error_has_the_gateways_five_fields() {
        let reply = context()
            .fault(&Fault::Throttled {
                retry_after_ms: Some(1500),
            })
            .unwrap();
        assert_eq!(reply.status, 400);
        assert_eq!(
            reply.headers,
            [("x-acs-retry-after", HeaderValue::from(1500))]
        );
        let body = body(&reply);
        assert_eq!(body["Code"], "Throttling.User");
        assert_eq!(body["HostId"], "cr.cn-hangzhou.aliyuncs.com");
        let id = body["RequestId"].as_str().unwrap();
        assert_eq!(id.len(), 36);
        let recommend = body["Recommend"].as_str().unwrap();
        assert!(recommend.ends_with(&format!("q=Throttling.User&product=cr&requestId={id}")));
    }

    #[test]
    fn each_refusal_has_the_vendors_status_and_code() {
        let check = |refusal: Refusal, status: u16, code: &str| {
            let reply = context().refusal(&refusal);
            assert_eq!(
                (reply.status.as_u16(), body(&reply)["Code"].as_str()),
                (status, Some(code))
            );
        };
        check(Refusal::Unsigned, 400, "MissingAccessKeyId");
        check(Refusal::Incomplete, 400, "IncompleteSignature");
        check(Refusal::UnknownKey, 404, "InvalidAccessKeyId.NotFound");
        check(
            Refusal::Token,
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
        );
        check(Refusal::DateFormat, 400, "InvalidTimeStamp.Format");
        check(Refusal::DateExpired, 400, "InvalidTimeStamp.Expired");
        check(
            Refusal::Mismatch {
                string_to_sign: "x".into(),
            },
            400,
            "SignatureDoesNotMatch",
        );
    }

    #[test]
    fn the_string_to_sign_stands_in_the_message() {
        let reply = context().refusal(&Refusal::Mismatch {
            string_to_sign: "A\nb".to_owned(),
        });
        assert_eq!(
            body(&reply)["Message"],
            "Specified signature is not matched with our calculation. server string to sign is:A\nb"
        );
    }

    #[test]
    fn a_denial_has_its_detail_in_both_spellings() {
        let upper = context().fault(&Fault::NoPrivilege).unwrap();
        let lower = context().fault(&Fault::LowerCamelError).unwrap();
        assert_eq!((upper.status.as_u16(), lower.status.as_u16()), (403, 403));
        assert_eq!(
            body(&upper)["AccessDeniedDetail"]["AuthAction"],
            "cr:GetRepositorySync"
        );
        assert_eq!(
            body(&lower)["accessDeniedDetail"]["AuthAction"],
            "cr:GetRepositorySync"
        );
        assert!(body(&lower).get("Code").is_none());
    }

    #[test]
    fn the_total_is_a_string_or_a_number() {
        let listing = || Listing {
            page_no: 1,
            page_size: 30,
            total: 7,
            rows: vec![],
            shown: vec![],
        };
        assert_eq!(
            body(&context().page(&listing(), false, false))["TotalCount"],
            "7"
        );
        assert_eq!(
            body(&context().page(&listing(), true, false))["TotalCount"],
            7
        );
    }
}
