//! No secret is shown: every provider and the client, through success and every kind of failure, with
//! secrets that can be searched for in what they print and in what they and the HTTP libraries log.

#[allow(
    dead_code,
    reason = "shared with the tests of the providers, which use the rest"
)]
#[path = "credentials/cloud.rs"]
mod cloud;

#[path = "secrets/shown.rs"]
mod shown;

#[path = "secrets/ways.rs"]
mod ways;

#[path = "secrets/everybody.rs"]
mod everybody;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncbell_acr::{
    Client, ClientOptions, CredentialsProvider, ListInstance, ListRepoSyncRule, ListRepoSyncTask,
    Role, Static, Surroundings,
};

use cloud::{Machine, cut_off, nowhere, raw};
use everybody::{Provider, Servers, all, base, issued};
use shown::{MARK, Shown, log, secret};
use ways::{WAYS, Way};

/// Asks `provider` and with it the registry, in every way that they can be asked.
async fn drive(shown: &mut Shown, provider: Arc<dyn CredentialsProvider>, registry: &str) {
    let given = provider.credentials().await;
    shown.answer(&given);
    let refused = given.unwrap_or_else(|_| base());
    shown.answer(&provider.renew(&refused).await);
    let mut options = ClientOptions::new(registry.parse().expect("a URL"), "cn-shanghai");
    options.timeout = Duration::from_secs(10);
    shown.show(&options);
    let client = Client::new(options, provider);
    let client = client.expect("plain options");
    shown.show(&client);
    let tasks = ListRepoSyncTask {
        instance_id: "cri-1".to_owned(),
        ..ListRepoSyncTask::default()
    };
    shown.answer(&client.list_repo_sync_task(&tasks).await);
    shown.answer(&client.get_repo_sync_task("cri-1", "t").await);
    shown.answer(&client.list_instance(&ListInstance::default()).await);
    let rules = ListRepoSyncRule::default();
    shown.answer(&client.list_repo_sync_rule(&rules).await);
}

async fn drive_all(servers: &Servers, registry: &str) -> Shown {
    log();
    let mut shown = Shown::default();
    let (providers, machines) = all(servers);
    for machine in &machines {
        shown.show(&machine.surroundings);
    }
    for provider in providers {
        match provider {
            Ok(provider) => drive(&mut shown, provider, registry).await,
            Err(error) => shown.error(&error),
        }
    }
    shown
}

#[tokio::test]
async fn no_provider_and_no_client_shows_a_secret_whatever_the_servers_answer() {
    for way in WAYS {
        let servers = Servers::new(way).await;
        let shown = drive_all(&servers, &servers.registry.uri()).await;
        shown.is_clean(&["syncbell_acr", "starting new connection", "hyper"]);
        assert!(shown.n_well > 0, "{way:?}");
        assert!(shown.n_failed > 0, "{way:?}");
        if let Way::Echo(..) = way {
            // What was sent came back, and what is shown of it is that it was there.
            let is_hidden = |text: &String| text.contains("[secret]");
            assert!(shown.texts.iter().any(is_hidden), "{way:?}");
            shown.is_clean(&["could not refresh the credentials"]);
        }
    }
}

#[tokio::test]
async fn connections_that_end_too_early_or_are_not_there_show_no_secret() {
    let half = raw(cut_off(
        &json!({"Credentials": issued(), "Code": secret("x")}),
    ))
    .await;
    let servers = Servers::new(Way::Well).await;
    for url in [half.url.clone(), nowhere()] {
        let shown = drive_all(&servers, &url).await;
        shown.is_clean(&[]);
        assert!(shown.n_failed > 0);

        let mut machine = servers.machine(&[]);
        machine.surroundings.sts = Some(url.parse().expect("a URL"));
        machine.surroundings.metadata = url.parse().expect("a URL");
        let mut shown = Shown::default();
        for provider in of_urls(&machine, &url) {
            drive(&mut shown, provider.expect("plain options"), &url).await;
        }
        shown.is_clean(&[]);
        assert_eq!(shown.n_well, 0);
    }
}

