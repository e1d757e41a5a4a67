//! The first look at an instance: silent about what was so before it, never about what happens
//! while it is taken.
//!
//! In: the Date of the first answer, the tasks of each page. Out: how to look at unknown tasks, the
//! row that outlives a restart, the snapshots at the end, one log line. Must never happen: a date
//! that moves forward when the baseline is begun again, since what happened between would be lost.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_config::Filters;
use syncbell_event::{Change, Phase, Route, SyncTask, digest_id};
use syncbell_store::{Batch, Store};
use xxhash_rust::xxh3::xxh3_128;

use crate::Error;
use crate::diff::{Sight, is_bad};
use crate::row::{IdHash, decode_row, key_part};
use crate::sightings::{Before, Sightings, UNKNOWN};
use crate::snapshot::{Newest, snapshot_of};

const VERSION: u8 = 1;

/// More filters than one instance ever had.
const FILTERS_LIMIT: usize = 1_000;

/// What is kept of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BaselineRow {
    v: u8,
    /// The server's time of its first answer.
    date: Timestamp,
    /// The list was read completely once.
    complete: bool,
    /// It is no first look: the rows of an earlier one were lost, and `date` is how far that saw.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recovery: bool,
}

/// The baseline of one (instance, filters).
pub(crate) struct Baseline {
    key: Vec<u8>,
    row: Option<BaselineRow>,
    /// `row` is in the store as it is here.
    saved: bool,
    /// Tell open failures from before too.
    alert: bool,
    /// Without a row: what is known of an earlier look.
    before: Before,
    tally: Tally,
}

/// What this turn met, while the baseline is taken.
#[derive(Default)]
struct Tally {
    met: HashSet<IdHash>,
    /// Of each image route, when the newest task that went well was created.
    well: HashMap<RouteHash, Timestamp>,
    newest: Newest,
    found: Found,
}

/// What a complete baseline found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    pub(crate) tasks: u64,
    pub(crate) open: u64,
    /// Failures and issues from before the baseline, of which nothing was told.
    pub(crate) untold: u64,
}

/// A baseline as it stands, for the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stand {
    pub(crate) since: Option<Timestamp>,
    pub(crate) complete: bool,
    /// The rows of an earlier look were lost: what changed after `since` is told.
    pub(crate) recovery: bool,
}

/// Digest of what is asked for: other filters give another list, and a baseline of their own.
pub(crate) fn filters_digest(filters: &Filters) -> String {
    let Filters {
        namespace,
        repo,
        tag,
        batch_id,
    } = filters;
    let parts = [namespace, repo, tag, batch_id].map(Option::as_deref);
    let mut digest = digest_id(parts);
    digest.truncate(16);
    digest
}

impl Baseline {
    /// Reads how far it came before. Where the store says nothing, `sightings` say whether it lost its rows.
    pub(crate) async fn load(
        store: &Store,
        sightings: &Sightings,
        instance: &str,
        filters: &str,
        alert: bool,
    ) -> Result<Self, Error> {
        let key = format!("baseline/{}/{filters}", key_part(instance)).into_bytes();
        let bytes = store.get(key.clone()).await?;
        let row = bytes
            .map(|bytes| decode_row(&key, &bytes, |row: &BaselineRow| row.v, VERSION))
            .transpose()?;
        let before = match &row {
            Some(_) => Before::Nothing,
            None => sightings.before(instance, filters, Timestamp::now()).await,
        };
        Ok(Self {
            key,
            saved: row.is_some(),
            row,
            alert,
            before,
            tally: Tally::default(),
        })
    }

