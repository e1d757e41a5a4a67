use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_bus::{BoxFuture, EmbeddedOptions, Record, Stream};
use syncbell_event::{Envelope, Event, Kind};
use tokio::sync::watch;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

mod ends;
mod recovery;
mod sight;

/// The server's time, in seconds.
const DATE: i64 = 1_700_000_000;

/// What the upstream lists, newest first, or the error that it answers instead.
#[derive(Default)]
struct Vendor {
    tasks: Mutex<Vec<Value>>,
    failure: Mutex<Option<ResponseTemplate>>,
    /// Answers page 2 so, once.
    failure_of_page_2: Mutex<Option<ResponseTemplate>>,
    n_asked: Mutex<u32>,
    n_by_id: Mutex<u32>,
    /// The instances that the account has; `None`: nobody can say.
    instances: Mutex<Option<Vec<&'static str>>>,
    /// The list does not show what is there.
    hidden: Mutex<bool>,
    /// Single tasks are refused.
    denies_by_id: Mutex<bool>,
}

impl Vendor {
    fn one(&self, id: &str) -> ResponseTemplate {
        if *self.denies_by_id.lock().unwrap() {
            return ResponseTemplate::new(403).set_body_json(json!({
                "RequestId": "req-3", "Code": "NoPrivilege", "Message": "no"
            }));
        }
        let tasks = self.tasks.lock().unwrap();
        let Some(task) = tasks.iter().find(|task| task["SyncTaskId"] == id) else {
            return ResponseTemplate::new(404).set_body_json(json!({
                "RequestId": "req-4", "Code": "SYNC_TASK_NOT_EXIST", "Message": "no such task"
            }));
        };
        let mut answer = task.clone();
        answer["RequestId"] = "req-5".into();
        answer["IsSuccess"] = true.into();
        answer["Progress"] = 0.5.into();
        answer["SyncedSize"] = 1_024.into();
        answer["LayerTasks"] = json!([
            {"SyncLayerTaskId": "l1", "TaskStatus": "SUCCESS", "Digest": "sha256:good"},
            {"SyncLayerTaskId": "l2", "TaskStatus": "ERROR", "Digest": "sha256:bad"}
        ]);
        ResponseTemplate::new(200).set_body_json(answer)
    }

    fn instances(&self) -> ResponseTemplate {
        let listed = self.instances.lock().unwrap();
        let Some(listed) = &*listed else {
            return ResponseTemplate::new(503);
        };
        let instances: Vec<Value> = listed
            .iter()
            .map(
                |id| json!({"InstanceId": id, "InstanceName": "prod", "InstanceStatus": "RUNNING"}),
            )
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({
            "RequestId": "req-7", "IsSuccess": true, "PageNo": 1, "PageSize": 100,
            "TotalCount": instances.len(), "Instances": instances
        }))
    }

    fn rules() -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(json!({
            "RequestId": "req-6", "IsSuccess": true, "PageNo": 1, "PageSize": 100, "TotalCount": 1,
            "SyncRules": [{"SyncRuleId": "crsr-1", "SyncRuleName": "to-shenzhen"}]
        }))
    }
}

