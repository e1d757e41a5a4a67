//! The default chain: its order, its switches, and what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use syncbell_testkit::eventually;
use wiremock::{MockServer, ResponseTemplate};

use crate::cloud::{
    Machine, fails, from_sts, issued, key, later, nowhere, refusal, requests, serve,
};

/// Everything is set up, each place with a key of its name.
struct Everything {
    variables: Vec<(&'static str, String)>,
    sts: MockServer,
    metadata: MockServer,
    files: Machine,
    _uri: MockServer,
}

impl Everything {
    async fn new() -> Self {
        let sts = serve(|_| from_sts("oidc")).await;
        let gives = |key: &'static str| {
            move |_: &wiremock::Request| {
                ResponseTemplate::new(200).set_body_json(issued(key, Duration::from_hours(1)))
            }
        };
        let (metadata, uri) = (serve(gives("ecs")).await, serve(gives("uri")).await);
        let files = Machine::new(&[]);
        let ak = |key: &str| json!({"name": "default", "mode": "AK", "access_key_id": key, "access_key_secret": "hush"});
        let profile = json!({"profiles": [ak("profile")]});
        let file = "[default]\ntype=access_key\naccess_key_id=file\naccess_key_secret=hush\n";
        let variables = vec![
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "environment".to_owned()),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush".to_owned()),
            ("ALIBABA_CLOUD_ROLE_ARN", "a".to_owned()),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p".to_owned()),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", files.file("t", "hush")),
            (
                "ALIBABA_CLOUD_CONFIG_FILE",
                files.file("p", &profile.to_string()),
            ),
            ("ALIBABA_CLOUD_CREDENTIALS_FILE", files.file("f", file)),
            ("ALIBABA_CLOUD_ECS_METADATA", "role".to_owned()),
            ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.uri()),
        ];
        Self {
            variables,
            sts,
            metadata,
            files,
            _uri: uri,
        }
    }

    fn machine(&self) -> Machine {
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Machine::new(&variables)
            .sts(&self.sts)
            .metadata(&self.metadata)
    }

    fn without(&mut self, name: &str) {
        self.variables.retain(|(known, _)| *known != name);
    }

    async fn key(&self) -> String {
        let chain = self.machine().surroundings.default_chain();
        key(&*chain).await.expect("one place has a key")
    }
}

