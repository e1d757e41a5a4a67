//! Days of tasks in a moment: lives on a few routes, restarts, silences, a clock that jumps; and what must hold
//! whatever happens. `SYNCBELL_SEED` tells another story.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;

use syncbell_bus::{Position, Record};
use syncbell_config::RuleSwitches;
use syncbell_event::{AlertStatus, Event, EventId, Kind, Status};
use syncbell_store::Store;
use syncbell_testkit::{Rng, Seed};

use super::super::*;
use super::bench::{Bench, INSTANCE, at, swept, task};
use crate::decide::Incident;
use crate::delivery::Delivery;
use crate::rows;

const STEP_S: i64 = 600;
const DAYS: i64 = 5;
const ROUTES: usize = 6;
const REPEAT: SignedDuration = SignedDuration::from_hours(24);

/// Another story than those that are kept.
const SEED: &str = "SYNCBELL_SEED";

/// Stories that found something: a silence that held on after its end because the clock had been set back; what a
/// silence let out at the moment of its group's flush went with it only after a restart.
const KEPT: [u64; 2] = [9_275_545_974_351_338_431, 13_135_749_833_811_567_419];

/// One moment: the wall clock, what comes, and what somebody does.
struct Step {
    now: Timestamp,
    events: Vec<Envelope>,
    /// The route that is silenced from now on, and for how many minutes.
    silence: Option<(usize, i64)>,
    restart: bool,
}

/// What happens, and what must come of it.
struct Story {
    steps: Vec<Step>,
    /// Events of bad states that no silence covered.
    must_tell: Vec<EventId>,
    clock_jumps: bool,
}

#[derive(Clone, Default)]
struct Life {
    /// The task that is open, when it was created, and its status.
    open: Option<(String, i64, Status)>,
    silenced_until: i64,
}

struct Author<'a> {
    rng: &'a mut Rng,
    lives: Vec<Life>,
    n_tasks: u32,
    n_events: u32,
    must_tell: Vec<EventId>,
}

impl Author<'_> {
    /// A task of route `number` as it is at second `second`.
    fn seen(
        &mut self,
        number: usize,
        id: &str,
        status: Status,
        created: i64,
        second: i64,
    ) -> Envelope {
        self.n_events += 1;
        let bad = status == Status::Error;
        // The vendor has successes with an issue.
        let issue = status == Status::Success && self.rng.chance(1, 6);
        let mut event = task(
            Kind::Updated,
            INSTANCE,
            id,
            status,
            created,
            second,
            self.n_events,
        );
        on_route(&mut event, number, issue, self.n_events);
        if (bad || issue) && second >= self.lives[number].silenced_until {
            self.must_tell.push(event.id.clone());
        }
        event
    }

    /// What happens on a route in one step.
    fn live(&mut self, number: usize, second: i64) -> Envelope {
        let (id, created, status) = self.lives[number].open.clone().unwrap_or_else(|| {
            self.n_tasks += 1;
            (format!("rst-{}", self.n_tasks), second, Status::Canceled)
        });
        let next = match status {
            Status::Pending => Status::Synchronizing,
            Status::Synchronizing => match self.rng.between(0..10) {
                0..=5 => Status::Success,
                6..=8 => Status::Error,
                _ => Status::Canceled,
            },
            _ => Status::Pending,
        };
        let is_open = matches!(next, Status::Pending | Status::Synchronizing);
        self.lives[number].open = is_open.then(|| (id.clone(), created, next.clone()));
        self.seen(number, &id, next, created, second)
    }

    /// On every route a task goes well, and what is open is over.
    fn end(&mut self, second: i64) -> Vec<Envelope> {
        let mut events = Vec::new();
        for number in 0..ROUTES {
            let id = format!("last-{number}");
            self.n_events += 1;
            let n = self.n_events;
            let status = Status::Success;
            let mut event = task(Kind::Updated, INSTANCE, &id, status, second, second, n);
            on_route(&mut event, number, false, n);
            events.push(event);
            if let Some((id, created, _)) = self.lives[number].open.take() {
                events.push(self.seen(number, &id, Status::Canceled, created, second));
            }
        }
        events
    }
}

/// Puts the task of `event`, the `n`-th, on route `number`.
fn on_route(event: &mut Envelope, number: usize, issue: bool, n: u32) {
    if let Event::Task { data, .. } = &mut event.event
        && let Some(task) = &mut data.after
    {
        for image in [&mut task.from, &mut task.to].into_iter().flatten() {
            image.tag = Some(format!("v{number}"));
            image.repo = Some("web".to_owned());
        }
        task.batch_id = Some(format!("b-{}", n % 3));
        task.issue = issue.then(|| "NETWORK_ERROR".to_owned());
    }
}

