//! Where records stand and where readers stand. A reader keeps its [`Next`] in its own ledger, in
//! the batch with what the records caused; the log never remembers it for the reader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where one record stands in a stream. The embedded log has the one partition 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The partition; order is kept within one.
    pub partition: u32,
    /// The number of the record in its partition, from 0, without holes on the embedded log (Kafka
    /// leaves holes).
    pub offset: u64,
}

/// Where a reader stands: the next offset to read, per partition. A partition that is not named is
/// read from its beginning. As JSON: `{"0": 42}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Next(BTreeMap<u32, u64>);

impl Next {
    /// Before everything: no partition is named.
    pub fn new() -> Next {
        Next::default()
    }

    /// The next offset to read in `partition`; `None` where nothing of it was read yet.
    pub fn get(&self, partition: u32) -> Option<u64> {
        self.0.get(&partition).copied()
    }

    /// Sets the next offset to read in `partition`, also backwards.
    pub fn set(&mut self, partition: u32, offset: u64) {
        self.0.insert(partition, offset);
    }

    /// Steps over the record at `position`. Never steps back, so that a record handed over twice
    /// does no harm.
    pub fn advance(&mut self, position: Position) {
        let next = self.0.entry(position.partition).or_insert(0);
        *next = (*next).max(position.offset.saturating_add(1));
    }

    /// Whether the record at `position` is behind this reader.
    pub fn is_past(&self, position: Position) -> bool {
        self.get(position.partition)
            .is_some_and(|next| position.offset < next)
    }

    /// Partitions with their next offsets, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0
            .iter()
            .map(|(partition, offset)| (*partition, *offset))
    }

    /// How many records lie between this reader and `end`, summed over the partitions of `end`.
    pub fn lag(&self, end: &Next) -> u64 {
        end.iter()
            .map(|(partition, end)| end.saturating_sub(self.get(partition).unwrap_or(0)))
            .sum()
    }
}

impl FromIterator<(u32, u64)> for Next {
    fn from_iter<I: IntoIterator<Item = (u32, u64)>>(offsets: I) -> Next {
        Next(offsets.into_iter().collect())
    }
}

/// What a stream holds now, per partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The offsets of the oldest records that can be read.
    pub start: Next,
    /// One past the newest records that can be read. Equal to `start` where nothing is held.
    pub end: Next,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_kept_as_a_small_json_map() {
        let next: Next = [(0, 42), (5, 7)].into_iter().collect();
        let text = serde_json::to_string(&next).unwrap();
        assert_eq!(text, r#"{"0":42,"5":7}"#);
        assert_eq!(serde_json::from_str::<Next>(&text).unwrap(), next);
    }

    #[test]
    fn advancing_never_steps_back() {
        let mut next = Next::new();
        next.advance(Position {
            partition: 1,
            offset: 9,
        });
        next.advance(Position {
            partition: 1,
            offset: 3,
        });
        assert_eq!(next.get(1), Some(10));
        assert_eq!(next.get(0), None);
        assert!(next.is_past(Position {
            partition: 1,
            offset: 9
        }));
        assert!(!next.is_past(Position {
            partition: 1,
            offset: 10
        }));
        assert!(!next.is_past(Position {
            partition: 0,
            offset: 0
        }));
    }

    #[test]
    fn lag_counts_every_partition_of_the_end() {
        let end: Next = [(0, 10), (1, 4)].into_iter().collect();
        assert_eq!(Next::new().lag(&end), 14);
        assert_eq!([(0, 8)].into_iter().collect::<Next>().lag(&end), 6);
        assert_eq!(end.lag(&end), 0);
    }
}
