//! How fast events are decided, and what a heartbeat costs with many incidents open. Measurements: they print.
//!
//! `cargo test --release -p syncbell-notifier --lib -- --ignored --nocapture consume::tests::speed`

#![expect(clippy::cast_precision_loss, reason = "measurements, of thousands")]

use std::collections::HashMap;

use syncbell_config::{Matcher, Route, RuleSwitches, parse_matcher};
use syncbell_event::{Event, Kind, Status};
use syncbell_store::{Options, Store};

use super::super::*;
use super::bench::{Bench, INSTANCE, at, routed, swept, task};
use crate::decide::{Decision, Observation, Subject, View, decide};
use crate::hold::{Matchers, Mute, holder};

const ROUTES: usize = 50;
const SILENCES: usize = 100;
const TASKS: usize = 20_000;
const EVENTS: usize = 400_000;

/// Fifty routes by namespace and repository, half of them patterns; the last one takes everything.
fn fifty_routes() -> Route {
    let matchers = |n: usize| -> Vec<Matcher> {
        let text = if n.is_multiple_of(2) {
            format!("from.namespace=team-{n}")
        } else {
            format!("from.repo=~(shop|store)-{n}[a-z]*")
        };
        vec![parse_matcher(&text).expect("a matcher")]
    };
    let child = |n: usize| Route {
        receivers: vec!["ops".into()],
        matchers: matchers(n),
        ..Route::default()
    };
    Route {
        routes: (0..ROUTES).map(child).collect(),
        ..Route::default()
    }
}

/// A hundred that hold nothing of it.
fn hundred_silences() -> Vec<Mute> {
    let mute = |n: usize| {
        let texts = [
            format!("from.namespace=other-{n}"),
            "rule=~failed|issue".to_owned(),
        ];
        Mute {
            id: n.to_string(),
            starts_at: at(0),
            ends_at: at(1_000_000),
            matchers: std::sync::Arc::new(Matchers::parse(&texts).expect("matchers")),
        }
    };
    (0..SILENCES).map(mute).collect()
}

/// Begun, running, ended, over and over; one end of `one_fails_of` is a failure.
fn events(one_fails_of: usize) -> Vec<Observation> {
    let observation = |n: usize| {
        let (number, step) = (n % TASKS, n / TASKS);
        let status = match step % 3 {
            0 => Status::Pending,
            1 => Status::Synchronizing,
            _ if (number + step / 3).is_multiple_of(one_fails_of) => Status::Error,
            _ => Status::Success,
        };
        let second = i64::try_from(step).expect("few") * 60;
        let kind = if step == 0 {
            Kind::Created
        } else {
            Kind::Updated
        };
        let id = format!("rst-{number}");
        let envelope = task(kind, INSTANCE, &id, status, 0, second, 0);
        let Event::Task { kind, data } = envelope.event else {
            unreachable!("a task's event");
        };
        Observation {
            event_id: envelope.id,
            kind,
            instance: INSTANCE.to_owned(),
            observed_at: envelope.time,
            task: data.after.expect("a state"),
            was_final: step.is_multiple_of(3) && step > 0,
            detail: None,
            traceparent: None,
        }
    };
    (0..EVENTS).map(observation).collect()
}

/// What the ledger would know, in memory.
#[derive(Default)]
struct Known {
    tasks: HashMap<String, crate::decide::TaskState>,
    subjects: HashMap<Subject, crate::decide::SubjectState>,
    incidents: HashMap<String, crate::decide::Incident>,
}

impl Known {
    fn view(&self, seen: &Observation, subject: &Subject, rules: &crate::decide::Rules) -> View {
        let task = self.tasks.get(seen.task.task_id.as_str()).cloned();
        let ids = rules.of_tasks().map(|rule| subject.incident_id(rule));
        let incidents = ids.filter_map(|id| self.incidents.get(&id).cloned());
        View {
            task,
            subject: self.subjects.get(subject).cloned().unwrap_or_default(),
            incidents: incidents.collect(),
        }
    }

    fn note(&mut self, seen: &Observation, subject: Subject, decision: Decision) {
        if let Some(task) = decision.task {
            self.tasks.insert(seen.task.task_id.to_string(), task);
        }
        if let Some(state) = decision.subject {
            self.subjects.insert(subject, state);
        }
        for incident in decision.incidents {
            self.incidents.insert(incident.id.clone(), incident);
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn events_decided_on_one_core() {
    let setup = routed(fifty_routes(), &RuleSwitches::default(), &[INSTANCE]);
    let silences = hundred_silences();
    for one_fails_of in [1_000, 100, 10] {
        let (mut known, events) = (Known::default(), events(one_fails_of));
        let (mut told, mut ways, began) = (0_usize, 0_usize, Instant::now());
        let mut deciding = Duration::ZERO;
        for seen in &events {
            let subject = Subject::of(&seen.instance, &seen.task);
            let view = known.view(seen, &subject, &setup.rules);
            let one = Instant::now();
            let decision = decide(seen, view, &setup.rules, seen.observed_at);
            for entry in &decision.told {
                if holder(entry, &silences, &[], seen.observed_at).is_none() {
                    told += 1;
                    ways += setup.routes.of(entry).len();
                }
            }
            deciding += one.elapsed();
            known.note(seen, subject, decision);
        }
        let a_second = |took: Duration| EVENTS as f64 / took.as_secs_f64();
        println!(
            "one end of {one_fails_of} fails: {told} told, {ways} ways; decided, silenced and routed {:.0} events/s; \
             with the look-ups of what is known, in memory, {:.0} events/s",
            a_second(deciding),
            a_second(began.elapsed()),
        );
    }
}

/// Half of them told by a webhook, each by itself: the deliveries wait, nobody sends them here.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_heartbeat_with_a_hundred_thousand_incidents_open() {
    const OPEN: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let setup = routed(fifty_routes(), &RuleSwitches::default(), &[INSTANCE]);
    let mut bench = Bench::over(store, setup).await;
    let began = Instant::now();
    for from in (0..OPEN).step_by(5_000) {
        let failure = |n: usize| {
            let id = format!("rst-{n:06}");
            task(Kind::Created, INSTANCE, &id, Status::Error, 0, 10, 0)
        };
        bench
            .append((from..from + 5_000).map(failure).collect())
            .await;
        bench.read_quietly().await;
    }
    let a_second = OPEN as f64 / began.elapsed().as_secs_f64();
    println!("{OPEN} incidents opened, each a delivery, durably: {a_second:.0}/s");
    let mut ticks_ms: Vec<f64> = Vec::new();
    for n in 1..=21 {
        bench.append(vec![swept(INSTANCE, 60 * n)]).await;
        let one = Instant::now();
        bench.read_quietly().await;
        bench.pass_by(at(60 * n)).await;
        ticks_ms.push(one.elapsed().as_secs_f64() * 1_000.0);
    }
    ticks_ms.sort_by(f64::total_cmp);
    let (median, most) = (ticks_ms[10], ticks_ms[20]);
    let again = Instant::now();
    bench.restart().await;
    println!(
        "with all of them open: a heartbeat decided and all timers looked at in {median:.2} ms (the slowest of 21: \
         {most:.2} ms); started again in {:.0} ms",
        again.elapsed().as_secs_f64() * 1_000.0
    );
}