struct Answers(Arc<Vendor>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let parameter = |wanted: &str| {
            let found = request.url.query_pairs().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        match request.headers["x-acs-action"].to_str().unwrap() {
            "GetRepoSyncTask" => {
                *self.0.n_by_id.lock().unwrap() += 1;
                return self.0.one(&parameter("SyncTaskId").unwrap());
            }
            "ListRepoSyncRule" => return Vendor::rules(),
            "ListInstance" => return self.0.instances(),
            _ => *self.0.n_asked.lock().unwrap() += 1,
        }
        if let Some(failure) = &*self.0.failure.lock().unwrap() {
            return failure.clone();
        }
        let number = |wanted: &str| {
            let found = request.url.query_pairs().find(|(name, _)| name == wanted);
            found
                .and_then(|(_, value)| value.parse::<usize>().ok())
                .unwrap()
        };
        let (page_no, page_size) = (number("PageNo"), number("PageSize"));
        if page_no == 2
            && let Some(failure) = self.0.failure_of_page_2.lock().unwrap().take()
        {
            return failure;
        }
        let mut tasks = self.0.tasks.lock().unwrap().clone();
        if *self.0.hidden.lock().unwrap() {
            tasks.clear();
        }
        let page: Vec<&Value> = tasks
            .iter()
            .skip((page_no - 1) * page_size)
            .take(page_size)
            .collect();
        let date = Timestamp::from_second(DATE).unwrap();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let body = json!({
            "RequestId": "req-1", "Code": "success", "IsSuccess": true, "PageNo": page_no,
            "PageSize": page_size, "TotalCount": tasks.len().to_string(), "SyncTasks": page
        });
        ResponseTemplate::new(200)
            .set_body_json(body)
            .insert_header("date", date.as_str())
    }
}

/// A task whose times are `seconds` before (or after) the server's time.
fn task(id: usize, status: &str, seconds: i64) -> Value {
    let ms = (DATE + seconds) * 1_000;
    json!({
        "SyncTaskId": format!("rst-{id}"), "TaskStatus": status, "CreateTime": ms, "ModifedTime": ms,
        "SyncRuleId": "crsr-1"
    })
}

struct Log {
    written: watch::Sender<Vec<Record>>,
}

impl Publisher for Log {
    fn append(
        &self,
        _: Stream,
        records: Vec<Record>,
    ) -> BoxFuture<'_, Result<(), syncbell_bus::Error>> {
        self.written.send_modify(|written| written.extend(records));
        Box::pin(async { Ok(()) })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), syncbell_bus::Error>> {
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    vendor: Arc<Vendor>,
    server: MockServer,
    store: Store,
    sightings: Sightings,
    log: Arc<Log>,
    bus: Bus,
    _folder: tempfile::TempDir,
    metrics: Metrics,
    health: Health,
    status: Status,
    poll_every: Duration,
    sweep_every: Duration,
    blind_after: Duration,
}

impl Bench {
    async fn new(tasks: Vec<Value>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vendor = Arc::new(Vendor::default());
        *vendor.tasks.lock().unwrap() = tasks;
        // One of its own, not of wiremock's pool: a request that an earlier test gave up may still be
        // on its way to a server of the pool.
        let server = MockServer::builder().start().await;
        Mock::given(any())
            .respond_with(Answers(vendor.clone()))
            .mount(&server)
            .await;
        Self {
            vendor,
            server,
            store: Store::memory(),
            sightings: Sightings::memory(),
            bus: Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap(),
            _folder: folder,
            log: Arc::new(Log {
                written: watch::Sender::new(Vec::new()),
            }),
            metrics: Metrics::new(),
            health: Health::new(),
            status: Status::new(),
            poll_every: Duration::from_millis(200),
            sweep_every: Duration::from_millis(200),
            blind_after: Duration::from_mins(2),
        }
    }

    fn parts(&self) -> Parts {
        let mut instance = Instance::try_new("cri-a", "cn-shanghai").unwrap();
        instance.endpoint = self.server.uri().parse().unwrap();
        instance.poll_every = self.poll_every;
        instance.sweep_every = self.sweep_every;
        Parts {
            instances: vec![instance],
            discoveries: Vec::new(),
            baseline: syncbell_config::Baseline { alert: false },
            blind_after: self.blind_after,
            store: self.store.clone(),
            sightings: self.sightings.clone(),
            publisher: self.log.clone(),
            bus: self.bus.clone(),
            credentials: credentials_from(|name| match name {
                "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("id".to_owned()),
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("secret".to_owned()),
                _ => None,
            }),
            surroundings: Surroundings::new(|_| None),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            status: self.status.clone(),
        }
    }

