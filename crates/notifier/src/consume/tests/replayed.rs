//! Records of dead letters that are decided again.

use syncbell_bus::{Position, Record};
use syncbell_config::{Retention, RuleSwitches};
use syncbell_event::{Kind, Status};

use super::super::*;
use super::bench::{Bench, INSTANCE, task};
use crate::dead_letters::{LettersReplayed, ReplayWanted};
use crate::run::Handle;

/// As an earlier version, which could not read it, buried it.
fn letter(event: &Envelope) -> DeadLetter {
    let read = Read {
        position: Position {
            partition: 0,
            offset: 3,
        },
        record: Record::new(INSTANCE, event.encode()),
        appended_at_ms: None,
    };
    DeadLetter::of_record(&read, "no event", Timestamp::now())
}

#[tokio::test]
async fn the_record_of_a_letter_is_decided_once_and_says_what_became_of_it() {
    let mut bench = Bench::new(&RuleSwitches::default()).await;
    let failed = task(Kind::Created, INSTANCE, "rst-1", Status::Error, 0, 9, 0);
    let letter = letter(&failed);
    let (id, buried) = (letter.id.clone(), letter.clone());
    let bury = bench.consumer.ledger.turn(move |draft| {
        draft.bury(&buried);
        Ok(())
    });
    bury.await.unwrap();
    let (store, bus, retention) = (bench.store.clone(), bench.bus.clone(), Retention::default());
    let handle = Handle::offline(store, bus, &retention).await.unwrap();
    let replay = async |again: bool| {
        let wanted = ReplayWanted {
            ids: vec![id.clone()],
            again,
            ..ReplayWanted::default()
        };
        let replayed: LettersReplayed = handle.replay_letters(&wanted).await.unwrap();
        replayed.letters[0].outcome.clone()
    };
    let became = async || {
        let known = handle.letter_box().replayed(&id).await.unwrap();
        known.expect("it was replayed").ended
    };

    assert_eq!(replay(false).await, "queued");
    let told = bench.decide_replays().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("firing failed ERROR"), "{told:?}");
    assert_eq!(became().await, "decided: 1 told");
    assert_eq!(bench.rows("u/").await, 0);

    assert_eq!(replay(true).await, "queued");
    assert!(bench.decide_replays().await.is_empty());
    assert_eq!(became().await, "its event was read before: nothing changed");
    assert!(
        bench.read(vec![failed]).await.is_empty(),
        "nor is it told when the log brings it"
    );
}
