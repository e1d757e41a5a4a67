//! Which tasks a snapshot tells when the notifier asks how everything stands. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use syncbell_event::{Change, Kind};

use crate::diff::is_bad;
use crate::row::Row;

/// Whether the notifier may have missed what `row` says.
pub(crate) fn is_wanted(row: &Row, since: Timestamp) -> bool {
    row.open() || is_bad(&row.task) || row.task.touched_at().is_none_or(|at| at >= since)
}

/// The newest of each sync rule: what shows that a rule is well again.
#[derive(Default)]
pub(crate) struct Newest(BTreeMap<String, Row>);

impl Newest {
    pub(crate) fn note(&mut self, rows: Vec<Row>) {
        for row in rows {
            let Some(rule) = &row.task.sync_rule_id else {
                continue;
            };
            match self.0.get_mut(rule) {
                Some(newest) if newest.task.created_at >= row.task.created_at => {}
                Some(newest) => *newest = row,
                None => {
                    self.0.insert(rule.clone(), row);
                }
            }
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.values()
    }
}

/// The row's task as it stands.
pub(crate) fn snapshot_of(row: &Row) -> Change {
    Change {
        kind: Kind::Snapshot,
        task_id: row.task.task_id.clone(),
        before: None,
        after: Some(row.task.clone()),
        changed: Vec::new(),
        n: row.times_before(),
    }
}

#[cfg(test)]
mod tests {
    use syncbell_event::{Status, SyncTask};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row(id: &str, status: Status, created: i64, modified: i64) -> Row {
        let mut task = SyncTask::new(id, status);
        task.sync_rule_id = Some("crsr-1".to_owned());
        task.created_at = Some(at(created));
        task.modified_at = Some(at(modified));
        Row::new(task, "f", at(modified))
    }

    #[test]
    fn what_is_open_or_bad_or_new_is_wanted_and_old_success_is_not() {
        assert!(is_wanted(&row("a", Status::Error, 1, 1), at(100)));
        assert!(is_wanted(&row("b", Status::Pending, 1, 1), at(100)));
        assert!(is_wanted(&row("c", Status::Success, 1, 100), at(100)));
        assert!(!is_wanted(&row("d", Status::Success, 1, 99), at(100)));
    }

    #[test]
    fn of_each_rule_the_newest_is_kept() {
        let mut newest = Newest::default();
        let rows = [(1, "old"), (3, "new"), (2, "between")];
        for (created, id) in rows {
            newest.note(vec![row(id, Status::Success, created, created)]);
        }
        let ids: Vec<&str> = newest.rows().map(|row| row.task.task_id.as_str()).collect();
        assert_eq!(ids, ["new"]);
    }
}