    /// Runs the poller while `story` goes on, then stops it.
    async fn run_while(&self, story: impl Future<Output = ()>) -> Result<(), Error> {
        let shutdown = Shutdown::new();
        let polling = run(self.parts(), shutdown.clone());
        let story = async {
            tokio::time::timeout(Duration::from_secs(30), story)
                .await
                .expect("what the story waits for does not come");
            shutdown.trigger();
        };
        let (ended, ()) = tokio::join!(polling, story);
        ended
    }

    /// Returns once `wanted` holds for the events in the log.
    async fn until(&self, wanted: impl Fn(&[Envelope]) -> bool) {
        let mut written = self.log.written.subscribe();
        let wanted = |records: &Vec<Record>| wanted(&events(records));
        written.wait_for(wanted).await.unwrap();
    }

    /// `kind subject` of each task event in the log, and how many heartbeats.
    fn told(&self) -> (Vec<String>, usize) {
        let all = events(&self.log.written.borrow());
        let told = all.iter().filter_map(|envelope| match &envelope.event {
            Event::Task { kind, .. } => Some(format!("{kind:?} {}", envelope.subject)),
            _ => None,
        });
        (
            told.collect(),
            all.iter().filter(|event| is_swept(event)).count(),
        )
    }
}

fn events(records: &[Record]) -> Vec<Envelope> {
    records
        .iter()
        .map(|record| Envelope::decode(&record.value).unwrap())
        .collect()
}

fn is_swept(envelope: &Envelope) -> bool {
    matches!(envelope.event, Event::Swept(_))
}

fn is_kind(envelope: &Envelope, wanted: Kind) -> bool {
    matches!(&envelope.event, Event::Task { kind, .. } if *kind == wanted)
}

#[tokio::test]
async fn a_baseline_of_two_pages_is_silent_and_a_failure_after_it_is_told() {
    let mut tasks: Vec<Value> = (0..150).map(|n| task(n, "SUCCESS", -1_000)).collect();
    tasks[120] = task(120, "SYNCHRONIZING", -1_000);
    tasks[130] = task(130, "ERROR", -1_000);
    tasks.insert(0, task(150, "PENDING", 5));
    let bench = Bench::new(tasks).await;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        bench.vendor.tasks.lock().unwrap()[121] = task(120, "ERROR", 10);
        let told = |events: &[Envelope]| events.iter().any(|event| is_kind(event, Kind::Updated));
        bench.until(told).await;
    };
    bench.run_while(story).await.unwrap();

    let (told, n_swept) = bench.told();
    let expected = [
        "Created rst-150",
        "Snapshot rst-120",
        "Snapshot rst-130",
        "Updated rst-120",
    ];
    assert_eq!(
        told, expected,
        "the newest of the rule was created, so it has no snapshot"
    );
    assert_eq!(n_swept, 1, "a heartbeat comes once a minute");
    let all = events(&bench.log.written.borrow());
    let Event::Swept(swept) = &all[3].event else {
        panic!("the heartbeat comes after the changes of its turn")
    };
    assert_eq!(swept.seen_until.as_second(), DATE);
    assert_eq!((swept.tasks, swept.open), (151, 2));
    let Event::Task { data, .. } = &all[4].event else {
        panic!("not a task event")
    };
    assert_eq!(data.changed, ["status", "created_at", "modified_at"]);
    assert_eq!(
        data.detail.as_ref().unwrap().request_id.as_deref(),
        Some("req-1")
    );
    let metrics = bench.metrics.encode();
    assert!(
        metrics.contains("syncbell_baseline_complete{instance=\"cri-a\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("syncbell_baseline_untold{instance=\"cri-a\"} 1"),
        "{metrics}"
    );
    assert!(bench.health.is_ready());
    assert_eq!(
        Outbox::load(bench.store.clone())
            .await
            .unwrap()
            .depth()
            .rows,
        0
    );
}