fn story(seed: Seed) -> Story {
    let mut rng = seed.rng();
    let clock_jumps = rng.chance(1, 2);
    let mut author = Author {
        rng: &mut rng,
        lives: vec![Life::default(); ROUTES],
        n_tasks: 0,
        n_events: 0,
        must_tell: Vec::new(),
    };
    let (mut steps, mut jump_s) = (Vec::new(), 0);
    let n_steps = DAYS * 86_400 / STEP_S;
    for n in 1..=n_steps {
        let second = n * STEP_S;
        let mut events = Vec::new();
        for number in 0..ROUTES {
            if author.rng.chance(1, 4) {
                events.push(author.live(number, second));
            }
        }
        events.push(swept(INSTANCE, second));
        let silence = author.rng.chance(1, 60).then(|| {
            let number = usize::try_from(author.rng.between(0..ROUTES as u64)).unwrap();
            (
                number,
                i64::try_from(author.rng.between(0..480)).unwrap() + 1,
            )
        });
        if let Some((number, minutes)) = silence {
            let until = &mut author.lives[number].silenced_until;
            // By whichever clock: what comes meanwhile may be held.
            *until = (*until).max(second + minutes * 60 + 2 * 3_600);
        }
        if clock_jumps && author.rng.chance(1, 100) {
            jump_s = [-3_600, 0, 3_600][usize::try_from(author.rng.between(0..3)).unwrap()];
        }
        steps.push(Step {
            now: at(second + jump_s),
            events,
            silence,
            restart: author.rng.chance(1, 15),
        });
    }
    // In the end every route has a task that went well, and time passes until all that waits is due.
    for n in 1..=200_i64 {
        let second = n_steps * STEP_S + n * STEP_S;
        let mut events = vec![swept(INSTANCE, second)];
        if n == 1 {
            events.extend(author.end(second));
        }
        steps.push(Step {
            now: at(second),
            events,
            silence: None,
            restart: false,
        });
    }
    Story {
        steps,
        must_tell: author.must_tell,
        clock_jumps,
    }
}

/// One route, each receiver with its defaults.
const PLAIN: &str = "route: {receivers: [ops, mail]}\n";

/// A task's batch, and whether an incident begins or ends, decide about group and time.
const SPLIT: &str = "
windows: [{name: nights, times: ['22:00-07:00']}]
route:
  receivers: [ops, mail]
  routes:
    - {receivers: [ops], match: [status=firing, batch_id=b-0], mute: [nights], continue: true}
    - {receivers: [ops], match: [status=resolved, batch_id=b-1], mute: [nights], continue: true}
    - {receivers: [ops], continue: true}
    - {receivers: [mail], match: [status=resolved], group_by: [batch_id], group_interval: 15m}
    - {receivers: [mail], match: [batch_id=b-1], group_by: [batch_id], group_wait: 50m, mute: [nights]}
    - {receivers: [mail], group_by: [batch_id], group_wait: 20m}
";

fn setup(routes: &str) -> Arc<Setup> {
    let text = format!(
        "instances: [{{id: {INSTANCE}, region: cn-shanghai}}]\n\
         receivers:\n\
         \x20 - {{name: ops, webhook: {{url: 'http://127.0.0.1:1'}}}}\n\
         \x20 - {{name: mail, email: {{from: a@b.example, to: [c@d.example], smtp: {{host: 127.0.0.1, tls: none}}}}}}\n\
         {routes}"
    );
    let read = syncbell_config::parse(&text, "x", Path::new("."), &|_| None);
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let rules = RuleSwitches {
        // The log is not read here.
        blind: false,
        ..RuleSwitches::default()
    };
    Arc::new(Setup::new(&config.route, &config.receivers, &rules, &[]))
}

/// What is told in the story. `whole`: without restarts, and all that comes at once in one batch.
async fn told(story: &Story, routes: &str, whole: bool) -> (Bench, Vec<Delivery>) {
    let now = Arc::new(Mutex::new(at(0)));
    let clock = {
        let now = now.clone();
        Arc::new(move || *now.lock().unwrap())
    };
    let mut bench = Bench::by(Store::memory(), setup(routes), clock).await;
    let mut offset = 0;
    for step in &story.steps {
        *now.lock().unwrap() = step.now;
        let reads: Vec<Read> = step
            .events
            .iter()
            .map(|event| {
                offset += 1;
                Read {
                    position: Position {
                        partition: 0,
                        offset,
                    },
                    record: Record::new(INSTANCE, event.encode()),
                    appended_at_ms: None,
                }
            })
            .collect();
        if whole {
            bench.take(reads).await;
        } else {
            for read in reads {
                bench.take(vec![read]).await;
            }
        }
        if let Some((number, minutes)) = step.silence {
            let tag = format!("from.tag=v{number}");
            bench.silence(&[&tag], minutes * 60).await;
        }
        if step.restart && !whole {
            bench.restart().await;
        }
        bench.pass_by(step.now).await;
    }
    let mut deliveries = bench.deliveries().await;
    deliveries.sort_by_key(|delivery| delivery.seq);
    (bench, deliveries)
}

