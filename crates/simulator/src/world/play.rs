//! Scripts and timelines, played in time.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Note, World};
use crate::script::{Act, Script, Step};
use crate::timeline::Timeline;

impl World {
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
            Act::Unlist { task_id } => self.unlist_task(&task_id),
            Act::Progress { task_id, progress } => self.set_progress(&task_id, progress),
            Act::Fault { fault, extent } => self.fault(fault, extent),
            Act::FaultFor {
                target,
                fault,
                extent,
            } => self.fault_for(target, fault, extent),
            other => {
                self.take_service(other);
                Ok(())
            }
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

    /// What cannot fail.
    fn take_service(&self, act: Act) {
        match act {
            Act::AddBatch { batch_id, n, model } => drop(self.add_batch(&batch_id, n, &model)),
            Act::EnterBatch {
                batch_id,
                n,
                status,
                issue,
            } => {
                let n_changed = self.set_batch(&batch_id, n, &status, issue.as_deref());
                tracing::debug!(batch = batch_id, n_changed, "a batch went on");
            }
            Act::AddInstance(instance) => self.add_instance(*instance),
            Act::InstanceStatus { id, status } => {
                if !self.set_instance_status(&id, &status) {
                    tracing::warn!(instance = id, "no such instance: its status stays");
                }
            }
            Act::RemoveInstance { id } => {
                if !self.remove_instance(&id) {
                    tracing::warn!(
                        instance = id,
                        "no such instance: there is nothing to remove"
                    );
                }
            }
            Act::Add(_)
            | Act::Enter { .. }
            | Act::Remove { .. }
            | Act::Unlist { .. }
            | Act::Progress { .. }
            | Act::Fault { .. }
            | Act::FaultFor { .. } => {}
        }
    }

    /// Makes a timeline's beginning now and plays the rest in its time, again and again if it says so.
    pub fn play_timeline(&self, timeline: &Timeline) -> Result<(), crate::Error> {
        timeline.begin(self)?;
        let Some(repeat) = timeline.repeat else {
            self.play(timeline.round(1));
            return Ok(());
        };
        let (world, timeline) = (self.clone(), timeline.clone());
        let start = Instant::now();
        self.change(|state| state.n_playing += 1);
        self.inner.tracker.spawn(async move {
            let rounds = 1..=repeat.times.unwrap_or(u64::MAX);
            for (round, offset) in rounds.zip(0_u32..) {
                // A century of rounds is more than anybody waits for.
                let Some(at) = repeat.every.checked_mul(offset) else {
                    break;
                };
                let stopped = tokio::select! {
                    () = world.inner.token.cancelled() => true,
                    () = tokio::time::sleep_until(start + at) => false,
                };
                if stopped {
                    break;
                }
                world.play(timeline.round(round));
            }
            world.change(|state| state.n_playing -= 1);
        });
        Ok(())
    }
}
