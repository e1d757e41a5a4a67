//! Makes changes at a rate, from a seed: load for benchmarks, life for `syncbell simulate`.
//!
//! In: [`Load`]. Out: calls on a [`World`]. Must never happen: that the number of tasks grows
//! without end, or that the sequence of changes depends on anything but the seed.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use syncbell_event::Status;

use crate::World;
use crate::task::NewTask;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// New tasks and new states together; above zero.
    pub changes_per_second: f64,
    /// The same seed gives the same changes.
    pub seed: u64,
    /// Of the tasks that end, how many fail; an issue with SUCCESS is half as likely.
    pub failure_share: f64,
    /// Of its finished tasks it keeps this many; older healthy ones are removed.
    pub keep: usize,
}

impl Default for Load {
    /// Lively: one change a second, every fifth task fails.
    fn default() -> Self {
        Self {
            changes_per_second: 1.0,
            seed: 1,
            failure_share: 0.2,
            keep: 2000,
        }
    }
}

/// A running generator; dropping it lets it run on until the simulator stops.
#[derive(Debug)]
pub struct Running {
    token: CancellationToken,
}

impl Running {
    /// Makes no further change.
    pub fn stop(&self) {
        self.token.cancel();
    }
}

/// Decides what happens next; [`World::generate`] runs it in time.
#[derive(Debug)]
pub struct Generator {
    load: Load,
    random: StdRng,
    open: VecDeque<(String, usize)>,
    /// The number of tasks made so far.
    n_tasks: u64,
    /// Routes whose newest task is bad: they will recover.
    bad_routes: VecDeque<usize>,
    /// Healthy finished tasks, oldest first.
    finished: VecDeque<String>,
}

/// Routes that tasks are made on.
const N_ROUTES: usize = 40;
/// Open tasks at a time; more than this are finished before a new one appears.
const MAX_OPEN: usize = 20;

impl Generator {
    /// A generator at the beginning of its sequence.
    pub fn new(load: Load) -> Self {
        Self {
            load,
            random: StdRng::seed_from_u64(load.seed),
            open: VecDeque::new(),
            n_tasks: 0,
            bad_routes: VecDeque::new(),
            finished: VecDeque::new(),
        }
    }

    /// Makes one change: a new task, or an open one goes on.
    pub fn step(&mut self, world: &World) {
        let appear =
            self.open.is_empty() || (self.open.len() < MAX_OPEN && self.random.random_bool(0.35));
        if appear {
            self.appear(world);
        } else {
            self.go_on(world);
        }
        while self.finished.len() > self.load.keep {
            if let Some(task_id) = self.finished.pop_front() {
                log_if_gone(world.remove_task(&task_id));
            }
        }
    }

    fn appear(&mut self, world: &World) {
        self.n_tasks += 1;
        let route = match self.bad_routes.pop_front() {
            Some(route) => route,
            None => self.random.random_range(0..N_ROUTES),
        };
        let repository = format!("load-{}/app-{}", route % 4, route / 4);
        let task = NewTask::of(&repository, "latest")
            .id(&format!("rst-load{:x}-{:07}", self.load.seed, self.n_tasks));
        let task_id = world.add_task(task);
        self.open.push_back((task_id.0, route));
    }

    fn go_on(&mut self, world: &World) {
        let Some((task_id, route)) = self.open.pop_front() else {
            return;
        };
        if self.random.random_bool(0.4) {
            log_if_gone(world.set_state(&task_id, Status::Synchronizing, None));
            self.open.push_back((task_id, route));
            return;
        }
        let failure_share = self.load.failure_share.clamp(0.0, 0.6);
        let chance: f64 = self.random.random();
        let (status, issue) = if chance < failure_share {
            (
                Status::Error,
                (chance < failure_share / 2.0).then_some("NETWORK_ERROR"),
            )
        } else if chance < failure_share * 1.5 {
            (Status::Success, Some("NETWORK_ERROR"))
        } else if chance < failure_share * 1.6 {
            (Status::Canceled, None)
        } else {
            (Status::Success, None)
        };
        if status == Status::Error || issue.is_some() {
            self.bad_routes.push_back(route);
        } else {
            self.finished.push_back(task_id.clone());
        }
        log_if_gone(world.set_state(&task_id, status, issue));
    }
}

/// A test may remove a generated task; that is its business and no fault of the generator.
fn log_if_gone(outcome: Result<(), crate::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a generated task was removed by somebody else");
    }
}

impl World {
    /// Makes changes at the load's rate until told to stop.
    pub fn generate(&self, load: Load) -> Running {
        let token = self.token().child_token();
        let running = Running {
            token: token.clone(),
        };
        let rate = if load.changes_per_second > 0.0 {
            load.changes_per_second
        } else {
            1.0
        };
        let period = Duration::try_from_secs_f64(1.0 / rate)
            .unwrap_or(Duration::from_secs(1))
            .max(Duration::from_micros(10));
        let (world, mut generator) = (self.clone(), Generator::new(load));
        self.tracker().spawn(async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                tokio::select! {
                    () = token.cancelled() => return,
                    _ = ticks.tick() => generator.step(&world),
                }
            }
        });
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn bad_tasks(seed: u64, n: usize) -> (usize, Vec<String>) {
        let world = World::new(&Options::default());
        let mut generator = Generator::new(Load {
            seed,
            keep: 50,
            ..Load::default()
        });
        for _ in 0..n {
            generator.step(&world);
        }
        let mut ids: Vec<_> = world
            .ledger()
            .unserved()
            .into_iter()
            .map(|told| told.task_id)
            .collect();
        ids.sort();
        (world.counts().tasks, ids)
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(bad_tasks(7, 500), bad_tasks(7, 500));
        assert_ne!(bad_tasks(7, 500).1.len(), 0);
        assert_ne!(bad_tasks(7, 500), bad_tasks(8, 500));
    }

    #[test]
    fn healthy_tasks_are_not_kept_for_ever() {
        let (n_tasks, bad) = bad_tasks(7, 5000);
        assert!(
            n_tasks <= 50 + MAX_OPEN + bad.len(),
            "{n_tasks} tasks, {} bad",
            bad.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn changes_come_at_their_rate_and_stop() {
        let world = World::new(&Options::default());
        let running = world.generate(Load {
            changes_per_second: 50.0,
            ..Load::default()
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.stop();
        world.tracker().close();
        world.tracker().wait().await;
        assert!(world.counts().tasks > 10);
        // Each step makes one change, and a change of a task is one version of it.
        let versions = world.change(|state| {
            state
                .tasks
                .own()
                .map(|task| task.shown.version)
                .sum::<u64>()
        });
        assert!((99..=102).contains(&versions), "{versions}");
    }
}
