//! SignatureVersion 1.0 with HMAC-SHA1: the vendor's older signature, which STS is asked with. Pure.
//!
//! Everything is a parameter, also who signs; the method counts, host and headers do not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{canonical_query, encode};

/// The `Signature` of `parameters`, which are those of the query and of a form body together.
pub fn sign_v1(method: &str, parameters: &[(&str, String)], secret: &str) -> String {
    let text = string_to_sign(method, parameters);
    let mut hmac = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes())
        .expect("HMAC takes keys of any length");
    hmac.update(text.as_bytes());
    BASE64.encode(hmac.finalize().into_bytes())
}

fn string_to_sign(method: &str, parameters: &[(&str, String)]) -> String {
    format!("{method}&%2F&{}", encode(&canonical_query(parameters)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What vectors B1 and B2 have in common.
    fn parameters(nonce: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let common = [
            ("Action", "ListRepoSyncTask"),
            ("Version", "2018-12-01"),
            ("Format", "json"),
            ("Timestamp", "2026-01-02T03:04:05Z"),
            ("SignatureNonce", nonce),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("AccessKeyId", "testAccessKeyId"),
            ("InstanceId", "cri-kmsiwlxxdcva0001"),
        ];
        let all = common.iter().chain(more);
        all.map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_signatures_are_those_of_the_vendors_sdk() {
        let b1 = parameters(
            "3156853299f313e23d1673dc12e1703d",
            &[("PageNo", "1"), ("PageSize", "30")],
        );
        assert_eq!(
            string_to_sign("POST", &b1),
            "POST&%2F&AccessKeyId%3DtestAccessKeyId%26Action%3DListRepoSyncTask%26Format%3Djson\
             %26InstanceId%3Dcri-kmsiwlxxdcva0001%26PageNo%3D1%26PageSize%3D30\
             %26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D3156853299f313e23d1673dc12e1703d\
             %26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z\
             %26Version%3D2018-12-01"
        );
        assert_eq!(
            sign_v1("POST", &b1, "testAccessKeySecret"),
            "NhU85xKEMoZ06JM+KgmEcAZYAfg="
        );
        let b2 = parameters(
            "a1b2c3d4e5f60718293a4b5c6d7e8f90",
            &[
                ("PageNo", "2"),
                ("PageSize", "100"),
                ("RepoName", "café*~_.-"),
                ("RepoNamespaceName", "team a/b"),
                ("SyncRecordId", "15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001"),
                ("Tag", "v1.0+build:7&x=y"),
                ("SecurityToken", "sts+token/with=chars"),
            ],
        );
        assert_eq!(
            sign_v1("POST", &b2, "testAccessKeySecret"),
            "c2m7/fwqLtHEf2bUrjXpRMXU/yk="
        );
    }

    #[test]
    fn the_method_counts() {
        let parameters = parameters("n", &[]);
        assert_ne!(
            sign_v1("GET", &parameters, "s"),
            sign_v1("POST", &parameters, "s")
        );
    }
}
