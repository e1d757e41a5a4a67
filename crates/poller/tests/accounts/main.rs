//! Several accounts in one poller, against the simulated cloud's own identity side: credentials that end
//! every few seconds, and an STS that is down, cost no poll.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint does not know as such"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use syncbell_bus::{Bus, EmbeddedOptions, Publisher, Record, Stream};
use syncbell_config::{Config, Part};
use syncbell_event::{Envelope, Event, Status as SyncStatus};
use syncbell_poller::{Parts, Status, Surroundings, credentials_from};
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_simulator::{Action, Extent, Fault, Handle, Identity, NewTask, Options, Simulator};
use syncbell_store::Store;
use syncbell_testkit::eventually;

const LONG: Duration = Duration::from_mins(1);
const ROLE: &str = "acs:ram::12:role/a";
const PROVIDER: &str = "acs:ram::12:oidc-provider/b";
const KEY: &str = "{id: simulatorAccessKeyId, secret: {env: KEY_SECRET}}";

/// What the poller told.
#[derive(Default)]
struct Log(Mutex<Vec<Envelope>>);

impl Publisher for Log {
    fn append(
        &self,
        _: Stream,
        records: Vec<Record>,
    ) -> syncbell_bus::BoxFuture<'_, Result<(), syncbell_bus::Error>> {
        let told = records
            .iter()
            .map(|record| Envelope::decode(&record.value).unwrap());
        self.0.lock().unwrap().extend(told);
        Box::pin(async { Ok(()) })
    }

    fn ready(&self) -> syncbell_bus::BoxFuture<'_, Result<(), syncbell_bus::Error>> {
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    simulator: Handle,
    folder: tempfile::TempDir,
    log: Arc<Log>,
    metrics: Metrics,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), syncbell_poller::Error>>,
}

impl Bench {
    /// A poller of one instance for each of `credentials`, as they stand in a file, and whom the cloud
    /// believes.
    async fn start(credentials: &[&str], identity: Identity) -> Self {
        let entries = credentials.iter().enumerate().map(|(number, credentials)| {
            format!(
                "  - id: {}\n    region: cn-shanghai\n    endpoint: URL\n    poll_every: 1s\n    \
                 credentials: {{{credentials}}}\n",
                id(number)
            )
        });
        let entries: String = entries.collect();
        Self::of(&entries, credentials.len(), identity, None).await
    }

