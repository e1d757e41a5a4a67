//! `syncbell poller` and `syncbell notifier` as processes of their own, as far as that needs no broker.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use syncbell_simulator::Options;
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Binary, Launch};

use crate::house::{House, WAIT};

/// Two addresses that were free a moment ago.
fn free_addresses() -> [SocketAddr; 2] {
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    bound.map(|listener| listener.local_addr().expect("a bound port has an address"))
}

fn syncbell(arguments: &[&str], config: &Path) -> Launch {
    let config = config.to_str().expect("a plain path");
    let launch = Binary::launch(env!("CARGO_BIN_EXE_syncbell"));
    launch.args(arguments).args(["-c", config])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_its_own_needs_a_log_that_two_processes_can_share() {
    let house = House::build().await;
    for service in ["poller", "notifier"] {
        let mut binary = house.launcher(service, "127.0.0.1:0").start();
        assert_eq!(binary.wait_for_exit(WAIT).await.code(), Some(78));
        let said = binary.text(Source::Stderr);
        assert!(
            said.contains("`syncbell run`") && said.contains("bus.kafka"),
            "{said}"
        );
    }
}

/// Nothing listens at port 9: both services run, and wait for the log.
fn text(house: &House, data: &Path, [of_poller, of_notifier]: [SocketAddr; 2]) -> String {
    format!(
        "data_dir: {}\n\
         instances: [{{id: cri-1, region: cn-a, endpoint: '{}', poll_every: 1s, \
         credentials: {{access_key: {{id: {}, secret: {{env: KEY_SECRET}}}}}}}}]\n\
         bus: {{kafka: {{brokers: ['127.0.0.1:9']}}}}\n\
         receivers: [{{name: ops, webhook: {{url: '{}', secret: {{env: HOOK_SECRET}}}}}}]\n\
         route: {{receivers: [ops]}}\n\
         admin: {{listen: '{of_poller}', notifier_listen: '{of_notifier}'}}\n",
        data.display(),
        house.simulator.url(),
        Options::default().access_key_id,
        house.webhook.url(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_a_file_and_each_needs_only_its_own_secrets() {
    let house = House::build().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (
        folder.path().join("syncbell.yaml"),
        folder.path().join("data"),
    );
    let [of_poller, of_notifier] = free_addresses();
    let key = Options::default();
    let text = text(&house, &data, [of_poller, of_notifier]);
    std::fs::write(&config, text).expect("a configuration");

    let mut poller = syncbell(&["poller"], &config)
        .env("KEY_SECRET", &key.access_key_secret)
        .env_remove("HOOK_SECRET")
        .start();
    let line = poller.wait_for_line("syncbell runs", WAIT).await.text;
    assert!(line.contains(&of_poller.to_string()), "{line}");
    poller
        .wait_for_line("HOOK_SECRET is not set (not needed by this service)", WAIT)
        .await;
    for service in ["poller", "notifier"] {
        let mut refused = syncbell(&[service], &config)
            .env_remove("HOOK_SECRET")
            .env_remove("KEY_SECRET")
            .start();
        let status = refused.wait_for_exit(WAIT).await;
        assert_eq!(status.code(), Some(78), "{service}");
    }
    let mut notifier = syncbell(&["notifier"], &config)
        .env("HOOK_SECRET", "0123456789abcdef")
        .env_remove("KEY_SECRET")
        .start();
    let line = notifier.wait_for_line("syncbell runs", WAIT).await.text;
    assert!(line.contains(&of_notifier.to_string()), "{line}");

    // Each has its own folder; there is no log on this disk.
    assert!(data.join("poller").is_dir() && data.join("notifier").is_dir());
    assert!(!data.join("log").exists());
    for service in ["poller", "notifier"] {
        let mut second = syncbell(&[service], &config)
            .env("HOOK_SECRET", "0123456789abcdef")
            .env("KEY_SECRET", &key.access_key_secret)
            .start();
        assert_eq!(
            second.wait_for_exit(WAIT).await.code(),
            Some(75),
            "{service}"
        );
    }

    // The notifier is found behind the poller's address, while it runs and in its folder.
    let ask = async || {
        let mut asked = syncbell(&["incidents", "list", "-o", "json"], &config).start();
        let status = asked.wait_for_exit(WAIT).await;
        (
            status.code(),
            asked.text(Source::Stdout).trim().to_owned(),
            asked.text(Source::Stderr),
        )
    };
    assert_eq!(ask().await, (Some(0), "[]".to_owned(), String::new()));
    notifier.terminate();
    assert!(
        notifier.wait_for_exit(WAIT).await.success(),
        "a broker that is gone holds nobody up"
    );
    assert_eq!(ask().await, (Some(0), "[]".to_owned(), String::new()));
    poller.terminate();
    assert!(
        poller.wait_for_exit(WAIT).await.success(),
        "a broker that is gone holds nobody up"
    );
}
