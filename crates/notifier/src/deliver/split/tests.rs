//! What becomes of a message of many that is refused for the sake of one of them.

use std::time::Duration;

use syncbell_event::AlertStatus::{Firing, Resolved};
use syncbell_store::Store;
use syncbell_testkit::{ChatOptions, ChatProvider, ChatReply, ChatServer, eventually};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::deliver::lane::tests::delivery;
use crate::deliver::{Budgets, Channel, Lane, LaneSignal, LaneState};
use crate::ledger::{Ledger, pending};
use crate::metrics::NotifierMetrics;
use crate::render::Renderers;

const WAIT: Duration = Duration::from_mins(1);

/// The lanes of a configuration, as a notifier has them.
struct Lanes {
    signals: Vec<Arc<LaneSignal>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Receivers of these names, all of them the one robot, with this rate.
fn lanes(ledger: &Ledger, names: &[&str], robot: &ChatServer, rate: &str) -> Lanes {
    let line = |name: &&str| {
        let url = robot.url();
        format!("  - {{name: {name}, dingtalk: {{url: '{url}', rate: [{rate}]}}}}\n")
    };
    let receivers: String = names.iter().map(line).collect();
    let text = format!(
        "instances: [{{id: cri-1, region: cn-shanghai}}]\nreceivers:\n{receivers}\
         route: {{receivers: [{}]}}\n",
        names.join(", ")
    );
    let read = syncbell_config::parse(&text, "x", std::path::Path::new("."), &|_| None);
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let metrics = NotifierMetrics::new(&syncbell_service::Metrics::new());
    let renderers = Renderers::try_new(&config.templates, &config.console).unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (mut budgets, mut signals) = (Budgets::default(), Vec::new());
    for receiver in &config.receivers {
        let channel = Channel::try_new(receiver, &renderers, metrics.clone()).unwrap();
        let channel = Arc::new(channel.sharing(&mut budgets));
        let signal: Arc<LaneSignal> = Arc::default();
        signals.push(signal.clone());
        let lane = Lane {
            target: crate::route::targets(receiver).remove(0),
            state: LaneState::of(&channel),
            channel,
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            signal,
            handed_over: Arc::new(Notify::new()),
            buried: Arc::new(Notify::new()),
        };
        tasks.spawn(lane.run(stop.clone()));
    }
    Lanes {
        signals,
        stop,
        tasks,
    }
}

impl Lanes {
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Puts a failure of each of `names`, each of an image of its own, into the lane of `receiver`.
async fn put(ledger: &Ledger, receiver: &str, names: &[String]) -> Vec<Delivery> {
    let (receiver, names) = (receiver.to_owned(), names.to_vec());
    let putting = ledger.turn(move |draft| {
        let put = |name: &String| {
            let mut row = delivery(draft.next_number(), name, Firing);
            row.id = crate::delivery::DeliveryId(syncbell_event::digest_id([
                Some(receiver.as_str()),
                Some(name.as_str()),
            ]));
            row.target.receiver.clone_from(&receiver);
            (row.created_at, row.due_at) = (Timestamp::now(), Timestamp::now());
            row.entries[0].item.summary.clone_from(name);
            row
        };
        let rows: Vec<Delivery> = names.iter().map(put).collect();
        for row in &rows {
            draft.enqueue(row);
        }
        Ok(rows)
    });
    putting.await.unwrap()
}

fn names(n: usize, guilty: &[usize]) -> Vec<String> {
    let name = |n| {
        if guilty.contains(&n) {
            format!("image-{n}-forbidden")
        } else {
            format!("image-{n}-")
        }
    };
    (0..n).map(name).collect()
}

/// A robot that takes no message in which `forbidden` stands, at any rate.
async fn censor() -> ChatServer {
    let reply = ChatReply::json(200, r#"{"errcode":430102,"errmsg":"not suitable"}"#);
    ChatServer::start(ChatOptions {
        forbidden: Some(("forbidden".to_owned(), reply)),
        is_limited: false,
        ..ChatOptions::of(ChatProvider::Dingtalk)
    })
    .await
}

/// Waits until nothing is pending. Gives how each of `rows` ended.
async fn ends(ledger: &Ledger, rows: &[Delivery]) -> Vec<Ending> {
    let target = rows[0].target.clone();
    eventually("all of it to be over", WAIT, async || {
        let left = pending(&ledger.store, &target, 1).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let ends = ledger.turn(move |draft| {
        let mut ends = Vec::new();
        for id in &ids {
            match draft.delivery(id)? {
                Some(crate::delivery::DeliveryState::Over(closed)) => ends.push(closed.ending),
                other => panic!("{other:?}"),
            }
        }
        Ok(ends)
    });
    ends.await.unwrap()
}

async fn dead(ledger: &Ledger) -> usize {
    let letters = ledger.store.scan(rows::DEAD_LETTERS, None, 1_000);
    let letters = letters.await.unwrap();
    letters
        .iter()
        .filter(|(key, _)| !rows::is_piece(key))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_message_of_many_only_the_one_that_is_refused_is_a_dead_letter() {
    const N: usize = 9;
    for guilty in [0, 4, N - 1] {
        let ledger = Ledger::open(Store::memory()).await.unwrap();
        let robot = censor().await;
        // One goes, and what waits for the next second becomes one.
        let rows = put(&ledger, "ops", &names(N, &[guilty])).await;
        let lanes = lanes(&ledger, &["ops"], &robot, "1/s");
        let ends = ends(&ledger, &rows).await;
        assert_eq!(dead(&ledger).await, 1, "{guilty}");
        for (n, end) in ends.iter().enumerate() {
            assert_eq!(*end == Ending::Dead, n == guilty, "{n} of {ends:?}");
        }
        // Each that is not refused is shown.
        let shown: String = robot
            .messages()
            .iter()
            .map(syncbell_testkit::ChatRequest::text)
            .collect();
        for (n, name) in names(N, &[guilty]).iter().enumerate() {
            assert_eq!(
                shown.matches(name.as_str()).count() > 0,
                n != guilty,
                "{name}"
            );
        }
        lanes.stop().await;
    }
}

/// The robot takes nothing at all: that costs a message for each halving and no more, not one for each entry.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_whatever_it_is_is_not_split_to_the_last() {
    const N: usize = 200;
    let ledger = Ledger::open(Store::memory()).await.unwrap();
    let robot = censor().await;
    let reply = ChatReply::json(200, r#"{"errcode":430102,"errmsg":"not suitable"}"#);
    robot.answer_always(Some(reply));
    let rows = put(&ledger, "ops", &names(N, &[])).await;
    let lanes = lanes(&ledger, &["ops"], &robot, "20/s");
    eventually("all of it to be over", WAIT, async || {
        let left = pending(&ledger.store, &rows[0].target, 1).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
    let asked = robot.requests().len();
    assert!(asked < 60, "{asked} messages");
    lanes.stop().await;
}

/// As `merge` and a crash behind each step leave it: nothing but the rows.
#[tokio::test]
async fn halves_of_halves_tell_each_once_and_in_order() {
    let ledger = Ledger::open(Store::memory()).await.unwrap();
    let mut rows = put(&ledger, "ops", &names(7, &[])).await;
    let last = &mut rows[6];
    last.entries[0]
        .item
        .incident
        .clone_from(&"image-1-".to_owned());
    last.entries[0].item.status = Resolved;
    let fixed = last.clone();
    let fixing = ledger.turn(move |draft| {
        draft.enqueue(&fixed);
        Ok(())
    });
    fixing.await.unwrap();
    let shared: Vec<Arc<Delivery>> = rows.iter().cloned().map(Arc::new).collect();
    super::super::merge::merge(&ledger, &shared).await.unwrap();
    let target = rows[0].target.clone();
    let attempt = Attempt {
        number: 1,
        at: Timestamp::now(),
        duration_ms: 1,
        status: None,
        outcome: "permanent_message".into(),
        note: String::new(),
    };
    let expected: Vec<String> = rows
        .iter()
        .map(|row| row.entries[0].event_id.0.clone())
        .collect();
    loop {
        let left = pending(&ledger.store, &target, 100).await.unwrap();
        let told: Vec<String> = left
            .iter()
            .flat_map(|row| &row.entries)
            .map(|entry| entry.event_id.0.clone())
            .collect();
        assert_eq!(told, expected);
        let Some(several) = left.into_iter().find(|row| !row.parts.is_empty()) else {
            break;
        };
        let (attempt, n) = (attempt.clone(), several.entries.len());
        let splitting =
            ledger.turn(move |draft| split(draft, &several, &attempt, "no", Timestamp::now()));
        let [first, second] = splitting.await.unwrap().expect("two parts");
        assert_eq!(first.entries.len() + second.entries.len(), n);
    }
    let left = pending(&ledger.store, &target, 100).await.unwrap();
    let ids = |rows: &[Delivery]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&left), ids(&rows), "as they were before");
    let again = left.iter().any(super::super::merge::may);
    assert!(!again, "and are merged no more");
}

/// Two receivers of one robot: the pause that it asks of the one holds the other too, and both count for its rate.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_robot_asks_for_holds_all_that_speak_to_it() {
    let ledger = Ledger::open(Store::memory()).await.unwrap();
    let robot = ChatServer::start(ChatOptions {
        is_limited: false,
        ..ChatOptions::of(ChatProvider::Dingtalk)
    })
    .await;
    let busy = ChatReply::json(200, r#"{"errcode":410100,"errmsg":"too fast"}"#);
    robot.answer_always(Some(busy));
    let lanes = lanes(&ledger, &["one", "two"], &robot, "100/s");
    put(&ledger, "one", &names(1, &[])).await;
    lanes.signals[0].wake();
    let paused = |n: usize| lanes.signals[n].standing().paused_until.is_some();
    eventually("the first to be asked for a pause", WAIT, async || {
        (robot.requests().len() == 1 && paused(0)).then_some(())
    })
    .await;
    let two = put(&ledger, "two", &names(3, &[])).await;
    lanes.signals[1].wake();
    eventually("the other to know of it", WAIT, async || {
        paused(1).then_some(())
    })
    .await;
    let left = pending(&ledger.store, &two[0].target, 10).await.unwrap();
    assert_eq!((left.len(), robot.requests().len()), (3, 1), "it waits");
    assert_eq!(left[0].attempts, 0);
    lanes.stop().await;
}

/// Both send at once, each more than the rate: together they send no more than it allows.
#[tokio::test(flavor = "multi_thread")]
async fn two_receivers_of_one_robot_keep_its_rate_together() {
    const A_MINUTE: usize = 3;
    let ledger = Ledger::open(Store::memory()).await.unwrap();
    let robot = ChatServer::start(ChatOptions::of(ChatProvider::Dingtalk)).await;
    let one = put(&ledger, "one", &names(5, &[])).await;
    let two = put(&ledger, "two", &names(5, &[])).await;
    let lanes = lanes(&ledger, &["one", "two"], &robot, "3/m");
    let all = one.len() + two.len();
    eventually("what the rate allows to be recorded", WAIT, async || {
        let mut waits = 0;
        for rows in [&one, &two] {
            let left = pending(&ledger.store, &rows[0].target, 100).await.unwrap();
            waits += left.len();
        }
        (waits <= all - A_MINUTE).then_some(())
    })
    .await;
    lanes.stop().await;
    assert_eq!(robot.requests().len(), A_MINUTE);
}
