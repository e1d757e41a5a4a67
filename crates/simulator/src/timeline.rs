//! Timelines as people write them: a YAML file with what is there at first and what then happens when.
//!
//! In: text. Out: a [`Timeline`], or every problem with file, line and column. Must never happen: a key
//! or a name that is silently ignored, or memory that grows with a repeat.

mod check;
mod problem;
mod raw;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_saphyr::MergeKeyPolicy;

use crate::bulk::StaticLoad;
use crate::fault::Extent;
use crate::instance::NewInstance;
use crate::quota::Quota;
use crate::script::{Act, Step};
use crate::sync_rule::NewRule;
use crate::task::NewTask;
use crate::{Error, World};

pub use self::problem::{Problem, Problems};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What is there at first, and what then happens when. `World::play_timeline` takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Instances that are there at first; never empty.
    pub instances: Vec<NewInstance>,
    /// Rules that are there at first.
    pub rules: Vec<NewRule>,
    /// Very many tasks that are there at first and do not change.
    pub load: Option<StaticLoad>,
    /// The account's rate limit.
    pub quota: Option<Quota>,
    /// How old tasks get.
    pub retention: Option<Duration>,
    /// Tasks that are there at first.
    pub tasks: Vec<NewTask>,
    /// What happens, by its offset.
    pub steps: Vec<Step>,
    /// Whether it happens again.
    pub repeat: Option<Repeat>,
}

/// How often what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// From one beginning to the next.
    pub every: Duration,
    /// How often in all; `None`: for ever.
    pub times: Option<u64>,
}

impl Timeline {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let size = std::fs::metadata(path).map(|metadata| metadata.len());
        let text = match size {
            Ok(size) if size > MAX_FILE_BYTES => {
                return Err(Problems::of_file(&name, "is larger than 1 MiB"));
            }
            _ => std::fs::read_to_string(path)
                .map_err(|error| Problems::of_file(&name, &format!("cannot be read: {error}")))?,
        };
        Self::parse(&text, &name)
    }

    /// Checks `text`; `file_name` is for messages.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Problems> {
        if text.trim().is_empty() {
            return Err(Problems::of_file(file_name, "is empty"));
        }
        let options =
            serde_saphyr::options! { merge_keys: MergeKeyPolicy::Error, with_snippet: false };
        let raw = serde_saphyr::from_str_with_options::<raw::Timeline>(text, options)
            .map_err(|error| problem::of_yaml(&error, text, file_name))?;
        check::check(raw, problem::Source::new(file_name, text))
    }

    /// Everything `speed` times as fast; a speed that is not above zero changes nothing. Ages and the
    /// retention stay as they are.
    #[must_use]
    pub fn at_speed(mut self, speed: f64) -> Self {
        let faster = |time: Duration| {
            Duration::try_from_secs_f64(time.as_secs_f64() / speed).unwrap_or(time)
        };
        if !speed.is_finite() || speed <= 0.0 {
            return self;
        }
        for step in &mut self.steps {
            step.at = faster(step.at);
            if let Act::Fault { extent, .. } | Act::FaultFor { extent, .. } = &mut step.act
                && let Extent::For(time) = extent
            {
                *time = faster(*time);
            }
        }
        if let Some(repeat) = &mut self.repeat {
            repeat.every = faster(repeat.every);
        }
        self
    }

    /// When the last step of one round is taken.
    pub fn length(&self) -> Duration {
        let offsets = self.steps.iter().map(|step| step.at);
        offsets.max().unwrap_or_default()
    }

    /// What is there at first.
    pub(crate) fn begin(&self, world: &World) -> Result<(), Error> {
        for instance in &self.instances {
            world.add_instance(instance.clone());
        }
        for rule in &self.rules {
            world.add_rule(rule.clone());
        }
        if let Some(load) = &self.load {
            world.load_static(load)?;
        }
        for task in &self.tasks {
            world.add_task(task.clone());
        }
        if let Some(retention) = self.retention {
            world.set_retention(Some(retention));
        }
        if let Some(quota) = self.quota {
            world.set_quota(Some(quota));
        }
        Ok(())
    }

    /// The steps of one round, from 1. What appears in a later round has an id of its own.
    pub(crate) fn round(&self, round: u64) -> Vec<Step> {
        let mut steps = self.steps.clone();
        if round > 1 {
            let at_first: HashSet<&str> =
                self.tasks.iter().filter_map(|t| t.id.as_deref()).collect();
            for step in &mut steps {
                rename(&mut step.act, round, &at_first);
            }
        }
        steps
    }
}

/// Ids of tasks and batches that a round makes; those that are there at first keep theirs.
fn rename(act: &mut Act, round: u64, at_first: &HashSet<&str>) {
    let again = |id: &mut String| {
        if !at_first.contains(id.as_str()) {
            id.push_str("-r");
            id.push_str(&round.to_string());
        }
    };
    match act {
        Act::Add(task) => {
            for id in [&mut task.id, &mut task.batch_id].into_iter().flatten() {
                again(id);
            }
        }
        Act::Enter { task_id, .. }
        | Act::Remove { task_id }
        | Act::Unlist { task_id }
        | Act::Progress { task_id, .. } => again(task_id),
        Act::AddBatch {
            batch_id, model, ..
        } => {
            again(batch_id);
            model.id.iter_mut().for_each(again);
        }
        Act::EnterBatch { batch_id, .. } => again(batch_id),
        Act::AddInstance(_)
        | Act::InstanceStatus { .. }
        | Act::RemoveInstance { .. }
        | Act::Fault { .. }
        | Act::FaultFor { .. } => {}
    }
}

#[cfg(test)]
mod tests;
