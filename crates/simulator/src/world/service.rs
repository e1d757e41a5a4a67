//! Instances, rules and batches.

use syncbell_event::{Phase, Status, TaskId};

use super::World;
use crate::instance::{self, NewInstance};
use crate::sync_rule::{self, NewRule};
use crate::task::NewTask;

impl World {
    /// From now on there is this instance; one of the same id is replaced and keeps its tasks.
    pub fn add_instance(&self, new: NewInstance) {
        self.change(|state| {
            let now = state.server_now();
            state.tasks.open_shelf(&new.id);
            let mut known = state.instances.iter_mut();
            match known.find(|known| known.new.id == new.id) {
                Some(known) => known.replace(new, now),
                None => state.instances.push(instance::Known::new(new, now)),
            }
        });
    }

    /// `InstanceStatus` of an instance; false: there is none of that id.
    pub fn set_instance_status(&self, id: &str, status: &str) -> bool {
        self.change(|state| {
            let now = state.server_now();
            let mut known = state.instances.iter_mut();
            let Some(known) = known.find(|known| known.new.id == id) else {
                return false;
            };
            let new = known.new.clone().status(status);
            known.replace(new, now);
            true
        })
    }

    /// The instance is listed no more, nor are its tasks; false: there is none of that id.
    pub fn remove_instance(&self, id: &str) -> bool {
        self.change(|state| {
            let before = state.instances.len();
            state.instances.retain(|known| known.new.id != id);
            state.tasks.close_shelf(id);
            state.instances.len() < before
        })
    }

    /// From now on there is this rule; one of the same id is replaced.
    pub fn add_rule(&self, new: NewRule) {
        self.change(|state| {
            let known = sync_rule::Known::new(new, state.server_now());
            let mut rules = state.rules.iter_mut();
            match rules.find(|rule| rule.new.id == known.new.id) {
                Some(rule) => *rule = known,
                None => state.rules.push(known),
            }
        });
    }

    /// False: there is none of that id.
    pub fn remove_rule(&self, id: &str) -> bool {
        self.change(|state| {
            let before = state.rules.len();
            state.rules.retain(|rule| rule.new.id != id);
            state.rules.len() < before
        })
    }

    /// `n` tasks like `model` with one `SyncBatchTaskId`: where its repository or tag holds `{n}`, that is
    /// the task's number from 1; so it is at the end of an id, if the model has one.
    pub fn add_batch(&self, batch_id: &str, n: usize, model: &NewTask) -> Vec<TaskId> {
        self.change(|state| {
            (1..=n)
                .map(|number| state.add(of_batch(model, batch_id, number)).into())
                .collect()
        })
    }

    /// `n` tasks of a batch that are still open go on, in the order they were added; `None`: all that are.
    /// Gives how many there were.
    pub fn set_batch(
        &self,
        batch_id: &str,
        n: Option<usize>,
        status: &Status,
        issue: Option<&str>,
    ) -> usize {
        self.change(|state| {
            let mut ids = state.tasks.of_batch(batch_id);
            ids.retain(|id| {
                let status = state.task(id).map(|task| task.shown.status.clone());
                status.is_some_and(|status| status.phase() == Phase::Open)
            });
            ids.truncate(n.unwrap_or(usize::MAX));
            for id in &ids {
                let entered = state.enter(id, status.clone(), issue.map(str::to_owned));
                debug_assert!(entered.is_ok(), "it was just found in its batch");
            }
            ids.len()
        })
    }
}

fn of_batch(model: &NewTask, batch_id: &str, number: usize) -> NewTask {
    let mut task = model.clone();
    task.batch_id = Some(batch_id.to_owned());
    task.id = task.id.map(|id| format!("{id}-{number}"));
    let images = [&mut task.from, &mut task.to];
    for image in images.into_iter().flatten() {
        for part in [&mut image.repo, &mut image.tag] {
            *part = part
                .take()
                .map(|text| text.replace("{n}", &number.to_string()));
        }
    }
    task
}
