//! From a ledger through the log and back.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use syncbell_bus::{Bus, EmbeddedOptions, MAX_RECORD_BYTES, Position, Read};
use syncbell_config::Retention;
use syncbell_event::{AlertItem, AlertStatus, EventId, Failing, Severity, Source};
use syncbell_service::Metrics;
use syncbell_store::Store;

use super::*;
use crate::deliver::record;
use crate::delivery::{Closed, DeliveryId, Ending, Entry};
use crate::run::Handle;

struct Bench {
    handle: Handle,
    relay: Relay,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::embedded(folder.path(), EmbeddedOptions::default()).unwrap();
        let retention = Retention::default();
        let handle = Handle::offline(Store::memory(), bus.clone(), &retention);
        let handle = handle.await.unwrap();
        let relay = Relay {
            ledger: handle.ledger.clone(),
            publisher: bus.publisher(),
            buried: Arc::default(),
            metrics: NotifierMetrics::new(&Metrics::new()),
        };
        Self {
            handle,
            relay,
            _folder: folder,
        }
    }

    async fn turn<T: Send + 'static>(
        &self,
        fill: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> T {
        let turn = self.handle.ledger.turn(move |draft| Ok(fill(draft)));
        turn.await.unwrap()
    }

    /// As a lane does it.
    async fn kill(&self, delivery: &Delivery) {
        let delivery = delivery.clone();
        self.turn(move |draft| {
            draft.enqueue(&delivery);
            record::bury(
                draft,
                &delivery,
                DeathClass::Refused,
                "422",
                None,
                Timestamp::now(),
            );
        })
        .await;
    }

    async fn relay(&self) {
        while self.relay.turn().await.unwrap() {}
    }

    async fn list(&self) -> Vec<LetterRow> {
        let (letters, all) = (self.handle.letter_box(), LettersWanted::default());
        letters.list(&all).await.unwrap()
    }

    async fn replay(&self, id: &str, again: bool) -> LetterReplay {
        let wanted = ReplayWanted {
            ids: vec![id.to_owned()],
            again,
            ..ReplayWanted::default()
        };
        let replayed = self.handle.replay_letters(&wanted).await.unwrap();
        replayed.letters[0].clone()
    }

    async fn pending(&self) -> Vec<Delivery> {
        let store = &self.handle.ledger.store;
        crate::ledger::pending(store, &target(), 100).await.unwrap()
    }

    async fn rows(&self, prefix: &str) -> usize {
        let rows = self
            .handle
            .ledger
            .store
            .scan(prefix.as_bytes(), None, 1_000);
        rows.await.unwrap().len()
    }
}

fn target() -> Target {
    Target {
        receiver: "ops".into(),
        address: None,
    }
}

fn delivery(seq: u64, status: AlertStatus, summary: &str) -> Delivery {
    let now = Timestamp::now();
    let item = AlertItem {
        incident: "i-1".into(),
        rule: "failed".into(),
        severity: Severity::Error,
        status,
        reason: "ERROR".into(),
        since: now,
        summary: summary.into(),
        instance: None,
        region: None,
        sync_rule_id: None,
        repo: None,
        task: None,
        resolved_by: None,
        detail: None,
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
    };
    Delivery {
        id: DeliveryId(format!("id-{seq}")),
        seq,
        target: target(),
        group: BTreeMap::new(),
        entries: vec![Entry {
            item,
            event_id: EventId(format!("e-{seq}")),
            message: None,
            occurrence: 1,
            history: Vec::new(),
            instance: "cri-1".into(),
            observed_at: now,
            flapping: false,
            traceparent: None,
        }],
        repeat: false,
        created_at: now - SignedDuration::from_hours(30),
        due_at: now,
        attempts: 4,
        smaller: false,
        parts: Vec::new(),
        by_itself: false,
        last_error: Some("500".into()),
        first_failure_at: None,
        replay: None,
        fallback: Vec::new(),
        instead_of: None,
    }
}

fn record_letter(value: &[u8]) -> DeadLetter {
    let read = Read {
        position: Position {
            partition: 0,
            offset: 3,
        },
        record: Record {
            headers: vec![("trace".into(), b"x".into())],
            ..Record::new("cri-1", value)
        },
        appended_at_ms: Some(1_767_322_800_000),
    };
    DeadLetter::of_record(&read, "no event", Timestamp::now())
}

