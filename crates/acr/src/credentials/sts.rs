//! The vendor's Security Token Service: a role's short-lived credentials for those who may have them.
//!
//! Version 2015-04-01, RPC style. Both calls are POST; what tells who asks is in the form, which
//! stands in no access log. Source: credentials-go 1.4.14 and the Python SDK's credentials 1.0.12.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::issued::{ANSWER_LIMIT_BYTES, Issued, issued, object, text};
use super::surroundings::Surroundings;
use super::{Credentials, down, fault};
use crate::Error;
use crate::client::is_region;
use crate::error::clean;
use crate::sign::sign_v1;
use crate::transport::{self, Unread, chain};

const VERSION: &str = "2015-04-01";

/// What a session is called where nobody named it: it stands in the vendor's audit log.
const SESSION: &str = "syncbell";

/// The vendor's default, and ours.
const DURATION_SECONDS: u32 = 3600;

/// A role, and what its session is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `acs:ram::{account}:role/{name}`
    pub arn: String,
    /// Stands in the vendor's audit log.
    pub session_name: String,
    /// At least 900; the role says how many at most.
    pub duration_seconds: u32,
    /// A RAM policy, JSON, that takes rights away for this session.
    pub policy: Option<String>,
    /// What the owner of a role in another account asks for.
    pub external_id: Option<String>,
}

impl Role {
    /// An hour as `syncbell`, with all the rights of the role.
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            session_name: SESSION.to_owned(),
            duration_seconds: DURATION_SECONDS,
            policy: None,
            external_id: None,
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("RoleArn", self.arn.clone()),
            ("RoleSessionName", self.session_name.clone()),
            ("DurationSeconds", self.duration_seconds.to_string()),
        ];
        parameters.extend(self.policy.iter().map(|policy| ("Policy", policy.clone())));
        parameters
    }
}

/// Where STS is: `sts.aliyuncs.com`, with a region `sts.{region}.aliyuncs.com`, in a VPC
/// `sts-vpc.{region}.aliyuncs.com`. None if `region` cannot be part of a host name.
pub fn sts_endpoint(region: Option<&str>, in_vpc: bool) -> Option<Url> {
    let host = match region.map(str::trim) {
        None => "sts.aliyuncs.com".to_owned(),
        Some(region) if !is_region(region) => return None,
        Some(region) if in_vpc => format!("sts-vpc.{region}.aliyuncs.com"),
        Some(region) => format!("sts.{region}.aliyuncs.com"),
    };
    Url::parse(&format!("https://{host}")).ok()
}

/// STS at one place.
pub(super) struct Sts {
    http: reqwest::Client,
    endpoint: Url,
}

/// Why STS gave nothing.
pub(super) enum Refused {
    /// The credentials that signed the call are over or unknown: others may do.
    Base(Error),
    Other(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Base(error) | Refused::Other(error) => error,
        }
    }
}

impl Sts {
    pub(super) fn new(surroundings: &Surroundings, endpoint: Url) -> Result<Self, Error> {
        Ok(Self {
            http: surroundings.client(&endpoint)?,
            endpoint,
        })
    }

    /// `AssumeRole`, signed with `base`.
    pub(super) async fn assume_role(
        &self,
        step: &str,
        role: &Role,
        base: &Credentials,
    ) -> Result<Issued, Refused> {
        let nonce: [u8; 16] = rand::random();
        let mut query = common("AssumeRole");
        query.push(("SignatureMethod", "HMAC-SHA1".to_owned()));
        query.push(("SignatureVersion", "1.0".to_owned()));
        query.push(("SignatureNonce", hex::encode(nonce)));
        query.push(("AccessKeyId", base.access_key_id.clone()));
        let mut form = role.parameters();
        form.extend(role.external_id.iter().map(|id| ("ExternalId", id.clone())));
        let mut secrets = vec![base.secret.expose_secret()];
        if let Some(token) = &base.security_token {
            secrets.push(token.expose_secret());
            form.push(("SecurityToken", token.expose_secret().to_owned()));
        }
        let all: Vec<_> = query.iter().chain(&form).cloned().collect();
        let signature = sign_v1("POST", &all, base.secret.expose_secret());
        query.push(("Signature", signature));
        self.call(step, query, form, &secrets).await
    }