    /// Whether `instance` was looked at before `at`, under whatever filters.
    pub(crate) async fn began_before(
        store: &Store,
        instance: &str,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let prefix = format!("baseline/{}/", key_part(instance)).into_bytes();
        for (key, bytes) in store.scan(prefix, None, FILTERS_LIMIT).await? {
            let row = decode_row(&key, &bytes, |row: &BaselineRow| row.v, VERSION)?;
            if row.date < at {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn stand(&self) -> Stand {
        Stand {
            since: self.row.as_ref().map(|row| row.date),
            complete: self.is_complete(),
            recovery: self.recovers(),
        }
    }

    /// Rows of an earlier look were lost, and are not all read again yet.
    pub(crate) fn recovers(&self) -> bool {
        match &self.row {
            Some(row) => row.recovery && !row.complete,
            None => self.before != Before::Nothing,
        }
    }

    /// How far the earlier look saw, where its rows were lost and that is known.
    pub(crate) fn saw_until(&self) -> Option<Timestamp> {
        match (&self.row, self.before) {
            (Some(row), _) => row.recovery.then_some(row.date),
            (None, Before::Until(until)) => Some(until),
            (None, Before::Nothing | Before::Unknown) => None,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.complete)
    }

    /// A new sweep begins: what was met is met anew.
    pub(crate) fn begin_sweep(&mut self) {
        self.tally = Tally::default();
    }

    /// Takes the first answer's time, unless an earlier one is known.
    pub(crate) fn begin(&mut self, date: Timestamp) {
        let (date, recovery) = match self.before {
            Before::Nothing => (date, false),
            Before::Until(until) => (until.min(date), true),
            Before::Unknown => (date.saturating_sub(UNKNOWN).unwrap_or(Timestamp::MIN), true),
        };
        self.row.get_or_insert(BaselineRow {
            v: VERSION,
            date,
            complete: false,
            recovery,
        });
    }

    /// The row, where it has to be written before more is asked for. Goes into the page's batch.
    pub(crate) fn unsaved(&self) -> Batch {
        let mut batch = Batch::new();
        if let Some(row) = self.row.as_ref().filter(|_| !self.saved) {
            batch.put(self.key.clone(), encode(row));
        }
        batch
    }

    /// What [`Baseline::unsaved`] gave is durable.
    pub(crate) fn set_saved(&mut self) {
        self.saved = true;
    }

    /// Takes note of a page's tasks, before they are diffed.
    pub(crate) fn note<'a>(&mut self, tasks: impl Iterator<Item = &'a SyncTask> + Clone) {
        let Some(row) = self.row.as_ref().filter(|row| !row.complete) else {
            return;
        };
        let date = row.date;
        // A million routes would take a gigabyte, and hashes of them are needed only then.
        if self.alert {
            for task in tasks.clone() {
                self.tally.note_route(task);
            }
        }
        for task in tasks {
            if self.tally.met.insert(IdHash::of(task.task_id.as_str())) {
                let untold = is_bad(task) && task.touched_at() < Some(date) && !self.alerts(task);
                self.tally.note_task(task, untold);
            }
        }
    }

    /// How to look at `task` if it is unknown.
    pub(crate) fn sight(&self, task: &SyncTask) -> Sight {
        match &self.row {
            Some(row) if !row.complete => Sight::Baseline {
                since: row.date,
                alert: self.alerts(task),
            },
            _ => Sight::Watching,
        }
    }

    /// A failure from before that is told all the same: after a loss one without a time, which may be
    /// new; where open failures are to be told, one on whose route nothing newer went well, as far as was
    /// read.
    fn alerts(&self, task: &SyncTask) -> bool {
        if self.recovers() && task.touched_at().is_none() {
            return true;
        }
        self.alert
            && !task.route().is_some_and(|route| {
                let well_at = self.tally.well.get(&route_hash(&route)).copied();
                well_at.is_some() && well_at > task.created_at
            })
    }

    /// After a complete sweep: the snapshots to tell and the row to write with them, or `None` where
    /// the baseline was complete before.
    pub(crate) fn finish(&self) -> Option<(Vec<Change>, Batch)> {
        let row = self.row.as_ref().filter(|row| !row.complete)?;
        let snapshots = self
            .tally
            .newest
            .tasks()
            .filter(|task| !was_told(task, row.date))
            .map(|task| snapshot_of(task.clone(), 0))
            .collect();
        let mut batch = Batch::new();
        let row = BaselineRow {
            complete: true,
            ..row.clone()
        };
        batch.put(self.key.clone(), encode(&row));
        Some((snapshots, batch))
    }

    /// What [`Baseline::finish`] gave is durable. Says what was found.
    pub(crate) fn set_complete(&mut self) -> Found {
        if let Some(row) = &mut self.row {
            row.complete = true;
        }
        std::mem::take(&mut self.tally).found
    }
}

impl Tally {
    fn note_route(&mut self, task: &SyncTask) {
        if let (true, Some(route), Some(created_at)) =
            (task.is_well(), task.route(), task.created_at)
        {
            let newest = self.well.entry(route_hash(&route)).or_insert(created_at);
            *newest = created_at.max(*newest);
        }
    }

    fn note_task(&mut self, task: &SyncTask, untold: bool) {
        self.found.tasks += 1;
        self.found.open += u64::from(task.status.phase() == Phase::Open);
        self.found.untold += u64::from(untold);
        self.newest.note(task);
    }
}

/// What stands for a route while a baseline is taken.
type RouteHash = u128;

fn route_hash(route: &Route) -> RouteHash {
    // Each part with its length in front, so that no two routes look alike.
    let parts = route.parts().iter().flat_map(|part| {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
        length.into_iter().chain(part.bytes())
    });
    xxh3_128(&parts.collect::<Vec<u8>>())
}

/// Whether its first look already put an event into the outbox.
fn was_told(task: &SyncTask, date: Timestamp) -> bool {
    task.status.phase() == Phase::Open || is_bad(task) || task.touched_at() >= Some(date)
}

fn encode(row: &BaselineRow) -> Vec<u8> {
    serde_json::to_vec(row).expect("our own struct has string keys and no failing serializer")
}

#[cfg(test)]
mod tests;
