//! The simulated service's tasks, clock, faults and ledger, and direct control over all of them.
//!
//! In: commands from tests, scripts, the generator and the control surface. Out: listings for the
//! server, the [`Ledger`] for whoever compares. Must never happen: that a lock is held over an
//! await, or that a list answer and the ledger see different states.

mod play;
mod service;
mod state;
mod watched;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use syncbell_event::{AlertStatus, Status, TaskId};

pub(crate) use self::state::State;
use crate::Error;
use crate::bulk::StaticLoad;
use crate::fault::{Caller, Extent, Fault, Target};
use crate::ledger::{Ledger, Served, Told};
use crate::server::Options;
use crate::task::{NewTask, Progress, Task};

/// A handle on the simulated service. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Counts changes, so that one can wait for a condition.
    changes: watch::Sender<u64>,
    tracker: TaskTracker,
    token: CancellationToken,
    hook: watched::Hook,
}

/// What a script says about one of its steps, when it has been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// When, by the real clock.
    pub at: Timestamp,
    /// What happened, one line for people.
    pub text: String,
}

/// Counts, for people and for tests that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tasks there are.
    pub tasks: usize,
    /// Of these: still open.
    pub open: usize,
    /// Of these: their present state was in no answer yet. Unchanged tasks of static loads do not count.
    pub unserved: usize,
    /// Calls of the API, whatever their answer.
    pub calls: u64,
    /// Lists that were sent in full.
    pub answers: u64,
    /// Tasks yet to be inserted while pages are read.
    pub inserts_left: u32,
    /// Tasks yet to be removed while pages are read.
    pub removals_left: u32,
    /// Faults that are switched on.
    pub faults: Vec<Fault>,
    /// The server's clock.
    pub server_time: Timestamp,
}