    /// `AssumeRoleWithOIDC`: the token says who asks, nothing is signed.
    pub(super) async fn assume_role_with_oidc(
        &self,
        step: &str,
        role: &Role,
        provider_arn: &str,
        token: &str,
    ) -> Result<Issued, Error> {
        let mut form = role.parameters();
        form.push(("OIDCProviderArn", provider_arn.to_owned()));
        form.push(("OIDCToken", token.to_owned()));
        let query = common("AssumeRoleWithOIDC");
        Ok(self.call(step, query, form, &[token]).await?)
    }

    async fn call(
        &self,
        step: &str,
        query: Vec<(&str, String)>,
        form: Vec<(&str, String)>,
        secrets: &[&str],
    ) -> Result<Issued, Refused> {
        let encoded = |pairs: &[(&str, String)]| {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(pairs).finish()
        };
        let mut url = self.endpoint.clone();
        url.set_path("/");
        url.set_query(Some(&encoded(&query)));
        let asked = self
            .http
            .post(url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded(&form));
        let host = self.endpoint.host_str().unwrap_or_default();
        let unreached = |error: reqwest::Error| {
            let why = chain(&error.without_url());
            Refused::Other(down(step, format!("{host} does not answer: {why}")))
        };
        let mut answer = asked.send().await.map_err(unreached)?;
        let status = answer.status().as_u16();
        let body = transport::body(&mut answer, ANSWER_LIMIT_BYTES).await;
        let body = body.map_err(|unread| {
            let what = match unread {
                Unread::CutOff => "was cut off",
                Unread::TooLarge => "is larger than 64 KiB",
                Unread::TooSlow => "came too slowly",
            };
            Refused::Other(down(
                step,
                format!("{host}: HTTP {status}: the answer {what}"),
            ))
        })?;
        if (200..300).contains(&status) {
            let answer = object(step, &body).map_err(Refused::Other)?;
            let credentials = answer.get("Credentials").unwrap_or(&Value::Null);
            return issued(step, credentials).map_err(Refused::Other);
        }
        Err(refusal(step, host, status, &body, secrets))
    }
}

fn common(action: &str) -> Vec<(&'static str, String)> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    vec![
        ("Action", action.to_owned()),
        ("Version", VERSION.to_owned()),
        ("Format", "JSON".to_owned()),
        ("Timestamp", now),
    ]
}

/// What STS said instead, by what the caller does next.
fn refusal(step: &str, host: &str, status: u16, body: &[u8], secrets: &[&str]) -> Refused {
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    let field = |name: &str| text(&body, name).unwrap_or_else(|| "-".to_owned());
    let (code, message, request_id) = (field("Code"), field("Message"), field("RequestId"));
    let what = format!("{host}: HTTP {status}: {code}: {message} (request {request_id})");
    let what = clean(&what, secrets);
    if status >= 500 || status == 429 || code.starts_with("Throttling") {
        return Refused::Other(down(step, what));
    }
    let error = fault(step, what);
    if code.starts_with("InvalidSecurityToken") || code.starts_with("InvalidAccessKeyId") {
        Refused::Base(error)
    } else {
        Refused::Other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_follows_the_rule() {
        let check = |region, in_vpc, expected: Option<&str>| {
            let found = sts_endpoint(region, in_vpc).map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        check(None, false, Some("https://sts.aliyuncs.com/"));
        check(None, true, Some("https://sts.aliyuncs.com/"));
        let region = Some("cn-shanghai");
        check(region, false, Some("https://sts.cn-shanghai.aliyuncs.com/"));
        check(
            region,
            true,
            Some("https://sts-vpc.cn-shanghai.aliyuncs.com/"),
        );
        check(Some("evil.example/"), false, None);
    }
}
