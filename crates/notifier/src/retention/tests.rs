//! What a pass forgets and what it keeps; what a million events leave behind.

mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use syncbell_config::{Route, RuleSwitches};
use syncbell_event::{Change, Envelope, EventId, Image, Kind, Source, Status, SyncTask};
use syncbell_service::Metrics;
use syncbell_store::{Options, Store};

use tokio::time::Instant;

use super::pass::Pass;
use super::*;
use crate::consume::consume;
use crate::dead_letters::Replayed;
use crate::decide::{ClosedBy, Incident, Rule, Subject};
use crate::delivery::{Closed, Delivery, DeliveryId, Ending, Target};
use crate::done::Done;
use crate::group::Group;
use crate::hold::HoldRecord;
use crate::hold::Holder;
use crate::ledger::Ledger;
use crate::metrics::NotifierMetrics;
use crate::setup::Setup;
use crate::silence::Silence;

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn ago(days: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days)
}

fn kept() -> Kept {
    Kept::of(&Retention::default(), Duration::from_hours(24 * 7))
}

async fn ledger() -> Ledger {
    Ledger::open(Store::memory()).await.unwrap()
}

/// A whole pass, in slices. Gives how many it took.
async fn pass(ledger: &Ledger, log_begins_at: Option<Timestamp>) -> usize {
    let mut passes = Passes::new(Instant::now());
    let ids = pass_over(ledger, &mut passes.ids, log_begins_at).await;
    ids + pass_over(ledger, &mut passes.rest, log_begins_at).await
}

/// As [`pass`], one of the two.
async fn pass_over(ledger: &Ledger, pass: &mut Pass, log_begins_at: Option<Timestamp>) -> usize {
    let metrics = NotifierMetrics::new(&Metrics::new());
    let last = pass.kinds[pass.kinds.len() - 1];
    let mut slices = 0;
    loop {
        let place = pass.place();
        let kind = place.kind;
        let slice = ledger
            .turn(move |draft| forget(draft, &place, kept(), log_begins_at, now()))
            .await
            .unwrap();
        let is_last = slice.last.is_none() && kind == last;
        pass.went_on(slice, &metrics, Instant::now());
        slices += 1;
        if is_last {
            return slices;
        }
    }
}

async fn keys(ledger: &Ledger, prefix: &str) -> Vec<String> {
    let rows = ledger.store.scan(prefix.as_bytes(), None, 100_000);
    let rows = rows.await.unwrap().into_iter();
    rows.map(|(key, _)| key.escape_ascii().to_string())
        .collect()
}

fn incident(task: &str, changed_at: Timestamp) -> Incident {
    let subject = Subject::of("cri-1", &SyncTask::new(task, Status::Error));
    Incident::open(Rule::Failed, subject, "cri-1", changed_at)
}

fn target() -> Target {
    Target {
        receiver: "ops".into(),
        address: None,
    }
}

fn closed(seq: u64, id: &str, at: Timestamp) -> Closed {
    let delivery = Delivery {
        id: DeliveryId(id.into()),
        attempts: 1,
        ..Delivery::due_now(&target(), (&BTreeMap::new(), &[]), 0, seq, at)
    };
    Closed {
        delivery,
        ending: Ending::Delivered,
        reason: None,
        at,
        attempt: None,
    }
}

/// What stands of a delivery that is over.
fn put_closed(draft: &mut Draft<'_>, closed: &Closed) {
    let delivery = &closed.delivery;
    let lane = rows::numbered(rows::lane(&delivery.target), delivery.seq);
    draft.put_bytes(rows::place(&delivery.id), lane);
    draft.put(rows::closed(delivery.seq), closed);
}

#[tokio::test]
async fn an_incident_in_which_nothing_happens_expires_and_a_closed_one_is_forgotten_later() {
    let ledger = ledger().await;
    let (old, young) = (incident("old", ago(8)), incident("young", ago(6)));
    let (mut over, mut just_over) = (incident("over", ago(40)), incident("just", ago(40)));
    over.close(ClosedBy::Final, ago(31));
    let mut turned = incident("turned", ago(40));
    turned.close(ClosedBy::Final, ago(31));
    turned.turns = serde_json::from_value(serde_json::json!([ago(40), ago(0)])).unwrap();
    let mut turned_before = incident("turned-before", ago(40));
    turned_before.close(ClosedBy::Final, ago(31));
    turned_before.turns = serde_json::from_value(serde_json::json!([ago(40), ago(2)])).unwrap();
    just_over.close(ClosedBy::Final, ago(29));
    let all = [
        old.clone(),
        young.clone(),
        over,
        just_over.clone(),
        turned,
        turned_before,
    ];
    let put = ledger.turn(move |draft| {
        for incident in &all {
            draft.put(rows::incident(&incident.id), incident);
        }
        Ok(())
    });
    put.await.unwrap();
    pass(&ledger, None).await;
    let mut left = BTreeMap::new();
    for one in [old.id.clone(), young.id.clone(), just_over.id.clone()] {
        let key = rows::incident(&one);
        let read = ledger.turn(move |draft| draft.get::<Incident>(&key));
        left.insert(one, read.await.unwrap().expect("it is kept").is_open());
    }
    assert_eq!(
        keys(&ledger, "i/").await.len(),
        4,
        "and the one that may flap"
    );
    assert!(left[&young.id] && !left[&old.id] && !left[&just_over.id]);
}

