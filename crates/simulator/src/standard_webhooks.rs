//! Verifies Standard Webhooks 1.0 signatures (`v1`, HMAC-SHA256), with code of its own.
//!
//! In: the headers, the exact body bytes, the secret, the time. Out: yes, or why not. Proved by the
//! tests against the published vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// How far a message's timestamp may be from now, in seconds.
const TOLERANCE_S: i64 = 300;

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `webhook-id`, `webhook-timestamp` or `webhook-signature` is missing or empty.
    #[error("could not verify the message: a webhook header is missing")]
    Header,
    /// The secret is not `whsec_` and base64.
    #[error("could not verify the message: the secret is not whsec_ and base64")]
    Secret,
    /// Not a number, or more than five minutes off.
    #[error("could not verify the message: its timestamp is too old or too new")]
    Timestamp,
    /// None of the signatures listed is right.
    #[error("could not verify the message: no signature matches")]
    Signature,
}

/// The three headers of a message.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: `v1,…` entries with blanks between them.
    pub signature: &'a str,
}

/// Whether the message was signed with `secret` (`whsec_…`) within five minutes of `now`.
pub fn verify(
    secret: &str,
    headers: Headers<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refusal> {
    if headers.id.is_empty() || headers.timestamp.is_empty() || headers.signature.is_empty() {
        return Err(Refusal::Header);
    }
    let key = secret
        .strip_prefix("whsec_")
        .and_then(|text| BASE64.decode(text).ok());
    let key = key.filter(|key| !key.is_empty()).ok_or(Refusal::Secret)?;
    let sent_s: i64 = headers.timestamp.parse().map_err(|_| Refusal::Timestamp)?;
    if now.as_second().abs_diff(sent_s) > TOLERANCE_S.unsigned_abs() {
        return Err(Refusal::Timestamp);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(format!("{}.{}.", headers.id, headers.timestamp).as_bytes());
    mac.update(body);
    let is_right = |entry: &str| {
        let signature = entry
            .strip_prefix("v1,")
            .and_then(|text| BASE64.decode(text).ok());
        signature.is_some_and(|signature| mac.clone().verify_slice(&signature).is_ok())
    };
    if headers.signature.split(' ').any(is_right) {
        Ok(())
    } else {
        Err(Refusal::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"type":"incident.opened","timestamp":"2024-01-01T00:00:00Z","data":{"id":"inc_1"}}"#;
    const OLD: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const NEW: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
    const BY_OLD: &str = "v1,72N07byF+Wsb1md2PB1RfwXwFAuU5HQDwToBYsTXXKs=";
    const BY_NEW: &str = "v1,JVB/lqxEqotOnSRkm7XsIqu7n0/EppJmTu9BupQAYu8=";

    fn check(secret: &str, signature: &str, late_s: i64) -> Result<(), Refusal> {
        let headers = Headers {
            id: "msg_test_0001",
            timestamp: "1704067200",
            signature,
        };
        verify(
            secret,
            headers,
            BODY,
            Timestamp::from_second(1_704_067_200 + late_s).unwrap(),
        )
    }

    #[test]
    fn the_published_vectors_are_accepted() {
        let headers = Headers {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        };
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, body, now),
            Ok(())
        );
        assert_eq!(check(OLD, BY_OLD, 0), Ok(()));
        assert_eq!(check(NEW, BY_NEW, 0), Ok(()));
    }

    #[test]
    fn while_secrets_rotate_either_is_enough() {
        let both = format!("{BY_OLD} {BY_NEW}");
        assert_eq!(check(OLD, &both, 0), Ok(()));
        assert_eq!(check(NEW, &both, 0), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check(OLD, BY_NEW, 0), Err(Refusal::Signature));
        assert_eq!(check(OLD, "v1a,xxxx v1,***", 0), Err(Refusal::Signature));
        assert_eq!(check(OLD, "", 0), Err(Refusal::Header));
        assert_eq!(check("secret", BY_OLD, 0), Err(Refusal::Secret));
        assert_eq!(check(OLD, BY_OLD, 300), Ok(()));
        assert_eq!(check(OLD, BY_OLD, 301), Err(Refusal::Timestamp));
        assert_eq!(check(OLD, BY_OLD, -301), Err(Refusal::Timestamp));
    }
}
