use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use syncbell_simulator::{
    DEMO_INSTANCE, ErrorFault, ErrorShape, Extent, Fault, Handle, Throttling, known_errors,
};

use crate::client::{call, page, start};

async fn answer(handle: &Handle, fault: Fault) -> reqwest::Response {
    handle.world().fault(fault, Extent::Calls(1)).unwrap();
    let call = call(&[("InstanceId", DEMO_INSTANCE)]);
    call.send(handle).await.unwrap()
}

#[tokio::test]
async fn each_known_error_comes_as_its_table_has_it() {
    let handle = start().await;
    for known in known_errors() {
        let fault = Fault::known(known.code).unwrap();
        let got = answer(&handle, fault).await;
        assert_eq!(got.status(), known.status, "{}", known.code);
        let body: Value = got.json().await.unwrap();
        assert_eq!(body["Code"], known.code);
        let message = body["Message"].as_str().unwrap();
        assert!(message.starts_with(known.message), "{message}");
        assert!(body["RequestId"].is_string() && body["HostId"].is_string());
        assert_eq!(
            body.get("AccessDeniedDetail").is_some(),
            known.status == 403,
            "{}",
            known.code
        );
    }
    assert_eq!(Fault::known("NoSuchCode"), None);
    page(&handle, 1, 30).await;
}

#[tokio::test]
async fn an_error_can_have_any_status_and_shape() {
    let handle = start().await;
    let shaped = |shape| {
        Fault::Error(ErrorFault {
            status: Some(418),
            code: "Forbidden.Own".to_owned(),
            shape,
            message: Some("a <b> & c".to_owned()),
            headers: BTreeMap::from([("x-acs-retry-after".to_owned(), "70".to_owned())]),
        })
    };
    for (shape, content_type, text) in [
        (
            ErrorShape::Json,
            "application/json",
            "\"Code\":\"Forbidden.Own\"",
        ),
        (
            ErrorShape::LowerCamel,
            "application/json",
            "\"code\":\"Forbidden.Own\"",
        ),
        (
            ErrorShape::Xml,
            "text/xml",
            "<Code>Forbidden.Own</Code><Message>a &lt;b&gt; &amp; c",
        ),
        (ErrorShape::Html, "text/html", "<h1>418"),
    ] {
        let got = answer(&handle, shaped(shape)).await;
        assert_eq!(got.status(), 418, "{shape:?}");
        assert_eq!(got.headers()["x-acs-retry-after"], "70");
        let found = got.headers()["content-type"].to_str().unwrap();
        assert!(found.starts_with(content_type), "{found}");
        let body = got.text().await.unwrap();
        assert!(body.contains(text), "{body}");
    }
    let got = answer(&handle, shaped(ErrorShape::CutOff)).await;
    assert_eq!(got.status(), 418);
    let body = got.text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&body).is_err(), "{body}");
    let calls = handle.world().calls();
    assert!(
        calls
            .iter()
            .all(|call| call.throttled && call.wait_ms == Some(70))
    );
}

#[tokio::test]
async fn a_refused_signature_shows_what_the_server_would_have_signed() {
    let handle = start().await;
    // The secret is right, so what the server signs is what the client signed: its hash is 64 hex.
    let got = answer(&handle, Fault::known("SignatureDoesNotMatch").unwrap()).await;
    let body: Value = got.json().await.unwrap();
    let message = body["Message"].as_str().unwrap();
    let (_, signed) = message.split_once("string to sign is:").unwrap();
    let hash = signed.strip_prefix("ACS3-HMAC-SHA256\n").unwrap();
    assert_eq!(hash.len(), 64);
    // With a wrong secret it is refused for real, and shows the same for the same call.
    let mut wrong = call(&[("InstanceId", DEMO_INSTANCE)]);
    handle
        .world()
        .fault(
            Fault::known("SignatureDoesNotMatch").unwrap(),
            Extent::Calls(1),
        )
        .unwrap();
    let (_, by_fault) = wrong.json(&handle).await;
    wrong.secret = "another".to_owned();
    let (_, for_real) = wrong.json(&handle).await;
    assert_eq!(by_fault["Message"], for_real["Message"]);
    handle
        .world()
        .fault(
            Fault::known("SignatureDoesNotMatch").unwrap(),
            Extent::Calls(1),
        )
        .unwrap();
    let (_, body) = call(&[("InstanceId", DEMO_INSTANCE)])
        .json_v1(&handle)
        .await;
    let message = body["Message"].as_str().unwrap();
    assert!(message.contains("is:POST&%2F&AccessKeyId%3D"), "{message}");
}

#[tokio::test]
async fn each_hint_on_how_long_to_wait_can_be_had() {
    let handle = start().await;
    let hints = Throttling {
        status: 429,
        code: "Throttling.Api".to_owned(),
        x_acs_retry_after: Some("soon".to_owned()),
        ratelimit_user_api_ms: Some(800),
        ratelimit_user_ms: Some(900),
        retry_after_s: Some(2),
        retry_after_date_s: None,
    };
    let got = answer(&handle, Fault::Throttling(hints)).await;
    assert_eq!(got.status(), 429);
    let header = |name: &str| got.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-acs-retry-after"), "soon");
    assert!(header("x-ratelimit-user-api").ends_with("TimeLeft:800"));
    assert!(header("x-ratelimit-user").contains("TimeLeft:900"));
    assert_eq!(header("retry-after"), "2");
    assert!(got.text().await.unwrap().contains("Throttling.Api"));
    let dated = Throttling {
        retry_after_date_s: Some(30),
        ..Throttling::default()
    };
    let got = answer(&handle, Fault::Throttling(dated)).await;
    assert_eq!(got.status(), 400);
    let date = got.headers()["retry-after"].to_str().unwrap();
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .unwrap();
    let ahead = date.duration_since(Timestamp::now()).as_secs();
    assert!((27..=30).contains(&ahead), "{ahead}");
    let waits: Vec<_> = handle.world().calls().iter().map(|c| c.wait_ms).collect();
    assert_eq!(waits, [Some(2000), Some(30_000)]);
}