fn event() -> Vec<u8> {
    let source = Source {
        region: "cn-a".into(),
        instance: "cri-1".into(),
    };
    let now = Timestamp::now();
    let failing = Failing {
        reason: "denied".into(),
        message: "no".into(),
        since: now,
    };
    syncbell_event::Envelope::failing(&source, now, failing).encode()
}

#[tokio::test]
async fn a_letter_is_listed_once_from_ledger_and_log_and_shown_as_it_came() {
    let bench = Bench::new().await;
    let letter = record_letter(b"{\xFF");
    let other = delivery(1, AlertStatus::Firing, "x");
    let buried = letter.clone();
    bench.turn(move |draft| draft.bury(&buried)).await;
    bench.kill(&other).await;
    assert_eq!(bench.list().await.len(), 2, "before they are on the log");
    bench.relay().await;
    assert_eq!(bench.rows("l/").await, 0);
    // The relay died before it deleted its row.
    let buried = letter.clone();
    bench.turn(move |draft| draft.bury(&buried)).await;
    bench.relay().await;
    let listed = bench.list().await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].what, "ops", "the newest first");
    assert_eq!(listed[1].what, "changes 0/3");
    let only = LettersWanted {
        kind: Some(LetterKind::Record),
        ..LettersWanted::default()
    };
    assert_eq!(
        bench.handle.letter_box().list(&only).await.unwrap().len(),
        1
    );
    let only = LettersWanted {
        receiver: Some("mail".into()),
        ..LettersWanted::default()
    };
    assert!(
        bench
            .handle
            .letter_box()
            .list(&only)
            .await
            .unwrap()
            .is_empty()
    );

    let found = bench.handle.letter_box().find(&letter.id).await.unwrap();
    assert_eq!(found, Some(letter.clone()));
    let shown = bench.handle.letter_box().show(&letter.id).await.unwrap();
    let shown = shown.unwrap();
    assert_eq!(shown["value"]["hex"][0], "7bff");
    assert_eq!(shown["headers"][0]["value"]["text"], "x");
    let shown = bench
        .handle
        .letter_box()
        .show("id-1")
        .await
        .unwrap()
        .unwrap();
    assert!(
        shown["value"]["text"]
            .as_str()
            .unwrap()
            .contains("\"id-1\"")
    );
    assert_eq!(bench.handle.letter_box().show("none").await.unwrap(), None);
}

/// Before, it was too large for the log, and the relay tried it for ever.
#[tokio::test]
async fn a_delivery_larger_than_a_record_reaches_the_log_and_comes_back() {
    let bench = Bench::new().await;
    let huge = delivery(1, AlertStatus::Firing, &"y".repeat(MAX_RECORD_BYTES * 2));
    bench.kill(&huge).await;
    bench.kill(&delivery(2, AlertStatus::Firing, "x")).await;
    bench.relay().await;
    assert_eq!((bench.rows("l/").await, bench.list().await.len()), (0, 2));
    let [_, letter] = &bench.list().await[..] else {
        panic!()
    };
    let id = letter.letter.id.clone();
    assert_eq!(bench.replay(&id, false).await.outcome, "pending");
    let entries = |d: &Delivery| d.entries.clone();
    assert_eq!(entries(&bench.pending().await[0]), entries(&huge));
}

#[tokio::test]
async fn a_dead_delivery_is_pending_again_under_its_id_once() {
    let bench = Bench::new().await;
    bench.kill(&delivery(1, AlertStatus::Firing, "x")).await;
    bench.relay().await;
    let id = bench.list().await[0].letter.id.clone();
    let replay = bench.replay(&id, false).await;
    assert_eq!(replay.outcome, "pending");
    assert!(replay.note.contains("next start"), "{replay:?}");
    let pending = bench.pending().await;
    assert_eq!(pending[0].id.0, "id-1");
    let age = Timestamp::now().duration_since(pending[0].created_at);
    assert!(age < record::MAX_AGE, "it would expire at once");
    assert_eq!((bench.rows("c/").await, bench.rows("k/").await), (0, 0));
    assert_eq!(
        bench.list().await[0].replayed.as_ref().unwrap().ended,
        "pending"
    );

    // By name it is refused, among others it is passed over.
    assert_eq!(bench.replay(&id, false).await.outcome, "refused");
    let all = ReplayWanted::default();
    let replayed = bench.handle.replay_letters(&all).await.unwrap();
    assert_eq!(replayed.letters[0].outcome, "skipped");
    assert_eq!(bench.pending().await.len(), 1);

    // It dies again: that is another letter, and may be replayed.
    bench.kill(&bench.pending().await[0]).await;
    bench.relay().await;
    let listed = bench.list().await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].replayed, None);
    assert_eq!(listed[1].replayed.as_ref().unwrap().ended, "dead again");
    assert_eq!(bench.replay("id-1", false).await.outcome, "pending");
    bench.kill(&bench.pending().await[0]).await;
    assert_eq!(bench.replay(&id, true).await.outcome, "pending");
    let replayed = bench.list().await.pop().unwrap().replayed.unwrap();
    assert_eq!(replayed.times, 2);
}

