use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use syncbell_event::{Kind, Status, SyncTask, TaskId};

use super::*;
use crate::diff::{Missed, Sight, diff, missed};
use crate::row::Row;

/// Plays pages `echo/size/total: ids` (`-` for what the answer lacks, `?` for a row without id) and
/// gives the pages asked for after page 1, then the end.
fn check(pages: &[&str], expected: &str) {
    let mut sweep = Sweep::new(20);
    let mut told = Vec::new();
    for page in pages {
        let (numbers, rows) = page.split_once(':').unwrap();
        let numbers: Vec<Option<u64>> = numbers.split('/').map(|n| n.parse().ok()).collect();
        let named = rows.split_whitespace().filter(|id| *id != "?");
        let ids: Vec<IdHash> = named.map(IdHash::of).collect();
        let answer = Answer {
            page_no: numbers[0],
            page_size: numbers[1],
            total_count: numbers[2],
            ids: &ids,
            created_ms: &vec![Some(1); ids.len()],
            n_rows: rows.split_whitespace().count(),
        };
        match sweep.answered(&answer) {
            Step::Ask(page_no) => told.push(page_no.to_string()),
            Step::End(Outcome::Complete { proves_absence, .. }) => {
                told.push(format!("complete {proves_absence}"));
                break;
            }
            Step::End(Outcome::Unstable(why)) => {
                told.push(format!("{why:?}"));
                break;
            }
        }
    }
    assert_eq!(told.join(" "), expected, "{pages:?}");
}

#[test]
fn a_list_of_one_short_page_is_read_by_one_answer() {
    check(&["1/2/1:a"], "complete true");
    check(&["1/2/0:"], "complete true");
    check(&["-/-/-:"], "complete true");
}

#[test]
fn after_the_last_page_page_1_is_read_again() {
    check(&["1/2/3:a b", "2/2/3:c", "1/2/3:a b"], "2 1 complete true");
    check(&["1/2/-:a b", "2/2/-:c", "1/2/-:a b"], "2 1 complete true");
}

#[test]
fn a_full_last_page_ends_with_an_empty_one() {
    check(&["1/2/2:a b", "2/2/2:", "1/2/2:a b"], "2 1 complete true");
}

#[test]
fn fewer_rows_than_we_asked_for_end_nothing() {
    // We ask for 100; the answer's own size counts, and where it names none, only an empty page.
    check(&["1/2/3:a b", "2/2/3:c", "1/2/3:a b"], "2 1 complete true");
    check(
        &["1/-/2:a", "2/-/2:b", "3/-/2:", "1/-/2:a"],
        "2 3 1 complete true",
    );
}

#[test]
fn a_short_page_is_not_the_last_while_the_count_promises_more() {
    check(&["1/5/3:a b", "2/5/3:c", "1/5/3:a b"], "2 1 complete true");
    check(&["1/5/9:a b", "2/5/9:", "1/5/9:a b"], "2 1 complete false");
}

#[test]
fn inserts_at_the_head_are_read_until_nothing_is_new() {
    check(
        &["1/2/3:a b", "2/2/4:b c", "3/2/4:", "1/2/4:x a", "2/2/4:b c"],
        "2 3 1 2 complete true",
    );
    check(
        &["1/2/2:a b", "2/2/2:", "1/2/5:x y", "2/2/5:z a", "3/2/5:b"],
        "2 1 2 3 complete true",
    );
}

#[test]
fn rows_met_at_the_end_of_the_list_are_inserts_too() {
    check(
        &["1/2/3:a b", "2/2/4:c x", "3/2/4:", "1/2/4:a b"],
        "2 3 1 complete true",
    );
}

#[test]
fn after_a_removal_the_page_before_is_read_again() {
    // b goes, c moves up to page 1 and would be skipped.
    let moved = [
        "1/2/5:a b",
        "2/2/4:d e",
        "1/2/4:a c",
        "2/2/4:d e",
        "3/2/4:",
        "1/2/4:a c",
    ];
    check(&moved, "2 1 2 3 1 complete true");
    // Three go, so that two pages may have moved.
    let far = [
        "1/2/9:a b",
        "2/2/9:c d",
        "3/2/9:e f",
        "4/2/6:i",
        "2/2/6:g h",
    ];
    check(&far, "2 3 4 2 3");
}

#[test]
fn a_removal_hidden_by_an_insert_skips_nothing() {
    let moved = ["1/2/4:a b", "2/2/4:c d", "3/2/4:", "1/2/4:x a", "2/2/4:c d"];
    check(&moved, "2 3 1 2 complete true");
}

