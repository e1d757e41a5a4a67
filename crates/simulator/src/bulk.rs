//! A static load: very many healthy tasks that take no memory, because each is made from its number when
//! somebody looks at it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use syncbell_event::{Image, Status};

use crate::ordered::Key;
use crate::task::{
    DEMO_REGION, DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION, Filters, NewTask, Shown, Task,
};

/// Tasks that are there from the start, each with a route of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaticLoad {
    /// How many in all.
    pub tasks: u64,
    /// Of these, spread evenly: tasks with ERROR.
    pub failed: u64,
    /// Of these, spread evenly: tasks that are SYNCHRONIZING.
    pub open: u64,
    /// Which instance lists them; absent: the first one.
    pub instance: Option<String>,
    /// How old the newest is.
    pub newest_age_ms: u64,
    /// How much older each is than the one before.
    pub step_ms: u64,
}

impl Default for StaticLoad {
    fn default() -> Self {
        Self {
            tasks: 0,
            failed: 0,
            open: 0,
            instance: None,
            newest_age_ms: 3_600_000,
            step_ms: 1000,
        }
    }
}

/// More are refused: a mistyped zero must not take the memory.
pub(crate) const MAX_TASKS: u64 = 20_000_000;

const TASKS_A_BATCH: u64 = 25;
const N_NAMESPACES: u64 = 40;
const N_REPOS: u64 = 1000;
const TOOK_MS: i64 = 42_000;

/// A static load in the world: the tasks `first_seq` to `first_seq + n`, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) number: usize,
    pub(crate) first_seq: u64,
    pub(crate) n: u64,
    pub(crate) instance_id: String,
    region_id: String,
    oldest_ms: i64,
    step_ms: i64,
    visible_at: Timestamp,
}

impl Bulk {
    pub(crate) fn new(
        load: &StaticLoad,
        number: usize,
        first_seq: u64,
        (instance_id, region_id): (String, Option<String>),
        server_now: Timestamp,
    ) -> Self {
        let n = load.tasks.min(MAX_TASKS);
        let step_ms = i64::try_from(load.step_ms).unwrap_or(0);
        let newest_ms = server_now
            .as_millisecond()
            .saturating_sub_unsigned(load.newest_age_ms);
        let length_ms = step_ms.saturating_mul(i64::try_from(n.saturating_sub(1)).unwrap_or(0));
        Self {
            number,
            first_seq,
            n,
            instance_id,
            region_id: region_id.unwrap_or_else(|| DEMO_REGION.to_owned()),
            oldest_ms: newest_ms.saturating_sub(length_ms).max(0),
            step_ms,
            visible_at: Timestamp::now(),
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        (0..self.n).map(|n| (self.created_ms(n), self.first_seq + n))
    }

    fn created_ms(&self, n: u64) -> i64 {
        let n = i64::try_from(n).unwrap_or(0);
        self.oldest_ms
            .saturating_add(self.step_ms.saturating_mul(n))
    }

    /// The sequence number of the task with this id, if it is one of these.
    pub(crate) fn seq(&self, task_id: &str) -> Option<u64> {
        let rest = task_id.strip_prefix("rst-bulk")?;
        let (number, n) = rest.split_once('-')?;
        let n: u64 = n.parse().ok()?;
        (number == self.number.to_string() && n < self.n && self.id(n) == task_id)
            .then_some(self.first_seq + n)
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        seq.checked_sub(self.first_seq).is_some_and(|n| n < self.n)
    }

    fn id(&self, n: u64) -> String {
        format!("rst-bulk{}-{n:08}", self.number)
    }

    fn batch(&self, n: u64) -> String {
        format!("BULK{}-{:08}", self.number, n / TASKS_A_BATCH)
    }

    /// The tasks of a batch, as sequence numbers.
    pub(crate) fn of_batch(&self, batch_id: &str) -> std::ops::Range<u64> {
        let parse = || {
            let (number, batch) = batch_id.strip_prefix("BULK")?.split_once('-')?;
            let batch: u64 = batch.parse().ok()?;
            (number == self.number.to_string()).then_some(batch)
        };
        let first = parse().map_or(self.n, |batch| batch.saturating_mul(TASKS_A_BATCH));
        let first = first.min(self.n);
        let last = first.saturating_add(TASKS_A_BATCH).min(self.n);
        self.first_seq + first..self.first_seq + last
    }

    /// As [`Task::matches`], without making the task.
    pub(crate) fn matches(&self, seq: u64, filters: &Filters) -> bool {
        fn is(wanted: Option<&String>, value: impl FnOnce() -> String) -> bool {
            wanted.is_none_or(|wanted| *wanted == value())
        }
        let n = seq - self.first_seq;
        is(filters.namespace.as_ref(), || namespace(n))
            && is(filters.repo.as_ref(), || repo(n))
            && is(filters.tag.as_ref(), || tag(n))
            && is(filters.batch_id.as_ref(), || self.batch(n))
    }

    /// The task of this number; the caller has asked [`Bulk::has`].
    pub(crate) fn task(&self, seq: u64) -> Task {
        let n = seq - self.first_seq;
        let image = |instance: &str, region: &str| Image {
            region_id: Some(region.to_owned()),
            instance_id: Some(instance.to_owned()),
            namespace: Some(namespace(n)),
            repo: Some(repo(n)),
            tag: Some(tag(n)),
        };
        let new = NewTask {
            batch_id: Some(self.batch(n)),
            sync_rule_id: Some(format!("crsr-{}", namespace(n))),
            status: Status::Success,
            from: Some(image(&self.instance_id, &self.region_id)),
            to: Some(image(DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION)),
            listed_by: vec![self.instance_id.clone()],
            ..NewTask::default()
        };
        let mut task = Task::new(new, self.id(n), seq, self.visible_at, self.visible_at);
        let created_ms = self.created_ms(n);
        task.shown = Arc::new(Shown {
            created_ms,
            modified_ms: created_ms.saturating_add(TOOK_MS),
            is_bulk: true,
            ..Shown::clone(&task.shown)
        });
        task
    }
}

fn namespace(n: u64) -> String {
    format!("bulk-{}", n % N_NAMESPACES)
}

fn repo(n: u64) -> String {
    format!("app-{}", n % N_REPOS)
}

fn tag(n: u64) -> String {
    format!("v{n}")
}