#[tokio::test]
async fn what_was_dropped_for_a_dead_trigger_comes_back_behind_it() {
    let bench = Bench::new().await;
    bench.kill(&delivery(1, AlertStatus::Firing, "x")).await;
    let resolve = delivery(2, AlertStatus::Resolved, "over");
    let dropping = resolve.clone();
    let dropped = bench.turn(move |draft| {
        draft.enqueue(&dropping);
        record::drop_resolve(draft, &dropping, Timestamp::now()).unwrap()
    });
    assert!(dropped.await);
    bench.relay().await;
    bench.replay("id-1", false).await;
    let ids: Vec<String> = bench.pending().await.into_iter().map(|d| d.id.0).collect();
    assert_eq!(ids, ["id-1", "id-2"]);
    assert_eq!((bench.rows("y/").await, bench.rows("c/").await), (0, 0));
    // Its trigger lives: it is not dropped again.
    let dropped =
        bench.turn(move |draft| record::drop_resolve(draft, &resolve, Timestamp::now()).unwrap());
    assert!(!dropped.await);
}

/// A trigger of which nothing stands any more comes back under a new number: its resolve goes behind it all the same.
#[tokio::test]
async fn what_was_dropped_comes_back_behind_a_trigger_that_was_forgotten() {
    let bench = Bench::new().await;
    bench.kill(&delivery(1, AlertStatus::Firing, "x")).await;
    let resolve = delivery(2, AlertStatus::Resolved, "over");
    bench
        .turn(move |draft| {
            draft.enqueue(&resolve);
            record::drop_resolve(draft, &resolve, Timestamp::now()).unwrap();
            // As retention does it.
            draft.delete(rows::place(&DeliveryId("id-1".into())));
            draft.delete(rows::closed(1));
            while draft.next_number() < 9 {}
        })
        .await;
    bench.relay().await;
    bench.replay("id-1", false).await;
    let ids: Vec<String> = bench.pending().await.into_iter().map(|d| d.id.0).collect();
    assert_eq!(ids, ["id-1", "id-2"]);
}

/// Numbers begin again when nothing stands: then another delivery may stand under the number of an old one.
#[tokio::test]
async fn a_delivery_that_comes_back_takes_nobodys_place() {
    let bench = Bench::new().await;
    bench.kill(&delivery(1, AlertStatus::Firing, "x")).await;
    bench.relay().await;
    let other = Delivery {
        id: DeliveryId("other".into()),
        ..delivery(1, AlertStatus::Firing, "y")
    };
    bench
        .turn(move |draft| {
            // As retention does it, long after.
            draft.delete(rows::place(&DeliveryId("id-1".into())));
            draft.delete(rows::closed(1));
            draft.enqueue(&other);
        })
        .await;
    bench.replay("id-1", false).await;
    let ids: Vec<String> = bench.pending().await.into_iter().map(|d| d.id.0).collect();
    assert_eq!(ids, ["other", "id-1"]);
}

#[tokio::test]
async fn a_delivery_that_was_made_since_is_made_again_only_when_asked() {
    let bench = Bench::new().await;
    let delivery = delivery(1, AlertStatus::Firing, "x");
    bench.kill(&delivery).await;
    bench.relay().await;
    bench
        .turn(move |draft| {
            let closed = Closed {
                delivery: delivery.clone(),
                ending: Ending::Delivered,
                reason: None,
                at: Timestamp::now(),
                attempt: None,
            };
            draft.put(rows::closed(delivery.seq), &closed);
        })
        .await;
    let replay = bench.replay("id-1", false).await;
    assert!(replay.note.contains("made since"), "{replay:?}");
    assert_eq!(bench.replay("id-1", true).await.outcome, "pending");
}