/// No end before its beginning, nothing twice, no repeat of what is not open or too early.
fn check_order(deliveries: &[Delivery], clock_jumps: bool) {
    let mut open: HashMap<(&str, &str), bool> = HashMap::new();
    let mut told: BTreeSet<(&str, &str, &str, &str)> = BTreeSet::new();
    let mut notified: BTreeMap<(&str, &BTreeMap<String, String>), Timestamp> = BTreeMap::new();
    for delivery in deliveries {
        let receiver = delivery.target.receiver.as_str();
        let last = notified.insert((receiver, &delivery.group), delivery.created_at);
        if let (Some(last), true, false) = (last, delivery.repeat, clock_jumps) {
            assert!(
                delivery.created_at.duration_since(last) >= REPEAT,
                "{delivery:?}"
            );
        }
        for entry in &delivery.entries {
            let incident = entry.item.incident.as_str();
            let fires = entry.item.status == AlertStatus::Firing;
            let is_open = open.entry((receiver, incident)).or_default();
            if delivery.repeat {
                assert!(fires && *is_open, "repeated, and not open: {entry:?}");
                continue;
            }
            assert!(fires || *is_open, "over before it began: {entry:?}");
            *is_open = fires;
            let status = entry.item.status.as_str();
            let once = told.insert((receiver, entry.event_id.as_str(), incident, status));
            assert!(once, "told twice to {receiver}: {entry:?}");
        }
    }
}

fn lines(deliveries: &[Delivery]) -> Vec<String> {
    let mut lines: Vec<String> = deliveries
        .iter()
        .map(|delivery| {
            let entries = delivery.entries.iter();
            let entries =
                entries.map(|entry| format!("{} {}", entry.event_id, entry.item.status.as_str()));
            let entries: Vec<String> = entries.collect();
            format!(
                "{} {} {} {} {}",
                delivery.created_at,
                delivery.id,
                delivery.target.receiver,
                delivery.repeat,
                entries.join(", ")
            )
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn whatever_happens_in_days_each_failure_is_told_once_and_in_order() {
    live_through(PLAIN).await;
}

#[tokio::test]
async fn so_it_is_where_an_end_belongs_to_another_group_than_its_beginning() {
    live_through(SPLIT).await;
}

async fn live_through(routes: &str) {
    let seeds = match std::env::var(SEED) {
        Ok(_) => vec![Seed::from_variable(SEED)],
        Err(_) => KEPT.map(Seed::new).to_vec(),
    };
    for seed in seeds {
        let story = story(seed);
        let (bench, deliveries) = told(&story, routes, false).await;
        check_order(&deliveries, story.clock_jumps);
        for receiver in ["ops", "mail"] {
            let of = deliveries
                .iter()
                .filter(|delivery| delivery.target.receiver == receiver);
            let entries = of.flat_map(|delivery| &delivery.entries);
            let told: BTreeSet<&EventId> = entries
                .filter(|entry| entry.item.status == AlertStatus::Firing)
                .map(|entry| &entry.event_id)
                .collect();
            let untold: Vec<_> = story
                .must_tell
                .iter()
                .filter(|id| !told.contains(id))
                .collect();
            let steps = story.steps.iter().flat_map(|step| &step.events);
            let untold: Vec<_> = steps.filter(|event| untold.contains(&&event.id)).collect();
            assert!(untold.is_empty(), "{receiver} did not hear of {untold:?}");
        }
        let open = bench.store.read(|reader| {
            let rows = reader.scan(b"i/", None, 1_000)?;
            let incidents = rows
                .iter()
                .map(|(key, row)| rows::read::<Incident>(reader, key, row));
            let open = incidents.filter(|incident| incident.as_ref().is_ok_and(Incident::is_open));
            open.collect::<Result<Vec<_>, _>>()
        });
        let open = open.await.unwrap();
        assert!(open.is_empty(), "they never end: {open:?}");
        let (_, whole) = told(&story, routes, true).await;
        assert_eq!(
            lines(&deliveries),
            lines(&whole),
            "batches and restarts make a difference"
        );
        assert!(deliveries.len() > 100, "{}", deliveries.len());
    }
}
