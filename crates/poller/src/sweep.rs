//! Reads a list that moves while it is read. Pure: it says which page to ask for next and when the
//! list was read completely; asking is its caller's job.
//!
//! The list has no cursor and no documented order. Pages are read in ascending order, so that a task
//! that appears at the head only repeats rows. A task that goes away shifts rows up, and the next
//! page then begins behind a row that nobody saw: that shows in `TotalCount`, which is compared
//! between answers: where it fell, the pages before are read again, as far as the rows may have moved.
//! At the end the head of the list is read once more.
//!
//! In: what matters of each answered page. Out: the next page number, or how it ended. Must never
//! happen: a list taken for complete of which a row was skipped, an endless sweep.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::order::Order;
use crate::row::IdHash;

/// The most pages one sweep asks for, all rounds together: some million tasks.
pub(crate) const PAGE_CAP: u32 = 100_000;

/// How often the list is read from its start before it counts as too restless.
pub(crate) const ROUNDS: u32 = 3;

/// In one round pages are read again this often for the rows that may have moved, and once more for
/// each [`PAGES_A_STEP_BACK`] pages.
const STEPS_BACK: u32 = 10;
const PAGES_A_STEP_BACK: u32 = 4;

/// What a sweep needs to know of an answered page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer<'a> {
    /// The answer's own `PageNo`.
    pub(crate) page_no: Option<u64>,
    /// The answer's own `PageSize`: fewer rows than this end the list, never fewer than we asked for.
    pub(crate) page_size: Option<u64>,
    /// `TotalCount`.
    pub(crate) total_count: Option<u64>,
    /// Ids in the order of the rows, refused rows with them where they have one.
    pub(crate) ids: &'a [IdHash],
    /// When each of `ids` was created, in milliseconds, as far as it is known; as many as `ids`.
    pub(crate) created_ms: &'a [Option<i64>],
    /// Rows, refused ones too.
    pub(crate) n_rows: usize,
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask for this page.
    Ask(u32),
    /// The sweep is over.
    End(Outcome),
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The list was read to its end.
    Complete {
        /// Every row has an id and `TotalCount` promised no more: what was not seen is not there.
        proves_absence: bool,
        /// Its rows stand in the order of their creation, the newest first.
        newest_first: bool,
    },
    /// It cannot be said what the list holds.
    Unstable(Why),
}

/// Why a sweep is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It changed in each round.
    Moving,
    /// Pages repeat each other though there are more rows.
    Repeating,
    /// More pages than [`PAGE_CAP`].
    TooLong,
}

impl Why {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "the list changed each time it was read",
            Self::Repeating => "pages repeat each other though the list has more rows",
            Self::TooLong => "the list has more pages than one sweep reads",
        }
    }
}

/// One sweep over one list.
#[derive(Debug)]
pub(crate) struct Sweep {
    page_cap: u32,
    pages: u32,
    round: u32,
    asked: u32,
    read: Round,
}

/// What is known of the list since the round began.
#[derive(Debug, Default)]
struct Round {
    seen: HashSet<IdHash, RandomState>,
    order: Order,
    /// The last page that was read, of those in ascending order.
    read_to: u32,
    n_steps_back: u32,
    /// Pages in a row, at the end of what was read, with nothing new on them.
    n_repeats: u64,
    /// Rows without an id, each taken for a task of its own.
    n_nameless: u64,
    first: First,
    last_total: Option<u64>,
    /// It ended with a page that repeats others.
    repeated: bool,
    /// Set once the last page was read: the head is being read again.
    head: Option<Head>,
}

/// How page 1 looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct First {
    id: Option<IdHash>,
    total: Option<u64>,
}

/// The second look at the head of the list.
#[derive(Clone, Debug, Default)]
struct Head {
    first: First,
    n_new: u64,
}

/// How a page ends the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastPage {
    /// Fewer rows than the answer's page size, or none.
    Short,
    /// Nothing new on it, or the number of another page.
    Repeated,
}

impl Sweep {
    /// A sweep that has asked for nothing yet: ask for page 1.
    pub(crate) fn new(page_cap: u32) -> Self {
        Self {
            page_cap,
            pages: 0,
            round: 1,
            asked: 1,
            read: Round::default(),
        }
    }

    /// Answers read so far.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// Takes the answer to the page that was asked for last.
    pub(crate) fn answered(&mut self, answer: &Answer<'_>) -> Step {
        self.pages += 1;
        let n_new = self.read.note(self.asked, answer);
        let last = self.read.last_page(self.asked, answer, n_new);
        let step = if self.read.head.is_some() {
            self.at_the_head(answer, n_new, last)
        } else {
            self.on_the_way(answer, last)
        };
        match step {
            Step::Ask(_) if self.pages >= self.page_cap => {
                Step::End(Outcome::Unstable(Why::TooLong))
            }
            Step::Ask(page_no) => {
                self.asked = page_no;
                step
            }
            Step::End(_) => step,
        }
    }

