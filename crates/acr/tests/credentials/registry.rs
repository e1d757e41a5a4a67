//! The client with a provider that refreshes: what ends while it is in use is replaced, and the caller
//! does not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use syncbell_acr::{Client, ClientOptions, Error, ListInstance, ListRepoSyncTask, Role};
use syncbell_simulator::{
    DEMO_INSTANCE, DEMO_REGION, ErrorFault, Extent, Fault, NewTask, Options, Simulator,
};
use tokio::task::JoinSet;
use wiremock::{MockServer, ResponseTemplate};

use crate::cloud::{Machine, form, from_sts, later, refusal, requests, serve};

/// Issues `first`, then `second` for good.
async fn sts(first: &'static str, second: &'static str) -> MockServer {
    let n_issued = AtomicUsize::new(0);
    serve(move |_| match n_issued.fetch_add(1, Ordering::SeqCst) {
        0 => from_sts(first),
        _ => from_sts(second).set_delay(Duration::from_millis(50)),
    })
    .await
}

/// Refuses `old` with `code`.
async fn registry(code: &'static str) -> MockServer {
    serve(move |request| {
        let authorization = &request.headers["authorization"];
        let authorization = authorization.to_str().expect("ASCII");
        if authorization.contains("Credential=old,") {
            refusal(400, code, "It is over.")
        } else {
            ResponseTemplate::new(200).set_body_json(json!({"Instances": [], "IsSuccess": true}))
        }
    })
    .await
}

/// A client with the credentials of a role for the token of a file.
fn client(machine: &Machine, endpoint: &str) -> Arc<Client> {
    let token = machine.file("token", "hush");
    let role = Role::new("acs:ram::1:role/bell");
    let provider = "acs:ram::1:oidc-provider/ack".to_owned();
    let surroundings = &machine.surroundings;
    let provider = surroundings.oidc(role, provider, token.into(), None);
    let options = ClientOptions::new(endpoint.parse().expect("a URL"), DEMO_REGION);
    Arc::new(Client::new(options, provider.expect("plain options")).expect("plain options"))
}

#[tokio::test]
async fn what_the_registry_does_not_take_any_more_is_one_refresh_and_one_more_try() {
    for code in [
        "InvalidSecurityToken.Expired",
        "InvalidAccessKeyId.NotFound",
    ] {
        let (sts, registry) = (sts("old", "new").await, registry(code).await);
        let machine = Machine::new(&[]).sts(&sts);
        let client = client(&machine, &registry.uri());
        let answered = client.list_instance(&ListInstance::default()).await;
        assert!(answered.is_ok(), "{answered:?}");
        assert_eq!(requests(&sts).await.len(), 2, "{code}");
        let asked = requests(&registry).await;
        let tokens: Vec<_> = asked
            .iter()
            .map(|request| request.headers["x-acs-security-token"].as_bytes())
            .collect();
        assert_eq!(tokens, [&b"hush-token-old"[..], b"hush-token-new"]);

        let answered = client.list_instance(&ListInstance::default()).await;
        assert!(answered.is_ok(), "{answered:?}");
        assert_eq!(requests(&sts).await.len(), 2, "{code}");
        assert_eq!(requests(&registry).await.len(), 3, "{code}");
    }
}

#[tokio::test]
async fn fifty_requests_that_are_refused_at_once_are_one_refresh() {
    let sts = sts("old", "new").await;
    let registry = registry("InvalidSecurityToken.Expired").await;
    let machine = Machine::new(&[]).sts(&sts);
    let client = client(&machine, &registry.uri());
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let client = Arc::clone(&client);
        all.spawn(async move { client.list_instance(&ListInstance::default()).await });
    }
    for answered in all.join_all().await {
        assert!(answered.is_ok(), "{answered:?}");
    }
    assert_eq!(requests(&sts).await.len(), 2);
}

