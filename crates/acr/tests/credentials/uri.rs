//! A credentials URI.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncbell_acr::CredentialsProvider;
use wiremock::ResponseTemplate;

use crate::cloud::{Machine, cut_off, fails, issued, key, nowhere, raw, requests, serve};

fn provider(uri: &str) -> Arc<dyn CredentialsProvider> {
    let machine = Machine::new(&[]);
    let uri = uri.parse().expect("the tests write URLs");
    machine.surroundings.credentials_uri(uri).expect("a URL")
}

fn ok(key: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(issued(key, Duration::from_hours(1)))
}

#[tokio::test]
async fn a_uri_answers_credentials() {
    let server = serve(|_| ok("local")).await;
    let uri = format!("{}/path?hush=1", server.uri());
    assert_eq!(key(&*provider(&uri)).await.as_deref(), Ok("local"));
    let machine = Machine::new(&[("ALIBABA_CLOUD_CREDENTIALS_URI", &uri)]);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("local"));
    let requests = requests(&server).await;
    assert_eq!(requests.len(), 2);
    let asked = &requests[1];
    assert_eq!(asked.method.as_str(), "GET");
    assert_eq!(asked.url.path(), "/path");
    assert_eq!(asked.url.query(), Some("hush=1"));
}

#[tokio::test]
async fn a_code_that_is_not_success_is_a_failure_and_none_is_not() {
    let without = json!({"AccessKeyId": "local", "AccessKeySecret": "hush"});
    let answer = ResponseTemplate::new(200).set_body_json(&without);
    let server = serve(move |_| answer.clone()).await;
    assert_eq!(key(&*provider(&server.uri())).await.as_deref(), Ok("local"));

    let mut failed = without;
    failed["Code"] = json!("hush");
    let answer = ResponseTemplate::new(200).set_body_json(failed);
    let server = serve(move |_| answer.clone()).await;
    fails(&*provider(&server.uri()), "credentials", &["Code"]).await;
}

#[tokio::test]
async fn what_it_answers_instead_tells_what_to_do() {
    for (status, class) in [
        (404, "credentials"),
        (302, "credentials"),
        (429, "unavailable"),
        (500, "unavailable"),
    ] {
        let answer = ResponseTemplate::new(status).set_body_string("hush");
        let server = serve(move |_| answer.clone()).await;
        let status = format!("HTTP {status}");
        fails(&*provider(&server.uri()), class, &[&status]).await;
    }
    let large = json!({"hush": "x".repeat(65 * 1024)});
    for (body, class, why) in [
        ("hush".to_owned(), "credentials", "not a JSON object"),
        ("[\"hush\"]".to_owned(), "credentials", "not a JSON object"),
        ("{\"AccessKeyId\":\"hush\"}".to_owned(), "credentials", "no"),
        (large.to_string(), "unavailable", "too large"),
    ] {
        let answer = ResponseTemplate::new(200).set_body_string(body);
        let server = serve(move |_| answer.clone()).await;
        fails(&*provider(&server.uri()), class, &[why]).await;
    }
    let half = raw(cut_off(&issued("hush", Duration::ZERO))).await;
    fails(&*provider(&half.url), "unavailable", &["cut off"]).await;
    let words = ["127.0.0.1 does not answer"];
    fails(&*provider(&(nowhere() + "/hush")), "unavailable", &words).await;
}

#[tokio::test]
async fn what_is_no_web_address_is_refused_without_being_shown() {
    for uri in ["file:///etc/hush", "hush"] {
        let machine = Machine::new(&[("ALIBABA_CLOUD_CREDENTIALS_URI", uri)]);
        let chain = machine.surroundings.default_chain();
        fails(&*chain, "credentials", &["credentials uri: ", "URL"]).await;
    }
}
