//! OIDC, as RRSA on Kubernetes sets it up.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::{CredentialsProvider, Role};
use wiremock::{Request, ResponseTemplate};

use crate::cloud::{Machine, fails, form, from_sts, key, later, query, refusal, requests, serve};

const PROVIDER: &str = "acs:ram::1:oidc-provider/ack";

fn provider(machine: &Machine, token_file: &str) -> Arc<dyn CredentialsProvider> {
    let role = Role::new("acs:ram::1:role/bell");
    let provider = PROVIDER.to_owned();
    let provider = machine
        .surroundings
        .oidc(role, provider, token_file.into(), None);
    provider.expect("plain options")
}

/// Names the credentials after the token.
fn by_token(request: &Request) -> ResponseTemplate {
    from_sts(&form(request)["OIDCToken"].replace("hush", "role"))
}

#[tokio::test]
async fn a_token_becomes_a_role_and_stands_in_no_query() {
    let sts = serve(by_token).await;
    let machine = Machine::new(&[]).sts(&sts);
    let file = machine.file("token", "hush-1\n");
    let provider = provider(&machine, &file);
    assert_eq!(key(&*provider).await.as_deref(), Ok("role-1"));

    let [request] = &requests(&sts).await[..] else {
        panic!("not one request");
    };
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/"));
    let (query, form) = (query(request), form(request));
    let mut names: Vec<&str> = query.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["Action", "Format", "Timestamp", "Version"]);
    assert_eq!(query["Action"], "AssumeRoleWithOIDC");
    assert_eq!(query["Version"], "2015-04-01");
    for (name, value) in [
        ("RoleArn", "acs:ram::1:role/bell"),
        ("OIDCProviderArn", PROVIDER),
        ("OIDCToken", "hush-1"),
        ("RoleSessionName", "syncbell"),
        ("DurationSeconds", "3600"),
    ] {
        assert_eq!(form[name], value);
    }
    assert!(!form.contains_key("Policy"));
}

#[tokio::test]
async fn the_chain_takes_the_variables_of_rrsa() {
    let sts = serve(by_token).await;
    let file = Machine::new(&[]);
    let token = file.file("token", "hush-2");
    let machine = Machine::new(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/rrsa"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "pod-1"),
    ])
    .sts(&sts);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("role-2"));
    let form = form(&requests(&sts).await[0]);
    assert_eq!(form["RoleArn"], "acs:ram::1:role/rrsa");
    assert_eq!(form["RoleSessionName"], "pod-1");
}

#[tokio::test]
async fn the_chain_takes_a_token_itself_where_there_is_no_file() {
    let sts = serve(by_token).await;
    let machine = Machine::new(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/rrsa"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER),
        ("ALIBABA_CLOUD_OIDC_TOKEN", "hush-3"),
    ])
    .sts(&sts);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("role-3"));
}

#[tokio::test]
async fn a_token_that_was_changed_is_sent_at_the_next_refresh() {
    let sts = serve(by_token).await;
    let machine = Machine::new(&[]).sts(&sts);
    let file = machine.file("token", "hush-1");
    let provider = provider(&machine, &file);
    assert_eq!(key(&*provider).await.as_deref(), Ok("role-1"));
    machine.file("token", "hush-2");
    assert_eq!(key(&*provider).await.as_deref(), Ok("role-1"));
    later(Duration::from_hours(1)).await;
    assert_eq!(key(&*provider).await.as_deref(), Ok("role-2"));
    // Kubernetes puts another file in its place.
    std::fs::remove_file(&file).unwrap();
    machine.file("other", "hush-3");
    std::os::unix::fs::symlink(machine.home.path().join("other"), &file).unwrap();
    later(Duration::from_hours(1)).await;
    assert_eq!(key(&*provider).await.as_deref(), Ok("role-3"));
    assert_eq!(requests(&sts).await.len(), 3);
}

#[tokio::test]
async fn without_a_token_sts_is_not_asked() {
    let sts = serve(by_token).await;
    let machine = Machine::new(&[]).sts(&sts);
    let empty = machine.file("empty", " \n");
    let large = machine.file("large", &"hush".repeat(300_000));
    let home = machine.home.path().to_str().unwrap();
    let binary = machine.home.path().join("binary");
    std::fs::write(&binary, b"hush\xff").unwrap();
    for (file, why) in [
        (format!("{home}/absent").as_str(), "is not there"),
        (&empty, "is empty"),
        (&large, "larger than 1 MiB"),
        (binary.to_str().unwrap(), "not UTF-8"),
        (home, "not a file"),
        // It has no end.
        ("/dev/zero", "not a file"),
    ] {
        fails(&*provider(&machine, file), "credentials", &["oidc: ", why]).await;
    }
    assert_eq!(requests(&sts).await.len(), 0);
}

#[tokio::test]
async fn a_refusal_that_quotes_the_token_does_not_show_it() {
    let sts = serve(|request| {
        let token = &form(request)["OIDCToken"];
        let twice: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let message = format!("The token {token} ({twice}) is not valid.");
        refusal(400, "AuthenticationFail.OIDCToken.Invalid", &message)
    })
    .await;
    let machine = Machine::new(&[]).sts(&sts);
    let file = machine.file("token", "hush+/=1");
    let words = ["oidc: ", "AuthenticationFail.OIDCToken.Invalid", "[secret]"];
    fails(&*provider(&machine, &file), "credentials", &words).await;
}
