//! The vendor's vectors: signatures that its own SDKs made.

use axum::http::{HeaderName, HeaderValue};

use super::*;

const N1: &str = "3156853299f313e23d1673dc12e1703d";
const N2: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const TOKEN: &str = "sts+token/with=chars";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const Q1: &str = "InstanceId=cri-kmsiwlxxdcva0001&PageNo=1&PageSize=30";
const Q2: &str = "InstanceId=cri-kmsiwlxxdcva0001&PageNo=2&PageSize=100&RepoName=caf%C3%A9%2A~_.-\
    &RepoNamespaceName=team%20a%2Fb&SyncRecordId=15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001\
    &Tag=v1.0%2Bbuild%3A7%26x%3Dy";
const GO: &str =
    "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
const GO_STS: &str = "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;\
    x-acs-security-token;x-acs-signature-nonce;x-acs-version";
const PYTHON: &str = "accept;host;user-agent;x-acs-action;x-acs-content-sha256;\
    x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version";
const PYTHON_STS: &str = "accept;host;user-agent;x-acs-accesskey-id;x-acs-action;\
    x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-security-token;\
    x-acs-signature-nonce;x-acs-version";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn key(token: Option<&str>) -> Key {
    Key {
        id: "testAccessKeyId".to_owned(),
        secret: "testAccessKeySecret".to_owned(),
        security_token: token.map(str::to_owned),
    }
}

struct Vector {
    query: &'static str,
    nonce: &'static str,
    sts: bool,
    provider: Option<&'static str>,
    signed: &'static str,
    canonical: &'static str,
    signature: &'static str,
}

fn call(vector: &Vector, query: &str) -> Call {
    let authorization = format!(
        "ACS3-HMAC-SHA256 Credential=testAccessKeyId,SignedHeaders={},Signature={}",
        vector.signed, vector.signature
    );
    let mut headers = vec![
        ("host", "cr.cn-hangzhou.aliyuncs.com"),
        ("x-acs-action", "ListRepoSyncTask"),
        ("x-acs-version", "2018-12-01"),
        ("x-acs-date", "2026-01-02T03:04:05Z"),
        ("x-acs-signature-nonce", vector.nonce),
        ("x-acs-content-sha256", EMPTY),
        ("accept", "application/json"),
        ("user-agent", "AlibabaCloud (linux; x86_64) test/1"),
        ("authorization", &authorization),
    ];
    if vector.sts {
        headers.push(("x-acs-accesskey-id", "testAccessKeyId"));
        headers.push(("x-acs-security-token", TOKEN));
    }
    if let Some(provider) = vector.provider {
        headers.push(("x-acs-credentials-provider", provider));
    }
    let headers = headers
        .into_iter()
        .map(|(name, value)| {
            (
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        })
        .collect();
    Call::new("POST", "/", query, headers, Bytes::new())
}

fn vectors() -> [Vector; 4] {
    [
        Vector {
            query: Q1,
            nonce: N1,
            sts: false,
            provider: None,
            signed: GO,
            canonical: "04f9daddc172b4c476cdfca214d96a0036b4c4191b47c95cbc41558d68a06d51",
            signature: "a0a29ac092bd2e04e9f64b2fa66b8c2ddba6e227588560af2edf9eb84793713d",
        },
        Vector {
            query: Q2,
            nonce: N2,
            sts: true,
            provider: None,
            signed: GO_STS,
            canonical: "551d298aece5ce5f8f2c42df0704099b902387a9010646bbd01ac08ae2cc50c3",
            signature: "a930b5402711344142370c58e2707b4d17c2a442b1c6a497c13851b5887ae432",
        },
        Vector {
            query: Q1,
            nonce: N1,
            sts: false,
            provider: Some("static_ak"),
            signed: PYTHON,
            canonical: "ea22d46cdb24a85f1233233cdc1291ae71b7715f26ef2f1798a00b02bc261220",
            signature: "74b91ccc51756029b881155dd26ae4c79909e14386343af5cbccb4a16a532296",
        },
        Vector {
            query: Q2,
            nonce: N2,
            sts: true,
            provider: Some("static_sts"),
            signed: PYTHON_STS,
            canonical: "750ad256ca6b9f402bba058cfb281b17120b1f7a3f3280987357c55d46dd7bce",
            signature: "12e8f92938998d46ffe4a60f5364d350bd12e89f02480569b479c4336480edaf",
        },
    ]
}

#[test]
fn the_signatures_of_the_vendors_sdks_are_accepted_a1_to_a4() {
    for (n, vector) in vectors().iter().enumerate() {
        let call = call(vector, vector.query);
        let signed: Vec<String> = vector.signed.split(';').map(str::to_owned).collect();
        let canonical = hex::encode(Sha256::digest(canonical_request(&call, &signed)));
        assert_eq!(canonical, vector.canonical, "A{}", n + 1);
        let token = vector.sts.then_some(TOKEN);
        assert_eq!(
            verify(&call, &key(token), now()),
            Ok(vector.nonce.to_owned()),
            "A{}",
            n + 1
        );
    }
}

#[test]
fn a_space_on_the_wire_may_be_a_plus_and_the_order_is_free() {
    let vector = &vectors()[3];
    let mut pairs: Vec<String> = vector
        .query
        .replace("team%20a", "team+a")
        .split('&')
        .map(str::to_owned)
        .collect();
    pairs.reverse();
    let call = call(vector, &pairs.join("&"));
    assert!(verify(&call, &key(Some(TOKEN)), now()).is_ok());
}

#[test]
fn whatever_is_changed_after_signing_is_noticed() {
    let vector = &vectors()[0];
    let good = call(vector, vector.query);
    let is_mismatch = |call: &Call, key: &Key| {
        matches!(verify(call, key, now()), Err(Refusal::Mismatch { string_to_sign })
            if string_to_sign.starts_with("ACS3-HMAC-SHA256\n"))
    };
    assert!(!is_mismatch(&good, &key(None)));
    assert!(is_mismatch(
        &call(
            vector,
            "InstanceId=cri-kmsiwlxxdcva0001&PageNo=2&PageSize=30"
        ),
        &key(None)
    ));
    let mut other = good.clone();
    other.body = Bytes::from_static(b"x");
    assert!(is_mismatch(&other, &key(None)));
    let mut other = good.clone();
    other.method = "GET".to_owned();
    assert!(is_mismatch(&other, &key(None)));
    let mut other = good.clone();
    other
        .headers
        .insert("host", HeaderValue::from_static("elsewhere"));
    assert!(is_mismatch(&other, &key(None)));
    let mut wrong_secret = key(None);
    wrong_secret.secret.push('x');
    assert!(is_mismatch(&good, &wrong_secret));
}

#[test]
fn each_other_refusal_has_its_name() {
    let vector = &vectors()[0];
    let good = call(vector, vector.query);
    let with = |name: &'static str, value: &str| {
        let mut call = good.clone();
        call.headers
            .insert(name, HeaderValue::try_from(value).unwrap());
        verify(&call, &key(None), now()).unwrap_err()
    };
    let mut unsigned = good.clone();
    unsigned.headers.remove("authorization");
    assert_eq!(verify(&unsigned, &key(None), now()), Err(Refusal::Unsigned));
    assert_eq!(with("authorization", "Basic eDp5"), Refusal::Incomplete);
    assert_eq!(
        with(
            "authorization",
            "ACS3-HMAC-SHA256 Credential=testAccessKeyId,SignedHeaders=host,Signature=00"
        ),
        Refusal::Incomplete
    );
    assert_eq!(
        with(
            "authorization",
            "ACS3-HMAC-SHA256 Credential=another,SignedHeaders=host,Signature=00"
        ),
        Refusal::UnknownKey
    );
    assert_eq!(with("x-acs-date", "yesterday"), Refusal::DateFormat);
    assert_eq!(
        with("x-acs-date", "2026-01-02T03:04:05+00:00"),
        Refusal::DateFormat
    );
    assert_eq!(with("x-acs-security-token", "x"), Refusal::Token);
    assert_eq!(verify(&good, &key(Some(TOKEN)), now()), Err(Refusal::Token));
    let minute = SignedDuration::from_mins(1);
    assert!(verify(&good, &key(None), now() + minute * 15).is_ok());
    assert_eq!(
        verify(&good, &key(None), now() + minute * 16),
        Err(Refusal::DateExpired)
    );
    assert_eq!(
        verify(&good, &key(None), now() - minute * 16),
        Err(Refusal::DateExpired)
    );
}