#[tokio::test]
async fn a_restart_tells_nothing_again_but_what_changed_meanwhile() {
    let tasks: Vec<Value> = (0..120).map(|n| task(n, "SUCCESS", -1_000)).collect();
    let bench = Bench::new(tasks).await;
    let first = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(first).await.unwrap();
    assert_eq!(
        bench.told().0,
        ["Snapshot rst-0"],
        "the newest of its sync rule"
    );

    bench.log.written.send_modify(Vec::clear);
    bench.vendor.tasks.lock().unwrap()[110] = task(110, "ERROR", -500);
    let second = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(second).await.unwrap();
    assert_eq!(bench.told(), (vec!["Updated rst-110".to_owned()], 1));
}

#[tokio::test]
async fn an_upstream_that_fails_is_counted_and_asked_again_and_proves_nothing() {
    let bench = Bench::new(vec![task(1, "PENDING", -10), task(0, "SUCCESS", -20)]).await;
    let failure = ResponseTemplate::new(503).set_body_json(json!({
        "RequestId": "req-2", "Code": "ServiceUnavailable", "Message": "later"
    }));
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        *bench.vendor.failure.lock().unwrap() = Some(failure);
        let asked = *bench.vendor.n_asked.lock().unwrap();
        while *bench.vendor.n_asked.lock().unwrap() < asked + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *bench.vendor.failure.lock().unwrap() = None;
        // The outage is over: the heartbeat comes at once, not after its minute.
        bench
            .until(|events| events.iter().filter(|event| is_swept(event)).count() == 2)
            .await;
    };
    bench.run_while(story).await.unwrap();
    assert_eq!(bench.told().0, ["Snapshot rst-1"]);
    let metrics = bench.metrics.encode();
    let failed = metrics
        .lines()
        .find(|line| line.starts_with("syncbell_polls_total") && line.contains("unavailable"))
        .unwrap();
    let n: u32 = failed.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(n >= 2, "{failed}");
}

#[tokio::test]
async fn a_throttled_page_is_asked_for_again_after_its_delay_and_the_sweep_goes_on() {
    let tasks: Vec<Value> = (0..120).map(|n| task(n, "SUCCESS", -1_000)).collect();
    let mut bench = Bench::new(tasks).await;
    bench.poll_every = Duration::from_hours(1);
    bench.sweep_every = Duration::from_hours(1);
    let throttled = ResponseTemplate::new(400)
        .insert_header("x-acs-retry-after", "30")
        .set_body_json(
            json!({"RequestId": "r", "Code": "Throttling.User", "Message": "slow down"}),
        );
    *bench.vendor.failure_of_page_2.lock().unwrap() = Some(throttled);
    let story = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(story).await.unwrap();
    assert_eq!(
        *bench.vendor.n_asked.lock().unwrap(),
        4,
        "pages 1, 2, 2 and 1 again"
    );
}

#[tokio::test]
async fn an_open_task_that_is_gone_from_two_sweeps_is_told_as_vanished() {
    let bench = Bench::new(vec![task(1, "PENDING", -10), task(0, "SUCCESS", -20)]).await;
    let story = async {
        bench.until(|events| events.iter().any(is_swept)).await;
        bench.vendor.tasks.lock().unwrap().clear();
        let vanished = |event: &Envelope| is_kind(event, Kind::Vanished);
        bench.until(|events| events.iter().any(vanished)).await;
    };
    bench.run_while(story).await.unwrap();
    assert_eq!(bench.told().0, ["Snapshot rst-1", "Vanished rst-1"]);
}

#[tokio::test]
async fn refused_rows_are_counted_and_their_neighbours_pass() {
    let broken = json!({"TaskStatus": "ERROR"});
    let long = task(0, "ERROR", 5);
    let mut huge = long.clone();
    huge["SyncTaskId"] = "x".repeat(600).into();
    let bench = Bench::new(vec![broken, huge, task(1, "ERROR", 5)]).await;
    let story = bench.until(|events| events.iter().any(is_swept));
    bench.run_while(story).await.unwrap();
    assert_eq!(bench.told().0, ["Created rst-1"]);
    let metrics = bench.metrics.encode();
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("syncbell_tasks_refused_total"))
        .unwrap();
    assert!(!refused.ends_with(" 0"), "{refused}");
}
