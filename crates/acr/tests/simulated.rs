//! The client against the simulated registry, which checks signatures with code of another hand and answers
//! in the vendor's shapes.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::{
    Client, ClientOptions, Credentials, Error, ListRepoSyncTask, Mismatch, Page, Retry, Static,
};
use syncbell_simulator::{
    DEMO_INSTANCE, DEMO_REGION, Extent, Fault, Handle, NewTask, Options, Simulator,
};

fn client(simulator: &Handle, key: &str, secret: &str) -> Client {
    let endpoint = simulator.url().parse().expect("its address is a URL");
    let credentials = Static(Credentials {
        access_key_id: key.to_owned(),
        secret: secret.to_owned().into(),
        security_token: None,
    });
    let options = ClientOptions::new(endpoint, DEMO_REGION);
    Client::new(options, Arc::new(credentials)).expect("plain options")
}

async fn list(client: &Client, instance_id: &str) -> Result<Page, Error> {
    let request = ListRepoSyncTask {
        instance_id: instance_id.to_owned(),
        repo_namespace_name: Some("team a/b*".to_owned()),
        page_no: Some(1),
        page_size: Some(100),
        ..ListRepoSyncTask::default()
    };
    client.list_repo_sync_task(&request).await
}

async fn start() -> (Handle, Client) {
    let options = Options::default();
    let (key, secret) = (
        options.access_key_id.clone(),
        options.access_key_secret.clone(),
    );
    let simulator = Simulator::start(options).await.expect("a free port");
    let client = client(&simulator, &key, &secret);
    (simulator, client)
}

#[tokio::test]
async fn tasks_are_listed_and_a_filter_with_odd_characters_is_signed_right() {
    let (simulator, client) = start().await;
    simulator.world().add_task(NewTask::default());
    let page = list(&client, DEMO_INSTANCE)
        .await
        .expect("it is well signed");
    assert_eq!(
        (page.total_count, page.n_rows()),
        (Some(0), 0),
        "the filter holds"
    );
    let request = ListRepoSyncTask {
        instance_id: DEMO_INSTANCE.to_owned(),
        ..ListRepoSyncTask::default()
    };
    let page = client.list_repo_sync_task(&request).await.expect("well");
    assert_eq!(
        (page.total_count, page.n_rows(), page.tasks().1.len()),
        (Some(1), 1, 0)
    );
    assert!(page.date.is_some());
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_apart() {
    let (simulator, _) = start().await;
    let wrong = client(&simulator, "simulatorAccessKeyId", "hush");
    let error = list(&wrong, DEMO_INSTANCE)
        .await
        .expect_err("a wrong secret");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    let Error::Signature { why, .. } = error else {
        panic!("another error: {error}");
    };
    assert_eq!(why, Mismatch::WrongSecret);
    let unknown = client(&simulator, "another", "hush");
    let error = list(&unknown, DEMO_INSTANCE).await.expect_err("unknown");
    assert_eq!(error.code(), "InvalidAccessKeyId.NotFound");
}

#[tokio::test]
async fn each_way_in_which_it_can_fail_has_its_class_and_its_retry() {
    use Retry::{After, Backoff, Slowly};
    let (simulator, client) = start().await;
    let world = simulator.world();
    let code = "INSTANCE_NOT_EXIST".to_owned();
    let retry_after_ms = Some(1_234);
    let asked = After(Duration::from_millis(1_234));
    for (fault, class, retry) in [
        (Fault::Throttled { retry_after_ms }, "throttled", asked),
        (
            Fault::Throttled {
                retry_after_ms: None,
            },
            "throttled",
            Backoff,
        ),
        (
            Fault::TooManyRequests { retry_after_s: 2 },
            "throttled",
            After(Duration::from_secs(2)),
        ),
        (Fault::NoPrivilege, "denied", Slowly),
        (Fault::LowerCamelError, "denied", Slowly),
        (Fault::SystemError, "unavailable", Backoff),
        (Fault::Unavailable, "unavailable", Backoff),
        (Fault::BadGateway, "unavailable", Backoff),
        (Fault::XmlError, "unavailable", Backoff),
        (Fault::Closed, "unavailable", Backoff),
        (Fault::Truncated { honest: true }, "malformed", Backoff),
        (Fault::Truncated { honest: false }, "malformed", Backoff),
        (Fault::NotSuccessful { code }, "rejected", Slowly),
        (Fault::ClockSkew { minutes: 20 }, "clock", Slowly),
        (Fault::ClockSkew { minutes: -20 }, "clock", Slowly),
    ] {
        world
            .fault(fault.clone(), Extent::Always)
            .expect("room for a fault");
        let error = list(&client, DEMO_INSTANCE)
            .await
            .expect_err("a fault is on");
        assert_eq!(
            (error.class(), error.retry()),
            (class, retry),
            "{fault:?}: {error}"
        );
        world.clear_faults();
    }
    assert!(
        list(&client, DEMO_INSTANCE).await.is_ok(),
        "the faults are over"
    );
}

#[tokio::test]
async fn a_denial_names_the_account_that_the_registry_names() {
    let (simulator, client) = start().await;
    for fault in [Fault::NoPrivilege, Fault::LowerCamelError] {
        let world = simulator.world();
        world
            .fault(fault, Extent::Calls(1))
            .expect("room for a fault");
        let told = list(&client, DEMO_INSTANCE)
            .await
            .expect_err("denied")
            .to_string();
        let statement = format!(
            "cr:GetRepositorySync on acs:cr:{DEMO_REGION}:1000000000000001:repository/{DEMO_INSTANCE}"
        );
        assert!(told.contains(&statement), "{told}");
    }
}