#[tokio::test]
async fn deliveries_go_with_their_attempts_and_marks_with_their_incident() {
    let ledger = ledger().await;
    let open = incident("open", ago(1));
    let id = open.id.clone();
    let put = ledger.turn(move |draft| {
        for (seq, id, at) in [(7, "old", ago(31)), (8, "young", ago(29))] {
            let closed = closed(seq, id, at);
            for number in 1..4 {
                let key = rows::numbered(rows::attempts(seq), number);
                draft.put(key, &number);
            }
            put_closed(draft, &closed);
        }
        draft.put(rows::incident(&open.id), &open);
        for (incident, at) in [(&*open.id, ago(40)), ("over", ago(40)), ("new", ago(2))] {
            draft.put(rows::dead_trigger(&target(), incident), &at);
            draft.put(rows::dropped(&target(), incident), &vec!["x"]);
        }
        for (letter, at) in [("old", ago(8)), ("young", ago(6))] {
            let replayed = Replayed::of_delivery(&DeliveryId("x".into()), at, at);
            draft.put(rows::replayed(letter), &replayed);
        }
        Ok(())
    });
    put.await.unwrap();
    pass(&ledger, None).await;
    assert_eq!(keys(&ledger, "c/").await, ["c/00000000000000000008"]);
    assert_eq!(keys(&ledger, "x/").await.len(), 1);
    assert_eq!(keys(&ledger, "a/").await.len(), 3);
    for prefix in ["k/", "y/"] {
        let left = keys(&ledger, prefix).await;
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().any(|key| key.ends_with(&id)), "{left:?}");
        assert!(left.iter().any(|key| key.ends_with("new")), "{left:?}");
    }
    assert_eq!(keys(&ledger, "v/").await, ["v/young"]);
}

#[tokio::test]
async fn a_pass_comes_to_the_end_of_any_number_of_rows_in_slices() {
    let ledger = ledger().await;
    let put = ledger.turn(|draft| {
        for n in 0..100_u32 {
            let id = rows::event_digest(&EventId(format!("{n:032x}")));
            let at = if n % 2 == 0 { ago(2) } else { ago(0) };
            draft.put_bytes(rows::read_ids(n.into()), rows::row_of_ids(at, [&id]));
        }
        Ok(())
    });
    put.await.unwrap();
    let slices = pass(&ledger, None).await;
    assert!(slices > 100 / ROWS_A_SLICE, "{slices} slices");
    assert_eq!(keys(&ledger, "ei/").await.len(), 50);
}

/// The event that was read so many seconds ago.
fn read_ago(seconds: u32) -> EventId {
    EventId(format!("{seconds:032x}"))
}

/// Puts `n` ids of events, one of each second up to now, ten a row.
async fn put_ids(ledger: &Ledger, n: u32) {
    for ten in (0..n / 10).rev() {
        let put = ledger.turn(move |draft| {
            for n in ten * 10..ten * 10 + 10 {
                let at = now() - SignedDuration::from_secs(n.into());
                draft.ids.read(rows::event_digest(&read_ago(n)), at);
            }
            Ok(())
        });
        put.await.unwrap();
    }
}

#[tokio::test]
async fn of_young_ids_the_newest_are_left_at_once_where_too_many_come() {
    let ledger = ledger().await;
    put_ids(&ledger, 100).await;
    let (mut passes, began) = (Passes::new(Instant::now()), Instant::now());
    passes.ids.came(28, began);
    assert!(passes.ids.due_at > began, "a few more than are kept");
    passes.ids.came(72, began);
    assert_eq!(passes.ids.due_at, began);
    // The first pass counts, the second forgets; neither waits.
    for left in [100, 40] {
        assert!(passes.ids.due_at <= Instant::now());
        pass_over(&ledger, &mut passes.ids, None).await;
        assert_eq!(keys(&ledger, "ei/").await.len() * 10, left);
    }
    assert!(passes.ids.due_at > Instant::now(), "the next one has time");
    let again = Ledger::open(ledger.store.clone()).await.unwrap();
    for ledger in [ledger, again] {
        for (seconds, is_known) in [(0, true), (39, true), (40, false), (99, false)] {
            let known = ledger.turn(move |draft| draft.was_read(&read_ago(seconds)));
            assert_eq!(known.await.unwrap(), is_known, "{seconds} s ago");
        }
    }
}

