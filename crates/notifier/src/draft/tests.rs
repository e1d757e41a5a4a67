use super::*;
use crate::ledger::Ledger;
use crate::mirror::AllChanges;

fn key(number: u64) -> Key {
    rows::numbered(b"o/a/".to_vec(), number)
}

/// What the store holds and what the turn changed, as one; the bound and the limit hold for both.
#[tokio::test]
async fn keys_are_found_through_the_turns_own_changes() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let large = "x".repeat(200_000);
    let fill = ledger.turn(move |draft| {
        for number in [1, 3, 5, 7, 90] {
            draft.put(key(number), &large);
        }
        draft.put(b"o/b/0".to_vec(), &1);
        Ok(())
    });
    fill.await.unwrap();
    let check = ledger.turn(|draft| {
        let found = |draft: &Draft<'_>, until, limit| -> Vec<u64> {
            let keys = draft.keys(b"o/a/", &key(until), limit).unwrap();
            let digits = keys.iter().map(|key| &key[4..]);
            digits
                .map(|digits| std::str::from_utf8(digits).unwrap().parse().unwrap())
                .collect()
        };
        assert_eq!(found(draft, 0, 10), [0; 0]);
        assert_eq!(found(draft, 5, 10), [1, 3, 5]);
        assert_eq!(found(draft, 99, 2), [1, 3]);
        for number in [1, 3] {
            draft.delete(key(number));
        }
        draft.put(key(4), &1);
        draft.put(key(5), &1);
        draft.put(key(0), &1);
        assert_eq!(found(draft, 7, 10), [0, 4, 5, 7]);
        assert_eq!(found(draft, 99, 3), [0, 4, 5]);
        assert_eq!(found(draft, 6, 10), [0, 4, 5]);
        Ok(())
    });
    check.await.unwrap();
}

/// What stands in the store, with pieces.
async fn n_rows(ledger: &Ledger) -> usize {
    ledger.store.scan("", None, 10_000).await.unwrap().len()
}

/// A turn of it that changes `o/a/1`, having read it, or having looked whether it is there.
async fn change(ledger: &Ledger, reads: bool, value: Option<usize>) -> bool {
    let turn = ledger.turn(move |draft| {
        let stood = if reads {
            draft.get::<String>(&key(1))?.is_some()
        } else {
            draft.has(&key(1))?
        };
        match value {
            Some(length) => draft.put(key(1), &"x".repeat(length)),
            None => draft.delete(key(1)),
        }
        Ok(stood)
    });
    turn.await.unwrap()
}

#[tokio::test]
async fn a_row_that_was_read_and_is_changed_leaves_no_pieces() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    for reads in [true, false] {
        for (value, stood, rows) in [
            (Some(200_000), false, 6),
            (Some(3), true, 1),
            (Some(100_000), true, 4),
            (None, true, 0),
            (None, false, 0),
        ] {
            assert_eq!(change(&ledger, reads, value).await, stood);
            assert_eq!(n_rows(&ledger).await, rows, "{value:?}");
        }
    }
}

/// Which of them a turn finds.
async fn known(ledger: &Ledger, ids: &[String; 2]) -> [bool; 2] {
    let ids = ids.clone();
    let turn =
        ledger.turn(move |draft| Ok([draft.has_incident(&ids[0])?, draft.has_incident(&ids[1])?]));
    turn.await.unwrap()
}

#[tokio::test]
async fn which_incidents_stand_is_known_in_the_turn_then_and_after_a_restart() {
    let store = syncbell_store::Store::memory();
    let ledger = Ledger::open(store.clone()).await.unwrap();
    let ids = ["0b".repeat(16), "of any text".to_owned()];
    assert_eq!(known(&ledger, &ids).await, [false; 2]);
    for n in 0..2 {
        let id = ids[n].clone();
        let put = ledger.turn(move |draft| {
            // Of any size.
            draft.put(rows::incident(&id), &"x".repeat(n * 100_000));
            draft.has_incident(&id)
        });
        assert!(put.await.unwrap(), "the turn itself knows");
        let now = [true, n == 1];
        assert_eq!(known(&ledger, &ids).await, now);
        let again = Ledger::open(store.clone()).await.unwrap();
        assert_eq!(known(&again, &ids).await, now);
    }
    // As where the store takes nothing, or nobody waits for it any more and it took it all the same.
    let other = Ledger::open(store.clone()).await.unwrap();
    let put = other.turn(|draft| {
        draft.put(rows::incident("third"), &1);
        Ok(())
    });
    put.await.unwrap();
    let third = ["third".to_owned(), ids[1].clone()];
    assert_eq!(known(&ledger, &third).await, [false, true]);
    let mut changes = AllChanges::default();
    let first = rows::incident_digest(&rows::incident(&ids[0])).unwrap();
    changes.incidents.went.insert(first);
    drop(ledger.mirrors.committing(changes));
    assert_eq!(known(&ledger, &third).await, [true, true]);
    assert_eq!(known(&ledger, &ids).await, [true, true]);
    let id = ids[0].clone();
    let forget = ledger.turn(move |draft| {
        draft.delete(rows::incident(&id));
        draft.has_incident(&id)
    });
    assert!(!forget.await.unwrap(), "the turn itself knows");
    let again = Ledger::open(store).await.unwrap();
    for ledger in [ledger, again] {
        assert_eq!(known(&ledger, &ids).await, [false, true]);
    }
}

/// Of kinds of which mostly none stands: what the turn itself puts, and what stood before it.
#[tokio::test]
async fn rows_that_are_rare_are_found_all_the_same() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let waits = |number| rows::numbered(rows::waits("ops", [None, None], "a"), number);
    let (prefix, until) = (rows::waits("ops", [None, None], "a"), waits(u64::MAX));
    for stood in [false, true] {
        let (prefix, until) = (prefix.clone(), until.clone());
        let turn = ledger.turn(move |draft| {
            let had = draft.has(&rows::held("a"))?;
            let last = draft.last_key(&prefix, &until)?;
            assert_eq!((had, last), (stood, stood.then(|| waits(7))));
            draft.put(rows::held("a"), &1);
            draft.put(waits(if stood { 8 } else { 7 }), &1);
            assert_eq!(draft.get::<u8>(&rows::held("a"))?, Some(1));
            let last = draft.last_key(&prefix, &until)?;
            assert_eq!(last, Some(waits(if stood { 8 } else { 7 })));
            Ok(())
        });
        turn.await.unwrap();
    }
    // What the turn did not read itself is deleted too.
    let forget = ledger.turn(move |draft| {
        draft.delete(rows::held("a"));
        draft.delete(waits(7));
        draft.delete(waits(8));
        Ok(())
    });
    forget.await.unwrap();
    assert_eq!(n_rows(&ledger).await, 0);
}
