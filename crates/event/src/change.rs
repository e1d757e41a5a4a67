//! What the poller found out about one task.

use jiff::Timestamp;

use crate::envelope::{Detail, Envelope, Event, Source, TaskData};
use crate::{EventId, SyncTask, TaskId, digest_id};

/// What happened to a task between two looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not a change: how the task stood when Syncbell first saw it. Tells nothing by itself.
    Snapshot,
    /// Seen for the first time.
    Created,
    /// Seen before, different now.
    Updated,
    /// An open task that is no longer listed.
    Vanished,
}

/// One change of one task, before it has an envelope.
///
/// At least one of `before` and `after` is there; `after` is absent only for [`Kind::Vanished`].
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// The task it happened to.
    pub task_id: TaskId,
    /// How it stood before, if it was known.
    pub before: Option<SyncTask>,
    /// How it stands now.
    pub after: Option<SyncTask>,
    /// The fields of [`SyncTask`] that differ, by their names in JSON.
    pub changed: Vec<String>,
    /// How often this task was already in exactly this state (status, issue, modified time).
    pub n: u32,
}

impl Change {
    /// The id that this change has, whoever finds it: over `snapshot` or `change`, instance, task,
    /// status or `vanished`, issue, modified time in milliseconds, n.
    pub fn event_id(&self, instance: &str) -> EventId {
        let kind = if self.kind == Kind::Snapshot {
            "snapshot"
        } else {
            "change"
        };
        let status = self
            .after
            .as_ref()
            .map_or("vanished", |task| task.status.as_str());
        let issue = self.after.as_ref().and_then(|task| task.issue.as_deref());
        let modified_ms = self
            .after
            .as_ref()
            .and_then(|task| task.modified_at)
            .map(|at| at.as_millisecond().to_string());
        let n = self.n.to_string();
        EventId(digest_id([
            Some(kind),
            Some(instance),
            Some(self.task_id.as_str()),
            Some(status),
            issue,
            modified_ms.as_deref(),
            Some(&n),
        ]))
    }

    /// Puts the change into its envelope. `observed_at` is when the poller saw it.
    pub fn into_envelope(
        self,
        source: &Source,
        observed_at: Timestamp,
        detail: Option<Detail>,
    ) -> Envelope {
        Envelope {
            id: self.event_id(&source.instance),
            source: source.clone(),
            subject: self.task_id.0.clone(),
            time: observed_at,
            traceparent: None,
            event: Event::Task {
                kind: self.kind,
                data: Box::new(TaskData {
                    before: self.before,
                    after: self.after,
                    changed: self.changed,
                    detail,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn change(kind: Kind, n: u32) -> Change {
        Change {
            kind,
            task_id: "rst-1".into(),
            before: None,
            after: Some(SyncTask::new("rst-1", Status::Error)),
            changed: vec![],
            n,
        }
    }

    #[test]
    fn the_id_knows_kind_task_state_and_n_but_no_clock() {
        let id = change(Kind::Created, 0).event_id("cri-a");
        assert_eq!(id, change(Kind::Updated, 0).event_id("cri-a"));
        assert_ne!(id, change(Kind::Snapshot, 0).event_id("cri-a"));
        assert_ne!(id, change(Kind::Created, 1).event_id("cri-a"));
        assert_ne!(id, change(Kind::Created, 0).event_id("cri-b"));
        let mut vanished = change(Kind::Vanished, 0);
        vanished.after = None;
        assert_ne!(id, vanished.event_id("cri-a"));
    }
}
