//! What a lane starts, and in which order.

mod fallback;

use std::collections::BTreeMap;

use syncbell_event::{AlertItem, AlertStatus, EventId, Severity};

use super::*;
use crate::deliver::attempt::{drop_it, trigger_is_dead};
use crate::deliver::record::{MAX_AGE, record, retry};
use crate::delivery::{Attempt, Delivery, DeliveryId, Entry};
use crate::ledger::pending;
use jiff::SignedDuration;

pub(in crate::deliver) fn now() -> Timestamp {
    "2026-01-02T03:10:00Z".parse().unwrap()
}

pub(in crate::deliver) fn delivery(seq: u64, incident: &str, status: AlertStatus) -> Delivery {
    Delivery {
        id: DeliveryId(format!("id-{seq}")),
        seq,
        target: Target {
            receiver: "ops".into(),
            address: None,
        },
        group: BTreeMap::new(),
        entries: vec![Entry {
            item: AlertItem {
                incident: incident.into(),
                rule: "failed".into(),
                severity: Severity::Error,
                status,
                reason: "ERROR".into(),
                since: now(),
                summary: String::new(),
                instance: None,
                region: None,
                sync_rule_id: None,
                repo: None,
                task: None,
                resolved_by: None,
                detail: None,
                labels: std::collections::BTreeMap::new(),
                annotations: std::collections::BTreeMap::new(),
            },
            event_id: EventId(format!("e-{seq}")),
            message: None,
            occurrence: 1,
            history: Vec::new(),
            instance: "cri-1".into(),
            observed_at: now(),
            flapping: false,
            traceparent: None,
        }],
        repeat: false,
        created_at: now(),
        due_at: now(),
        attempts: 0,
        smaller: false,
        parts: Vec::new(),
        by_itself: false,
        last_error: None,
        first_failure_at: None,
        replay: None,
        fallback: Vec::new(),
        instead_of: None,
    }
}

fn state(deliveries: Vec<Delivery>) -> LaneState {
    let mut state = LaneState::fresh(8);
    for delivery in deliveries {
        state.queue.insert(Arc::new(delivery));
    }
    state
}

/// The number of what is begun.
fn begun(state: &mut LaneState, at: Timestamp) -> Option<u64> {
    state.begin(at).map(|delivery| delivery.seq)
}

#[tokio::test]
async fn a_resolve_waits_for_its_trigger_and_others_do_not() {
    let mut late = delivery(1, "a", AlertStatus::Firing);
    late.due_at = now() + SignedDuration::from_mins(1);
    let mut state = state(vec![
        late,
        delivery(2, "a", AlertStatus::Resolved),
        delivery(3, "b", AlertStatus::Firing),
    ]);
    assert_eq!(begun(&mut state, now()), Some(3));
    assert_eq!(begun(&mut state, now()), None);
    let later = now() + SignedDuration::from_secs(61);
    assert_eq!(begun(&mut state, later), Some(1));
    assert_eq!(begun(&mut state, later), None);
    state.queue.end(1, None);
    assert_eq!(begun(&mut state, later), Some(2));
}

#[tokio::test]
async fn a_failing_receiver_gets_one_probe_at_a_time() {
    let rows = (1..5).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
    let mut state = state(rows.collect());
    state.failures = BREAKER_FAILURES;
    assert_eq!(begun(&mut state, now()), Some(1));
    assert_eq!(begun(&mut state, now()), None);
    assert_eq!(probe_after(BREAKER_FAILURES), Duration::from_secs(1));
    assert_eq!(probe_after(BREAKER_FAILURES + 60), Duration::from_secs(1));
    assert_eq!(probe_after(BREAKER_FAILURES + 63), Duration::from_secs(8));
    assert_eq!(probe_after(u32::MAX), PROBE_MAX);
}