    /// A poller of these `entries` of a file, in which `URL` is the cloud, which has `n` instances. `sts`
    /// is another name of it.
    async fn of(entries: &str, n: usize, identity: Identity, sts: Option<&str>) -> Self {
        let options = Options {
            instances: Vec::new(),
            identity,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "a.b.c\n").unwrap();
        let profile = format!(
            r#"{{"profiles": [{{"name": "shop", "mode": "RamRoleArn", "ram_role_arn": "{ROLE}",
            "access_key_id": "simulatorAccessKeyId", "access_key_secret": "simulatorAccessKeySecret"}}]}}"#
        );
        std::fs::write(folder.path().join("aliyun.json"), profile).unwrap();
        for number in 0..n {
            simulator
                .world()
                .add_instance(syncbell_simulator::NewInstance::new(
                    &id(number),
                    "cn-shanghai",
                ));
        }
        let config = config(folder.path(), entries, &simulator);
        let (log, metrics, shutdown) = (Arc::new(Log::default()), Metrics::new(), Shutdown::new());
        let url: url::Url = simulator.url().parse().unwrap();
        let mut surroundings = Surroundings::new(|_| None);
        surroundings.sts = Some(sts.map_or_else(|| url.clone(), |sts| sts.parse().unwrap()));
        surroundings.metadata = url;
        let parts = Parts {
            instances: config.instances,
            discoveries: config.discoveries,
            baseline: config.baseline,
            blind_after: Duration::from_secs(2),
            store: Store::memory(),
            sightings: syncbell_poller::Sightings::memory(),
            publisher: log.clone(),
            bus: Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap(),
            // Nobody is read by the default by mistake.
            credentials: credentials_from(|_| None),
            surroundings,
            metrics: metrics.clone(),
            health: Health::new(),
            status: Status::new(),
        };
        let running = syncbell_poller::run(parts, shutdown.clone());
        let running = shutdown.spawn("poller", running);
        Self {
            simulator,
            folder,
            log,
            metrics,
            shutdown,
            running,
        }
    }

    /// Polls of `instance` by whether they were complete.
    fn polls(&self, instance: &str) -> (u64, u64) {
        let (mut complete, mut others) = (0, 0);
        let text = self.metrics.encode();
        let of = format!("instance=\"{instance}\"");
        for line in text
            .lines()
            .filter(|line| line.starts_with("syncbell_polls_total{") && line.contains(&of))
        {
            let n: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if line.contains("outcome=\"complete\"") {
                complete += n;
            } else {
                others += n;
            }
        }
        (complete, others)
    }

    async fn polled(&self, instance: &str, n: u64) {
        eventually("complete polls", LONG, async || {
            (self.polls(instance).0 >= n).then_some(())
        })
        .await;
    }

    /// How many credentials were given by that way: those that are over, and all.
    fn issued(&self, by: Action) -> (usize, usize) {
        let world = self.simulator.world();
        let now = world.counts().server_time;
        let issued = world.issued();
        let given = issued.iter().filter(|one| one.by == by);
        let over = given.clone().filter(|one| one.expires_at <= now).count();
        (over, given.count())
    }

    /// Calls of `action` that were answered with `status`.
    fn answered(&self, action: Action, status: u16) -> usize {
        let calls = self.simulator.world().calls();
        let so = calls
            .iter()
            .filter(|call| call.action == action.as_str() && call.status == Some(status));
        so.count()
    }

    fn told(&self, wanted: impl Fn(&Envelope) -> bool) -> bool {
        self.log.0.lock().unwrap().iter().any(wanted)
    }

    /// Ends it all; no poll of the `n` instances had failed, and nothing said so.
    async fn end(self, n: usize) {
        for number in 0..n {
            let (complete, others) = self.polls(&id(number));
            assert!(complete > 0, "{}: {}", id(number), self.metrics.encode());
            assert_eq!(others, 0, "{}: {}", id(number), self.metrics.encode());
        }
        let failing = self.told(|told| matches!(told.event, Event::Failing(_)));
        assert!(!failing, "{:?}", self.log.0.lock().unwrap());
        self.shutdown.trigger();
        self.running.await.unwrap().unwrap();
        self.simulator.stop().await;
        drop(self.folder);
    }
}

fn id(number: usize) -> String {
    format!("cri-{number}")
}