#[tokio::test]
async fn others_that_are_refused_too_are_an_error_and_not_a_circle() {
    let code = "InvalidSecurityToken.Expired";
    let (sts, registry) = (sts("old", "old").await, registry(code).await);
    let machine = Machine::new(&[]).sts(&sts);
    let client = client(&machine, &registry.uri());
    for _ in 0..5 {
        let refused = client.list_instance(&ListInstance::default()).await;
        let error = refused.expect_err("they are over");
        assert_eq!((error.class(), error.code()), ("rejected", code));
    }
    assert_eq!(requests(&registry).await.len(), 5);
    assert_eq!(requests(&sts).await.len(), 2, "STS had no others");
}

#[tokio::test]
async fn an_sts_that_is_down_when_they_are_refused_is_what_the_caller_hears_of() {
    let n_issued = AtomicUsize::new(0);
    let sts = serve(move |_| match n_issued.fetch_add(1, Ordering::SeqCst) {
        0 => from_sts("old"),
        _ => refusal(503, "ServiceUnavailable", "hush"),
    })
    .await;
    let registry = registry("InvalidSecurityToken.Expired").await;
    let machine = Machine::new(&[]).sts(&sts);
    let client = client(&machine, &registry.uri());
    for _ in 0..5 {
        let refused = client.list_instance(&ListInstance::default()).await;
        let error = refused.expect_err("there are no others");
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("oidc: "), "{error}");
    }
    assert_eq!(requests(&registry).await.len(), 1, "of the five");
    assert_eq!(
        requests(&sts).await.len(),
        2,
        "it is left alone for a while"
    );
}

#[tokio::test]
async fn a_role_is_used_at_the_simulated_registry_beyond_its_hour() {
    let issued = Options {
        access_key_id: "role".to_owned(),
        access_key_secret: "hush-role".to_owned(),
        security_token: Some("hush-token-role".to_owned()),
        ..Options::default()
    };
    let simulator = Simulator::start(issued).await.expect("a free port");
    simulator.world().add_task(NewTask::default());
    let sts = sts("another", "role").await;
    let machine = Machine::new(&[]).sts(&sts);
    let client = client(&machine, &simulator.url());
    let request = ListRepoSyncTask {
        instance_id: DEMO_INSTANCE.to_owned(),
        ..ListRepoSyncTask::default()
    };
    // It does not know the key, then it calls the right one expired, then an hour goes by.
    let n_tasks = async || {
        let page = client.list_repo_sync_task(&request).await;
        page.expect("it is well signed").n_rows()
    };
    assert_eq!((n_tasks().await, requests(&sts).await.len()), (1, 2));
    let expired = Fault::Error(ErrorFault {
        code: "InvalidSecurityToken.Expired".to_owned(),
        ..ErrorFault::default()
    });
    let world = simulator.world();
    world.fault(expired, Extent::Calls(1)).expect("a known one");
    let refused = client.list_repo_sync_task(&request).await;
    // STS issues the same again: there are no others, so the refusal stands.
    let error = refused.expect_err("it has expired");
    assert_eq!(error.code(), "InvalidSecurityToken.Expired");
    assert_eq!((n_tasks().await, requests(&sts).await.len()), (1, 3));
    later(Duration::from_hours(1)).await;
    machine.file("token", "hush-2");
    assert_eq!((n_tasks().await, requests(&sts).await.len()), (1, 4));
    assert_eq!(form(&requests(&sts).await[3])["OIDCToken"], "hush-2");
}

#[tokio::test]
async fn the_simulated_registry_calls_a_token_expired_and_takes_the_next() {
    let issued = Options {
        access_key_id: "new".to_owned(),
        access_key_secret: "hush-new".to_owned(),
        security_token: Some("hush-token-new".to_owned()),
        ..Options::default()
    };
    let simulator = Simulator::start(issued).await.expect("a free port");
    let expired = Fault::Error(ErrorFault {
        code: "InvalidSecurityToken.Expired".to_owned(),
        ..ErrorFault::default()
    });
    let world = simulator.world();
    world.fault(expired, Extent::Calls(1)).expect("a known one");
    let sts = sts("old", "new").await;
    let machine = Machine::new(&[]).sts(&sts);
    let client = client(&machine, &simulator.url());
    let answered = client.list_instance(&ListInstance::default()).await;
    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(world.calls().len(), 2);
    assert_eq!(requests(&sts).await.len(), 2);
}
