//! What the simulated service is made of.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use syncbell_event::Status;

use super::Note;
use crate::Error;
use crate::bulk::StaticLoad;
use crate::calls::CallLog;
use crate::fault::Faults;
use crate::identity::Issuer;
use crate::ledger::Witness;
use crate::nonces::Nonces;
use crate::quota::Meter;
use crate::script::Step;
use crate::server::Options;
use crate::task::{ModifiedTime, NewTask, Task, skewed};
use crate::tasks::{Tasks, before};
use crate::{instance, sync_rule};

#[derive(Debug)]
pub(crate) struct State {
    /// In the order they were added.
    pub(crate) instances: Vec<instance::Known>,
    /// In the order they were added.
    pub(crate) rules: Vec<sync_rule::Known>,
    pub(crate) max_page_size: usize,
    pub(crate) modified_time: ModifiedTime,
    pub(crate) skew: SignedDuration,
    pub(crate) faults: Faults,
    pub(crate) nonces: Nonces,
    pub(crate) issuer: Issuer,
    pub(crate) tasks: Tasks,
    pub(crate) retention: Option<SignedDuration>,
    pub(crate) inserts_left: u32,
    pub(crate) removals_left: u32,
    /// Answers that a drifting list gave.
    pub(crate) n_drifts: u64,
    pub(crate) calls: CallLog,
    pub(crate) quota: Option<Meter>,
    pub(super) witness: Witness,
    pub(super) n_calls: u64,
    pub(super) n_answers: u64,
    pub(super) story: Vec<Step>,
    pub(super) n_playing: u32,
    pub(super) notes: Vec<Note>,
}

/// At most so many tasks age out before one answer.
const MAX_AGED_OUT: usize = 10_000;

impl State {
    pub(super) fn new(options: &Options) -> Self {
        let now = skewed(Timestamp::now(), options.clock_skew);
        let mut tasks = Tasks::new();
        for instance in &options.instances {
            tasks.open_shelf(&instance.id);
        }
        let instances = options.instances.iter().cloned();
        Self {
            instances: instances
                .map(|known| instance::Known::new(known.into(), now))
                .collect(),
            rules: Vec::new(),
            max_page_size: options.max_page_size.max(1),
            modified_time: options.modified_time,
            skew: options.clock_skew,
            faults: Faults::default(),
            nonces: Nonces::default(),
            issuer: Issuer::new(options.identity.clone()),
            tasks,
            retention: None,
            inserts_left: 0,
            removals_left: 0,
            n_drifts: 0,
            calls: CallLog::default(),
            quota: None,
            witness: Witness::new(options.canceled),
            n_calls: 0,
            n_answers: 0,
            story: Vec::new(),
            n_playing: 0,
            notes: Vec::new(),
        }
    }

    pub(crate) fn server_now(&self) -> Timestamp {
        let fault = self.faults.skew(Instant::now());
        skewed(skewed(Timestamp::now(), self.skew), fault)
    }

    pub(crate) fn has_instance(&self, id: &str) -> bool {
        self.instances.iter().any(|known| known.new.id == id)
    }

    pub(crate) fn add(&mut self, mut new: NewTask) -> String {
        if new.listed_by.is_empty() {
            let source = new
                .from
                .as_ref()
                .and_then(|image| image.instance_id.clone());
            let known = source.filter(|id| self.has_instance(id));
            let first = || self.instances.first().map(|known| known.new.id.clone());
            new.listed_by.extend(known.or_else(first));
        }
        let now = self.server_now();
        match self.tasks.add(new, now, Timestamp::now()) {
            Ok(task_id) => task_id,
            Err((task_id, new)) => {
                let entered = self.enter(&task_id, new.status, new.issue);
                debug_assert!(entered.is_ok(), "it was just found");
                task_id
            }
        }
    }

    pub(crate) fn add_load(&mut self, load: &StaticLoad) -> Result<(), Error> {
        let wanted = load.instance.as_ref();
        let mut known = self.instances.iter();
        let place = known
            .find(|known| wanted.is_none_or(|id| known.new.id == *id))
            .map(|known| (known.new.id.clone(), Some(known.new.region.clone())))
            .or_else(|| Some((wanted?.clone(), None)));
        let Some(place) = place else {
            return Ok(());
        };
        let now = self.server_now();
        self.tasks.add_load(load, place, now)
    }

    pub(crate) fn enter(
        &mut self,
        task_id: &str,
        status: Status,
        issue: Option<String>,
    ) -> Result<(), Error> {
        let server_now = self.server_now();
        self.tasks
            .get_mut(task_id)?
            .enter(status, issue, server_now, Timestamp::now());
        Ok(())
    }

    pub(crate) fn task(&self, task_id: &str) -> Option<Cow<'_, Task>> {
        self.tasks.get(task_id)
    }

    /// What is older than the retention is gone.
    pub(crate) fn age_out(&mut self, instance_id: &str) {
        let Some(retention) = self.retention else {
            return;
        };
        let oldest = before(self.server_now(), retention);
        for task_id in self.tasks.older_than(instance_id, oldest, MAX_AGED_OUT) {
            let removed = self.tasks.remove(&task_id);
            debug_assert!(removed.is_ok(), "it was just found in the list");
        }
    }

    pub(super) fn unserved(&self) -> impl Iterator<Item = &Task> {
        self.tasks
            .own()
            .filter(|task| !task.shown.is_bulk && !self.witness.has_seen(&task.shown))
    }
}
