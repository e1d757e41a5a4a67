//! Kinds of rows of which mostly none stands, and which are asked for with each entry: the store is looked at once a turn.
//!
//! In: a key, the store. Out: whether nothing of its kind stands there. The answer holds for the whole turn, although others
//! commit meanwhile, as nobody else puts a row that the turn asks for: the consume loop alone holds back and lets wait. Triggers
//! are marked by the lane of their target, by the consume loop for targets that have no lane, and by hand, which waits for
//! both; retention scans a page of them before it first asks here.

use std::cell::Cell;

use syncbell_store::{Error, Reader};

use crate::rows;

/// What is held back, what waits in a group, triggers that are dead.
const KINDS: [&[u8]; 3] = [rows::HELD, rows::WAITS, rows::DEAD_TRIGGERS];

/// What one turn knows of them: whether one stands in the store, where it looked.
#[derive(Default)]
pub(super) struct Rare([Cell<Option<bool>>; KINDS.len()]);

impl Rare {
    /// Whether nothing stands in the store of the kind of which `key` is, or begins.
    pub(super) fn is_none(&self, reader: &Reader, key: &[u8]) -> Result<bool, Error> {
        let mut kinds = KINDS.iter().zip(&self.0);
        let Some((kind, known)) = kinds.find(|(kind, _)| key.starts_with(kind)) else {
            return Ok(false);
        };
        if let Some(stands) = known.get() {
            return Ok(!stands);
        }
        let stands = !reader.scan(kind, None, 1)?.is_empty();
        known.set(Some(stands));
        Ok(!stands)
    }
}
