//! What waited for its provider's rate goes in one message: several rows of a lane become one.
//!
//! In: rows of a lane, none of them under way. Out: one row in their place, in the batch that closes them as merged into
//! it. Must never happen: an entry that is in none of them or in two, or that overtakes an earlier one of its incident.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use syncbell_event::digest_id;
use syncbell_service::crash_point;

use crate::Error;
use crate::delivery::{Delivery, DeliveryId, Ending, Entry};
use crate::ledger::{Draft, Ledger};
use crate::render::RECEIVER_FAILING;
use crate::rows;

use super::record::finish;

/// Entries of one that others were merged into, at most.
pub(super) const ENTRIES: usize = 2_000;

/// What came of it.
pub(super) struct Merged {
    /// Stands where the first of them stood.
    pub(super) delivery: Delivery,
    /// It is made of so many of the first rows.
    pub(super) of: usize,
}

/// Whether it may be merged. What was tried keeps its id and its form, since it may have arrived; a replay, a repeat
/// and what is said of a receiver are messages of their own.
pub(super) fn may(row: &Delivery) -> bool {
    let about_receiver = |entry: &Entry| entry.item.rule == RECEIVER_FAILING;
    row.attempts == 0
        && !row.by_itself
        && row.replay.is_none()
        && !row.repeat
        && !row.entries.iter().any(about_receiver)
}

/// Whether both may be in one message: who hears of them if it is not taken is the same.
pub(super) fn alike(one: &Delivery, other: &Delivery) -> bool {
    (&one.fallback, &one.instead_of) == (&other.fallback, &other.instead_of)
}

/// Writes one row in the place of `rows`, or of the first of them; none: they stay as they are.
pub(super) async fn merge(
    ledger: &Ledger,
    rows: &[Arc<Delivery>],
) -> Result<Option<Merged>, Error> {
    if rows.len() < 2 {
        return Ok(None);
    }
    let owned = rows.to_vec();
    let _seen = ledger.by_hand.read().await;
    let merging = move |draft: &mut Draft<'_>, now| put(draft, &owned, now);
    let merged = ledger.patiently(merging).await?;
    if let Some(Merged { delivery, of }) = &merged {
        crash_point("deliver.merged");
        tracing::info!(
            delivery.id = %delivery.id, receiver = delivery.target.receiver, deliveries = of,
            "what waited for the receiver's rate goes in one message"
        );
    }
    Ok(merged)
}

fn put(
    draft: &mut Draft<'_>,
    rows: &[Arc<Delivery>],
    now: Timestamp,
) -> Result<Option<Merged>, syncbell_store::Error> {
    let of = still_next(draft, rows)?;
    if of < 2 {
        return Ok(None);
    }
    let mut delivery = one_of(&rows[..of], now);
    let why = into(&delivery);
    // The merged one stands where the first of them stood, and that one under another number.
    let mut first = Delivery::clone(&rows[0]);
    first.seq = draft.next_number();
    let place = rows::numbered(rows::lane(&first.target), first.seq);
    draft.put_bytes(rows::place(&first.id), place);
    let others = rows[1..of].iter().map(|row| row.seq);
    delivery.parts = std::iter::once(first.seq).chain(others).collect();
    for row in std::iter::once(&first).chain(rows[1..of].iter().map(Arc::as_ref)) {
        finish(draft, row, Ending::Merged, &why, None, now);
    }
    enqueue(draft, &delivery, now);
    Ok(Some(Merged { delivery, of }))
}

/// Why one that was merged is over.
pub(super) fn into(merged: &Delivery) -> String {
    format!("merged into {}", merged.id)
}

/// Puts it into its lane, and says in rows that it tells of its entries.
pub(super) fn enqueue(draft: &mut Draft<'_>, delivery: &Delivery, now: Timestamp) {
    for entry in &delivery.entries {
        let index = rows::delivery_of_event(&entry.event_id, &delivery.id);
        draft.put_bytes(index, rows::second_bytes(now));
    }
    draft.enqueue(delivery);
}

/// How many of the first of `rows` stand in the lane one behind the other, and are to be told. By hand one may have been
/// taken out since they were read, or put between them; and an end whose beginning is dead is not told.
fn still_next(draft: &Draft<'_>, rows: &[Arc<Delivery>]) -> Result<usize, syncbell_store::Error> {
    let key = |row: &Delivery| rows::numbered(rows::lane(&row.target), row.seq);
    let first = &rows[0];
    if !draft.has(&key(first))? || is_of_the_dead(draft, first)? {
        return Ok(0);
    }
    let behind = draft.reader.scan(
        &rows::lane(&first.target),
        Some(&key(first)),
        2 * rows.len(),
    )?;
    let mut standing = behind.iter().map(|(key, _)| key);
    let mut of = 1;
    for row in &rows[1..] {
        let next = standing.find(|key| !rows::is_piece(key));
        if next != Some(&key(row)) || is_of_the_dead(draft, row)? {
            break;
        }
        of += 1;
    }
    Ok(of)
}

