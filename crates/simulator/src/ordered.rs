//! Keys in order, with their ranks: what makes page N of a long list cost as much as page 1.
//!
//! Sorted keys in blocks of bounded length. A rank is found by adding up block lengths, a key by two
//! binary searches; a million keys are some two thousand blocks. Must never happen: an empty block, or
//! one that is longer than [`BLOCK_MAX`].

/// CreateTime in milliseconds (or what a shuffled list has in its place), then the order of adding.
pub(crate) type Key = (i64, u64);

const BLOCK_MAX: usize = 1024;

/// A set of keys that knows the rank of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ordered {
    blocks: Vec<Vec<Key>>,
    len: usize,
}

impl Ordered {
    /// Of keys in any order.
    pub(crate) fn of(mut keys: Vec<Key>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let len = keys.len();
        // Half full, so that what comes later does not split each block at once.
        let blocks = keys.chunks(BLOCK_MAX / 2).map(<[Key]>::to_vec).collect();
        Self { blocks, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The block that holds `key` or would.
    fn block(&self, key: Key) -> usize {
        let after = self
            .blocks
            .partition_point(|block| block.last().is_some_and(|&last| last < key));
        after.min(self.blocks.len().saturating_sub(1))
    }

    pub(crate) fn insert(&mut self, key: Key) {
        if self.blocks.is_empty() {
            self.blocks.push(Vec::new());
        }
        let at = self.block(key);
        let block = &mut self.blocks[at];
        if let Err(place) = block.binary_search(&key) {
            block.insert(place, key);
            self.len += 1;
            if block.len() > BLOCK_MAX {
                let rest = block.split_off(BLOCK_MAX / 2);
                self.blocks.insert(at + 1, rest);
            }
        }
    }

    /// Keys that are not there are no error.
    pub(crate) fn remove(&mut self, key: Key) {
        let at = self.block(key);
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        if let Ok(place) = block.binary_search(&key) {
            block.remove(place);
            self.len -= 1;
            if block.is_empty() {
                self.blocks.remove(at);
            }
        }
    }

    /// Smallest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Key> {
        self.blocks.iter().flatten().copied()
    }

    /// Smallest first, without the first `rank`.
    pub(crate) fn ascending(&self, rank: usize) -> impl Iterator<Item = Key> {
        let (mut skipped, mut first) = (0, self.blocks.len());
        for (at, block) in self.blocks.iter().enumerate() {
            if skipped + block.len() > rank {
                first = at;
                break;
            }
            skipped += block.len();
        }
        let rest = self.blocks[first..].iter().flatten().copied();
        rest.skip(rank.saturating_sub(skipped))
    }

    /// Greatest first, without the first `rank`.
    pub(crate) fn descending(&self, rank: usize) -> impl Iterator<Item = Key> {
        let (mut skipped, mut end) = (0, 0);
        for (at, block) in self.blocks.iter().enumerate().rev() {
            if skipped + block.len() > rank {
                end = at + 1;
                break;
            }
            skipped += block.len();
        }
        let rest = self.blocks[..end].iter().flatten().rev().copied();
        rest.skip(rank.saturating_sub(skipped))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn it_is_a_sorted_set_whatever_is_done_to_it() {
        let mut random = StdRng::seed_from_u64(7);
        let mut model: BTreeSet<Key> = (0..3000).map(|n| (n, 0)).collect();
        let mut ordered = Ordered::of(model.iter().rev().copied().collect());
        for step in 0..20_000 {
            let key = (random.random_range(0..4000), random.random_range(0..3));
            if random.random_bool(0.5) {
                model.insert(key);
                ordered.insert(key);
            } else {
                model.remove(&key);
                ordered.remove(key);
            }
            assert_eq!(ordered.len(), model.len());
            if step % 500 == 0 {
                assert!(ordered.iter().eq(model.iter().copied()));
                let rank = random.random_range(0..model.len() + 10);
                let up = model.iter().skip(rank).take(30).copied();
                assert!(ordered.ascending(rank).take(30).eq(up), "{rank}");
                let down = model.iter().rev().skip(rank).take(30).copied();
                assert!(ordered.descending(rank).take(30).eq(down), "{rank}");
            }
        }
        assert!(
            ordered
                .blocks
                .iter()
                .all(|b| (1..=BLOCK_MAX).contains(&b.len()))
        );
    }

    #[test]
    fn an_empty_one_has_nothing_at_any_rank() {
        let mut ordered = Ordered::default();
        ordered.remove((1, 1));
        assert_eq!(ordered.ascending(0).next(), None);
        assert_eq!(ordered.descending(5).next(), None);
        ordered.insert((1, 1));
        ordered.remove((1, 1));
        assert_eq!(
            (ordered.len(), ordered.descending(usize::MAX).next()),
            (0, None)
        );
    }
}
