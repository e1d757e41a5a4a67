//! The machine's RAM role, from a metadata service of each kind.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncbell_acr::CredentialsProvider;
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::cloud::{Machine, cut_off, fails, issued, key, later, raw, requests, serve};

const TOKEN: &str = "hush-metadata";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// What a metadata service does.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// Of the request for a token; 200 if 0.
    token_status: u16,
    /// Of requests with a token; 200 if 0.
    with_token_status: u16,
    /// Refuses requests without a token.
    is_v2_only: bool,
    /// Says the name of no role.
    no_role: bool,
}

async fn metadata(kind: Kind) -> MockServer {
    serve(move |request| answer(kind, request)).await
}

fn answer(kind: Kind, request: &Request) -> ResponseTemplate {
    let status = |status: u16| ResponseTemplate::new(if status == 0 { 200 } else { status });
    let header = |name: &str| request.headers.get(name)?.to_str().ok();
    let path = request.url.path();
    if path == "/latest/api/token" {
        assert_eq!(request.method.as_str(), "PUT");
        let life = header("x-aliyun-ecs-metadata-token-ttl-seconds");
        assert_eq!(life, Some("21600"));
        return status(kind.token_status).set_body_string(TOKEN);
    }
    assert_eq!(request.method.as_str(), "GET");
    match header("x-aliyun-ecs-metadata-token") {
        Some(token) => {
            assert_eq!(token, TOKEN);
            if kind.with_token_status != 0 {
                return status(kind.with_token_status);
            }
        }
        None if kind.is_v2_only => return status(403),
        None => {}
    }
    match path.strip_prefix(ROLES) {
        Some("") if kind.no_role => status(404),
        Some("") => status(200).set_body_string("bell-role\n"),
        Some(role) => status(200).set_body_json(issued(role, Duration::from_hours(6))),
        None => status(404),
    }
}

fn provider(server: &MockServer, variables: &[(&str, &str)]) -> Arc<dyn CredentialsProvider> {
    let machine = Machine::new(variables).metadata(server);
    machine.surroundings.ecs_role(None).expect("plain options")
}

async fn asked(server: &MockServer) -> Vec<String> {
    let asked = requests(server).await.into_iter().map(|request| {
        let token = request.headers.contains_key("x-aliyun-ecs-metadata-token");
        let path = request.url.path().trim_start_matches("/latest/");
        let path = path.replace("meta-data/ram/security-credentials/", "roles/");
        path + if token { " with token" } else { "" }
    });
    asked.collect()
}

#[tokio::test]
async fn the_second_version_is_asked_with_a_token() {
    let server = metadata(Kind {
        is_v2_only: true,
        ..Kind::default()
    })
    .await;
    let provider = provider(&server, &[]);
    assert_eq!(key(&*provider).await.as_deref(), Ok("bell-role"));
    let expected = [
        "api/token",
        "roles/ with token",
        "roles/bell-role with token",
    ];
    assert_eq!(asked(&server).await, expected);
    // At a refresh it is asked for the role anew: another may have been attached.
    later(Duration::from_hours(6)).await;
    assert_eq!(key(&*provider).await.as_deref(), Ok("bell-role"));
    assert_eq!(asked(&server).await.len(), 6);
}

#[tokio::test]
async fn a_role_that_is_named_saves_a_question() {
    let server = metadata(Kind::default()).await;
    let named = provider(&server, &[("ALIBABA_CLOUD_ECS_METADATA", "named")]);
    assert_eq!(key(&*named).await.as_deref(), Ok("named"));
    let expected = ["api/token", "roles/named with token"];
    assert_eq!(asked(&server).await, expected);

    let machine = Machine::new(&[]).metadata(&server);
    let role = Some("by ../ argument".to_owned());
    let named = machine.surroundings.ecs_role(role).unwrap();
    // It stays one part of the path.
    assert_eq!(key(&*named).await.as_deref(), Ok("by%20..%2F%20argument"));
}

#[tokio::test]
async fn without_tokens_the_first_version_is_asked() {
    let server = metadata(Kind {
        token_status: 404,
        ..Kind::default()
    })
    .await;
    let provider = provider(&server, &[]);
    assert_eq!(key(&*provider).await.as_deref(), Ok("bell-role"));
    let expected = ["api/token", "roles/", "roles/bell-role"];
    assert_eq!(asked(&server).await, expected);
}

#[tokio::test]
async fn where_a_token_does_not_help_the_first_version_is_asked() {
    let server = metadata(Kind {
        with_token_status: 403,
        ..Kind::default()
    })
    .await;
    let provider = provider(&server, &[]);
    assert_eq!(key(&*provider).await.as_deref(), Ok("bell-role"));
    let expected = [
        "api/token",
        "roles/ with token",
        "roles/",
        "roles/bell-role with token",
        "roles/bell-role",
    ];
    assert_eq!(asked(&server).await, expected);
}