/// The providers that ask a server.
fn of_urls(machine: &Machine, url: &str) -> Vec<Provider> {
    let oidc_token = machine.file("oidc-token", &secret("oidc-token"));
    let surroundings: &Surroundings = &machine.surroundings;
    let uri = format!("{url}/{MARK}?{MARK}");
    vec![
        surroundings.assume_role(Arc::new(Static(base())), Role::new("a"), None),
        surroundings.oidc(Role::new("a"), "p".to_owned(), oidc_token.into(), None),
        surroundings.ecs_role(None),
        surroundings.credentials_uri(uri.parse().expect("a URL")),
    ]
}

#[tokio::test]
async fn files_that_are_wrong_show_no_secret() {
    log();
    let servers = Servers::new(Way::Well).await;
    let broken = format!("{{\"profiles\": [{{\"access_key_secret\": \"{MARK}");
    let list = format!("[\"{MARK}\"]");
    let no_list = format!("{{\"current\": \"x\", \"profiles\": \"{MARK}\"}}");
    let numbers = format!(
        "{{\"profiles\": [\"{MARK}\", {{\"name\": \"default\", \"mode\": [\"{MARK}\"]}}]}}"
    );
    let mut shown = Shown::default();
    for text in [&broken, &list, &no_list, &numbers, &format!("{MARK}\0")] {
        let machine = servers.machine(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]);
        machine.file(".aliyun/config.json", text);
        machine.file(".alibabacloud/credentials", text);
        machine.file(
            ".alibabacloud/credentials.ini",
            &format!("{text}\n[default]\n{text}\n={MARK}"),
        );
        let profile = machine.surroundings.profile(None, None);
        let registry = servers.registry.uri();
        drive(&mut shown, profile.expect("it has a home"), &registry).await;
        let chain = machine.surroundings.default_chain();
        drive(&mut shown, chain, &registry).await;
    }
    let machine = servers.machine(&[]);
    let binary = machine.home.path().join("binary");
    let mut bytes = MARK.as_bytes().to_vec();
    bytes.push(0xff);
    std::fs::write(&binary, bytes).expect("a file");
    let oidc = machine
        .surroundings
        .oidc(Role::new("a"), "p".to_owned(), binary, None);
    let registry = servers.registry.uri();
    drive(&mut shown, oidc.expect("plain options"), &registry).await;
    shown.is_clean(&[]);
    assert_eq!(shown.n_well, 0);
}

#[tokio::test]
async fn proxies_and_authorities_show_no_password() {
    log();
    let refuses = format!(
        "HTTP/1.1 407 Proxy Authentication Required {MARK}\r\nproxy-authenticate: Basic realm={MARK}\r\n\
         content-length: 0\r\n\r\n"
    );
    let refuses = raw(refuses).await;
    let with_password = |url: &str| url.replace("http://", &format!("http://bell:{MARK}@"));
    let mut shown = Shown::default();
    for proxy in [
        with_password(&refuses.url),
        with_password(&nowhere()),
        format!("ftp://bell:{MARK}@127.0.0.1"),
        format!("http://bell:{MARK}@:x"),
        MARK.to_owned() + ":x",
    ] {
        for url in ["http://up.invalid", "https://up.invalid"] {
            let mut machine = Machine::new(&[("http_proxy", &proxy), ("https_proxy", &proxy)]);
            machine.surroundings.sts = Some(url.parse().expect("a URL"));
            shown.show(&machine.surroundings);
            for provider in of_urls(&machine, url) {
                match provider {
                    Ok(provider) => drive(&mut shown, provider, &nowhere()).await,
                    Err(error) => shown.error(&error),
                }
            }
            if let Ok(proxy) = proxy.parse() {
                let mut options = ClientOptions::new(url.parse().expect("a URL"), "cn-shanghai");
                options.proxy = Some(proxy);
                options.ca_pem = Some(MARK.as_bytes().to_vec());
                shown.show(&options);
                let client = Client::new(options.clone(), Arc::new(Static(base())));
                shown.answer(&client);
                options.ca_pem = None;
                match Client::new(options, Arc::new(Static(base()))) {
                    Ok(client) => {
                        shown.show(&client);
                        let answered = client.list_instance(&ListInstance::default()).await;
                        shown.answer(&answered);
                    }
                    Err(error) => shown.error(&error),
                }
            }
        }
    }
    shown.is_clean(&["starting new connection"]);
    assert!(shown.n_failed > 0);
}