/// A server that takes a mail and loses the connection before it says so, over and over.
#[tokio::test]
async fn what_people_may_have_read_already_is_no_probe() {
    let doubt = Outcome::Transient {
        note: "SMTP end of DATA".into(),
        maybe_delivered: true,
    };
    let later = now() + SignedDuration::from_mins(5);
    for (for_people, probe) in [(false, Some(1)), (true, Some(2))] {
        let rows = (1..4).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
        let mut state = state(rows.collect());
        if for_people {
            state.knows_repeats = false;
        }
        state.failures = BREAKER_FAILURES;
        assert_eq!(begun(&mut state, now()), Some(1));
        state.sending = 0;
        state.doubt(1, &doubt);
        let mut left = delivery(1, "1", AlertStatus::Firing);
        left.due_at = later;
        state.settle(1, Some(Arc::new(left)), now());
        assert_eq!(begun(&mut state, now()), probe, "for people: {for_people}");
        // It goes by its own backoff, and for good once it was taken.
        state.sending = 0;
        state.settle(probe.unwrap(), None, now());
        let left: BTreeSet<u64> = std::iter::from_fn(|| {
            state.sending = 0;
            let seq = begun(&mut state, later)?;
            state.settle(seq, None, later);
            Some(seq)
        })
        .collect();
        let expected = (1..4).filter(|seq| Some(*seq) != probe);
        assert_eq!(left, expected.collect());
        assert!(state.doubtful.is_empty());
    }
}

#[tokio::test]
async fn a_pause_that_was_asked_for_is_kept_whatever_others_were_told() {
    let rows = (1..5).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
    let mut state = state(rows.collect());
    let target = delivery(1, "a", AlertStatus::Firing).target;
    let note = String::new;
    let after = Duration::from_mins(1);
    let asked = Outcome::RetryAfter {
        after,
        note: note(),
    };
    state.heed(&asked, Duration::ZERO, &target);
    let shorter = Outcome::RetryAfter {
        after: Duration::from_secs(1),
        note: note(),
    };
    state.heed(&shorter, Duration::ZERO, &target);
    let taken = Outcome::Delivered { note: note() };
    state.heed(&taken, Duration::ZERO, &target);
    assert_eq!(begun(&mut state, now()), None);
    assert!(state.pause() > Duration::from_secs(50));
}

