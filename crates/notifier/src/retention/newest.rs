//! The newest so many of a kind (rows, or what stands in them), of which no index by time is kept: one pass counts them
//! by age, and says from when on the next one keeps them. Pure.
//!
//! In: the times of rows. Out: from when on rows are kept. Must never happen: one forgotten that is among the newest
//! `limit`.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The rows of one kind, as far as they are counted.
#[derive(Debug)]
pub(crate) struct Newest {
    limit: u64,
    slack: u64,
    /// By their second; of the pass under way.
    counted: BTreeMap<i64, u64>,
    keep_from: Option<Timestamp>,
    /// Rows that the last pass left, and that came since it began.
    n_rows: u64,
    n_came: u64,
    /// How many of these had come when the pass under way began.
    n_came_before: u64,
}

impl Newest {
    pub(crate) fn new(limit: u64, slack: u64) -> Self {
        Self {
            limit,
            slack,
            counted: BTreeMap::new(),
            keep_from: None,
            n_rows: 0,
            n_came: 0,
            n_came_before: 0,
        }
    }

    /// Rows of before this are forgotten, as the last pass counted.
    pub(crate) fn keep_from(&self) -> Option<Timestamp> {
        self.keep_from
    }

    /// Whether a pass would find clearly more rows than are kept.
    pub(crate) fn is_over(&self) -> bool {
        self.n_rows + self.n_came > self.limit + self.slack
    }

    /// Rows that are put since the last pass.
    pub(crate) fn came(&mut self, n_rows: u64) {
        self.n_came += n_rows;
    }

    /// A pass begins.
    pub(crate) fn begin(&mut self) {
        self.counted.clear();
        self.n_came_before = self.n_came;
    }

    /// The pass leaves so many of this time.
    pub(crate) fn count(&mut self, at: Timestamp, n: u64) {
        *self.counted.entry(at.as_second()).or_default() += n;
    }

    /// The pass is at its end.
    pub(crate) fn end(&mut self) {
        self.n_rows = self.counted.values().sum();
        self.n_came -= self.n_came_before;
        self.keep_from = None;
        let mut kept = 0;
        for (second, n) in self.counted.iter().rev() {
            if kept >= self.limit {
                self.keep_from = Timestamp::from_second(second + 1).ok();
                break;
            }
            kept += n;
        }
        if self.keep_from.is_none() {
            // All that are too many are of one second: the next pass would find nothing to forget either.
            self.n_rows = self.n_rows.min(self.limit);
        }
        self.counted.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// One pass over `rows`: what it leaves.
    fn pass(newest: &mut Newest, rows: &[i64]) -> Vec<i64> {
        newest.begin();
        let keep_from = newest.keep_from();
        let stays = |second: &&i64| keep_from.is_none_or(|from| at(**second) >= from);
        let left: Vec<i64> = rows.iter().filter(stays).copied().collect();
        for second in &left {
            newest.count(at(*second), 1);
        }
        newest.end();
        left
    }

    #[test]
    fn it_is_over_once_clearly_more_came_than_is_kept() {
        let mut newest = Newest::new(100, 20);
        newest.came(120);
        assert!(!newest.is_over());
        newest.came(1);
        assert!(newest.is_over());
        pass(&mut newest, &[1; 100]);
        assert!(!newest.is_over());
        newest.came(21);
        assert!(newest.is_over());
    }

    #[test]
    fn what_is_all_of_one_second_is_not_gone_over_again_at_once() {
        let mut newest = Newest::new(100, 20);
        newest.came(500);
        assert_eq!(pass(&mut newest, &[7; 500]).len(), 500);
        assert!(!newest.is_over());
        newest.came(21);
        assert!(newest.is_over());
    }

    proptest! {
        #[test]
        fn the_second_pass_leaves_the_newest_and_few_more(
            mut rows in prop::collection::vec(0..2_000_i64, 0..600), limit in 1..300_u64
        ) {
            let mut newest = Newest::new(limit, 0);
            prop_assert_eq!(&pass(&mut newest, &rows), &rows, "the first one only counts");
            let left = pass(&mut newest, &rows);
            rows.sort_unstable_by(|a, b| b.cmp(a));
            let n = usize::try_from(limit).unwrap().min(rows.len());
            let mut sorted = left.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(&sorted[..n], &rows[..n]);
            // More than the limit are left only where they are of one second.
            prop_assert!(sorted[n..].iter().all(|second| *second == sorted[n - 1]));
        }
    }
}