#[tokio::test]
async fn of_young_deliveries_the_newest_are_left() {
    let ledger = ledger().await;
    let put = ledger.turn(|draft| {
        for n in 0..30_u32 {
            let at = now() - SignedDuration::from_secs(n.into());
            put_closed(draft, &closed(n.into(), &format!("{n:032x}"), at));
        }
        Ok(())
    });
    put.await.unwrap();
    let mut passes = Passes::new(Instant::now());
    for left in [30, 20] {
        pass_over(&ledger, &mut passes.rest, None).await;
        assert_eq!(keys(&ledger, "c/").await.len(), left);
    }
}

#[tokio::test]
async fn an_idle_group_is_forgotten_and_one_with_something_open_is_not() {
    let ledger = ledger().await;
    let put = ledger.turn(|draft| {
        for (name, open, at) in [
            ("idle", false, ago(3)),
            ("open", true, ago(3)),
            ("new", false, ago(1)),
        ] {
            let mut group = Group::new(name, crate::group::TOP, BTreeMap::new());
            group.notified_at = Some(at);
            if open {
                group.open.insert("i".into());
            }
            draft.put(format!("g/{name}").into_bytes(), &group);
        }
        Ok(())
    });
    put.await.unwrap();
    pass(&ledger, None).await;
    assert_eq!(keys(&ledger, "g/").await, ["g/new", "g/open"]);
}

#[tokio::test]
async fn a_silence_is_forgotten_long_after_its_end_and_only_when_it_let_out_what_it_held() {
    let ledger = ledger().await;
    let silence = |id: &str, ends_at| Silence {
        id: id.into(),
        matchers: vec!["rule=failed".into()],
        starts_at: ago(90),
        ends_at,
        author: "ann".into(),
        reason: "a move".into(),
        created_at: ago(90),
        expired_at: None,
    };
    let all = [
        (silence("old", ago(31)), true),
        (silence("young", ago(29)), true),
        (silence("holds", ago(31)), false),
    ];
    let put = ledger.turn(move |draft| {
        for (silence, released) in &all {
            draft.put(rows::mute(&silence.id), silence);
            let record = HoldRecord {
                released: *released,
                ..HoldRecord::default()
            };
            let holder = Holder::Silence(silence.id.clone());
            draft.put(rows::hold_record(&holder), &record);
        }
        Ok(())
    });
    put.await.unwrap();
    pass(&ledger, None).await;
    assert_eq!(keys(&ledger, "z/").await, ["z/holds", "z/young"]);
    assert_eq!(keys(&ledger, "hr/").await, ["hr/sholds", "hr/syoung"]);
}

#[tokio::test]
async fn a_trail_goes_with_the_id_of_its_event_and_earlier_where_there_are_too_many() {
    let ledger = ledger().await;
    let put = ledger.turn(|draft| {
        let ages_s = (0..30).chain([25 * 3_600]);
        for (n, age_s) in ages_s.enumerate() {
            let at = now() - SignedDuration::from_secs(age_s);
            let (id, number) = (EventId(format!("{n:032x}")), n as u64);
            let ids = rows::row_of_ids(at, [&rows::event_digest(&id)]);
            draft.put_bytes(rows::read_ids(0xFF00 + number), ids);
            // The bytes of a number may be any; one trail is so large that it stands in pieces.
            let size_bytes = if n == 7 { 100_000 } else { 2 };
            let trails = [b"[{}", vec![b' '; size_bytes].as_slice(), b"]"].concat();
            let row = [rows::second_bytes(at), trails].concat();
            draft.put_bytes(rows::trail(0xFF00 + number), row);
            let found = rows::delivery_of_event(&id, &DeliveryId("d".to_owned()));
            draft.put_bytes(found, rows::second_bytes(at));
        }
        Ok(())
    });
    put.await.unwrap();
    let mut passes = Passes::new(Instant::now());
    // Pieces are no trails of their own, and go with theirs.
    for (n_ids, n_trails, n_pieces) in [(30, 30, 3), (30, 10, 3)] {
        pass_over(&ledger, &mut passes.ids, None).await;
        assert_eq!(keys(&ledger, "ei/").await.len(), n_ids);
        assert_eq!(keys(&ledger, "ex/d").await.len(), n_trails);
        assert_eq!(keys(&ledger, "ex/n").await.len(), n_trails + n_pieces);
    }
}