#[tokio::test]
async fn what_is_sent_and_not_recorded_has_a_bound() {
    // Twice what may be under way, less one; more where what comes twice is known as such.
    for (knows_repeats, most, bound) in [(true, 8, 128), (false, 8, 15), (true, 1, 1)] {
        let rows = (1..=150).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
        let mut state = LaneState {
            knows_repeats,
            ..LaneState::fresh(most)
        };
        for row in rows {
            state.queue.insert(Arc::new(row));
        }
        for seq in 1..=bound {
            assert_eq!(begun(&mut state, now()), Some(seq));
            // It is sent at once, and never recorded.
            state.sending -= 1;
        }
        assert_eq!(begun(&mut state, now()), None);
        state.queue.end(1, None);
        assert_eq!(begun(&mut state, now()), Some(bound + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_the_rate_is_to_be_merged_and_what_is_under_way_comes_back_first() {
    let rate = syncbell_config::Rate {
        count: 1,
        per: Duration::from_mins(1),
    };
    let rows = (1..6).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
    let mut state = state(rows.collect());
    (state.budget, state.merges) = (SharedBudget::new(&[rate]), true);
    assert_eq!(begun(&mut state, now()), Some(1));
    assert!(!state.waited);
    assert_eq!(begun(&mut state, now()), None);
    assert!(state.waited && !state.may_merge(), "there is no room yet");
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!state.may_merge(), "one is under way");
    (state.sending, state.waited) = (0, true);
    state.queue.end(1, None);
    assert!(state.may_merge());
    state.failures = BREAKER_FAILURES;
    assert!(!state.may_merge(), "it is probed with what is there");
}

#[tokio::test]
async fn what_waits_for_its_time_of_day_holds_nothing_else_up() {
    let urgent = |row: &Delivery| row.entries[0].item.severity == Severity::Error;
    let mut calm = delivery(1, "a", AlertStatus::Firing);
    calm.entries[0].item.severity = Severity::Info;
    let mut state = state(vec![calm, delivery(2, "b", AlertStatus::Firing)]);
    let not_before: NotBefore = |row, at| {
        let is_urgent = row.entries[0].item.severity == Severity::Error;
        if is_urgent {
            at
        } else {
            at.max(now() + SignedDuration::from_secs(9))
        }
    };
    state.not_before = Some(not_before);
    let begins = state.begin(now()).unwrap();
    assert!(urgent(&begins));
    assert_eq!(begun(&mut state, now()), None);
    state.sending = 0;
    assert_eq!(
        state.sleep(now()),
        LOOK_AT_CLOCK,
        "it does not sleep through it"
    );
    assert_eq!(
        begun(&mut state, now() + SignedDuration::from_secs(9)),
        Some(1)
    );
}

/// A mail may tell of thousands: its memory has a bound, whatever the number of rows.
#[tokio::test]
async fn a_lane_keeps_no_more_entries_than_its_bound_and_comes_to_all_of_them() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let put = move |draft: &mut crate::draft::Draft<'_>| {
        for _ in 1..=10 {
            let n = draft.next_number();
            let mut row = delivery(n, &n.to_string(), AlertStatus::Firing);
            row.entries = vec![row.entries[0].clone(); 4_000];
            draft.enqueue(&row);
        }
        Ok(())
    };
    ledger.turn(put).await.unwrap();
    let target = delivery(1, "a", AlertStatus::Firing).target;
    let mut state = LaneState::fresh(1);
    for seq in 1..=10 {
        state.fill(&ledger, &target).await.unwrap();
        let n_entries = state.queue.n_entries();
        assert!(
            (4_000..=ENTRIES + 4_000).contains(&n_entries),
            "{n_entries}"
        );
        assert_eq!(begun(&mut state, now()), Some(seq));
        state.sending = 0;
        state.queue.end(seq, None);
    }
    assert_eq!(begun(&mut state, now()), None);
}

/// Two turns at a time: the one with the higher number may be the first to be committed.
#[tokio::test]
async fn a_lower_number_that_is_committed_later_is_not_passed_over() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let slow = ledger.numbers.draw();
    let low = slow.next();
    let put = |seq: u64, incident: &'static str| {
        ledger.turn(move |draft| {
            draft.enqueue(&delivery(seq, incident, AlertStatus::Firing));
            Ok(())
        })
    };
    let high = ledger.numbers.draw().next();
    put(high, "b").await.unwrap();
    let target = delivery(1, "a", AlertStatus::Firing).target;
    let mut state = LaneState::fresh(8);
    state.fill(&ledger, &target).await.unwrap();
    assert_eq!(begun(&mut state, now()), Some(high));
    put(low, "a").await.unwrap();
    drop(slow);
    state.look = true;
    state.fill(&ledger, &target).await.unwrap();
    assert_eq!(begun(&mut state, now()), Some(low));
    assert_eq!(begun(&mut state, now()), None, "and each of them once");
}

#[tokio::test]
async fn a_stopped_lane_only_lets_go_of_what_is_too_old() {
    let mut state = state(vec![delivery(1, "a", AlertStatus::Firing)]);
    state.stopped = Some("HTTP 410".into());
    assert_eq!(begun(&mut state, now()), None);
    assert_eq!(begun(&mut state, now() + MAX_AGE), Some(1));
}

