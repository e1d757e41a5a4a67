//! What a lane hands over to the fallback, and what it keeps.

use super::*;

fn mail() -> Target {
    Target {
        receiver: "mail".into(),
        address: Some("c@d.example".into()),
    }
}

/// What became of `row` at its first attempt, and what then waits for the fallback.
async fn handed_over(ledger: &Ledger, row: Delivery, outcome: Outcome) -> Vec<Delivery> {
    let attempt = Attempt {
        number: 1,
        at: now(),
        duration_ms: 1,
        status: None,
        outcome: String::new(),
        note: String::new(),
    };
    let turn = ledger.turn(move |draft| record(draft, &row, &attempt, &outcome, 1.0, now()));
    turn.await.unwrap();
    told_instead(ledger).await
}

/// What waits for the fallback once the consume loop told it; no route says how it wants it.
async fn told_instead(ledger: &Ledger) -> Vec<Delivery> {
    let text = "instances: [{id: cri-1, region: cn-shanghai}]\n\
        receivers:\n\
        \x20 - {name: ops, webhook: {url: 'http://127.0.0.1:1'}}\n\
        \x20 - {name: mail, email: {from: a@b.example, to: [c@d.example], \
        smtp: {host: 127.0.0.1, tls: none}}}\n\
        route: {receivers: [ops]}\n";
    let read = syncbell_config::parse(text, "x", std::path::Path::new("."), &|_| None);
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let (route, receivers) = (&config.route, &config.receivers);
    let setup = crate::setup::Setup::new(route, receivers, &config.rules, &[]);
    let telling = ledger.turn(move |draft| {
        let mut done = crate::done::Done::default();
        crate::fallback::hand_on(draft, &setup, now(), &mut done)
    });
    telling.await.unwrap();
    pending(&ledger.store, &mail(), 10).await.unwrap()
}

#[tokio::test]
async fn what_a_receiver_refuses_goes_to_its_fallback_once_and_so_does_the_end() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let mut trigger = delivery(1, "a", AlertStatus::Firing);
    trigger.fallback = vec![mail()];
    let transient = Outcome::Transient {
        note: "HTTP 500".into(),
        maybe_delivered: false,
    };
    assert!(
        handed_over(&ledger, trigger.clone(), transient)
            .await
            .is_empty()
    );
    let stops = Outcome::PermanentTarget {
        note: "HTTP 410".into(),
    };
    let told = handed_over(&ledger, trigger.clone(), stops).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].instead_of.as_deref(), Some("ops"));
    assert_eq!(
        (&told[0].entries, &told[0].target),
        (&trigger.entries, &mail())
    );
    assert_ne!(told[0].id, trigger.id);
    let left = pending(&ledger.store, &trigger.target, 10).await.unwrap();
    assert!(left[0].fallback.is_empty(), "it is told once");

    // Refused for good in the end: nobody is told again, and its end goes the same way.
    let refused = Outcome::PermanentMessage {
        note: "HTTP 413".into(),
    };
    assert_eq!(
        handed_over(&ledger, left[0].clone(), refused).await.len(),
        1
    );
    let mut resolve = delivery(2, "a", AlertStatus::Resolved);
    resolve.fallback = vec![mail()];
    assert!(drop_it(&ledger, &resolve).await.unwrap());
    let told = told_instead(&ledger).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].entries[0].item.status, AlertStatus::Resolved);
}

#[tokio::test]
async fn a_stopped_lane_lets_its_fallback_know() {
    let mut row = delivery(1, "a", AlertStatus::Firing);
    row.fallback = vec![mail()];
    let mut state = state(vec![row]);
    state.stopped = Some("HTTP 410".into());
    assert_eq!(begun(&mut state, now()), Some(1));
}

/// Begins, and ends as one does that told the fallback.
fn hand_over_next(state: &mut LaneState, at: Timestamp) -> Option<u64> {
    state.leave_out(at);
    let row = state.begin(at)?;
    state.sending = 0;
    let mut left = Delivery::clone(&row);
    left.fallback.clear();
    state.queue.end(row.seq, Some(Arc::new(left)));
    Some(row.seq)
}

