//! Credentials as a source gave them, and how the answers that carry them are read.

use jiff::Timestamp;
use serde_json::Value;

use super::{BoxFuture, Credentials, fault};
use crate::Error;

/// The largest answer that is read, from whomever.
pub(super) const ANSWER_LIMIT_BYTES: usize = 64 * 1024;

/// Credentials and when they end.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) credentials: Credentials,
    /// None: never, as far as the source knows.
    pub(crate) expires_at: Option<Timestamp>,
}

/// Gives new credentials each time it is asked; what keeps them is
/// [`Refreshing`](super::refreshing::Refreshing).
pub(crate) trait Source: Send + Sync {
    /// New ones. Bounded in time by itself.
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>>;

    /// See [`CredentialsProvider::name`](super::CredentialsProvider::name).
    fn name(&self) -> &'static str;
}

/// A text of a JSON object that is there and not blank.
pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    let value = object.get(name)?.as_str()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What STS, the metadata service and credentials URIs all answer: `AccessKeyId`, `AccessKeySecret`,
/// `SecurityToken`, `Expiration`. `step` is for the error, which names what is missing and nothing of
/// what is there.
pub(super) fn issued(step: &str, object: &Value) -> Result<Issued, Error> {
    let names = [
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ];
    named(step, object, names)
}

/// The same under other names: id, secret, token, expiration.
pub(super) fn named(step: &str, object: &Value, names: [&str; 4]) -> Result<Issued, Error> {
    let [id, secret, token, expiration] = names;
    let need = |name: &str| {
        text(object, name).ok_or_else(|| fault(step, format!("the answer has no {name}")))
    };
    let expires_at = text(object, expiration).map(|at| at.parse::<Timestamp>());
    Ok(Issued {
        credentials: Credentials {
            access_key_id: need(id)?,
            secret: need(secret)?.into(),
            security_token: text(object, token).map(Into::into),
        },
        expires_at: expires_at
            .transpose()
            .map_err(|_| fault(step, format!("the answer's {expiration} is not a time")))?,
    })
}

/// A JSON object, of which no word gets into the error.
pub(super) fn object(step: &str, body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice::<Value>(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| fault(step, "the answer is not a JSON object"))
}