fn v1(query: &str, nonce: &str, token: Option<&str>, signature: &str) -> String {
    let mut wire = format!(
        "{query}&AccessKeyId=testAccessKeyId&Action=ListRepoSyncTask&Format=json\
         &SignatureMethod=HMAC-SHA1&SignatureNonce={nonce}&SignatureVersion=1.0\
         &Timestamp=2026-01-02T03%3A04%3A05Z&Version=2018-12-01&Signature={}",
        encode(signature.as_bytes())
    );
    if let Some(token) = token {
        wire = format!("{wire}&SecurityToken={}", encode(token.as_bytes()));
    }
    wire
}

#[test]
fn the_older_signature_version_is_accepted_b1_and_b2() {
    for (query, nonce, token, signature) in [
        (Q1, N1, None, "NhU85xKEMoZ06JM+KgmEcAZYAfg="),
        (Q2, N2, Some(TOKEN), "c2m7/fwqLtHEf2bUrjXpRMXU/yk="),
    ] {
        let wire = v1(query, nonce, token, signature);
        let call = Call::new("POST", "/", &wire, HeaderMap::new(), Bytes::new());
        assert_eq!(verify(&call, &key(token), now()), Ok(nonce.to_owned()));
        let get = Call {
            method: "GET".to_owned(),
            ..call.clone()
        };
        assert!(matches!(
            verify(&get, &key(token), now()),
            Err(Refusal::Mismatch { .. })
        ));
        // The same parameters in a form body.
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let form = Call::new("POST", "/", "", headers, Bytes::from(wire));
        assert!(verify(&form, &key(token), now()).is_ok());
    }
}

#[test]
fn the_string_to_sign_of_b1_is_the_vendors() {
    let wire = v1(Q1, N1, None, "NhU85xKEMoZ06JM+KgmEcAZYAfg=");
    let call = Call::new("POST", "/", &wire, HeaderMap::new(), Bytes::new());
    assert_eq!(
        v1_string_to_sign(&call),
        "POST&%2F&AccessKeyId%3DtestAccessKeyId%26Action%3DListRepoSyncTask%26Format%3Djson\
         %26InstanceId%3Dcri-kmsiwlxxdcva0001%26PageNo%3D1%26PageSize%3D30\
         %26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D3156853299f313e23d1673dc12e1703d\
         %26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z%26Version%3D2018-12-01"
    );
    let mut other = key(None);
    other.secret.clear();
    assert!(matches!(
        verify(&call, &other, now()),
        Err(Refusal::Mismatch { .. })
    ));
}
