//! Reads the newest pages of the list, until it is sure that nothing further down is new. Pure: it
//! says which page to ask for next; asking is its caller's job.
//!
//! In: what matters of each answered page. Out: the next page number, or how it ended. Must never
//! happen: a stop before a new task, an endless read.
//!
//! It stops early only where the list was seen to be newest first, a full page held nothing but
//! finished tasks just as they are known, and all of them were created well before the newest task
//! that was known. What changes further down is for the open tasks' own look-ups and for full sweeps.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::order::Order;
use crate::row::IdHash;

/// The most pages one head poll reads before it leaves the rest to a full sweep.
pub(crate) const HEAD_PAGES: u32 = 50;

/// What a head poll needs to know of an answered page.
#[derive(Clone, Debug)]
pub(crate) struct HeadPage<'a> {
    /// The answer's own `PageNo`.
    pub(crate) page_no: Option<u64>,
    /// The answer's own `PageSize`.
    pub(crate) page_size: Option<u64>,
    pub(crate) total_count: Option<u64>,
    pub(crate) ids: &'a [IdHash],
    /// As many as `ids`.
    pub(crate) created_ms: &'a [Option<i64>],
    pub(crate) n_rows: usize,
    /// Every row is a finished task just as it is known.
    pub(crate) is_quiet: bool,
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadStep {
    /// Ask for this page.
    Ask(u32),
    /// Nothing further down is new.
    Sure,
    /// It cannot be said: a full sweep has to.
    Unsure,
}

/// One head poll.
#[derive(Debug)]
pub(crate) struct Head {
    /// Pages whose tasks are all older than this hold nothing new; `None` while no task is known.
    quiet_before_ms: Option<i64>,
    /// Once it was sure: read on to this page all the same.
    read_to: Option<u32>,
    asked: u32,
    seen: HashSet<IdHash, RandomState>,
    order: Order,
}

impl Head {
    /// A poll that has asked for nothing yet: ask for page 1. `quiet_before_ms` is the creation of
    /// the newest task that is known, less what may come late.
    pub(crate) fn new(quiet_before_ms: Option<i64>) -> Self {
        Self {
            quiet_before_ms,
            read_to: None,
            asked: 1,
            seen: HashSet::default(),
            order: Order::default(),
        }
    }

    /// Pages read or being read.
    pub(crate) fn pages(&self) -> u32 {
        self.asked
    }

    /// Goes on, after it was sure, to a page that holds open tasks.
    pub(crate) fn read_on_to(&mut self, page_no: u32) -> HeadStep {
        self.read_to = Some(page_no);
        self.next()
    }

    /// Takes the answer to the page that was asked for last.
    pub(crate) fn answered(&mut self, page: &HeadPage<'_>) -> HeadStep {
        let asked = u64::from(self.asked);
        if page.page_no.is_some_and(|page_no| page_no != asked) && page.n_rows > 0 {
            return HeadStep::Unsure;
        }
        let mut n_new = 0;
        for (id, created_ms) in page.ids.iter().zip(page.created_ms) {
            if self.seen.insert(*id) {
                n_new += 1;
                self.order.note(*created_ms);
            }
        }
        if self.is_the_end(page) {
            return HeadStep::Sure;
        }
        if !self.order.is_newest_first() || (n_new == 0 && !page.ids.is_empty() && self.asked > 1) {
            return HeadStep::Unsure;
        }
        let oldest = page.created_ms.iter().flatten().min();
        let is_old = oldest.is_some_and(|oldest| Some(*oldest) < self.quiet_before_ms);
        let is_enough = match self.read_to {
            None => page.is_quiet && is_old,
            Some(read_to) => self.asked >= read_to,
        };
        if is_enough {
            return HeadStep::Sure;
        }
        self.next()
    }

    fn next(&mut self) -> HeadStep {
        if self.asked >= HEAD_PAGES.max(self.read_to.unwrap_or(0)) {
            return HeadStep::Unsure;
        }
        self.asked += 1;
        HeadStep::Ask(self.asked)
    }

    /// The list ends here, and all of it was seen.
    fn is_the_end(&self, page: &HeadPage<'_>) -> bool {
        let n_rows = page.n_rows as u64;
        let short = n_rows == 0 || page.page_size.is_some_and(|size| n_rows < size);
        short
            && page
                .total_count
                .is_none_or(|total| total <= self.seen.len() as u64)
    }
}

#[cfg(test)]
mod tests;