#[tokio::test]
async fn the_places_are_asked_in_the_vendors_order() {
    let mut all = Everything::new().await;
    assert_eq!(all.key().await, "environment");
    all.without("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
    assert_eq!(all.key().await, "oidc");
    all.without("ALIBABA_CLOUD_ROLE_ARN");
    assert_eq!(all.key().await, "profile");
    all.variables
        .push(("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "TRUE".to_owned()));
    assert_eq!(all.key().await, "file");
    std::fs::remove_file(all.files.home.path().join("f")).unwrap();
    assert_eq!(all.key().await, "ecs");
    all.variables
        .push(("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true".to_owned()));
    assert_eq!(all.key().await, "uri");
}

#[tokio::test]
async fn nothing_is_asked_that_stands_behind_what_is_found() {
    let all = Everything::new().await;
    assert_eq!(all.key().await, "environment");
    let n_asked = requests(&all.sts).await.len() + requests(&all.metadata).await.len();
    assert_eq!(n_asked, 0);
}

#[tokio::test]
async fn the_first_that_works_is_kept() {
    let machine = Machine::new(&[]);
    let profile = |key: &str| {
        json!({"profiles": [{"name": "default", "mode": "AK", "access_key_id": key, "access_key_secret": "hush"}]}).to_string()
    };
    let section = "[default]\ntype=access_key\naccess_key_id=file\naccess_key_secret=hush\n";
    machine.file(".alibabacloud/credentials", section);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("file"));
    // A place before it that is there only now does not count.
    machine.file(".aliyun/config.json", &profile("profile"));
    later(Duration::from_hours(24)).await;
    assert_eq!(key(&*chain).await.as_deref(), Ok("file"));
    let refused = chain.credentials().await.unwrap();
    assert!(chain.renew(&refused).await.unwrap().is_none());
    assert_eq!(key(&*chain).await.as_deref(), Ok("file"));
    let anew = machine.surroundings.default_chain();
    assert_eq!(key(&*anew).await.as_deref(), Ok("profile"));
}

#[tokio::test]
async fn the_failure_lists_what_each_place_said() {
    let machine = Machine::new(&[]);
    let chain = machine.surroundings.default_chain();
    let said = key(&*chain).await.unwrap_err();
    let mut rest = said.as_str();
    for place in [
        "credentials: ",
        "environment: ALIBABA_CLOUD_ACCESS_KEY_ID is not set",
        "oidc: ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and \
         ALIBABA_CLOUD_OIDC_TOKEN_FILE are not all set",
        "profile: ",
        "config.json is not there",
        "credentials file: ",
        "credentials.ini is not there",
        "credentials is not there",
        "ecs role: no metadata service at 127.0.0.1",
        "credentials uri: ALIBABA_CLOUD_CREDENTIALS_URI is not set",
    ] {
        let (_, behind) = rest
            .split_once(place)
            .unwrap_or_else(|| panic!("{place}: {said}"));
        rest = behind;
    }
}

#[tokio::test]
async fn a_walk_in_vain_is_not_repeated_at_each_request() {
    let metadata = serve(|_| ResponseTemplate::new(404)).await;
    let machine = Machine::new(&[]).metadata(&metadata);
    let chain = machine.surroundings.default_chain();
    fails(&*chain, "credentials", &["HTTP 404"]).await;
    let n_asked = requests(&metadata).await.len();
    for _ in 0..20 {
        fails(&*chain, "credentials", &["HTTP 404"]).await;
    }
    assert_eq!(requests(&metadata).await.len(), n_asked);

    let section = "[default]\ntype=access_key\naccess_key_id=file\naccess_key_secret=hush\n";
    machine.file(".alibabacloud/credentials", section);
    later(Duration::from_secs(10)).await;
    assert_eq!(key(&*chain).await.as_deref(), Ok("file"));
}

#[tokio::test]
async fn a_place_that_was_only_down_is_looked_for_again_beside_its_stand_in() {
    let is_up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_up);
    let sts = serve(move |_| {
        if switch.load(Ordering::SeqCst) {
            // It takes its time, and nobody waits for it.
            from_sts("oidc").set_delay(Duration::from_millis(300))
        } else {
            refusal(503, "ServiceUnavailable", "hush")
        }
    })
    .await;
    let all = Everything::new().await;
    let mut variables = all.variables.clone();
    variables.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let machine = Machine::new(&variables).sts(&sts).metadata(&all.metadata);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("profile"));
    for _ in 0..20 {
        assert_eq!(key(&*chain).await.as_deref(), Ok("profile"));
    }
    assert_eq!(requests(&sts).await.len(), 1);

    is_up.store(true, Ordering::SeqCst);
    later(Duration::from_secs(10)).await;
    assert_eq!(key(&*chain).await.as_deref(), Ok("profile"));
    eventually("the place itself", Duration::from_secs(20), async || {
        (key(&*chain).await.as_deref() == Ok("oidc")).then_some(())
    })
    .await;
    later(Duration::from_mins(10)).await;
    assert_eq!(key(&*chain).await.as_deref(), Ok("oidc"));
    assert_eq!(requests(&sts).await.len(), 2, "it is kept from now on");
}

#[tokio::test]
async fn a_place_that_refuses_is_passed_over_for_good() {
    let all = Everything::new().await;
    let sts = serve(|_| refusal(403, "NoPermission", "hush")).await;
    let mut variables = all.variables.clone();
    variables.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let machine = Machine::new(&variables).sts(&sts);
    let chain = machine.surroundings.default_chain();
    assert_eq!(key(&*chain).await.as_deref(), Ok("profile"));
    later(Duration::from_hours(1)).await;
    assert_eq!(key(&*chain).await.as_deref(), Ok("profile"));
    assert_eq!(requests(&sts).await.len(), 1);
}

#[tokio::test]
async fn where_a_place_that_is_set_up_is_down_and_no_other_is_there_it_may_pass() {
    let uri = nowhere();
    let machine = Machine::new(&[("ALIBABA_CLOUD_CREDENTIALS_URI", &uri)]);
    let chain = machine.surroundings.default_chain();
    fails(
        &*chain,
        "unavailable",
        &["credentials uri: ", "environment: "],
    )
    .await;
    // A role that is named is one that is meant to be there.
    let machine = Machine::new(&[("ALIBABA_CLOUD_ECS_METADATA", "role")]);
    let chain = machine.surroundings.default_chain();
    fails(&*chain, "unavailable", &["ecs role: "]).await;
}

#[tokio::test]
async fn fifty_requests_at_once_are_one_walk() {
    let all = Everything::new().await;
    let mut variables = all.variables.clone();
    variables.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let machine = Machine::new(&variables).sts(&all.sts);
    let chain = machine.surroundings.default_chain();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let chain = Arc::clone(&chain);
        asked.spawn(async move { key(&*chain).await });
    }
    for key in asked.join_all().await {
        assert_eq!(key.as_deref(), Ok("oidc"));
    }
    assert_eq!(requests(&all.sts).await.len(), 1);
}
