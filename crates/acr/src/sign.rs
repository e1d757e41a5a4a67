//! ACS3-HMAC-SHA256, the vendor's request signature. Pure.
//!
//! Source: the vendor's SDKs (Go darabonba-openapi/v2 2.1.13, Python tea-openapi 0.4.6); the tests hold
//! vectors made by their own signers.

mod v1;

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

pub use self::v1::sign_v1;

/// SHA-256 of no bytes: our requests have an empty body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A request before it is signed. No `Debug`: a security token may be among the headers.
#[derive(Clone)]
pub struct Unsigned<'a> {
    /// `POST`
    pub method: &'a str,
    /// Parameters, not encoded, in any order.
    pub query: &'a [(&'a str, String)],
    /// Headers with lower-case names, `host` among them.
    pub headers: &'a [(&'a str, String)],
    /// Lower-case hex SHA-256 of the body.
    pub body_sha256: &'a str,
}

/// The canonical request: what is signed. A security token may be in it, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical(String);

impl Canonical {
    /// Its text: not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canonical")
    }
}

/// What signing gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed; to compare with what the server says it got.
    pub canonical: Canonical,
    /// The query as it was signed, and as it is to be sent.
    pub query: String,
    /// The value of the `Authorization` header.
    pub authorization: String,
    /// Hex SHA-256 of the canonical request: the server names it when it does not agree.
    pub canonical_sha256: String,
    /// The signature alone.
    pub signature: String,
}

/// Which headers to sign by default: `host`, `content-type` and all `x-acs-*`. Proxies change others.
pub fn is_signed_by_default(name: &str) -> bool {
    name == "host" || name == "content-type" || name.starts_with("x-acs-")
}

/// Signs `request`; `signs` chooses the headers (see [`is_signed_by_default`]).
pub fn sign(
    request: &Unsigned<'_>,
    access_key_id: &str,
    secret: &str,
    signs: impl Fn(&str) -> bool,
) -> Signed {
    let query = canonical_query(request.query);
    let mut headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| signs(name))
        .map(|(name, value)| (*name, value.trim()))
        .collect();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines = headers.iter().fold(String::new(), |lines, (name, value)| {
        lines + name + ":" + value + "\n"
    });
    let canonical = format!(
        "{}\n/\n{query}\n{lines}\n{names}\n{}",
        request.method, request.body_sha256
    );
    let canonical_sha256 = hex::encode(Sha256::digest(&canonical));
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    hmac.update(format!("{ALGORITHM}\n{canonical_sha256}").as_bytes());
    let signature = hex::encode(hmac.finalize().into_bytes());
    let authorization = format!(
        "{ALGORITHM} Credential={access_key_id},SignedHeaders={names},Signature={signature}"
    );
    Signed {
        canonical: Canonical(canonical),
        query,
        authorization,
        canonical_sha256,
        signature,
    }
}

/// Keys sorted by byte value, values percent-encoded with the unreserved set only.
fn canonical_query(query: &[(&str, String)]) -> String {
    let mut pairs: Vec<_> = query
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    pairs.sort_unstable();
    let encoded: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={}", encode(value)))
        .collect();
    encoded.join("&")
}