fn config(folder: &Path, entries: &str, simulator: &Handle) -> Config {
    let text = format!(
        "instances:\n{}receivers: [{{name: ops, webhook: {{url: 'http://127.0.0.1:1', secret: \
         0123456789abcdef}}}}]\nroute: {{receivers: [ops]}}\n",
        entries.replace("URL", &simulator.url())
    );
    let file = folder.join("syncbell.yaml");
    std::fs::write(&file, text).unwrap();
    let env = |name: &str| match name {
        "KEY_SECRET" => Some("simulatorAccessKeySecret".to_owned()),
        "PROXY" => Some(format!("http://ann:sesame@{}", simulator.addr())),
        _ => None,
    };
    match syncbell_config::load_part(&file, Part::Poller, &env) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

#[tokio::test]
async fn accounts_of_every_kind_are_read_while_their_credentials_end_again_and_again() {
    let key = format!("access_key: {KEY}");
    let role = format!("{key}, assume_role: {{arn: '{ROLE}', external_id: shop}}");
    let oidc =
        format!("oidc: {{role_arn: '{ROLE}', provider_arn: '{PROVIDER}', token_file: token}}");
    let uri = "uri: {url: 'URL/credentials'}";
    let kinds = [
        key.as_str(),
        &oidc,
        &role,
        "ecs_role: {}",
        "profile: {name: shop, file: aliyun.json}",
        uri,
    ];
    let identity = Identity {
        life_s: Some(3),
        roles: vec![ROLE.to_owned()],
        oidc_providers: vec![PROVIDER.to_owned()],
        oidc_tokens: vec!["a.b.c".to_owned()],
        metadata_v1: false,
        ..Identity::default()
    };
    let bench = Bench::start(&kinds, identity).await;
    for number in 0..kinds.len() {
        bench.polled(&id(number), 2).await;
    }
    // Each instance is read by its own account: what fails there is told of it.
    for number in 0..kinds.len() {
        let task = NewTask::of("a/b", "1").id(&format!("rst-{number}"));
        let task = task.listed_by(&[&id(number)]).status(SyncStatus::Error);
        bench.simulator.world().add_task(task);
    }
    for number in 0..kinds.len() {
        let (subject, instance) = (format!("rst-{number}"), id(number));
        eventually("the task", LONG, async || {
            let told =
                |told: &Envelope| told.subject == subject && told.source.instance == instance;
            bench.told(told).then_some(())
        })
        .await;
    }
    // Two of them ask for a role. Of each, three in a row have ended, and others took their place.
    for (by, n) in [
        (Action::AssumeRole, 6),
        (Action::AssumeRoleWithOidc, 3),
        (Action::EcsMetadata, 3),
        (Action::CredentialsUri, 3),
    ] {
        eventually("credentials that end", LONG, async || {
            let (over, all) = bench.issued(by);
            (over >= n && all > over).then_some(())
        })
        .await;
    }
    bench.end(kinds.len()).await;
}

#[tokio::test]
async fn while_sts_is_down_valid_credentials_go_on_and_are_replaced_once_it_is_back() {
    let role = format!("access_key: {KEY}, assume_role: {{arn: '{ROLE}'}}");
    let identity = Identity {
        // The shortest that is refreshed before its end: at three quarters, so after some 23 s.
        life_s: Some(31),
        ..Identity::default()
    };
    let bench = Bench::start(&[&role], identity).await;
    bench.polled("cri-0", 1).await;
    assert_eq!(bench.issued(Action::AssumeRole), (0, 1));
    let world = bench.simulator.world();
    world
        .fault_for(Action::AssumeRole, Fault::Unavailable, Extent::Always)
        .unwrap();
    eventually("a question to STS that fails", LONG, async || {
        (bench.answered(Action::AssumeRole, 503) > 0).then_some(())
    })
    .await;
    let (polls, _) = bench.polls("cri-0");
    bench.polled("cri-0", polls + 2).await;
    assert_eq!(
        bench.issued(Action::AssumeRole),
        (0, 1),
        "the old ones still do"
    );
    world.clear_faults();
    eventually("new credentials", LONG, async || {
        (bench.issued(Action::AssumeRole).1 == 2).then_some(())
    })
    .await;
    let (polls, _) = bench.polls("cri-0");
    bench.polled("cri-0", polls + 2).await;
    let expired = bench.answered(Action::ListRepoSyncTask, 400);
    assert_eq!(expired, 0, "they were replaced before their end");
    bench.end(1).await;
}

/// The simulator stands in for the proxy: what reaches it was sent to names that nobody has.
#[tokio::test]
async fn registry_and_sts_are_asked_through_the_proxy_of_a_discovery() {
    let entries = format!(
        "  - discover: {{regions: [cn-shanghai], every: 1s}}\n    poll_every: 1s\n    \
         endpoint: http://registry.invalid\n    proxy: {{env: PROXY}}\n    \
         credentials: {{access_key: {KEY}, assume_role: {{arn: '{ROLE}'}}}}\n"
    );
    let sts = Some("http://sts.invalid");
    let bench = Bench::of(&entries, 1, Identity::default(), sts).await;
    bench.polled("cri-0", 2).await;
    assert_eq!(bench.issued(Action::AssumeRole), (0, 1), "one for both");
    assert!(bench.answered(Action::ListInstance, 200) > 0);
    assert!(!bench.metrics.encode().contains("sesame"));
    bench.end(1).await;
}