    fn on_the_way(&mut self, answer: &Answer<'_>, last: Option<LastPage>) -> Step {
        let fell_by = self.read.note_total(answer);
        if self.asked == 1 && self.read.read_to == 0 {
            self.read.first = First::of(answer);
        }
        let read_before = self.asked <= self.read.read_to;
        self.read.read_to = self.read.read_to.max(self.asked);
        if fell_by > 0 && self.asked > 1 {
            return self.step_back(fell_by, answer.page_size);
        }
        let Some(last) = last else {
            return Step::Ask(self.asked + 1);
        };
        // One answer holds the whole list: nothing moved between answers.
        if self.asked == 1 && !read_before {
            return self.complete(answer.total_count);
        }
        if last == LastPage::Repeated {
            // More inserts than a page holds, while we read: what we look for is further down.
            if self.read.n_repeats <= self.read.grown_pages(answer) {
                return Step::Ask(self.asked + 1);
            }
            // Or a server that ignores PageNo.
            if answer.total_count > Some(self.read.n_rows()) {
                return self.again(Why::Repeating);
            }
            self.read.repeated = true;
        }
        self.read.head = Some(Head::default());
        Step::Ask(1)
    }

    /// Rows have gone, and those behind them moved up: by so many, at most, that nobody saw.
    fn step_back(&mut self, fell_by: u64, page_size: Option<u64>) -> Step {
        self.read.n_steps_back += 1;
        if self.read.n_steps_back > STEPS_BACK + self.read.read_to / PAGES_A_STEP_BACK {
            return self.again(Why::Moving);
        }
        let pages = fell_by.div_ceil(page_size.filter(|size| *size > 0).unwrap_or(1));
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        Step::Ask(self.asked.saturating_sub(pages).max(1))
    }

    /// Reads from page 1 until a page has nothing new.
    fn at_the_head(&mut self, answer: &Answer<'_>, n_new: u64, last: Option<LastPage>) -> Step {
        let Some(head) = &mut self.read.head else {
            return self.again(Why::Moving);
        };
        if self.asked == 1 {
            head.first = First::of(answer);
        }
        head.n_new += n_new;
        if n_new > 0 && last.is_none() {
            return Step::Ask(self.asked + 1);
        }
        let Head { first, n_new } = head.clone();
        // With a count, what moved was seen to move on the way.
        let counted = self.read.first.total.is_some() && first.total.is_some();
        let same = first == self.read.first && n_new == 0;
        if counted || same {
            return self.complete(first.total);
        }
        self.again(Why::Moving)
    }

    fn complete(&self, total: Option<u64>) -> Step {
        let all_rows = match total {
            Some(total) => self.read.n_rows() >= total,
            None => !self.read.repeated,
        };
        Step::End(Outcome::Complete {
            proves_absence: all_rows && self.read.n_nameless == 0,
            newest_first: self.read.order.is_newest_first(),
        })
    }

    fn again(&mut self, why: Why) -> Step {
        if self.round >= ROUNDS {
            return Step::End(Outcome::Unstable(why));
        }
        self.round += 1;
        self.read = Round::default();
        Step::Ask(1)
    }
}

impl First {
    fn of(answer: &Answer<'_>) -> Self {
        Self {
            id: answer.ids.first().copied(),
            total: answer.total_count,
        }
    }
}

impl Round {
    /// Notes the rows; says how many ids are new in this round.
    fn note(&mut self, asked: u32, answer: &Answer<'_>) -> u64 {
        if self.head.is_none() && asked > self.read_to {
            self.n_nameless += answer.n_rows.saturating_sub(answer.ids.len()) as u64;
        }
        // What was read before is not in order any more where it is met again.
        let ordered = self.head.is_none() && asked > self.read_to;
        let mut n_new = 0;
        for (id, created_ms) in answer.ids.iter().zip(answer.created_ms) {
            if self.seen.insert(*id) {
                n_new += 1;
                if ordered {
                    self.order.note(*created_ms);
                }
            }
        }
        self.n_repeats = if n_new > 0 { 0 } else { self.n_repeats + 1 };
        n_new
    }

    /// With inserts at the head, rows are skipped only where `TotalCount` falls: the rows behind a
    /// page's end move up by what goes less what comes, and that is at most what the count falls by.
    /// Says by how much it fell since the last answer.
    fn note_total(&mut self, answer: &Answer<'_>) -> u64 {
        let Some(total) = answer.total_count else {
            return 0;
        };
        let last = self.last_total.replace(total).unwrap_or(total);
        last.saturating_sub(total)
    }

    /// Pages that the list may have grown by, in front of what is read, since the round began.
    fn grown_pages(&self, answer: &Answer<'_>) -> u64 {
        let (Some(then), Some(now)) = (self.first.total, answer.total_count) else {
            return 0;
        };
        let size = answer.page_size.filter(|size| *size > 0).unwrap_or(1);
        now.saturating_sub(then).div_ceil(size)
    }

    /// Different rows met in this round.
    fn n_rows(&self) -> u64 {
        self.seen.len() as u64 + self.n_nameless
    }

    fn last_page(&self, asked: u32, answer: &Answer<'_>, n_new: u64) -> Option<LastPage> {
        if answer.n_rows == 0 {
            return Some(LastPage::Short);
        }
        let echoes_another = answer
            .page_no
            .is_some_and(|page_no| page_no != u64::from(asked));
        let is_new = asked > self.read_to || self.head.is_some();
        let repeats = is_new && n_new == 0 && !answer.ids.is_empty();
        if asked > 1 && (echoes_another || repeats) {
            return Some(LastPage::Repeated);
        }
        // Some servers give fewer rows than the size they name: where the count promises more,
        // only an empty page is the end.
        let short = answer
            .page_size
            .is_some_and(|page_size| (answer.n_rows as u64) < page_size);
        let promised = answer.total_count > Some(self.n_rows());
        (short && !promised).then_some(LastPage::Short)
    }
}

#[cfg(test)]
mod tests;
