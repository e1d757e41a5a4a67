//! How to look at the open tasks that a head poll did not meet. Pure.
//!
//! In: those tasks, about where they stand, what may be asked in this turn. Out: which to ask for by
//! id, or how far to read on. Must never happen: more requests for them than a third of the budget;
//! the same few asked for in each turn while others wait.

use syncbell_event::TaskId;

use crate::index::OpenTask;

/// By id only where all of them come up within so many turns; else the sweeps are sooner.
const TURNS_A_ROUND: usize = 4;

/// What to do about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: there are none, or the next full sweep sees them.
    Leave,
    /// Read on in the list to this page, which covers them all.
    ReadTo(u32),
    /// Ask for these, each by its id.
    ById(Vec<TaskId>),
}

/// What it costs to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Requests that may be made for it in this turn.
    pub(crate) n_requests: usize,
    /// Pages that the head poll has read.
    pub(crate) pages_read: u32,
    pub(crate) page_size: u64,
    /// Single tasks can be asked for.
    pub(crate) by_id: bool,
    /// The list was seen to be newest first: reading on gets to where they stand.
    pub(crate) by_page: bool,
    /// See [`OpenTask::rank`].
    pub(crate) n_added: u64,
}

/// Decides about the open tasks that the turn did not meet.
pub(crate) fn plan(mut unmet: Vec<&OpenTask>, means: Means) -> Plan {
    if unmet.is_empty() {
        return Plan::Leave;
    }
    let page_of = |open: &OpenTask| {
        let rank = open.rank(means.n_added)?;
        u32::try_from(rank / means.page_size.max(1) + 1).ok()
    };
    let pages: Option<Vec<u32>> = unmet.iter().map(|open| page_of(open)).collect();
    let deepest = pages.filter(|_| means.by_page);
    let deepest = deepest.and_then(|pages| pages.into_iter().max());
    let n_pages = deepest.map(|page| page.saturating_sub(means.pages_read).max(1) as usize);
    let reads = deepest.filter(|_| n_pages <= Some(means.n_requests));
    let few = means.by_id && unmet.len() <= means.n_requests.saturating_mul(TURNS_A_ROUND);
    match (reads, n_pages) {
        (Some(page), Some(n_pages)) if !few || n_pages < unmet.len() => Plan::ReadTo(page),
        _ if few => {
            // Who waited longest comes first; of these the oldest.
            unmet.sort_by_key(|open| (open.turn, open.created_at, open.task_id.clone()));
            let ids = unmet.iter().take(means.n_requests.max(1));
            Plan::ById(ids.map(|open| open.task_id.clone()).collect())
        }
        _ => Plan::Leave,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use syncbell_event::{Status, SyncTask};

    use super::*;
    use crate::index::Index;
    use crate::row::{IdHash, Row};

    /// An index of open tasks at these ranks, the first the newest.
    fn index(ranks: &[Option<u64>]) -> Index {
        let mut index = Index::default();
        for (n, rank) in ranks.iter().enumerate() {
            let name = format!("rst-{n}");
            let mut task = SyncTask::new(name.as_str(), Status::Pending);
            let second = 1_000 - i64::try_from(n).unwrap();
            task.created_at = Timestamp::from_second(second).ok();
            let id = IdHash::of(&name);
            index.put(
                id,
                &Row::new(task, "f", Timestamp::UNIX_EPOCH),
                "f",
                0,
                true,
            );
            if rank.is_some() {
                index.look_at_open(id, 0, *rank);
            }
        }
        index
    }

    fn means(index: &Index) -> Means {
        Means {
            n_requests: 10,
            pages_read: 1,
            page_size: 100,
            by_id: true,
            by_page: true,
            n_added: index.n_added(),
        }
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        match plan {
            Plan::ById(ids) => ids.iter().map(TaskId::as_str).collect(),
            Plan::Leave | Plan::ReadTo(_) => panic!("{plan:?}"),
        }
    }

    #[test]
    fn few_deep_tasks_are_asked_for_by_id_and_many_near_ones_by_page() {
        let far = index(&[Some(5_000), Some(90_000)]);
        let decided = plan(far.open().collect(), means(&far));
        assert_eq!(ids(&decided), ["rst-1", "rst-0"], "the oldest first");
        let near = index(&[Some(150); 9]);
        assert_eq!(plan(near.open().collect(), means(&near)), Plan::ReadTo(2));
        let one = index(&[Some(150)]);
        assert_eq!(ids(&plan(one.open().collect(), means(&one))), ["rst-0"]);
        assert_eq!(plan(Vec::new(), means(&one)), Plan::Leave);
    }

    #[test]
    fn where_they_stand_moves_with_what_was_added_since() {
        let mut index = index(&[Some(150); 3]);
        for n in 0..100 {
            let task = SyncTask::new(format!("new-{n}"), Status::Success);
            let id = IdHash::of(&format!("new-{n}"));
            index.put(
                id,
                &Row::new(task, "f", Timestamp::UNIX_EPOCH),
                "f",
                0,
                true,
            );
        }
        let decided = plan(index.open().collect(), means(&index));
        assert_eq!(decided, Plan::ReadTo(3));
    }

    #[test]
    fn without_reads_by_id_pages_or_sweeps_have_to_do() {
        let far = index(&[Some(5_000)]);
        let mut denied = means(&far);
        denied.by_id = false;
        assert_eq!(plan(far.open().collect(), denied), Plan::Leave);
        let near = index(&[Some(500)]);
        assert_eq!(plan(near.open().collect(), denied), Plan::ReadTo(6));
        denied.by_page = false;
        assert_eq!(plan(near.open().collect(), denied), Plan::Leave);
    }

    #[test]
    fn more_than_a_few_turns_of_look_ups_are_left_to_the_sweeps() {
        let many = index(&[Some(90_000); 41]);
        assert_eq!(plan(many.open().collect(), means(&many)), Plan::Leave);
        let some = index(&[None; 40]);
        assert_eq!(ids(&plan(some.open().collect(), means(&some))).len(), 10);
    }

    #[test]
    fn each_comes_up_in_turn() {
        let mut index = index(&[Some(90_000); 30]);
        let mut met = std::collections::BTreeSet::new();
        for turn in 1..=3 {
            let decided = plan(index.open().collect(), means(&index));
            for id in ids(&decided) {
                met.insert(id.to_owned());
            }
            for id in ids(&decided) {
                index.look_at_open(IdHash::of(id), turn, None);
            }
        }
        assert_eq!(met.len(), 30);
    }
}
