//! The ids of the events that were read, so that none is decided twice: a row a turn, and all of them in memory.
//!
//! In: what a turn read, what retention forgets. Out: whether an event was read. A row of its own for each id would be
//! the most expensive thing that an event leaves: it lies anywhere, and comes and goes alone.
//!
//! Must never happen: an id in memory whose row is not durable. Its event would never be told.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use syncbell_store::{Error, Reader};

use crate::draft::Draft;
use crate::mirror::{Changes, Digest};
use crate::rows::{self, Key};

/// Rows of a turn that are read at once: some 4 KB each.
const ROWS_A_PAGE: usize = 256;

/// Rows of before that are rewritten in one turn.
const BEFORE_A_TURN: usize = 2_000;

/// What one turn changes of them.
#[derive(Debug, Default)]
pub(crate) struct IdChanges {
    read: BTreeSet<Digest>,
    read_at: Timestamp,
    forgotten: BTreeSet<Digest>,
}

/// All that are durable.
pub(crate) fn all(reader: &Reader) -> Result<HashSet<Digest>, Error> {
    let mut all = HashSet::new();
    each_row(reader, |_, ids| {
        all.extend(ids);
        true
    })?;
    Ok(all)
}

impl IdChanges {
    /// The turn read the event.
    pub(crate) fn read(&mut self, event: Digest, now: Timestamp) {
        self.read.insert(event);
        self.read_at = self.read_at.max(now);
    }

    /// Whether the turn read it.
    pub(crate) fn has_read(&self, event: &Digest) -> bool {
        self.read.contains(event)
    }

    /// The turn deletes a row of these bytes.
    pub(crate) fn forgets(&mut self, row: &[u8]) {
        if let Some((_, ids)) = rows::ids_of_row(row) {
            self.forgotten.extend(ids);
        }
    }

    /// The row of what the turn read, if it read something.
    pub(crate) fn row(&self) -> Option<Vec<u8>> {
        (!self.read.is_empty()).then(|| rows::row_of_ids(self.read_at, &self.read))
    }

    pub(crate) fn into_changes(self) -> Changes {
        Changes {
            came: self.read,
            went: self.forgotten,
        }
    }
}

