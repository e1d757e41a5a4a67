//! A simulated registry, a poller that watches it over real sockets, and the log that it writes to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use syncbell_bus::{Bus, EmbeddedOptions, StartAt, Stream};
use syncbell_config::{Baseline, Instance};
use syncbell_event::{Envelope, Event, Status as TaskStatus};
use syncbell_poller::{Parts, Status, credentials_from, run};
use syncbell_service::{Health, Metrics, Shutdown};
use syncbell_simulator::{
    DEMO_INSTANCE, DEMO_REGION, Instance as Known, NewTask, Options, Simulator, World,
};
use syncbell_store::Store;
use tokio::sync::watch;

/// Longer than anything takes here, even on a busy machine.
const WAIT: Duration = Duration::from_secs(45);

pub(crate) const POLL_EVERY: Duration = Duration::from_millis(200);
const SWEEP_EVERY: Duration = Duration::from_millis(600);

/// Of the environment, by name.
type Variables = Mutex<HashMap<&'static str, String>>;

/// What a story sees and can do.
pub(crate) struct Watched {
    pub(crate) world: World,
    variables: Arc<Variables>,
    events: watch::Receiver<Vec<Envelope>>,
    metrics: Metrics,
}

/// What did not happen, or happened wrongly.
pub(crate) type Wrong = String;

/// Watches `instances` of one region, each with two pages of tasks, while `story` goes on. What lasts for
/// `blind_after` is told.
pub(crate) async fn watch_while<T>(
    instances: &[&str],
    blind_after: Duration,
    story: impl AsyncFnOnce(&Watched) -> Result<T, Wrong>,
) -> Result<T, Wrong> {
    let options = Options {
        max_page_size: 20,
        instances: instances.iter().map(|id| known(id)).collect(),
        ..Options::default()
    };
    let key = (
        options.access_key_id.clone(),
        options.access_key_secret.clone(),
    );
    let simulator = Simulator::start(options).await.expect("a free port");
    let world = simulator.world();
    for instance in instances {
        fill(&world, instance);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bus = Bus::embedded(folder.path(), EmbeddedOptions::default());
    let bus = bus.expect("a log in a new folder");
    let (written, events) = watch::channel(Vec::new());
    let watched = Watched {
        world,
        variables: Arc::default(),
        events,
        metrics: Metrics::new(),
    };
    watched.set_key(&key.0, &key.1);
    let parts = Parts {
        blind_after,
        ..parts(&watched, instances, &simulator.url(), &bus)
    };
    let shutdown = Shutdown::new();
    let story = async {
        let ended = story(&watched).await;
        shutdown.trigger();
        ended
    };
    let (polled, seen, ended) = tokio::join!(
        run(parts, shutdown.clone()),
        read(&bus, &written, &shutdown),
        story
    );
    bus.close().await;
    simulator.stop().await;
    polled.map_err(|error| format!("the poller ended: {error}"))?;
    seen?;
    ended
}

fn known(id: &str) -> Known {
    Known {
        id: id.to_owned(),
        region: DEMO_REGION.to_owned(),
    }
}

/// Quiet tasks, and an open one behind them all.
fn fill(world: &World, instance: &str) {
    for n in 0..30 {
        let age = Duration::from_mins(60 + n);
        let task = NewTask::of(&format!("quiet/image-{n}"), "v1").status(TaskStatus::Success);
        world.add_task(task.aged(age).listed_by(&[instance]));
    }
    let open = NewTask::of("open/image", "v1").status(TaskStatus::Synchronizing);
    world.add_task(open.aged(Duration::from_hours(2)).listed_by(&[instance]));
}

fn parts(watched: &Watched, instances: &[&str], url: &str, bus: &Bus) -> Parts {
    let instance = |id: &&str| {
        let mut instance = Instance::try_new(*id, DEMO_REGION).expect("a region");
        instance.endpoint = url.parse().expect("a URL");
        instance.poll_every = POLL_EVERY;
        instance.sweep_every = SWEEP_EVERY;
        instance
    };
    let variables = Arc::clone(&watched.variables);
    Parts {
        instances: instances.iter().map(instance).collect(),
        discoveries: Vec::new(),
        baseline: Baseline { alert: false },
        blind_after: Duration::from_mins(2),
        store: Store::memory(),
        sightings: syncbell_poller::Sightings::memory(),
        publisher: bus.publisher(),
        bus: bus.clone(),
        credentials: credentials_from(move |name| lock(&variables).get(name).cloned()),
        surroundings: syncbell_poller::Surroundings::new(|_| None),
        metrics: watched.metrics.clone(),
        health: Health::new(),
        status: Status::new(),
    }
}

/// Reads the log until `shutdown`.
async fn read(
    bus: &Bus,
    written: &watch::Sender<Vec<Envelope>>,
    shutdown: &Shutdown,
) -> Result<(), Wrong> {
    let wrong = |error: &dyn std::fmt::Display| format!("the log: {error}");
    let log = bus.subscribe(Stream::Changes, StartAt::Start).await;
    let mut log = log.map_err(|error| wrong(&error))?;
    let stop = shutdown.token();
    loop {
        let reads = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            reads = log.next(100) => reads.map_err(|error| wrong(&error))?,
        };
        for read in reads {
            let envelope = Envelope::decode(&read.record.value).map_err(|error| wrong(&error))?;
            written.send_modify(|written| written.push(envelope));
        }
    }
}

