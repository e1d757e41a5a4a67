//! The simulated service's tasks, clock, faults and ledger, and direct control over all of them.
//!
//! In: commands from tests, scripts, the generator and the control surface. Out: listings for the
//! server, the [`Ledger`] for whoever compares. Must never happen: that a lock is held over an
//! await, or that a list answer and the ledger see different states.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use syncbell_event::{AlertStatus, Status, TaskId};

use crate::Error;
use crate::fault::{Extent, Fault, Faults};
use crate::ledger::{Ledger, Served, Told, Witness};
use crate::nonces::Nonces;
use crate::script::{Act, Script, Step};
use crate::server::{Instance, Options};
use crate::task::{ModifiedTime, NewTask, Task, skewed};

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
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) instances: Vec<Instance>,
    pub(crate) max_page_size: usize,
    pub(crate) modified_time: ModifiedTime,
    pub(crate) skew: SignedDuration,
    pub(crate) faults: Faults,
    pub(crate) nonces: Nonces,
    pub(crate) tasks: HashMap<u64, Task>,
    seq_of: HashMap<String, u64>,
    /// Per instance (created, seq): the newest is last.
    pub(crate) lists: HashMap<String, BTreeSet<(i64, u64)>>,
    next_seq: u64,
    pub(crate) inserts_left: u32,
    pub(crate) removals_left: u32,
    witness: Witness,
    n_calls: u64,
    n_answers: u64,
    story: Vec<Step>,
    n_playing: u32,
    notes: Vec<Note>,
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
    /// Of these: their present state was in no answer yet.
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
        let lists = options
            .instances
            .iter()
            .map(|i| (i.id.clone(), BTreeSet::new()))
            .collect();
        let state = State {
            instances: options.instances.clone(),
            max_page_size: options.max_page_size.max(1),
            modified_time: options.modified_time,
            skew: options.clock_skew,
            faults: Faults::default(),
            nonces: Nonces::default(),
            tasks: HashMap::new(),
            seq_of: HashMap::new(),
            lists,
            next_seq: 1,
            inserts_left: 0,
            removals_left: 0,
            witness: Witness::new(options.canceled),
            n_calls: 0,
            n_answers: 0,
            story: Vec::new(),
            n_playing: 0,
            notes: Vec::new(),
        };
        let inner = Inner {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            tracker: TaskTracker::new(),
            token: CancellationToken::new(),
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
            let issue = state.task(task_id)?.new.issue.clone();
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

    /// The task is listed no more.
    pub fn remove_task(&self, task_id: &str) -> Result<(), Error> {
        self.change(|state| state.remove(task_id))
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
        let is_added = self.change(|state| state.faults.add(fault, extent, Instant::now()));
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
            open: state.tasks.values().filter(is_open).count(),
            unserved: state.unserved().count(),
            calls: state.n_calls,
            answers: state.n_answers,
            inserts_left: state.inserts_left,
            removals_left: state.removals_left,
            faults: state.faults.active().cloned().collect(),
            server_time: state.server_now(),
        }
    }

    /// Adds the script's baseline tasks now, and keeps its steps for [`World::start_story`].
    pub fn load(&self, script: Script) {
        self.change(|state| {
            for task in script.baseline {
                state.add(task);
            }
            state.story = script.steps;
        });
    }

    /// Plays the loaded script's steps, each at its offset from now.
    pub fn start_story(&self) {
        let steps = self.change(|state| std::mem::take(&mut state.story));
        self.play(steps);
    }

    /// Plays `steps`, each at its offset from now, beside whatever else is playing.
    pub fn play(&self, mut steps: Vec<Step>) {
        steps.sort_by_key(|step| step.at);
        self.change(|state| state.n_playing += 1);
        let world = self.clone();
        let start = Instant::now();
        self.inner.tracker.spawn(async move {
            for step in steps {
                let stopped = tokio::select! {
                    () = world.inner.token.cancelled() => true,
                    () = tokio::time::sleep_until(start + step.at) => false,
                };
                if stopped {
                    break;
                }
                world.take(step);
            }
            world.change(|state| state.n_playing -= 1);
        });
    }

    /// Waits until everything that plays has been played (or the simulator is stopped).
    pub async fn story_finished(&self) {
        self.until(|world| world.state().n_playing == 0).await;
    }

    /// What scripts said about their steps so far.
    pub fn notes(&self) -> Vec<Note> {
        self.state().notes.clone()
    }

    /// Waits until `condition` holds; it is looked at after each change of the world.
    pub async fn until(&self, condition: impl Fn(&World) -> bool) {
        let mut changes = self.inner.changes.subscribe();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn take(&self, step: Step) {
        let outcome = match step.act {
            Act::Add(task) => {
                self.add_task(*task);
                Ok(())
            }
            Act::Enter {
                task_id,
                status,
                issue,
            } => self.set_state(&task_id, status, issue.as_deref()),
            Act::Remove { task_id } => self.remove_task(&task_id),
            Act::Fault { fault, extent } => self.fault(fault, extent),
        };
        match outcome {
            Ok(()) => self.change(|state| {
                if let Some(text) = step.note {
                    state.notes.push(Note {
                        at: Timestamp::now(),
                        text,
                    });
                }
            }),
            Err(error) => tracing::warn!(%error, "could not take a step of the script"),
        }
    }

    /// What one call of the API meets; counts it.
    pub(crate) fn meet_faults(&self) -> Vec<Fault> {
        self.change(|state| {
            state.n_calls += 1;
            state.faults.meet(Instant::now())
        })
    }

    /// The last byte of this answer was handed to the connection.
    pub(crate) fn served(&self, served: &Served) {
        self.change(|state| {
            state.n_answers += 1;
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

impl State {
    pub(crate) fn server_now(&self) -> Timestamp {
        let fault = self.faults.skew(Instant::now());
        skewed(skewed(Timestamp::now(), self.skew), fault)
    }

    pub(crate) fn add(&mut self, mut new: NewTask) -> String {
        let task_id = new
            .id
            .take()
            .unwrap_or_else(|| format!("rst-{:013x}", self.next_seq));
        if self.seq_of.contains_key(&task_id) {
            let entered = self.enter(&task_id, new.status, new.issue);
            debug_assert!(entered.is_ok(), "its sequence number was just found");
            return task_id;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        if new.listed_by.is_empty() {
            let source = new
                .from
                .as_ref()
                .and_then(|image| image.instance_id.clone());
            let known = source.filter(|id| self.lists.contains_key(id));
            new.listed_by
                .extend(known.or_else(|| self.instances.first().map(|i| i.id.clone())));
        }
        let task = Task::new(
            new,
            task_id.clone(),
            seq,
            self.server_now(),
            Timestamp::now(),
        );
        for instance in &task.new.listed_by {
            let list = self.lists.entry(instance.clone()).or_default();
            list.insert((task.shown.created_ms, seq));
        }
        self.seq_of.insert(task_id.clone(), seq);
        self.tasks.insert(seq, task);
        task_id
    }

    pub(crate) fn task(&mut self, task_id: &str) -> Result<&mut Task, Error> {
        let seq = self.seq_of.get(task_id);
        seq.and_then(|seq| self.tasks.get_mut(seq))
            .ok_or_else(|| Error::NoSuchTask {
                task_id: task_id.to_owned(),
            })
    }

    pub(crate) fn enter(
        &mut self,
        task_id: &str,
        status: Status,
        issue: Option<String>,
    ) -> Result<(), Error> {
        let server_now = self.server_now();
        self.task(task_id)?
            .enter(status, issue, server_now, Timestamp::now());
        Ok(())
    }

    pub(crate) fn remove(&mut self, task_id: &str) -> Result<(), Error> {
        let seq = self.task(task_id)?.seq;
        self.seq_of.remove(task_id);
        if let Some(task) = self.tasks.remove(&seq) {
            for instance in &task.new.listed_by {
                if let Some(list) = self.lists.get_mut(instance) {
                    list.remove(&(task.shown.created_ms, seq));
                }
            }
        }
        Ok(())
    }

    fn unserved(&self) -> impl Iterator<Item = &Task> {
        self.tasks
            .values()
            .filter(|task| !self.witness.has_seen(&task.shown))
    }
}

#[cfg(test)]
mod tests;