#[tokio::test]
async fn where_the_first_version_is_switched_off_it_is_not_asked() {
    let off = [("ALIBABA_CLOUD_IMDSV1_DISABLED", "True")];
    for (kind, status, n_asked) in [
        (
            Kind {
                token_status: 404,
                ..Kind::default()
            },
            "HTTP 404",
            1,
        ),
        (
            Kind {
                with_token_status: 403,
                ..Kind::default()
            },
            "HTTP 403",
            2,
        ),
    ] {
        let server = metadata(kind).await;
        fails(&*provider(&server, &off), "credentials", &[status]).await;
        assert_eq!(asked(&server).await.len(), n_asked);
    }
    let server = metadata(Kind::default()).await;
    assert_eq!(
        key(&*provider(&server, &off)).await.as_deref(),
        Ok("bell-role")
    );
}

#[tokio::test]
async fn the_switch_of_the_metadata_service_holds_wherever_a_role_is_asked_for() {
    let server = metadata(Kind::default()).await;
    let machine = Machine::new(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]);
    let machine = machine.metadata(&server);
    machine.file(
        ".aliyun/config.json",
        r#"{"profiles": [{"name": "default", "mode": "EcsRamRole"}]}"#,
    );
    machine.file(
        ".alibabacloud/credentials",
        "[default]\ntype = ecs_ram_role\n",
    );
    assert!(machine.surroundings.ecs_role(None).is_err());
    let off = "switched off by ALIBABA_CLOUD_ECS_METADATA_DISABLED";
    let profile = machine.surroundings.profile(None, None).unwrap();
    fails(&*profile, "credentials", &[off]).await;
    let chain = machine.surroundings.default_chain();
    let said = key(&*chain).await.unwrap_err();
    assert_eq!(said.matches(off).count(), 3, "{said}");
    assert_eq!(asked(&server).await.len(), 0);
}

#[tokio::test]
async fn a_machine_without_a_role_says_so() {
    let server = metadata(Kind {
        no_role: true,
        ..Kind::default()
    })
    .await;
    let words = ["ecs role: ", "HTTP 404"];
    fails(&*provider(&server, &[]), "credentials", &words).await;
}

#[tokio::test]
async fn what_is_no_answer_of_the_metadata_service_is_refused() {
    let ok = || ResponseTemplate::new(200);
    let failed = json!({"Code": "hush"});
    let no_secret = json!({"Code": "Success", "AccessKeyId": "hush"});
    for (answer, class, why) in [
        (ok().set_body_string("<hush>"), "credentials", "JSON"),
        (ok().set_body_json(failed), "credentials", "Code"),
        (
            ok().set_body_json(no_secret),
            "credentials",
            "AccessKeySecret",
        ),
        (
            ok().set_body_string("hush".repeat(20_000)),
            "unavailable",
            "large",
        ),
        (ResponseTemplate::new(500), "unavailable", "HTTP 500"),
    ] {
        let server = serve(move |_| answer.clone()).await;
        let named = [("ALIBABA_CLOUD_ECS_METADATA", "bell-role")];
        fails(&*provider(&server, &named), class, &["ecs role: ", why]).await;
    }
    // A page instead of the role's name.
    let server = serve(|_| ResponseTemplate::new(200).set_body_string("<html>hush</html>")).await;
    fails(&*provider(&server, &[]), "credentials", &["names no role"]).await;

    let half = raw(cut_off(&issued("hush", Duration::ZERO))).await;
    let mut machine = Machine::new(&[]);
    machine.surroundings.metadata = half.url.parse().unwrap();
    let named = machine.surroundings.ecs_role(Some("r".to_owned()));
    fails(&*named.unwrap(), "unavailable", &["cut off"]).await;
}

#[tokio::test]
async fn a_metadata_service_that_is_slow_or_not_there_is_given_up() {
    let slow = serve(|_| ResponseTemplate::new(200).set_delay(Duration::from_mins(1))).await;
    let mut machine = Machine::new(&[]).metadata(&slow);
    assert_eq!(
        machine.surroundings.limits.metadata,
        Duration::from_secs(1),
        "as in the vendor's SDKs"
    );
    machine.surroundings.limits.metadata = Duration::from_millis(50);
    let provider = machine.surroundings.ecs_role(None).unwrap();
    let words = ["no metadata service at 127.0.0.1"];
    fails(&*provider, "unavailable", &words).await;
    let provider = Machine::new(&[]).surroundings.ecs_role(None).unwrap();
    fails(&*provider, "unavailable", &words).await;
}

#[tokio::test]
async fn it_is_never_asked_through_a_proxy() {
    let proxy = metadata(Kind::default()).await;
    let uri = proxy.uri();
    let mut machine = Machine::new(&[("http_proxy", &uri), ("all_proxy", &uri)]);
    machine.surroundings.proxy = Some(uri.parse().unwrap());
    machine.surroundings.metadata = "http://metadata.invalid".parse().unwrap();
    machine.surroundings.limits.metadata = Duration::from_millis(300);
    let provider = machine.surroundings.ecs_role(None).unwrap();
    fails(&*provider, "unavailable", &["metadata.invalid"]).await;
    assert_eq!(requests(&proxy).await.len(), 0);
}