fn lock(variables: &Variables) -> MutexGuard<'_, HashMap<&'static str, String>> {
    variables.lock().expect("nobody panics with it")
}

impl Watched {
    /// The key that the poller finds in its environment; an empty text is no variable.
    pub(crate) fn set_key(&self, id: &str, secret: &str) {
        let mut variables = lock(&self.variables);
        variables.insert("ALIBABA_CLOUD_ACCESS_KEY_ID", id.to_owned());
        variables.insert("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.to_owned());
    }

    /// A task of the demo's instance fails.
    pub(crate) fn fail(&self, id: &str) {
        let task = NewTask::of(&format!("failing/{id}"), "v1").id(id);
        let task = task.status(TaskStatus::Error).issue("NETWORK_ERROR");
        self.world.add_task(task.listed_by(&[DEMO_INSTANCE]));
    }

    /// What the log holds.
    pub(crate) fn events(&self) -> Vec<Envelope> {
        self.events.borrow().clone()
    }

    /// Returns once `wanted` holds for what the log holds.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&[Envelope]) -> bool,
    ) -> Result<(), Wrong> {
        let mut events = self.events.clone();
        let come = events.wait_for(|events| wanted(events));
        match tokio::time::timeout(WAIT, come).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(format!("{what} did not come: {}", self.outcomes())),
        }
    }

    /// Returns after so many more turns of the demo's instance that were complete.
    pub(crate) async fn turns(&self, n: u64) -> Result<(), Wrong> {
        let wanted = self.complete() + n;
        let wait = async {
            while self.complete() < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(WAIT, wait).await;
        waited.map_err(|_| format!("{n} complete turns did not come: {}", self.outcomes()))
    }

    fn complete(&self) -> u64 {
        let head =
            format!("syncbell_polls_total{{instance=\"{DEMO_INSTANCE}\",outcome=\"complete\"}} ");
        let text = self.metrics.encode();
        let n = text.lines().find_map(|line| line.strip_prefix(&head));
        n.map_or(0, |n| n.parse().expect("a number"))
    }

    /// How turns ended so far, for people.
    fn outcomes(&self) -> String {
        let text = self.metrics.encode();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("syncbell_polls_total") && !line.ends_with(" 0"));
        lines.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn is_swept(envelope: &Envelope) -> bool {
    matches!(envelope.event, Event::Swept(_))
}

/// So many times the failure of this task is in the log.
pub(crate) fn told(events: &[Envelope], id: &str) -> usize {
    let failed = |event: &&Envelope| match &event.event {
        Event::Task { data, .. } => {
            let after = data.after.as_ref();
            event.subject == id && after.is_some_and(|task| task.status == TaskStatus::Error)
        }
        _ => false,
    };
    events.iter().filter(failed).count()
}
