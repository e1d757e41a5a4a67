//! The signature of Standard Webhooks 1.0. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The `webhook-signature` header: `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
///
/// `timestamp` is of this attempt, in Unix seconds; `body` is exactly what goes over the wire.
pub(crate) fn sign(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &str) -> Vec<u8> {
        STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap()
    }

    #[test]
    fn the_published_vectors_hold() {
        let body = br#"{"type":"incident.opened","timestamp":"2024-01-01T00:00:00Z","data":{"id":"inc_1"}}"#;
        let cases: [(&str, &str, i64, &[u8], &str); 3] = [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
                "msg_test_0001",
                1_704_067_200,
                body,
                "v1,72N07byF+Wsb1md2PB1RfwXwFAuU5HQDwToBYsTXXKs=",
            ),
            (
                "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
                "msg_test_0001",
                1_704_067_200,
                body,
                "v1,JVB/lqxEqotOnSRkm7XsIqu7n0/EppJmTu9BupQAYu8=",
            ),
        ];
        for (secret, id, timestamp, body, expected) in cases {
            assert_eq!(sign(&key(secret), id, timestamp, body), expected);
        }
    }

    proptest! {
        #[test]
        fn every_signature_is_the_one_of_the_standard_s_own_library(
            key in proptest::collection::vec(any::<u8>(), 1..80),
            id in "[0-9a-f]{32}",
            timestamp in 0_i64..4_000_000_000,
            body in ".{0,300}",
        ) {
            let oracle = standardwebhooks::Webhook::from_bytes(key.clone()).unwrap();
            let expected = oracle.sign(&id, timestamp, body.as_bytes()).unwrap();
            prop_assert_eq!(sign(&key, &id, timestamp, body.as_bytes()), expected);
        }
    }
}
