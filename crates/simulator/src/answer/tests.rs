use super::*;
use axum::http::HeaderMap;
use jiff::Timestamp;

use crate::fault::Fault;
use crate::verify::Call;

fn context() -> Context {
    Context::new(Some("cr.cn-hangzhou.aliyuncs.com"))
}

fn call() -> Call {
    Call::new(
        "POST",
        "/",
        "Action=GetRepoSyncTask",
        HeaderMap::new(),
        Bytes::new(),
    )
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn an_error_has_the_gateways_five_fields() {
    let reply = context()
        .fault(
            &Fault::Throttled {
                retry_after_ms: Some(1500),
            },
            &call(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.headers,
        [(
            HeaderName::from_static("x-acs-retry-after"),
            HeaderValue::from(1500)
        )]
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
    let upper = context()
        .fault(&Fault::NoPrivilege, &call(), Timestamp::UNIX_EPOCH)
        .unwrap();
    let lower = context()
        .fault(&Fault::LowerCamelError, &call(), Timestamp::UNIX_EPOCH)
        .unwrap();
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
fn a_page_without_total_is_a_page() {
    let listing = Listing {
        page_no: 1,
        page_size: 30,
        total: 7,
        rows: vec![],
        shown: vec![],
    };
    let page = |total| body(&context().page(&listing, total, false));
    assert_eq!(page(Some(json!("7")))["TotalCount"], "7");
    assert!(page(None).get("TotalCount").is_none());
}

#[test]
fn each_known_error_is_there_once() {
    let codes: std::collections::BTreeSet<_> = crate::known_errors()
        .iter()
        .map(|known| known.code)
        .collect();
    assert_eq!(codes.len(), crate::known_errors().len());
}
