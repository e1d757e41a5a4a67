//! Reads a list that moves while it is read. Pure: it says which page to ask for next and when the
//! list was read completely; asking is its caller's job.
//!
//! The list has no cursor and no documented order. Pages are read in ascending order, so that a task
//! that appears at the head only repeats rows. A task that goes away shifts rows up, and the next
//! page then begins behind a row that nobody saw: that shows in `TotalCount`, which is compared
//! between answers, and at the end with page 1, read again.
//!
//! In: what matters of each answered page. Out: the next page number, or how it ended. Must never
//! happen: a list taken for complete of which a row was skipped, an endless sweep.

use std::collections::HashSet;

use syncbell_event::TaskId;

/// The most pages one sweep asks for, all rounds together: a million tasks.
pub(crate) const PAGE_CAP: u32 = 10_000;

/// How often the list is read from its start before it counts as too restless.
pub(crate) const ROUNDS: u32 = 3;

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
    pub(crate) ids: Vec<&'a TaskId>,
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
    seen: HashSet<TaskId>,
    /// Rows without an id, each taken for a task of its own.
    n_nameless: u64,
    first: First,
    last_total: Option<u64>,
    /// `TotalCount` fell between two answers: rows may have been skipped.
    shrank: bool,
    /// It ended with a page that repeats others.
    repeated: bool,
    /// Set once the last page was read: the head is being read again.
    head: Option<Head>,
}

/// How page 1 looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct First {
    id: Option<TaskId>,
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
        let n_new = self.read.note(answer);
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
        self.read.note_total(answer);
        if self.asked == 1 {
            self.read.first = First::of(answer);
        }
        let Some(last) = last else {
            return Step::Ask(self.asked + 1);
        };
        // One answer holds the whole list: nothing moved between answers.
        if self.asked == 1 {
            return self.complete(answer.total_count);
        }
        if last == LastPage::Repeated {
            // A server that ignores PageNo; or more inserts than a page holds, while we read.
            if answer.total_count > Some(self.read.n_rows()) {
                return self.again(Why::Repeating);
            }
            self.read.repeated = true;
        }
        self.read.head = Some(Head::default());
        Step::Ask(1)
    }

    /// Reads from page 1 until a page has nothing new, then compares.
    fn at_the_head(&mut self, answer: &Answer<'_>, n_new: u64, last: Option<LastPage>) -> Step {
        if self.asked == 1 {
            self.read.note_total(answer);
        }
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
        let only_inserts = match (self.read.first.total, first.total) {
            // The second: inserts that we met on the way, as where the list grows at its end.
            (Some(before), Some(now)) => now == before + n_new || now == self.read.n_rows(),
            _ => first == self.read.first && n_new == 0,
        };
        if only_inserts && !self.read.shrank {
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
            id: answer.ids.first().copied().cloned(),
            total: answer.total_count,
        }
    }
}

impl Round {
    /// Notes the rows; says how many ids are new in this round.
    fn note(&mut self, answer: &Answer<'_>) -> u64 {
        if self.head.is_none() {
            self.n_nameless += answer.n_rows.saturating_sub(answer.ids.len()) as u64;
        }
        let mut n_new = 0;
        for id in &answer.ids {
            if !self.seen.contains(*id) {
                self.seen.insert((*id).clone());
                n_new += 1;
            }
        }
        n_new
    }

    /// With inserts at the head, rows are skipped only where `TotalCount` falls: the rows behind a
    /// page's end move up by what goes less what comes, and that is at most what the count falls by.
    fn note_total(&mut self, answer: &Answer<'_>) {
        if let Some(total) = answer.total_count {
            self.shrank |= self.last_total.is_some_and(|last| total < last);
            self.last_total = Some(total);
        }
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
        if asked > 1 && (echoes_another || (n_new == 0 && !answer.ids.is_empty())) {
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