/// When the event was read; none if that is not known.
pub(crate) fn read_at(reader: &Reader, event: &Digest) -> Result<Option<Timestamp>, Error> {
    let mut found = None;
    each_row(reader, |read_at, ids| {
        if ids.contains(event) {
            found = Some(read_at);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Looks at all rows, the oldest first, as long as `look` says so.
fn each_row(
    reader: &Reader,
    mut look: impl FnMut(Timestamp, &[Digest]) -> bool,
) -> Result<(), Error> {
    let mut after: Option<Key> = None;
    loop {
        let page = reader.scan(rows::READ_IDS, after.as_deref(), ROWS_A_PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for (key, row) in page.iter().filter(|(key, _)| rows::is_read_ids(key)) {
            let Some(row) = rows::seen_bytes(reader, key, row)? else {
                continue;
            };
            let Some((read_at, ids)) = rows::ids_of_row(&row) else {
                // The row of its task knows an event that comes again.
                tracing::error!(key = %key.escape_ascii(), "a row of ids cannot be read: left out");
                continue;
            };
            if !look(read_at, ids) {
                return Ok(());
            }
        }
    }
}

/// Rewrites the next rows that are of one id each, as they were before. False: there were none.
pub(crate) fn rewrite(draft: &mut Draft<'_>) -> Result<bool, Error> {
    let page = draft
        .reader
        .scan(rows::IDS_OF_BEFORE, None, BEFORE_A_TURN)?;
    let is_any = !page.is_empty();
    for (key, row) in page {
        if let Ok(id) = Digest::try_from(&key[rows::IDS_OF_BEFORE.len()..]) {
            let bytes = rows::bytes(draft.reader, &key, &row)?;
            let second = bytes.get(..rows::SECOND_BYTES).and_then(rows::second);
            draft.ids.read(id, second.unwrap_or_default());
        }
        draft.delete(key);
    }
    Ok(is_any)
}

#[cfg(test)]
mod tests {
    use syncbell_event::EventId;
    use syncbell_store::Store;

    use super::*;
    use crate::ledger::Ledger;
    use crate::mirror::AllChanges;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn id(n: u32) -> EventId {
        EventId(format!("{n:032x}"))
    }

    async fn read(ledger: &Ledger, ids: std::ops::Range<u32>, now: Timestamp) {
        let turn = ledger.turn(move |draft| {
            ids.for_each(|n| draft.ids.read(rows::event_digest(&id(n)), now));
            Ok(())
        });
        turn.await.unwrap();
    }

    async fn known(ledger: &Ledger, ids: std::ops::Range<u32>) -> Vec<u32> {
        let turn = ledger.turn(move |draft| {
            let mut known = Vec::new();
            for n in ids {
                if draft.was_read(&id(n))? {
                    known.push(n);
                }
            }
            Ok(known)
        });
        turn.await.unwrap()
    }

    async fn n_rows(ledger: &Ledger) -> usize {
        let rows = ledger.store.scan(rows::READ_IDS, None, 10_000);
        rows.await.unwrap().len()
    }

    #[tokio::test]
    async fn a_turn_leaves_one_row_and_what_it_read_is_known_then_and_after_a_restart() {
        let store = Store::memory();
        let ledger = Ledger::open(store.clone()).await.unwrap();
        assert_eq!(known(&ledger, 0..3).await, [0; 0]);
        read(&ledger, 0..500, at(0)).await;
        read(&ledger, 700..701, at(9)).await;
        assert_eq!(n_rows(&ledger).await, 2);
        let again = Ledger::open(store).await.unwrap();
        for ledger in [ledger, again] {
            assert_eq!(known(&ledger, 498..702).await, [498, 499, 700]);
            let when = ledger.store.read(|reader| {
                let at = |n| read_at(reader, &rows::event_digest(&id(n)));
                Ok([at(499)?, at(700)?, at(701)?])
            });
            assert_eq!(when.await.unwrap(), [Some(at(0)), Some(at(9)), None]);
        }
    }

    #[tokio::test]
    async fn what_was_not_committed_is_not_known_and_the_store_is_asked_again() {
        let store = Store::memory();
        let ledger = Ledger::open(store.clone()).await.unwrap();
        read(&ledger, 0..1, at(0)).await;
        assert_eq!(known(&ledger, 0..4).await, [0]);
        let failed = ledger.turn(|draft| -> Result<(), Error> {
            draft.ids.read(rows::event_digest(&id(1)), at(1));
            assert!(draft.was_read(&id(1))?, "the turn itself knows");
            Err(rows::unreadable(b"x", "a turn that fails"))
        });
        assert!(failed.await.is_err());
        // As where the store takes nothing, or nobody waits for it any more and it took it all the same.
        let other = Ledger::open(store).await.unwrap();
        read(&other, 3..4, at(3)).await;
        assert_eq!(known(&ledger, 0..4).await, [0], "it was not asked again");
        let mut changes = IdChanges::default();
        changes.read(rows::event_digest(&id(2)), at(2));
        let changes = AllChanges {
            read_ids: changes.into_changes(),
            ..AllChanges::default()
        };
        drop(ledger.mirrors.committing(changes));
        assert_eq!(known(&ledger, 0..4).await, [0, 3]);
    }

    #[tokio::test]
    async fn a_row_that_is_none_is_left_out_and_the_others_are_known() {
        let ledger = Ledger::open(Store::memory()).await.unwrap();
        read(&ledger, 0..2, at(0)).await;
        let damaged = ledger.turn(|draft| {
            draft.put_bytes(rows::read_ids(7), b"cut".to_vec());
            Ok(())
        });
        damaged.await.unwrap();
        let again = Ledger::open(ledger.store).await.unwrap();
        assert_eq!(known(&again, 0..4).await, [0, 1]);
    }

    #[tokio::test]
    async fn ids_of_a_row_each_are_rewritten_once() {
        let store = Store::memory();
        let ledger = Ledger::open(store.clone()).await.unwrap();
        let old = ledger.turn(|draft| {
            for n in 0..4_500_u32 {
                let key = [rows::IDS_OF_BEFORE, &rows::event_digest(&id(n))].concat();
                // With the number of a trail, or without.
                let number = if n % 2 == 0 { vec![0; 8] } else { vec![] };
                let row = [rows::second_bytes(at(n.into())), number].concat();
                draft.put_bytes(key, row);
            }
            // An even earlier version wrote digits.
            let digits = [rows::IDS_OF_BEFORE, id(9_000).0.as_bytes()].concat();
            draft.put_bytes(digits, rows::second_bytes(at(0)));
            Ok(())
        });
        old.await.unwrap();
        for _ in 0..2 {
            let ledger = Ledger::open(store.clone()).await.unwrap();
            ledger.rewrite_ids().await.unwrap();
            assert_eq!(n_rows(&ledger).await, 3);
            assert_eq!(known(&ledger, 0..5_000).await.len(), 4_500);
            let before = store.scan(rows::IDS_OF_BEFORE, None, 10).await.unwrap();
            assert!(before.is_empty(), "{before:?}");
        }
    }
}