impl World {
    /// A world without tasks and without a server. Most use
    /// [`Handle::world`](crate::Handle::world).
    pub fn new(options: &Options) -> Self {
        let inner = Inner {
            state: Mutex::new(State::new(options)),
            changes: watch::Sender::new(0),
            tracker: TaskTracker::new(),
            token: CancellationToken::new(),
            hook: watched::Hook::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Puts a task at the front of its lists (`age_ms` aside) and gives its id.
    ///
    /// An id that is there already is that task's next state: its other fields stay.
    pub fn add_task(&self, task: NewTask) -> TaskId {
        self.change(|state| state.add(task)).into()
    }

    /// The task goes on; its issue stays as it is.
    pub fn set_status(&self, task_id: &str, status: Status) -> Result<(), Error> {
        self.change(|state| {
            let issue = state.task(task_id).and_then(|task| task.new.issue.clone());
            state.enter(task_id, status, issue)
        })
    }

    /// The task goes on, with this issue or none.
    pub fn set_state(
        &self,
        task_id: &str,
        status: Status,
        issue: Option<&str>,
    ) -> Result<(), Error> {
        self.change(|state| state.enter(task_id, status, issue.map(str::to_owned)))
    }

    /// The task is gone: listed no more, and not found by its id either.
    pub fn remove_task(&self, task_id: &str) -> Result<(), Error> {
        self.change(|state| state.tasks.remove(task_id))
    }

    /// The task is listed no more; `GetRepoSyncTask` still finds it.
    pub fn unlist_task(&self, task_id: &str) -> Result<(), Error> {
        self.change(|state| state.tasks.unlist(task_id))
    }

    /// How far the task came, as `GetRepoSyncTask` tells it until its status changes. Until it is said, it is
    /// made from the status: a failed task has one failed layer.
    pub fn set_progress(&self, task_id: &str, progress: Progress) -> Result<(), Error> {
        self.change(|state| {
            state.tasks.get_mut(task_id)?.progress = Some(progress);
            Ok(())
        })
    }

    /// Many tasks that are there from the start, at next to no cost: see [`StaticLoad`].
    pub fn load_static(&self, load: &StaticLoad) -> Result<(), Error> {
        self.change(|state| state.add_load(load))
    }

    /// Tasks older than this are removed before each list answer; `None`: tasks stay for ever.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let retention = retention.and_then(|age| SignedDuration::try_from(age).ok());
        self.change(|state| state.retention = retention);
    }

    /// Before each answer of page 2 or later a new task is put at the front, until there were `n`.
    /// Every third of them fails, the first included; each has a route of its own.
    pub fn insert_while_paging(&self, n: u32) {
        self.change(|state| state.inserts_left = n);
    }

    /// Before each answer of page 2 or later the newest healthy task is removed, until there were
    /// `n`: the rows behind it move up.
    pub fn remove_while_paging(&self, n: u32) {
        self.change(|state| state.removals_left = n);
    }

    /// Switches a fault on. Refused when a thousand are on already.
    pub fn fault(&self, fault: Fault, extent: Extent) -> Result<(), Error> {
        self.fault_for(Target::default(), fault, extent)
    }

    /// As [`World::fault`], but only calls that `target` means meet it: an [`Action`](crate::Action), an
    /// instance, or both.
    pub fn fault_for(
        &self,
        target: impl Into<Target>,
        fault: Fault,
        extent: Extent,
    ) -> Result<(), Error> {
        let target = target.into();
        let is_added = self.change(|state| state.faults.add(fault, target, extent, Instant::now()));
        if is_added {
            Ok(())
        } else {
            Err(Error::TooManyFaults)
        }
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.change(|state| state.faults.clear());
    }

    /// By how much the server's clock is ahead, faults aside.
    pub fn set_clock_skew(&self, skew: SignedDuration) {
        self.change(|state| state.skew = skew);
    }

    /// The monitor's baseline is complete: a task that is first served from now on is expected to be
    /// told if it is bad, however old it is. Until then, only if it was touched at or after the Date
    /// of its instance's first answer.
    pub fn baseline_done(&self) {
        self.change(|state| state.witness.baseline_done());
    }

    /// What a right monitor must have told by now.
    pub fn ledger(&self) -> Ledger {
        let state = self.state();
        let unserved = state.unserved().filter_map(|task| {
            Some(Told {
                task_id: task.shown.task_id.clone(),
                rule: state.witness.rule(&task.shown)?,
                status: AlertStatus::Firing,
                visible_at: task.shown.visible_at,
                served_at: None,
                resolved_by: None,
                certain: true,
            })
        });
        let mut unserved: Vec<_> = unserved.collect();
        unserved.sort_by(|a, b| (a.visible_at, &a.task_id).cmp(&(b.visible_at, &b.task_id)));
        Ledger {
            expected: state.witness.expected(),
            unserved,
        }
    }

    /// How things stand.
    pub fn counts(&self) -> Counts {
        let state = self.state();
        let is_open = |task: &&Task| {
            !matches!(
                task.shown.status,
                Status::Success | Status::Error | Status::Canceled
            )
        };
        Counts {
            tasks: state.tasks.len(),
            open: state.tasks.own().filter(is_open).count(),
            unserved: state.unserved().count(),
            calls: state.n_calls,
            answers: state.n_answers,
            inserts_left: state.inserts_left,
            removals_left: state.removals_left,
            faults: state.faults.active(Instant::now()).cloned().collect(),
            server_time: state.server_now(),
        }
    }

    /// What one call of the API meets; counts it.
    pub(crate) fn meet_faults(&self, caller: Caller<'_>) -> Vec<Fault> {
        self.change(|state| {
            state.n_calls += 1;
            state.faults.meet(caller, Instant::now())
        })
    }

    /// The last byte of this answer was handed to the connection.
    pub(crate) fn served(&self, served: &Served) {
        self.change(|state| {
            state.n_answers += u64::from(served.is_list);
            state.witness.note(served, Timestamp::now());
        });
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another holder leaves plain data, at worst one change short.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.inner.changes.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.inner.tracker
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.inner.token
    }
}

#[cfg(test)]
mod tests;
