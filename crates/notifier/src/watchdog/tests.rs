use std::sync::Mutex;

use syncbell_config::Config;
use syncbell_service::Metrics;

use super::*;
use crate::ledger::pending;

const CONFIG: &str = "
instances: [{id: cri-1, region: cn-shanghai}]
receivers:
  - {name: ops, webhook: {url: 'http://127.0.0.1:1/'}}
  - {name: pager, webhook: {url: 'http://127.0.0.1:2/'}}
route: {receivers: [ops], fallback: pager}
";

struct House {
    store: Store,
    watchdog: Watchdog,
    woken: Arc<Mutex<Vec<Target>>>,
}

fn config() -> Config {
    let read = syncbell_config::parse(CONFIG, "x", std::path::Path::new("."), &|_| None);
    read.unwrap()
}

fn target(receiver: &str) -> Target {
    Target {
        receiver: receiver.into(),
        address: None,
    }
}

async fn house(after: Duration) -> House {
    over(Store::memory(), after).await
}

async fn over(store: Store, after: Duration) -> House {
    let config = config();
    let setup = Setup::new(
        &config.route,
        &config.receivers,
        &config.rules,
        &config.instances,
    );
    let woken: Arc<Mutex<Vec<Target>>> = Arc::default();
    let noted = woken.clone();
    let watchdog = Watchdog {
        ledger: Ledger::open(store.clone()).await.unwrap(),
        setup: Arc::new(setup),
        targets: ["ops", "pager"].map(target).into(),
        after,
        metrics: NotifierMetrics::new(&Metrics::new()),
        wake: Arc::new(move |lanes: &BTreeSet<Target>, _| {
            noted.lock().unwrap().extend(lanes.iter().cloned());
        }),
    };
    House {
        store,
        watchdog,
        woken,
    }
}

impl House {
    async fn attempt(&self, receiver: &str, outcome: Outcome) {
        let target = target(receiver);
        let noting = self.watchdog.ledger.patiently(move |draft, now| {
            attempted(draft, &target, &outcome, now)?;
            Ok(())
        });
        noting.await.unwrap();
    }

    async fn look(&self) {
        self.watchdog.look().await.unwrap();
    }

    /// `status of whom, to whom` of each delivery that waits.
    async fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for receiver in ["ops", "pager"] {
            let pending = pending(&self.store, &target(receiver), 100).await;
            for delivery in pending.unwrap() {
                let [entry] = delivery.entries.as_slice() else {
                    panic!("one thing is told");
                };
                assert_eq!(entry.item.rule, RECEIVER_FAILING);
                assert!(delivery.fallback.is_empty(), "it hands itself on");
                let status = entry.item.status.as_str();
                told.push(format!(
                    "{status} {} to {receiver}",
                    delivery.group["receiver"]
                ));
            }
        }
        told
    }
}

fn fails() -> Outcome {
    Outcome::Transient {
        note: "HTTP 502".into(),
        maybe_delivered: false,
    }
}

fn taken() -> Outcome {
    Outcome::Delivered { note: "ok".into() }
}

#[tokio::test]
async fn the_fallback_is_told_once_when_it_begins_and_once_when_it_is_over() {
    let house = house(Duration::ZERO).await;
    house.look().await;
    assert_eq!(house.told().await, [""; 0]);
    house.attempt("ops", fails()).await;
    house.look().await;
    assert_eq!(house.told().await, ["firing ops to pager"]);
    assert_eq!(*house.woken.lock().unwrap(), [target("pager")]);
    assert_eq!(house.watchdog.metrics.receivers_failing.get(), 1);
    house.attempt("ops", fails()).await;
    house.look().await;
    house.look().await;
    assert_eq!(house.told().await.len(), 1, "told again");
    house.attempt("ops", taken()).await;
    house.attempt("ops", taken()).await;
    house.look().await;
    house.look().await;
    assert_eq!(
        house.told().await,
        ["firing ops to pager", "resolved ops to pager"]
    );
    assert_eq!(house.watchdog.metrics.receivers_failing.get(), 0);
    assert!(failing(&house.store).await.unwrap().is_empty());
    // The next time is another one.
    house.attempt("ops", fails()).await;
    house.look().await;
    assert_eq!(house.told().await.len(), 3);
}

#[tokio::test]
async fn what_lasts_a_moment_is_not_told() {
    let house = house(Duration::from_mins(15)).await;
    house.attempt("ops", fails()).await;
    house.look().await;
    assert_eq!(failing(&house.store).await.unwrap().len(), 1);
    house.attempt("ops", taken()).await;
    house.look().await;
    assert_eq!(house.told().await, [""; 0]);
    assert!(failing(&house.store).await.unwrap().is_empty());
    // Nobody is down who refuses one message.
    let note = "HTTP 400".to_owned();
    house
        .attempt("ops", Outcome::PermanentMessage { note })
        .await;
    assert!(failing(&house.store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restart_neither_forgets_nor_repeats() {
    let before = house(Duration::ZERO).await;
    before.attempt("ops", fails()).await;
    let begun = failing(&before.store).await.unwrap()[0].since;
    let after = over(before.store, Duration::ZERO).await;
    after.look().await;
    assert_eq!(after.told().await, ["firing ops to pager"]);
    assert_eq!(failing(&after.store).await.unwrap()[0].since, begun);
    let again = over(after.store, Duration::ZERO).await;
    again.look().await;
    assert_eq!(again.told().await.len(), 1);
    again.attempt("ops", taken()).await;
    let last = over(again.store, Duration::ZERO).await;
    last.look().await;
    assert_eq!(
        last.told().await,
        ["firing ops to pager", "resolved ops to pager"]
    );
}

#[tokio::test]
async fn a_fallback_that_fails_tells_nobody_of_itself() {
    let house = house(Duration::ZERO).await;
    house.attempt("ops", fails()).await;
    house.look().await;
    for _ in 0..5 {
        house.attempt("pager", fails()).await;
        house.look().await;
    }
    assert_eq!(house.told().await, ["firing ops to pager"]);
    assert_eq!(house.watchdog.metrics.receivers_failing.get(), 2);
    house.attempt("pager", taken()).await;
    house.look().await;
    assert_eq!(
        house.told().await.len(),
        1,
        "who heard of no beginning hears of no end"
    );
}

#[tokio::test]
async fn a_receiver_that_left_the_configuration_is_forgotten() {
    let mut house = house(Duration::ZERO).await;
    house.attempt("ops", fails()).await;
    house.watchdog.targets.remove(&target("ops"));
    house.look().await;
    assert_eq!(house.told().await, [""; 0]);
    assert!(failing(&house.store).await.unwrap().is_empty());
}

#[test]
fn it_is_long_when_it_is_as_long_as_the_configuration_says() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let row = Failing {
        target: target("ops"),
        since: at(1_000),
        note: "x".into(),
        outcome: "transient".into(),
        told_at: None,
        told: Vec::new(),
        over_at: None,
    };
    let after = SignedDuration::from_mins(15);
    let step = |row: &Failing, second| next_step(row, true, after, at(second));
    assert_eq!(step(&row, 1_899), Step::Wait);
    assert_eq!(step(&row, 1_900), Step::Begin);
    let told = Failing {
        told_at: Some(at(1_900)),
        ..row
    };
    assert_eq!(step(&told, 9_000), Step::Wait);
    let over = Failing {
        over_at: Some(at(9_000)),
        ..told
    };
    assert_eq!(step(&over, 9_001), Step::End);
}