fn is_of_the_dead(draft: &Draft<'_>, row: &Delivery) -> Result<bool, syncbell_store::Error> {
    if row.entries.iter().any(Entry::fires) {
        return Ok(false);
    }
    for entry in &row.entries {
        if !draft.has(&rows::dead_trigger(&row.target, &entry.item.incident))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One that tells what `rows` tell, in their order; there is at least one. Its id is made of theirs.
pub(super) fn one_of(rows: &[Arc<Delivery>], now: Timestamp) -> Delivery {
    let first = &rows[0];
    let ids = rows.iter().map(|row| row.id.0.as_str());
    let id = digest_id(std::iter::once("merged").chain(ids).map(Some));
    let mut group: BTreeMap<String, String> = first.group.clone();
    group.retain(|label, value| rows.iter().all(|row| row.group.get(label) == Some(value)));
    let created_at = rows.iter().map(|row| row.created_at).min();
    Delivery {
        id: DeliveryId(id),
        group,
        entries: rows.iter().flat_map(|row| row.entries.clone()).collect(),
        created_at: created_at.unwrap_or(now),
        due_at: now,
        last_error: None,
        first_failure_at: None,
        ..Delivery::clone(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncbell_event::AlertStatus::{Firing, Resolved};
    use syncbell_store::Store;

    use super::*;
    use crate::deliver::lane::tests::{delivery, now};
    use crate::deliver::queue::Queue;
    use crate::delivery::Closed;
    use crate::explain::{shown, stands};
    use crate::ledger::pending;

    async fn ledger(rows: &[Delivery]) -> Ledger {
        let ledger = Ledger::open(Store::memory()).await.unwrap();
        let rows = rows.to_vec();
        let put = move |draft: &mut Draft<'_>| {
            for row in &rows {
                draft.enqueue(row);
            }
            Ok(())
        };
        ledger.turn(put).await.unwrap();
        // Its numbers go on behind these.
        Ledger::open(ledger.store).await.unwrap()
    }

    fn shared(rows: &[Delivery]) -> Vec<Arc<Delivery>> {
        rows.iter().cloned().map(Arc::new).collect()
    }

    #[tokio::test]
    async fn what_waited_becomes_one_row_and_each_says_into_which_it_went() {
        let mut rows: Vec<Delivery> = (3..6).map(|n| delivery(n, "a", Firing)).collect();
        for (row, rule) in rows.iter_mut().zip(["failed", "stuck", "failed"]) {
            row.group = [("instance", "cri-1"), ("rule", rule)]
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .into();
        }
        let ledger = ledger(&rows).await;
        let merged = merge(&ledger, &shared(&rows)).await.unwrap().unwrap();
        assert_eq!(merged.of, 3);
        let left = pending(&ledger.store, &rows[0].target, 10).await.unwrap();
        assert_eq!(
            left,
            std::slice::from_ref(&merged.delivery),
            "in their place"
        );
        let one = &left[0];
        assert_eq!((one.seq, one.attempts), (3, 0));
        let events: Vec<&str> = one
            .entries
            .iter()
            .map(|one| one.event_id.as_str())
            .collect();
        assert_eq!(events, ["e-3", "e-4", "e-5"]);
        let common = BTreeMap::from([("instance".to_owned(), "cri-1".to_owned())]);
        assert_eq!(one.group, common);
        for row in &rows {
            let (id, into) = (row.id.clone(), format!("merged into {}", one.id));
            let read = ledger.store.read(move |reader| stands(reader, &id));
            let (shown, state, why) = shown(read.await.unwrap().unwrap());
            assert_eq!(
                (shown.id, state, why),
                (row.id.clone(), "merged", Some(into))
            );
            let index = rows::delivery_of_event(&row.entries[0].event_id, &one.id);
            assert!(ledger.store.get(index).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn what_was_taken_out_meanwhile_and_what_is_not_to_be_told_is_left_alone() {
        let rows = [
            delivery(1, "a", Firing),
            delivery(2, "b", Firing),
            delivery(3, "dead", Resolved),
            delivery(4, "c", Firing),
        ];
        let ledger = ledger(&rows).await;
        let mark = rows::dead_trigger(&rows[0].target, "dead");
        let marking = ledger.turn(move |draft| {
            draft.put(mark, &now());
            Ok(())
        });
        marking.await.unwrap();
        let merged = merge(&ledger, &shared(&rows)).await.unwrap().unwrap();
        assert_eq!(merged.of, 2);
        let left = pending(&ledger.store, &rows[0].target, 10).await.unwrap();
        let left: Vec<u64> = left.iter().map(|row| row.seq).collect();
        assert_eq!(left, [1, 3, 4]);
        // The rows that a lane still has in memory are gone: nothing is written twice.
        assert!(
            merge(&ledger, &shared(&rows[1..2]))
                .await
                .unwrap()
                .is_none()
        );
        assert!(merge(&ledger, &shared(&rows[1..])).await.unwrap().is_none());
        let closed = rows::closed(rows[1].seq);
        let read = ledger
            .store
            .read(move |reader| rows::find::<Closed>(reader, &closed));
        let why = read.await.unwrap().unwrap().reason.unwrap();
        assert_eq!(why, format!("merged into {}", merged.delivery.id));
    }

    /// As a replay puts a beginning before its end.
    #[tokio::test]
    async fn what_was_put_between_them_by_hand_is_not_overtaken() {
        let rows = [1, 2, 4, 5].map(|n| delivery(n, &n.to_string(), Firing));
        let ledger = ledger(&rows).await;
        let between = delivery(3, "back", Firing);
        let putting = ledger.turn(move |draft| {
            draft.enqueue(&between);
            Ok(())
        });
        putting.await.unwrap();
        let merged = merge(&ledger, &shared(&rows)).await.unwrap().unwrap();
        assert_eq!(merged.of, 2);
        let left = pending(&ledger.store, &rows[0].target, 10).await.unwrap();
        let left: Vec<u64> = left.iter().map(|row| row.seq).collect();
        assert_eq!(left, [1, 3, 4, 5]);
    }

    /// A retry reads a row, and writes it: what is merged meanwhile would be overwritten.
    #[tokio::test]
    async fn it_waits_for_what_is_changed_by_hand() {
        let rows = [1, 2].map(|n| delivery(n, &n.to_string(), Firing));
        let ledger = ledger(&rows).await;
        let by_hand = ledger.by_hand.clone().write_owned().await;
        let shared = shared(&rows);
        let mut merging = std::pin::pin!(merge(&ledger, &shared));
        let soon = std::time::Duration::from_millis(50);
        let early = tokio::time::timeout(soon, &mut merging).await;
        assert!(early.is_err(), "it did not wait");
        drop(by_hand);
        assert_eq!(merging.await.unwrap().unwrap().of, 2);
    }

    #[test]
    fn what_was_tried_or_stands_for_itself_is_not_merged() {
        assert!(may(&delivery(1, "a", Firing)));
        let unlike: [fn(&mut Delivery); 3] = [
            |row| row.attempts = 1,
            |row| row.repeat = true,
            |row| RECEIVER_FAILING.clone_into(&mut row.entries[0].item.rule),
        ];
        for change in unlike {
            let mut row = delivery(1, "a", Firing);
            change(&mut row);
            assert!(!may(&row), "{row:?}");
        }
        let (one, mut other) = (delivery(1, "a", Firing), delivery(2, "b", Firing));
        assert!(alike(&one, &other));
        other.instead_of = Some("ops".into());
        assert!(!alike(&one, &other));
    }

    /// What is told of each incident, in the order of the rows.
    fn told(rows: &[Delivery]) -> BTreeMap<String, Vec<String>> {
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in rows.iter().flat_map(|row| &row.entries) {
            let line = told.entry(entry.item.incident.clone()).or_default();
            line.push(entry.event_id.0.clone());
        }
        told
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_or_overtakes_its_incident(
            made in proptest::collection::vec((0_u8..4, 0_u32..2, any::<bool>()), 0..24),
            n_entries in 2_usize..20,
        ) {
            let mut rows: Vec<Delivery> = Vec::new();
            for (seq, (incident, attempts, other)) in made.into_iter().enumerate() {
                let mut row = delivery(seq as u64, &incident.to_string(), Firing);
                row.attempts = attempts;
                row.instead_of = other.then(|| "ops".to_owned());
                rows.push(row);
            }
            let mut queue = Queue::default();
            for row in shared(&rows) {
                queue.insert(row);
            }
            let run = queue.run(n_entries, may, alike);
            prop_assert_ne!(run.len(), 1);
            if run.is_empty() {
                let pair = |pair: &[Delivery]| pair.iter().all(may) && alike(&pair[0], &pair[1]);
                prop_assert!(!rows.windows(2).any(pair));
                return Ok(());
            }
            let one = one_of(&run, now());
            prop_assert!(one.entries.len() <= n_entries);
            let mut left: Vec<Delivery> = rows.clone();
            left.retain(|row| run.iter().all(|merged| merged.seq != row.seq));
            left.push(one);
            left.sort_by_key(|row| row.seq);
            prop_assert_eq!(told(&left), told(&rows));
        }
    }
}