#[test]
fn a_list_that_never_rests_is_unstable_after_three_rounds() {
    let mut pages = Vec::new();
    for total in (0..60).rev().map(|n| n * 2 + 4) {
        pages.push(format!("-/2/{total}:a b"));
        pages.push(format!("-/2/{}:c{total} d{total}", total - 1));
    }
    let mut sweep = Sweep::new(1_000);
    let mut ended = None;
    for page in pages.iter().cycle().take(500) {
        let (numbers, rows) = page.split_once(':').unwrap();
        let total: u64 = numbers.rsplit('/').next().unwrap().parse().unwrap();
        let ids: Vec<IdHash> = rows.split_whitespace().map(IdHash::of).collect();
        let step = sweep.answered(&Answer {
            page_size: Some(2),
            total_count: Some(total),
            ids: &ids,
            created_ms: &[Some(1); 2],
            n_rows: 2,
            ..Answer::default()
        });
        if let Step::End(outcome) = step {
            ended = Some(outcome);
            break;
        }
    }
    assert_eq!(ended, Some(Outcome::Unstable(Why::Moving)));
}

#[test]
fn without_a_count_a_head_that_moved_makes_it_read_everything_again() {
    let round = ["1/2/-:a b", "2/2/-:c", "1/2/-:x a", "2/2/-:b c"];
    check(&round, "2 1 2 1");
}

#[test]
fn many_inserts_while_reading_move_the_rest_to_later_pages() {
    // Four appear between the first two answers.
    let pages = [
        "1/2/5:a b",
        "2/2/9:y z",
        "3/2/9:a b",
        "4/2/9:c d",
        "5/2/9:e",
        "6/2/9:",
    ];
    check(&pages, "2 3 4 5 6 1");
    // Two: page 2 holds nothing new, and is not the end.
    let all_old = ["1/2/5:a b", "2/2/7:a b", "3/2/7:c d", "4/2/7:e", "5/2/7:"];
    check(&all_old, "2 3 4 5 1");
}

#[test]
fn a_server_that_ignores_the_page_number_ends_the_sweep() {
    // By the echo, or by rows that repeat; with no count nothing says how much is not seen.
    check(
        &["1/2/-:a b", "1/2/-:a b", "1/2/-:a b"],
        "2 1 complete false",
    );
    check(
        &["-/2/-:a b", "-/2/-:a b", "-/2/-:a b"],
        "2 1 complete false",
    );
    check(
        &["1/2/2:a b", "1/2/2:a b", "1/2/2:a b"],
        "2 1 complete true",
    );
    let page = "1/2/9:a b";
    check(&[page; 6], "2 1 2 1 2 Repeating");
}

#[test]
fn a_row_without_an_id_counts_as_a_row_and_makes_absence_unproved() {
    check(&["1/2/1:?"], "complete false");
    check(&["1/2/3:a ?", "2/2/3:c", "1/2/3:a ?"], "2 1 complete false");
}

#[test]
fn pages_without_end_end_at_the_cap() {
    let mut sweep = Sweep::new(20);
    for page in 1..=20 {
        let answer = Answer {
            ids: &[IdHash::of(&page.to_string())],
            created_ms: &[None],
            n_rows: 1,
            ..Answer::default()
        };
        match sweep.answered(&answer) {
            Step::Ask(next) => assert!(next == page + 1 && page < 20),
            end @ Step::End(_) => {
                assert_eq!(end, Step::End(Outcome::Unstable(Why::TooLong)));
                assert_eq!(sweep.pages(), 20);
                return;
            }
        }
    }
    panic!("it asked for more than the cap");
}

/// The vendor's list, newest first.
#[derive(Clone, Debug, Default)]
struct List {
    tasks: Vec<SyncTask>,
    n_made: usize,
}

#[derive(Clone, Debug)]
enum Edit {
    Insert,
    /// Not at the head: the order is nobody's promise.
    InsertAt(prop::sample::Index),
    Remove(prop::sample::Index),
    Turn(prop::sample::Index, Status),
}

impl List {
    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Insert => {
                self.n_made += 1;
                let id = format!("rst-{}", self.n_made);
                self.tasks.insert(0, SyncTask::new(id, Status::Pending));
            }
            Edit::InsertAt(at) => {
                self.n_made += 1;
                let task = SyncTask::new(format!("rst-{}", self.n_made), Status::Pending);
                self.tasks.insert(at.index(self.tasks.len() + 1), task);
            }
            Edit::Remove(_) | Edit::Turn(..) if self.tasks.is_empty() => {}
            Edit::Remove(at) => {
                self.tasks.remove(at.index(self.tasks.len()));
            }
            Edit::Turn(at, status) => {
                let at = at.index(self.tasks.len());
                self.tasks[at].status = status.clone();
            }
        }
    }

    fn page(&self, page_no: u32, size: usize) -> &[SyncTask] {
        let start = ((page_no as usize - 1) * size).min(self.tasks.len());
        &self.tasks[start..(start + size).min(self.tasks.len())]
    }
}

