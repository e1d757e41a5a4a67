//! AssumeRole, and what all answers of STS have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;
use syncbell_acr::sign::sign_v1;
use syncbell_acr::{BoxFuture, Credentials, CredentialsProvider, Environment, Error, Role, Static};
use tokio::task::JoinSet;
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::cloud::{
    Machine, cut_off, fails, form, from_sts, issued, key, nowhere, of, pairs, query, raw, refusal,
    requests, serve,
};

const ARN: &str = "acs:ram::1:role/bell";

fn provider(machine: &Machine) -> Arc<dyn CredentialsProvider> {
    let base = Arc::new(Static(of("base")));
    let provider = machine.surroundings.assume_role(base, Role::new(ARN), None);
    provider.expect("plain options")
}

fn is_signed_with(request: &Request, secret: &str) -> bool {
    let body = std::str::from_utf8(&request.body).expect("a form");
    let mut all = pairs(request.url.query().expect("a query"));
    all.extend(pairs(body));
    let signature = all.iter().position(|(name, _)| name == "Signature");
    let (_, signature) = all.remove(signature.expect("it is signed"));
    let all: Vec<_> = all.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    sign_v1("POST", &all, secret) == signature
}

#[tokio::test]
async fn a_role_is_assumed_with_a_signed_form() {
    let sts = serve(|_| from_sts("role")).await;
    let machine = Machine::new(&[]).sts(&sts);
    let role = Role {
        session_name: "a session".to_owned(),
        duration_seconds: 1800,
        policy: Some(r#"{"Version":"1"}"#.to_owned()),
        external_id: Some("ex/1".to_owned()),
        ..Role::new(ARN)
    };
    let base = Arc::new(Static(of("base")));
    let provider = machine.surroundings.assume_role(base, role, None).unwrap();
    let given = provider.credentials().await.unwrap();
    assert_eq!(given.access_key_id, "role");
    assert_eq!(given.secret.expose_secret(), "hush-role");
    assert_eq!(
        given.security_token.unwrap().expose_secret(),
        "hush-token-role"
    );

    let [request] = &requests(&sts).await[..] else {
        panic!("not one request");
    };
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/"));
    let (query, form) = (query(request), form(request));
    for (name, value) in [
        ("Action", "AssumeRole"),
        ("Version", "2015-04-01"),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("AccessKeyId", "base"),
    ] {
        assert_eq!(query[name], value);
    }
    assert_eq!(query["Timestamp"].len(), "2026-01-02T03:04:05Z".len());
    for (name, value) in [
        ("RoleArn", ARN),
        ("RoleSessionName", "a session"),
        ("DurationSeconds", "1800"),
        ("Policy", r#"{"Version":"1"}"#),
        ("ExternalId", "ex/1"),
        ("SecurityToken", "hush-token-base"),
    ] {
        assert_eq!(form[name], value);
        assert!(!query.contains_key(name), "{name} is in the query");
    }
    assert!(is_signed_with(request, "hush-base"));
    assert!(!is_signed_with(request, "another"));
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_sent() {
    let sts = serve(|_| from_sts("role")).await;
    let machine = Machine::new(&[]).sts(&sts);
    assert_eq!(key(&*provider(&machine)).await.as_deref(), Ok("role"));
    let form = form(&requests(&sts).await[0]);
    assert_eq!(form["RoleSessionName"], "syncbell");
    assert_eq!(form["DurationSeconds"], "3600");
    assert!(!form.contains_key("Policy") && !form.contains_key("ExternalId"));
}

#[tokio::test]
async fn fifty_requests_at_once_are_one_call() {
    let sts = serve(|_| from_sts("role").set_delay(Duration::from_millis(100))).await;
    let machine = Machine::new(&[]).sts(&sts);
    let provider = provider(&machine);
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let provider = Arc::clone(&provider);
        all.spawn(async move { key(&*provider).await });
    }
    for key in all.join_all().await {
        assert_eq!(key.as_deref(), Ok("role"));
    }
    assert_eq!(requests(&sts).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_a_fault_of_the_configuration_or_something_that_passes() {
    for (status, code, class) in [
        (403, "NoPermission", "credentials"),
        (404, "EntityNotExist.Role", "credentials"),
        (400, "SignatureDoesNotMatch", "credentials"),
        (400, "InvalidSecurityToken.Expired", "credentials"),
        (400, "Throttling.User", "unavailable"),
        (429, "Whatever", "unavailable"),
        (500, "InternalError", "unavailable"),
        (503, "ServiceUnavailable", "unavailable"),
    ] {
        let sts = serve(move |request| {
            let echo = String::from_utf8_lossy(&request.body).into_owned();
            refusal(status, code, &format!("you said {echo}"))
        })
        .await;
        let machine = Machine::new(&[]).sts(&sts);
        let status = format!("HTTP {status}");
        fails(&*provider(&machine), class, &[&status, code, "R-1"]).await;
        assert_eq!(requests(&sts).await.len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_answer_of_sts_is_refused_by_what_is_wrong_with_it() {
    let check = async |answer: ResponseTemplate, class, words: &[&str]| {
        let sts = serve(move |_| answer.clone()).await;
        fails(&*provider(&Machine::new(&[]).sts(&sts)), class, words).await;
    };
    let ok = || ResponseTemplate::new(200);
    let html = "<html>hush</html>";
    check(ok().set_body_string(html), "credentials", &["not a JSON"]).await;
    check(
        ResponseTemplate::new(502).set_body_string(html),
        "unavailable",
        &["HTTP 502"],
    )
    .await;
    let without = json!({"RequestId": "hush"});
    check(ok().set_body_json(without), "credentials", &["AccessKeyId"]).await;
    let mut credentials = issued("role", Duration::ZERO);
    credentials["Expiration"] = json!("hush tomorrow");
    let answer = json!({"Credentials": credentials});
    check(ok().set_body_json(answer), "credentials", &["Expiration"]).await;
    let large = json!({"hush": "x".repeat(65 * 1024)});
    check(ok().set_body_json(large), "unavailable", &["larger"]).await;
    // It would carry the form, and the token in it, to another place.
    let elsewhere = ResponseTemplate::new(307).insert_header("location", nowhere());
    check(elsewhere, "credentials", &["HTTP 307"]).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_is_something_that_passes() {
    let mut machine = Machine::new(&[]);
    fails(&*provider(&machine), "unavailable", &["does not answer"]).await;

    let half = raw(cut_off(
        &json!({"Credentials": issued("hush", Duration::ZERO)}),
    ))
    .await;
    machine.surroundings.sts = Some(half.url.parse().unwrap());
    fails(&*provider(&machine), "unavailable", &["cut off"]).await;

    let slow = serve(|_| from_sts("role").set_delay(Duration::from_mins(1))).await;
    let mut machine = machine.sts(&slow);
    machine.surroundings.limits.connect = Duration::from_millis(50);
    machine.surroundings.limits.read = Duration::from_millis(50);
    fails(&*provider(&machine), "unavailable", &["does not answer"]).await;
}

/// Its own credentials end, and it has others when asked.
struct Ends {
    n_renewed: AtomicUsize,
    has_others: bool,
}

impl CredentialsProvider for Ends {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(std::future::ready(Ok(of("old"))))
    }

    fn renew<'a>(
        &'a self,
        refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        assert_eq!(refused.access_key_id, "old");
        self.n_renewed.fetch_add(1, Ordering::SeqCst);
        let others = self.has_others.then(|| of("new"));
        Box::pin(std::future::ready(Ok(others)))
    }

    fn name(&self) -> &'static str {
        "ends"
    }
}

async fn only_new() -> MockServer {
    serve(|request| match query(request)["AccessKeyId"].as_str() {
        "new" => from_sts("role"),
        _ => refusal(400, "InvalidSecurityToken.Expired", "It is over."),
    })
    .await
}

#[tokio::test]
async fn a_base_that_is_over_is_renewed_once() {
    for has_others in [true, false] {
        let sts = only_new().await;
        let machine = Machine::new(&[]).sts(&sts);
        let base = Arc::new(Ends {
            n_renewed: AtomicUsize::new(0),
            has_others,
        });
        let shared = Arc::clone(&base) as Arc<dyn CredentialsProvider>;
        let provider = machine
            .surroundings
            .assume_role(shared, Role::new(ARN), None)
            .unwrap();
        if has_others {
            assert_eq!(key(&*provider).await.as_deref(), Ok("role"));
            assert_eq!(requests(&sts).await.len(), 2);
        } else {
            let code = "InvalidSecurityToken.Expired";
            fails(&*provider, "credentials", &[code]).await;
            assert_eq!(requests(&sts).await.len(), 1);
        }
        assert_eq!(base.n_renewed.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn without_a_base_sts_is_not_asked() {
    let sts = serve(|_| from_sts("role")).await;
    let machine = Machine::new(&[]).sts(&sts);
    let base = Arc::new(Environment::new(|_| None));
    let provider = machine.surroundings.assume_role(base, Role::new(ARN), None);
    let words = ["ALIBABA_CLOUD_ACCESS_KEY_ID"];
    fails(&*provider.unwrap(), "credentials", &words).await;
    assert_eq!(requests(&sts).await.len(), 0);
}

#[tokio::test]
async fn a_region_that_is_no_region_is_refused_before_anything_is_sent() {
    let mut machine = Machine::new(&[("ALIBABA_CLOUD_STS_REGION", "evil.example/")]);
    machine.surroundings.sts = None;
    let base = Arc::new(Static(of("base")));
    let refused = machine.surroundings.assume_role(base, Role::new(ARN), None);
    let Err(error) = refused else {
        panic!("it was taken");
    };
    assert!(error.to_string().contains("region"), "{error}");
}
