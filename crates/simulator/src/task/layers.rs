//! How far a task came, layer by layer: as somebody said, else made from the task itself, the same each
//! time. A failed task has exactly one failed layer.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use syncbell_event::Status;

use super::Task;

/// How far a task came, as `GetRepoSyncTask` tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Progress {
    /// `Progress`: the vendor's page has 0 (just begun, or failed) and 1 (done).
    pub progress: f64,
    /// `SyncedSize`, in bytes.
    pub synced_size_bytes: u64,
    /// `LayerTasks`.
    pub layers: Vec<Layer>,
}

/// One entry of `LayerTasks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// `Digest`, `sha256:` and 64 hex.
    pub digest: String,
    /// `ArtifactDigest`, likewise.
    #[serde(default)]
    pub artifact_digest: String,
    /// `TaskStatus` of the layer.
    pub status: Status,
    /// `Size`, in bytes.
    #[serde(default)]
    pub size_bytes: u64,
    /// `SyncedSize`, in bytes.
    #[serde(default)]
    pub synced_size_bytes: u64,
}

impl Task {
    /// What was said, else what fits the status.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone().unwrap_or_else(|| self.made_up())
    }

    fn made_up(&self) -> Progress {
        let image = self.shown.route.as_deref().unwrap_or(&self.shown.task_id);
        let seed = Sha256::digest(image);
        let n_layers = 3 + usize::from(seed[0] % 4);
        // The layer at which the task stands, or stood when it ended.
        let stands_at = usize::from(seed[1]) % n_layers;
        let status = &self.shown.status;
        let layers: Vec<Layer> = (0..n_layers)
            .map(|n| {
                let size_bytes = (1 << 20) + (u64::from(seed[n + 2]) << 19);
                let (status, synced_size_bytes) =
                    layer_state(status, n.cmp(&stands_at), size_bytes);
                Layer {
                    digest: digest(&format!("{image}#{n}")),
                    artifact_digest: digest(image),
                    status,
                    size_bytes,
                    synced_size_bytes,
                }
            })
            .collect();
        Progress {
            progress: if *status == Status::Success { 1.0 } else { 0.0 },
            synced_size_bytes: layers.iter().map(|layer| layer.synced_size_bytes).sum(),
            layers,
        }
    }
}

/// A layer before, at or after the one at which a task of this status stands.
fn layer_state(task: &Status, place: std::cmp::Ordering, size_bytes: u64) -> (Status, u64) {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (task, place) {
        (Status::Pending, _) => (Status::Pending, 0),
        (Status::Success, _) | (_, Less) => (Status::Success, size_bytes),
        (Status::Error, Equal) => (Status::Error, size_bytes / 3),
        (Status::Error | Status::Canceled, Equal | Greater) => (Status::Canceled, 0),
        (_, Equal) => (Status::Synchronizing, size_bytes / 2),
        (_, Greater) => (Status::Pending, 0),
    }
}

fn digest(of: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(of)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::NewTask;

    fn task(status: Status) -> Task {
        let now = Timestamp::UNIX_EPOCH;
        let new = NewTask::of("a/b", "1").status(status);
        Task::new(new, "rst-1".to_owned(), 0, now, now)
    }

    fn n_layers(task: &Task, status: &Status) -> usize {
        let layers = task.progress().layers;
        layers
            .iter()
            .filter(|layer| layer.status == *status)
            .count()
    }

    #[test]
    fn a_failed_task_has_one_failed_layer_and_always_the_same() {
        let failed = task(Status::Error);
        assert_eq!(n_layers(&failed, &Status::Error), 1);
        assert_eq!(failed.progress(), failed.progress());
        assert!(failed.progress().progress <= 0.0);
        let all: u64 = failed.progress().layers.iter().map(|l| l.size_bytes).sum();
        assert!(failed.progress().synced_size_bytes < all);
    }

    #[test]
    fn a_task_that_is_done_has_all_its_layers() {
        let done = task(Status::Success).progress();
        assert!(
            done.layers
                .iter()
                .all(|layer| layer.status == Status::Success)
        );
        assert!(done.progress >= 1.0);
        assert_eq!(task(Status::Pending).progress().synced_size_bytes, 0);
        let running = task(Status::Synchronizing);
        assert_eq!(n_layers(&running, &Status::Synchronizing), 1);
    }

    #[test]
    fn what_was_said_holds_until_the_status_changes() {
        let mut running = task(Status::Synchronizing);
        running.progress = Some(Progress {
            progress: 0.4,
            synced_size_bytes: 7,
            layers: vec![],
        });
        let now = Timestamp::UNIX_EPOCH;
        running.enter(Status::Synchronizing, None, now, now);
        assert_eq!(running.progress().synced_size_bytes, 7);
        running.enter(Status::Success, None, now, now);
        assert_ne!(running.progress().synced_size_bytes, 7);
    }
}