#[tokio::test]
async fn a_stopped_lane_lets_its_fallback_know_of_all_of_an_incident_in_order() {
    let told = [
        (1, AlertStatus::Firing),
        (2, AlertStatus::Firing),
        (3, AlertStatus::Resolved),
    ];
    let rows = told.map(|(n, status)| {
        let mut row = delivery(n, "a", status);
        row.fallback = vec![mail()];
        row
    });
    let mut state = state(rows.into());
    state.stopped = Some("HTTP 410".into());
    let first = state.begin(now()).unwrap();
    assert_eq!(
        (first.seq, begun(&mut state, now())),
        (1, None),
        "not before it"
    );
    let mut left = Delivery::clone(&first);
    left.fallback.clear();
    state.queue.end(1, Some(Arc::new(left)));
    let all: Vec<u64> = std::iter::from_fn(|| hand_over_next(&mut state, now())).collect();
    assert_eq!(all, [2, 3]);
}

/// More rows than a queue holds, with a fallback and without: it is told of each, and each ends when it is too old.
#[tokio::test]
async fn a_stopped_lane_comes_to_every_row_and_back_to_it_when_it_is_too_old() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let many = 3 * WINDOW as u64;
    let fill = move |draft: &mut crate::draft::Draft<'_>| {
        for n in 1..=many {
            let mut row = delivery(draft.next_number(), &n.to_string(), AlertStatus::Firing);
            row.created_at = Timestamp::now();
            row.fallback = vec![mail(); usize::from(n % 2 == 0)];
            draft.enqueue(&row);
        }
        Ok(())
    };
    ledger.turn(fill).await.unwrap();
    let target = delivery(1, "a", AlertStatus::Firing).target;
    let mut state = state(Vec::new());
    state.stopped = Some("HTTP 410".into());
    let mut told = 0;
    loop {
        state.fill(&ledger, &target).await.unwrap();
        let Some(row) = state.begin(Timestamp::now()) else {
            break;
        };
        told += 1;
        state.sending = 0;
        let mut left = Delivery::clone(&row);
        left.fallback.clear();
        let key = rows::numbered(rows::lane(&target), row.seq);
        let put = left.clone();
        let write = move |draft: &mut crate::draft::Draft<'_>| {
            draft.put(key, &put);
            Ok(())
        };
        ledger.turn(write).await.unwrap();
        state.queue.end(row.seq, Some(Arc::new(left)));
    }
    assert_eq!((told, state.queue.len()), (many / 2, 0));

    let later = Timestamp::now() + MAX_AGE + LOOK_AGAIN;
    state.leave_out(later);
    assert!(state.look && state.loaded.is_none(), "it reads them again");
    state.load(&ledger, &target, WINDOW).await.unwrap();
    let first = state.begin(later).unwrap();
    assert_eq!(first.entries[0].item.incident, "1");
}

#[tokio::test]
async fn what_is_not_understood_is_tried_three_times_more_and_goes_to_the_fallback() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let mut row = delivery(1, "a", AlertStatus::Firing);
    row.fallback = vec![mail()];
    let waits = [Some(30), Some(120), Some(600), None];
    // A failure of another kind counts for nothing, and what went before it neither.
    let outcomes = [
        "unknown",
        "transient",
        "unknown",
        "unknown",
        "unknown",
        "unknown",
    ];
    let expected = [Some(30), Some(2), waits[0], waits[1], waits[2], waits[3]];
    for (number, (outcome, expected)) in (1..).zip(outcomes.into_iter().zip(expected)) {
        let note = "HTTP 200 OK: maybe".to_owned();
        let outcome = match outcome {
            "unknown" => Outcome::Unknown { note },
            _ => Outcome::Transient {
                note,
                maybe_delivered: false,
            },
        };
        let attempt = Attempt {
            number,
            at: now(),
            duration_ms: 1,
            status: None,
            outcome: outcome.name().to_owned(),
            note: String::new(),
        };
        let row = row.clone();
        let turn = ledger.turn(move |draft| record(draft, &row, &attempt, &outcome, 1.0, now()));
        let left = turn.await.unwrap();
        let due_at = expected.map(|wait| now() + SignedDuration::from_secs(wait));
        assert_eq!(left.map(|left| left.due_at), due_at, "attempt {number}");
    }
    let scan = ledger.store.scan(rows::DEAD_LETTERS, None, 10);
    assert_eq!(scan.await.unwrap().len(), 1, "a dead letter");
    let told = told_instead(&ledger).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].instead_of.as_deref(), Some("ops"));
}