#[tokio::test]
async fn what_is_too_large_goes_once_more_in_a_smaller_form_and_then_to_the_dead_letters() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let turn = async |row: Delivery, number: u32| {
        let attempt = Attempt {
            number,
            at: now(),
            duration_ms: 1,
            status: None,
            outcome: String::new(),
            note: String::new(),
        };
        let note = "HTTP 200: message too long".to_owned();
        let outcome = Outcome::TooLarge { note };
        let recording =
            ledger.turn(move |draft| record(draft, &row, &attempt, &outcome, 1.0, now()));
        recording.await.unwrap()
    };
    let left = turn(delivery(1, "a", AlertStatus::Firing), 1)
        .await
        .unwrap();
    assert_eq!((left.smaller, left.attempts, left.due_at), (true, 1, now()));
    let again = pending(&ledger.store, &left.target, 10).await.unwrap();
    assert_eq!(again, std::slice::from_ref(&left), "a restart knows of it");
    assert_eq!(turn(left, 2).await, None);
    let dead = ledger.store.scan(rows::DEAD_LETTERS, None, 10).await;
    assert_eq!(dead.unwrap().len(), 1);
}

#[tokio::test]
async fn an_outcome_is_recorded_with_its_row_in_one_batch() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let attempt = |number| Attempt {
        number,
        at: now(),
        duration_ms: 1,
        status: None,
        outcome: String::new(),
        note: String::new(),
    };
    let turn = |outcome: Outcome, number: u32| {
        let ledger = ledger.clone();
        async move {
            let row = delivery(1, "a", AlertStatus::Firing);
            ledger
                .turn(move |draft| {
                    draft.enqueue(&row);
                    record(draft, &row, &attempt(number), &outcome, 1.0, now())
                })
                .await
                .unwrap()
        }
    };
    let note = "HTTP 500".to_owned();
    let later = turn(
        Outcome::Transient {
            note,
            maybe_delivered: false,
        },
        3,
    )
    .await
    .unwrap();
    assert_eq!(
        (later.attempts, later.due_at),
        (3, now() + SignedDuration::from_secs(4))
    );
    assert_eq!(later.last_error.as_deref(), Some("HTTP 500"));

    let note = "HTTP 413".to_owned();
    assert_eq!(turn(Outcome::PermanentMessage { note }, 4).await, None);
    let letters = ledger
        .store
        .scan(rows::DEAD_LETTERS, None, 10)
        .await
        .unwrap();
    assert_eq!(letters.len(), 1, "a dead letter");
    let target = delivery(1, "a", AlertStatus::Firing).target;
    let left = pending(&ledger.store, &target, 10).await.unwrap();
    assert!(left.is_empty());
    let resolve = delivery(2, "a", AlertStatus::Resolved);
    assert!(
        trigger_is_dead(&ledger, &resolve).await.unwrap(),
        "its resolve is dropped"
    );

    let id = DeliveryId("id-1".into());
    let back = ledger
        .turn(move |draft| retry(draft, &id, now()))
        .await
        .unwrap();
    assert_eq!(back.as_ref(), Some(&target));
    assert_eq!(pending(&ledger.store, &target, 10).await.unwrap().len(), 1);
    let note = "HTTP 204".to_owned();
    assert_eq!(turn(Outcome::Delivered { note }, 5).await, None);
    assert!(
        !trigger_is_dead(&ledger, &resolve).await.unwrap(),
        "its trigger was delivered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_gets_no_more_than_it_takes_in_a_time() {
    let rate = syncbell_config::Rate {
        count: 2,
        per: Duration::from_mins(1),
    };
    let rows = (1..6).map(|n| delivery(n, &n.to_string(), AlertStatus::Firing));
    let mut state = state(rows.collect());
    state.budget = SharedBudget::new(&[rate]);
    assert_eq!(begun(&mut state, now()), Some(1));
    assert_eq!(begun(&mut state, now()), Some(2));
    assert_eq!(begun(&mut state, now()), None);
    // It wakes when there is room again, or before.
    tokio::time::advance(Duration::from_secs(45)).await;
    assert_eq!(state.sleep(now()), Duration::from_secs(15));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(begun(&mut state, now()), Some(3));
    assert_eq!(begun(&mut state, now()), Some(4));
    // A stopped lane sends nothing: it may let go at once.
    state.stopped = Some("errcode 93000".into());
    assert_eq!(begun(&mut state, now() + MAX_AGE), Some(5));
}