#[tokio::test]
async fn a_record_that_can_be_read_now_waits_to_be_decided_and_another_stays() {
    let bench = Bench::new().await;
    let (good, bad) = (record_letter(&event()), record_letter(b"{"));
    let (good_id, bad_id) = (good.id.clone(), bad.id.clone());
    bench
        .turn(move |draft| {
            draft.bury(&good);
            draft.bury(&bad);
        })
        .await;
    bench.relay().await;
    let replay = bench.replay(&bad_id, false).await;
    assert_eq!(replay.outcome, "refused");
    assert!(
        replay.note.contains("it stays: could not decode"),
        "{replay:?}"
    );
    assert_eq!(bench.replay(&good_id, false).await.outcome, "queued");
    assert_eq!(bench.rows("u/").await, 1);
    assert_eq!(bench.replay("nobody", false).await.outcome, "refused");
    let listed = bench.list().await;
    let of = |id: &str| listed.iter().find(|row| row.letter.id == id).unwrap();
    assert_eq!(of(&good_id).replayed.as_ref().unwrap().ended, "queued");
    assert_eq!(of(&bad_id).replayed, None);
}

/// A receiver that was down for long, and was taken out of the configuration then: others wait for this at the start.
#[tokio::test]
async fn what_is_left_of_a_receiver_that_is_gone_is_buried_in_a_few_turns() {
    let bench = Bench::new().await;
    let n = 2 * ORPHANS_A_PAGE as u64 + 10;
    bench
        .turn(move |draft| {
            for seq in 1..=n {
                let mut row = delivery(seq, AlertStatus::Firing, "x");
                if seq > 1 {
                    row.target.receiver = "gone".into();
                }
                draft.enqueue(&row);
            }
        })
        .await;
    let text = "instances: [{id: cri-1, region: cn-shanghai}]\n\
        receivers: [{name: ops, webhook: {url: 'http://127.0.0.1:1'}}]\n\
        route: {receivers: [ops]}\n";
    let read = syncbell_config::parse(text, "x", std::path::Path::new("."), &|_| None);
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let (route, receivers) = (&config.route, &config.receivers);
    let setup = Arc::new(Setup::new(route, receivers, &config.rules, &[]));
    assert!(setup.has(&target()));
    bench.relay.bury_orphans(&setup).await.unwrap();
    assert_eq!(bench.pending().await.len(), 1);
    let times = bench.turn(move |draft| {
        let closed = (2..=n).map(|seq| draft.get::<Closed>(&rows::closed(seq)).unwrap().unwrap());
        closed.map(|closed| closed.at).collect::<BTreeSet<_>>()
    });
    let times = times.await;
    assert!(times.len() <= 4, "one by one: {} times", times.len());
}

/// After a restart with nothing pending numbers begin again: what is tried again must not be where a new one will be.
#[tokio::test]
async fn what_is_tried_again_is_not_overwritten_by_what_comes_later() {
    let bench = Bench::new().await;
    let dead = delivery(3, AlertStatus::Firing, "of before the restart");
    bench.kill(&dead).await;
    bench.relay().await;
    // As retention does it, long after.
    bench
        .turn(move |draft| {
            draft.delete(rows::place(&dead.id));
            draft.delete(rows::closed(dead.seq));
        })
        .await;
    let letter = bench.list().await[0].letter.id.clone();
    assert_eq!(bench.replay(&letter, false).await.outcome, "pending");
    for n in 0..5 {
        let mut new = delivery(0, AlertStatus::Firing, "new");
        new.id = DeliveryId(format!("new-{n}"));
        bench
            .turn(move |draft| {
                new.seq = draft.next_number();
                draft.enqueue(&new);
            })
            .await;
    }
    let pending = bench.pending().await;
    let ids: Vec<&str> = pending.iter().map(|one| one.id.0.as_str()).collect();
    assert_eq!(ids, ["id-3", "new-0", "new-1", "new-2", "new-3", "new-4"]);
}