/// `text` with everything but the unreserved set percent-encoded, in upper-case hex.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "2026-01-02T03:04:05Z";

    /// Vectors A1 to A4: made with the SDKs' own signers, key `testAccessKeyId`/`testAccessKeySecret`.
    struct Vector {
        second: bool,
        python: bool,
        signed: &'static str,
        canonical: &'static str,
        signature: &'static str,
    }

    const VECTORS: [Vector; 4] = [
        Vector {
            second: false,
            python: false,
            signed: "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version",
            canonical: "04f9daddc172b4c476cdfca214d96a0036b4c4191b47c95cbc41558d68a06d51",
            signature: "a0a29ac092bd2e04e9f64b2fa66b8c2ddba6e227588560af2edf9eb84793713d",
        },
        Vector {
            second: true,
            python: false,
            signed: "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version",
            canonical: "551d298aece5ce5f8f2c42df0704099b902387a9010646bbd01ac08ae2cc50c3",
            signature: "a930b5402711344142370c58e2707b4d17c2a442b1c6a497c13851b5887ae432",
        },
        Vector {
            second: false,
            python: true,
            signed: "accept;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version",
            canonical: "ea22d46cdb24a85f1233233cdc1291ae71b7715f26ef2f1798a00b02bc261220",
            signature: "74b91ccc51756029b881155dd26ae4c79909e14386343af5cbccb4a16a532296",
        },
        Vector {
            second: true,
            python: true,
            signed: "accept;host;user-agent;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version",
            canonical: "750ad256ca6b9f402bba058cfb281b17120b1f7a3f3280987357c55d46dd7bce",
            signature: "12e8f92938998d46ffe4a60f5364d350bd12e89f02480569b479c4336480edaf",
        },
    ];

    fn query(second: bool) -> Vec<(&'static str, String)> {
        let pairs: &[(&'static str, &str)] = if second {
            &[
                ("Tag", "v1.0+build:7&x=y"),
                ("InstanceId", "cri-kmsiwlxxdcva0001"),
                ("PageNo", "2"),
                ("PageSize", "100"),
                ("RepoName", "café*~_.-"),
                ("RepoNamespaceName", "team a/b"),
                ("SyncRecordId", "15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001"),
            ]
        } else {
            &[
                ("PageSize", "30"),
                ("PageNo", "1"),
                ("InstanceId", "cri-kmsiwlxxdcva0001"),
            ]
        };
        pairs
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_signatures_are_those_of_the_vendors_sdks() {
        for vector in VECTORS {
            let nonce = if vector.second {
                "a1b2c3d4e5f60718293a4b5c6d7e8f90"
            } else {
                "3156853299f313e23d1673dc12e1703d"
            };
            let mut headers = vec![
                ("host", "cr.cn-hangzhou.aliyuncs.com".to_owned()),
                ("x-acs-action", "ListRepoSyncTask".to_owned()),
                ("x-acs-version", "2018-12-01".to_owned()),
                ("x-acs-date", DATE.to_owned()),
                ("x-acs-signature-nonce", nonce.to_owned()),
                ("x-acs-content-sha256", EMPTY_SHA256.to_owned()),
                ("accept", "application/json".to_owned()),
                (
                    "user-agent",
                    "AlibabaCloud (linux; x86_64) test/1".to_owned(),
                ),
            ];
            if vector.second {
                headers.push(("x-acs-accesskey-id", "testAccessKeyId".to_owned()));
                headers.push(("x-acs-security-token", "sts+token/with=chars".to_owned()));
            }
            if vector.python {
                let provider = if vector.second {
                    "static_sts"
                } else {
                    "static_ak"
                };
                headers.push(("x-acs-credentials-provider", provider.to_owned()));
            }
            let request = Unsigned {
                method: "POST",
                query: &query(vector.second),
                headers: &headers,
                body_sha256: EMPTY_SHA256,
            };
            let python = vector.python;
            let signed = sign(&request, "testAccessKeyId", "testAccessKeySecret", |name| {
                python || is_signed_by_default(name)
            });
            assert_eq!(signed.canonical_sha256, vector.canonical);
            assert_eq!(signed.signature, vector.signature);
            let expected = format!(
                "ACS3-HMAC-SHA256 Credential=testAccessKeyId,SignedHeaders={},Signature={}",
                vector.signed, vector.signature
            );
            assert_eq!(signed.authorization, expected);
        }
    }

    #[test]
    fn the_query_is_sorted_and_encoded_as_the_vendor_does() {
        assert_eq!(
            canonical_query(&query(true)),
            "InstanceId=cri-kmsiwlxxdcva0001&PageNo=2&PageSize=100&RepoName=caf%C3%A9%2A~_.-\
             &RepoNamespaceName=team%20a%2Fb&SyncRecordId=15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001\
             &Tag=v1.0%2Bbuild%3A7%26x%3Dy"
        );
    }
}
