//! What changed about one task. Pure.
//!
//! In: the row we know, the task as it is listed now (or that it is not), and whether we are still
//! taking the baseline. Out: the row to keep and the change to tell. Must never happen: one
//! transition with two ids, two with one, a change of status or issue that is not told.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{Change, Kind, Phase, Status, SyncTask};

use crate::row::{Fingerprint, Row};

/// An open task is told as vanished when this many complete sweeps in a row did not list it.
pub(crate) const MISSES_TO_VANISH: u8 = 2;

/// How long the row of a task that is gone is kept: should it come back, it is not news.
pub(crate) const KEEP_ABSENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How we look at a task that we never saw before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The list is known: an unknown task is new.
    Watching,
    /// The baseline is being taken: what was so before `since` is not news.
    Baseline {
        /// The server's time of the baseline's first answer.
        since: Timestamp,
        /// Failures from before are told all the same.
        alert: bool,
    },
}

/// What a look at a listed task found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The row to write; `None` where it stays as it is.
    pub(crate) row: Option<Row>,
    /// What to tell.
    pub(crate) change: Option<Change>,
}

/// What to do about a task that a complete sweep did not list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Missed {
    /// Nothing yet.
    Unchanged,
    /// Write this row, tell the change if there is one.
    Keep(Box<Row>, Option<Box<Change>>),
    /// Gone long enough: delete the row.
    Forget,
}

/// Compares a listed task with its row. `filters` is the digest of the filters it was listed under,
/// `now` our clock.
pub(crate) fn diff(
    known: Option<&Row>,
    seen: SyncTask,
    filters: &str,
    now: Timestamp,
    sight: Sight,
) -> Found {
    let Some(known) = known else {
        return first_look(seen, filters, now, sight);
    };
    let mut row = known.clone();
    filters.clone_into(&mut row.filters);
    row.misses = 0;
    row.absent_since = None;
    row.vanished = false;

    let changed = changed_fields(known, &seen);
    // One that was told as vanished is told as back, even if it is just as it was.
    let came_back = known.vanished;
    let same = known.fingerprint() == Fingerprint::of(&seen);
    if !came_back && (same || is_stale(&known.task, &seen)) {
        return Found {
            row: (row != *known).then_some(row),
            change: None,
        };
    }
    let before = std::mem::replace(&mut row.task, seen);
    row.compacted = None;
    row.observed_at = now;
    let n = row.enter();
    let only_touched = changed == ["modified_at"] && row.open() && !came_back;
    let change = (!only_touched).then(|| Change {
        kind: Kind::Updated,
        task_id: row.task.task_id.clone(),
        before: Some(before),
        after: Some(row.task.clone()),
        changed: changed.into_iter().map(str::to_owned).collect(),
        n,
    });
    Found {
        row: Some(row),
        change,
    }
}

fn first_look(seen: SyncTask, filters: &str, now: Timestamp, sight: Sight) -> Found {
    let kind = match sight {
        Sight::Watching => Some(Kind::Created),
        Sight::Baseline { since, alert } => {
            if seen.touched_at() >= Some(since) || (alert && is_bad(&seen)) {
                Some(Kind::Created)
            } else if is_bad(&seen) || seen.status.phase() == Phase::Open {
                Some(Kind::Snapshot)
            } else {
                None
            }
        }
    };
    let mut row = Row::new(seen, filters, now);
    let n = row.enter();
    let change = kind.map(|kind| Change {
        kind,
        task_id: row.task.task_id.clone(),
        before: None,
        after: Some(row.task.clone()),
        changed: Vec::new(),
        n,
    });
    Found {
        row: Some(row),
        change,
    }
}

/// Decides about a task that a complete, stable sweep under `filters` did not list.
pub(crate) fn missed(known: &Row, filters: &str, now: Timestamp) -> Missed {
    let mut row = known.clone();
    if known.open() && known.filters == filters {
        row.misses = known.misses.saturating_add(1);
        if row.misses < MISSES_TO_VANISH {
            return Missed::Keep(Box::new(row), None);
        }
        row.vanished = true;
        row.absent_since = Some(now);
        row.observed_at = now;
        let n = row.enter();
        let change = Change {
            kind: Kind::Vanished,
            task_id: known.task.task_id.clone(),
            before: Some(known.task.clone()),
            after: None,
            changed: Vec::new(),
            n,
        };
        return Missed::Keep(Box::new(row), Some(Box::new(change)));
    }
    match known.absent_since {
        None => {
            row.absent_since = Some(now);
            Missed::Keep(Box::new(row), None)
        }
        Some(since) if now.duration_since(since) >= KEEP_ABSENT => Missed::Forget,
        Some(_) => Missed::Unchanged,
    }
}

/// Raises a condition by itself: failed, or with an issue whatever the status.
pub(crate) fn is_bad(task: &SyncTask) -> bool {
    task.status == Status::Error || task.issue.is_some()
}

/// An answer from the past: the modified time went backwards and the state is the same.
fn is_stale(known: &SyncTask, seen: &SyncTask) -> bool {
    known.status == seen.status && known.issue == seen.issue && seen.modified_at < known.modified_at
}

/// The names, as in JSON, of the fields that differ; of a compacted row, those that it still has.
fn changed_fields(known: &Row, b: &SyncTask) -> Vec<&'static str> {
    let a = &known.task;
    let kept = |name: &str| {
        known.compacted.is_none()
            || ["status", "issue", "created_at", "modified_at"].contains(&name)
    };
    // Without `..`: a new field does not compile until it is compared.
    let SyncTask {
        task_id: _, // the key of the comparison
        batch_id,
        sync_rule_id,
        status,
        issue,
        trigger,
        priority,
        created_at,
        modified_at,
        from,
        to,
        cross_user,
        custom_link,
        link_id,
        accelerated,
        extra,
    } = a;
    [
        ("batch_id", *batch_id != b.batch_id),
        ("sync_rule_id", *sync_rule_id != b.sync_rule_id),
        ("status", *status != b.status),
        ("issue", *issue != b.issue),
        ("trigger", *trigger != b.trigger),
        ("priority", *priority != b.priority),
        ("created_at", *created_at != b.created_at),
        ("modified_at", *modified_at != b.modified_at),
        ("from", *from != b.from),
        ("to", *to != b.to),
        ("cross_user", *cross_user != b.cross_user),
        ("custom_link", *custom_link != b.custom_link),
        ("link_id", *link_id != b.link_id),
        ("accelerated", *accelerated != b.accelerated),
        ("extra", *extra != b.extra),
    ]
    .into_iter()
    .filter_map(|(name, differs)| (differs && kept(name)).then_some(name))
    .collect()
}

#[cfg(test)]
mod tests;
