//! The client against the simulated registry, which checks signatures with code of another hand and answers
//! in the vendor's shapes.

use std::sync::Arc;
use std::time::Duration;

use syncbell_acr::{
    Client, ClientOptions, Credentials, Error, ListInstance, ListRepoSyncRule, ListRepoSyncTask,
    Mismatch, Page, Retry, Static,
};
use syncbell_event::Status;
use syncbell_simulator::{
    Action, DEMO_INSTANCE, DEMO_REGION, Extent, Fault, Handle, Layer, NewInstance, NewRule,
    NewTask, Options, Progress, Simulator,
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

#[tokio::test]
async fn a_task_alone_is_what_the_list_shows_of_it_with_its_progress() {
    let (simulator, client) = start().await;
    let world = simulator.world();
    let failed = world.add_task(NewTask::default());
    world
        .set_state(failed.as_str(), Status::Error, Some("NETWORK_ERROR"))
        .expect("it is there");
    let layer = |digit: &str, status: &str, synced_size_bytes| Layer {
        digest: format!("sha256:{}", digit.repeat(64)),
        artifact_digest: format!("sha256:{}", "c".repeat(64)),
        status: Status::from(status.to_owned()),
        size_bytes: 2_048,
        synced_size_bytes,
    };
    let progress = Progress {
        progress: 0.5,
        synced_size_bytes: 2_048,
        layers: vec![layer("a", "SUCCESS", 2_048), layer("b", "ERROR", 0)],
    };
    world
        .set_progress(failed.as_str(), progress)
        .expect("there");

    let request = ListRepoSyncTask {
        instance_id: DEMO_INSTANCE.to_owned(),
        ..ListRepoSyncTask::default()
    };
    let page = client.list_repo_sync_task(&request).await.expect("well");
    let report = client
        .get_repo_sync_task(DEMO_INSTANCE, failed.as_str())
        .await;
    let report = report.expect("well").expect("it is there");
    assert_eq!(report.task.created_at, None, "as the vendor's SDKs have it");
    let listed = &page.tasks().0[0];
    assert_eq!(
        (&report.task.status, &report.task.issue),
        (&listed.status, &listed.issue)
    );
    assert_eq!(
        (report.progress, report.synced_size_bytes),
        (Some(0.5), Some(2_048))
    );
    let layers: Vec<_> = report
        .layers
        .iter()
        .map(|one| one.status.as_str())
        .collect();
    assert_eq!(layers, ["SUCCESS", "ERROR"]);
    assert_eq!(report.layers[1].size_bytes, Some(2_048));
    assert_eq!(report.layers[1].synced_size_bytes, Some(0));
    assert!(
        report.layers[1]
            .digest
            .as_ref()
            .is_some_and(|digest| digest.contains("bbb"))
    );

    let none = client
        .get_repo_sync_task(DEMO_INSTANCE, "rst-of-nobody")
        .await;
    assert_eq!(none.expect("well"), None);
    let nowhere = client
        .get_repo_sync_task("cri-of-nobody", failed.as_str())
        .await;
    assert_eq!(
        nowhere.expect_err("no instance").code(),
        "INSTANCE_NOT_EXIST"
    );
}

#[tokio::test]
async fn instances_and_rules_are_listed_page_by_page() {
    let (simulator, client) = start().await;
    let world = simulator.world();
    let other = NewInstance::new("cri-other", "cn-beijing");
    world.add_instance(other.name("second").status("STOPPED").tag("env", "test"));
    let mut found = Vec::new();
    for page_no in 1..=2 {
        let request = ListInstance {
            page_no: Some(page_no),
            page_size: Some(1),
            ..ListInstance::default()
        };
        let page = client.list_instance(&request).await.expect("well");
        assert_eq!((page.n_rows, page.total_count), (1, Some(2)));
        found.extend(page.instances);
    }
    let second = found
        .iter()
        .find(|one| one.id == "cri-other")
        .expect("listed");
    assert_eq!(second.name.as_deref(), Some("second"));
    assert_eq!(second.status.as_deref(), Some("STOPPED"));
    assert_eq!(second.region_id.as_deref(), Some("cn-beijing"));
    assert_eq!(second.tags.get("env").map(String::as_str), Some("test"));
    assert!(found.iter().any(|one| one.id == DEMO_INSTANCE));
    let stopped = ListInstance {
        status: Some("STOPPED".to_owned()),
        ..ListInstance::default()
    };
    let page = client.list_instance(&stopped).await.expect("well");
    assert_eq!(page.n_rows, 1);

    world.add_rule(NewRule::of("crsr-1", "to shenzhen", "team"));
    let request = ListRepoSyncRule {
        instance_id: DEMO_INSTANCE.to_owned(),
        page_no: Some(1),
        page_size: Some(100),
    };
    let page = client.list_repo_sync_rule(&request).await.expect("well");
    let rule = page
        .rules
        .iter()
        .find(|rule| rule.id == "crsr-1")
        .expect("listed");
    assert_eq!(rule.name.as_deref(), Some("to shenzhen"));
    assert_eq!(rule.scope.as_deref(), Some("NAMESPACE"));
    assert_eq!(rule.namespace.as_deref(), Some("team"));
}

#[tokio::test]
async fn each_operation_can_be_refused_alone() {
    let (simulator, client) = start().await;
    let world = simulator.world();
    let instances = ListInstance::default();
    let rules = ListRepoSyncRule {
        instance_id: DEMO_INSTANCE.to_owned(),
        ..ListRepoSyncRule::default()
    };
    for action in [
        Action::GetRepoSyncTask,
        Action::ListInstance,
        Action::ListRepoSyncRule,
    ] {
        for (fault, class) in [
            (Fault::NoPrivilege, "denied"),
            (
                Fault::Throttled {
                    retry_after_ms: Some(5),
                },
                "throttled",
            ),
            (Fault::XmlError, "unavailable"),
            (Fault::BadGateway, "unavailable"),
            (Fault::Truncated { honest: true }, "malformed"),
        ] {
            // The truncated answer is one of a task that is there.
            let task = world.add_task(NewTask::default());
            world
                .fault_for(action, fault.clone(), Extent::Always)
                .expect("room");
            let error = match action {
                Action::GetRepoSyncTask => client
                    .get_repo_sync_task(DEMO_INSTANCE, task.as_str())
                    .await
                    .err(),
                Action::ListInstance => client.list_instance(&instances).await.err(),
                _ => client.list_repo_sync_rule(&rules).await.err(),
            };
            let error = error.expect("a fault is on");
            assert_eq!(error.class(), class, "{action:?} {fault:?}: {error}");
            assert!(
                list(&client, DEMO_INSTANCE).await.is_ok(),
                "the others go on"
            );
            world.clear_faults();
        }
    }
}
