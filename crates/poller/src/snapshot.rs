//! Which tasks a snapshot tells when the notifier asks how everything stands. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use syncbell_event::{Change, Kind, Phase, SyncTask};

use crate::diff::is_bad;

/// Whether the notifier may have missed what `task` says.
pub(crate) fn is_wanted(task: &SyncTask, since: Timestamp) -> bool {
    task.status.phase() == Phase::Open
        || is_bad(task)
        || task.touched_at().is_none_or(|at| at >= since)
}

/// The newest task of each sync rule: what shows that a rule is well again.
#[derive(Debug, Default)]
pub(crate) struct Newest(BTreeMap<String, SyncTask>);

impl Newest {
    pub(crate) fn note(&mut self, task: &SyncTask) {
        let Some(rule) = &task.sync_rule_id else {
            return;
        };
        match self.0.get_mut(rule) {
            Some(newest) if newest.created_at >= task.created_at => {}
            Some(newest) => *newest = task.clone(),
            None => {
                self.0.insert(rule.clone(), task.clone());
            }
        }
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &SyncTask> {
        self.0.values()
    }
}

/// `task` as it stands; `n` says how often it was in this state before.
pub(crate) fn snapshot_of(task: SyncTask, n: u32) -> Change {
    Change {
        kind: Kind::Snapshot,
        task_id: task.task_id.clone(),
        before: None,
        after: Some(task),
        changed: Vec::new(),
        n,
    }
}

#[cfg(test)]
mod tests {
    use syncbell_event::Status;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn task(id: &str, status: Status, created: i64, modified: i64) -> SyncTask {
        let mut task = SyncTask::new(id, status);
        task.sync_rule_id = Some("crsr-1".to_owned());
        task.created_at = Some(at(created));
        task.modified_at = Some(at(modified));
        task
    }

    #[test]
    fn what_is_open_or_bad_or_new_is_wanted_and_old_success_is_not() {
        assert!(is_wanted(&task("a", Status::Error, 1, 1), at(100)));
        assert!(is_wanted(&task("b", Status::Pending, 1, 1), at(100)));
        assert!(is_wanted(&task("c", Status::Success, 1, 100), at(100)));
        assert!(!is_wanted(&task("d", Status::Success, 1, 99), at(100)));
    }

    #[test]
    fn of_each_rule_the_newest_is_kept() {
        let mut newest = Newest::default();
        for (created, id) in [(1, "old"), (3, "new"), (2, "between")] {
            newest.note(&task(id, Status::Success, created, created));
        }
        let ids: Vec<&str> = newest.tasks().map(|task| task.task_id.as_str()).collect();
        assert_eq!(ids, ["new"]);
    }
}