/// What a poller makes of it, without a store.
#[derive(Default)]
struct View {
    rows: BTreeMap<TaskId, Row>,
}

impl View {
    /// One turn; before each answer after the first, the next of `edits` happen to the list. `by_id`:
    /// a task that was not met is asked for by its id, as the poller does where it may.
    fn turn(
        &mut self,
        list: &mut List,
        size: usize,
        edits: &mut dyn Iterator<Item = Vec<Edit>>,
        by_id: bool,
    ) {
        let now = Timestamp::UNIX_EPOCH;
        let mut sweep = Sweep::new(2_000);
        let mut met = HashSet::new();
        let mut step = Step::Ask(1);
        while let Step::Ask(page_no) = step {
            for edit in edits.next().unwrap_or_default() {
                list.edit(&edit);
            }
            let page = list.page(page_no, size);
            for task in page {
                met.insert(task.task_id.clone());
                let known = self.rows.get(&task.task_id);
                if let Some(row) = diff(known, task.clone(), "f", now, Sight::Watching).row {
                    self.rows.insert(task.task_id.clone(), row);
                }
            }
            let ids: Vec<IdHash> = page
                .iter()
                .map(|task| IdHash::of(task.task_id.as_str()))
                .collect();
            step = sweep.answered(&Answer {
                page_no: Some(page_no.into()),
                page_size: Some(size as u64),
                total_count: Some(list.tasks.len() as u64),
                ids: &ids,
                created_ms: &vec![None; ids.len()],
                n_rows: page.len(),
            });
        }
        let Step::End(Outcome::Complete {
            proves_absence: true,
            ..
        }) = step
        else {
            return;
        };
        for (id, row) in &mut self.rows {
            let listed = list.tasks.iter().any(|task| task.task_id == *id);
            if met.contains(id) || by_id && listed {
                continue;
            }
            if let Missed::Keep(kept, change) = missed(row, "f", now) {
                *row = *kept;
                if change.is_some_and(|change| change.kind == Kind::Vanished) {
                    assert!(!listed, "{id} was told as vanished, but it is listed");
                }
            }
        }
    }
}

/// Edits before each of 60 answers; new tasks `anywhere`, or at the head only.
fn edits(anywhere: bool) -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let status = prop_oneof![
        Just(Status::Synchronizing),
        Just(Status::Success),
        Just(Status::Error)
    ];
    let insert = any::<prop::sample::Index>().prop_map(move |at| {
        if anywhere {
            Edit::InsertAt(at)
        } else {
            Edit::Insert
        }
    });
    let edit = prop_oneof![
        3 => insert,
        2 => any::<prop::sample::Index>().prop_map(Edit::Remove),
        3 => (any::<prop::sample::Index>(), status).prop_map(|(at, status)| Edit::Turn(at, status)),
    ];
    prop::collection::vec(prop::collection::vec(edit, 0..4), 0..60)
}

/// Follows a list of which `edits` change something before each answer, and then nothing any more.
fn follow(
    n_before: usize,
    size: usize,
    edits: Vec<Vec<Edit>>,
    by_id: bool,
) -> Result<(), TestCaseError> {
    let mut list = List::default();
    for _ in 0..n_before {
        list.edit(&Edit::Insert);
    }
    let mut view = View::default();
    let mut edits = edits.into_iter();
    for _ in 0..8 {
        view.turn(&mut list, size, &mut edits, by_id);
    }
    for _ in 0..2 {
        view.turn(&mut list, size, &mut std::iter::empty(), by_id);
    }
    for task in &list.tasks {
        let row = view.rows.get(&task.task_id);
        prop_assert_eq!(row.map(|row| &row.task), Some(task));
        prop_assert!(row.is_some_and(|row| !row.vanished && row.absent_since.is_none()));
    }
    let is_open = |task: &&SyncTask| task.status.phase() == syncbell_event::Phase::Open;
    let n_open = list.tasks.iter().filter(is_open).count();
    let known_open = view.rows.values().filter(|row| row.open());
    prop_assert_eq!(known_open.count(), n_open);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_list_that_grows_at_its_head_is_followed_and_nothing_vanishes_falsely(
        n_before in 0_usize..15, size in 1_usize..5, edits in edits(false)
    ) {
        follow(n_before, size, edits, false)?;
    }

    /// A removal and an insert behind the head cancel out in `TotalCount`: there the look by id decides.
    #[test]
    fn a_list_that_grows_anywhere_is_followed_and_nothing_vanishes_falsely(
        n_before in 0_usize..15, size in 1_usize..5, edits in edits(true)
    ) {
        follow(n_before, size, edits, true)?;
    }
}
