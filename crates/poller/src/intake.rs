//! Sorts a page: what is known already, what has to be compared, what is refused.
//!
//! In: a page, the index. Out: what sweeps and head polls need to know of it, and the tasks to look
//! at. Must never happen: a row that is neither compared, nor known, nor refused by name.

use syncbell_acr::{Page, Row};
use syncbell_event::{SyncTask, TaskId};
use xxhash_rust::xxh3::xxh3_64;

use crate::admit::admit;
use crate::head::HeadPage;
use crate::row::IdHash;
use crate::state::{Seen, State};
use crate::sweep::Answer;

/// A page, sorted.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    page_no: Option<u64>,
    page_size: Option<u64>,
    total_count: Option<u64>,
    /// In the order of the rows, refused ones with them where they have one.
    ids: Vec<IdHash>,
    created_ms: Vec<Option<i64>>,
    n_rows: usize,
    /// Every row is a finished task just as it is known, or refused.
    is_quiet: bool,
    /// To be compared with the store.
    pub(crate) seen: Vec<Seen>,
    /// Known just as they are; only where all tasks were asked for.
    pub(crate) known: Vec<SyncTask>,
    /// Rows that are no tasks, or none that can be kept.
    pub(crate) refused: Vec<(Option<TaskId>, String)>,
}

/// How to sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The rank in the list of the page's first row, from 0.
    pub(crate) first_rank: u64,
    /// Give the known tasks too.
    pub(crate) all: bool,
}

/// Sorts `page`, and notes in the index what is listed.
pub(crate) fn sort(page: &Page, state: &mut State, wish: Wish) -> Intake {
    let mut intake = Intake {
        page_no: page.page_no,
        page_size: page.page_size,
        total_count: page.total_count,
        n_rows: page.n_rows(),
        is_quiet: true,
        ..Intake::default()
    };
    for (rank, row) in (wish.first_rank..).zip(page.rows()) {
        intake.take(row, rank, state, wish.all);
    }
    intake
}

impl Intake {
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn page_size(&self) -> Option<u64> {
        self.page_size
    }

    /// All tasks, where they were asked for.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &SyncTask> + Clone {
        self.seen.iter().map(|seen| &seen.task).chain(&self.known)
    }

    pub(crate) fn as_answer(&self) -> Answer<'_> {
        Answer {
            page_no: self.page_no,
            page_size: self.page_size,
            total_count: self.total_count,
            ids: &self.ids,
            created_ms: &self.created_ms,
            n_rows: self.n_rows,
        }
    }

    pub(crate) fn as_head_page(&self) -> HeadPage<'_> {
        HeadPage {
            page_no: self.page_no,
            page_size: self.page_size,
            total_count: self.total_count,
            ids: &self.ids,
            created_ms: &self.created_ms,
            n_rows: self.n_rows,
            is_quiet: self.is_quiet,
        }
    }

    fn take(&mut self, row: Row<'_>, rank: u64, state: &mut State, all: bool) {
        let text = xxh3_64(row.text().as_bytes());
        if let Some(id) = row.id() {
            let id = IdHash::of(id);
            if !all && state.index.knows_text(id, text) {
                self.list(id, row.created_ms(), rank, state);
                return;
            }
        }
        let task = match row.task() {
            Ok(task) => task,
            Err(why) => {
                let task_id = why.task_id.map(TaskId::from);
                self.refuse(task_id, why.reason, row.created_ms(), rank, state);
                return;
            }
        };
        let task_id = task.task_id.clone();
        let task = match admit(task) {
            Ok(task) => task,
            Err(why) => {
                self.refuse(Some(task_id), why, row.created_ms(), rank, state);
                return;
            }
        };
        let id = IdHash::of(task_id.as_str());
        let created_ms = task.created_at.map(jiff::Timestamp::as_millisecond);
        self.list(id, created_ms, rank, state);
        if !state.index.knows_task(id, &task, text) {
            self.is_quiet = false;
            self.seen.push(Seen { id, task, text });
        } else if all {
            self.known.push(task);
        }
    }

    fn list(&mut self, id: IdHash, created_ms: Option<i64>, rank: u64, state: &mut State) {
        self.ids.push(id);
        self.created_ms.push(created_ms);
        state.index.meet(id);
        if state.index.is_open(id) {
            self.is_quiet = false;
            let turn = state.turn();
            state.index.look_at_open(id, turn, Some(rank));
        }
    }

    fn refuse(
        &mut self,
        task_id: Option<TaskId>,
        reason: String,
        created_ms: Option<i64>,
        rank: u64,
        state: &mut State,
    ) {
        if let Some(task_id) = &task_id {
            // It says nothing about the order: as the row before it.
            let before = self.created_ms.last().copied().flatten();
            let id = IdHash::of(task_id.as_str());
            self.list(id, created_ms.or(before), rank, state);
        }
        self.refused.push((task_id, reason));
    }
}
