//! Timelines: what is there before a monitor first looks, and what then happens when.

use std::time::Duration;

use syncbell_event::Status;

use crate::fault::{Extent, Fault, Target};
use crate::instance::NewInstance;
use crate::task::{NewTask, Progress};

/// A timeline. [`World::load`](crate::World::load) takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Added at once.
    pub baseline: Vec<NewTask>,
    /// Played from [`World::start_story`](crate::World::start_story) on.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Offset from the story's start.
    pub at: Duration,
    /// What happens.
    pub act: Act,
    /// One line for people, or nothing worth saying.
    pub note: Option<String>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A task appears at the front.
    Add(Box<NewTask>),
    /// A task goes on.
    Enter {
        /// Which.
        task_id: String,
        /// To what.
        status: Status,
        /// With this issue or none.
        issue: Option<String>,
    },
    /// A task is listed no more.
    Remove {
        /// Which.
        task_id: String,
    },
    /// A task is listed no more; its id still finds it.
    Unlist {
        /// Which.
        task_id: String,
    },
    /// A task comes so far.
    Progress {
        /// Which.
        task_id: String,
        /// How far.
        progress: Progress,
    },
    /// Many tasks with one `SyncBatchTaskId` appear: [`World::add_batch`](crate::World::add_batch).
    AddBatch {
        /// Their `SyncBatchTaskId`.
        batch_id: String,
        /// How many.
        n: usize,
        /// What they are like.
        model: Box<NewTask>,
    },
    /// Tasks of a batch that are still open go on.
    EnterBatch {
        /// Which batch.
        batch_id: String,
        /// How many; `None`: all.
        n: Option<usize>,
        /// To what.
        status: Status,
        /// With this issue or none.
        issue: Option<String>,
    },
    /// An instance appears, or another one of its id takes its place.
    AddInstance(Box<NewInstance>),
    /// An instance has another status.
    InstanceStatus {
        /// Which.
        id: String,
        /// `InstanceStatus`.
        status: String,
    },
    /// An instance is there no more.
    RemoveInstance {
        /// Which.
        id: String,
    },
    /// The service misbehaves.
    Fault {
        /// How.
        fault: Fault,
        /// For how long.
        extent: Extent,
    },
    /// The service misbehaves for some calls.
    FaultFor {
        /// For which.
        target: Target,
        /// How.
        fault: Fault,
        /// For how long.
        extent: Extent,
    },
}

/// The task that fails first in [`Script::demo`].
pub const DEMO_FAILED: &str = "rst-demo000000101";
/// The task that succeeds with an issue.
pub const DEMO_ISSUE: &str = "rst-demo000000102";
/// The second task that fails.
pub const DEMO_FAILED_AGAIN: &str = "rst-demo000000103";
/// The task that succeeds on the first one's route.
pub const DEMO_RECOVERY: &str = "rst-demo000000104";
/// The task that nothing is to be told about.
pub const DEMO_HEALTHY: &str = "rst-demo000000105";

/// The task of [`Script::demo_storm`] that the demo has silenced.
pub const DEMO_SILENCED: &str = "rst-demo000000301";
/// The namespace of its image.
pub const DEMO_SILENCED_NAMESPACE: &str = "legacy";

impl Script {
    /// Twenty quiet tasks, then a story of less than eight seconds: a task fails, another succeeds
    /// with an issue, a second one fails, the first route recovers, a healthy task passes.
    pub fn demo() -> Self {
        let mut story = Story::default();
        story.add(
            300,
            NewTask::of("shop/checkout", "2.7.1").id(DEMO_FAILED),
            "shop/checkout:2.7.1 is to be copied",
        );
        story.enter(900, DEMO_FAILED, Status::Synchronizing, None, "");
        story.enter(
            1500,
            DEMO_FAILED,
            Status::Error,
            Some("NETWORK_ERROR"),
            "its copy fails: NETWORK_ERROR",
        );
        let issue = NewTask::of("shop/catalog", "5.0.3").id(DEMO_ISSUE);
        story.add(2200, issue.status(Status::Synchronizing), "");
        story.enter(
            2800,
            DEMO_ISSUE,
            Status::Success,
            Some("NETWORK_ERROR"),
            "shop/catalog:5.0.3 succeeds, but with NETWORK_ERROR",
        );
        let second = NewTask::of("data/ingest", "0.12.0").id(DEMO_FAILED_AGAIN);
        story.add(3400, second.status(Status::Synchronizing), "");
        story.enter(
            4000,
            DEMO_FAILED_AGAIN,
            Status::Error,
            None,
            "data/ingest:0.12.0 fails",
        );
        let recovery = NewTask::of("shop/checkout", "2.7.1").id(DEMO_RECOVERY);
        story.add(
            4800,
            recovery.status(Status::Synchronizing),
            "shop/checkout:2.7.1 is tried again",
        );
        story.enter(5600, DEMO_RECOVERY, Status::Success, None, "and arrives");
        let healthy = NewTask::of("data/report", "1.4.0").id(DEMO_HEALTHY);
        story.add(6200, healthy.status(Status::Synchronizing), "");
        story.enter(
            7000,
            DEMO_HEALTHY,
            Status::Success,
            None,
            "data/report:1.4.0 is copied, as it should be",
        );
        Self {
            baseline: quiet_tasks(),
            steps: story.steps,
        }
    }

    /// What comes after [`Script::demo`], in two seconds: most of a release fails at once, and so does a task that
    /// nobody wants to hear of.
    pub fn demo_storm() -> Self {
        let mut story = Story::default();
        let batch_id = "15DEEB56-9271-4FDD-AC4D-C3A5CC2C0180".to_owned();
        let model = NewTask::of("shop/service-{n}", "1.8")
            .id("rst-demo0000002")
            .status(Status::Synchronizing);
        let batch = Act::AddBatch {
            batch_id: batch_id.clone(),
            n: 40,
            model: Box::new(model),
        };
        story.push(200, batch, "release 1.8 is to be copied: 40 images");
        let silenced = format!("{DEMO_SILENCED_NAMESPACE}/billing");
        let silenced = NewTask::of(&silenced, "1.0").id(DEMO_SILENCED);
        story.add(300, silenced.status(Status::Synchronizing), "");
        for (at_ms, n, status, issue, note) in [
            (
                1_500,
                Some(37),
                Status::Error,
                Some("NETWORK_ERROR"),
                "37 of the 40 fail",
            ),
            (1_600, None, Status::Success, None, ""),
        ] {
            let entered = Act::EnterBatch {
                batch_id: batch_id.clone(),
                n,
                status,
                issue: issue.map(str::to_owned),
            };
            story.push(at_ms, entered, note);
        }
        story.enter(
            1_700,
            DEMO_SILENCED,
            Status::Error,
            None,
            "legacy/billing:1.0 fails",
        );
        Self {
            baseline: Vec::new(),
            steps: story.steps,
        }
    }

    /// The same quiet tasks, and nothing that happens: what `syncbell simulate` starts from, with a
    /// [`Generator`](crate::Generator) on top.
    pub fn quiet() -> Self {
        Self {
            baseline: quiet_tasks(),
            steps: Vec::new(),
        }
    }

    /// All offsets divided by `speed`; a speed that is not above zero changes nothing.
    #[must_use]
    pub fn at_speed(mut self, speed: f64) -> Self {
        if speed.is_finite() && speed > 0.0 {
            for step in &mut self.steps {
                step.at =
                    Duration::try_from_secs_f64(step.at.as_secs_f64() / speed).unwrap_or(step.at);
            }
        }
        self
    }

    /// When the last step is taken.
    pub fn length(&self) -> Duration {
        self.steps
            .iter()
            .map(|step| step.at)
            .max()
            .unwrap_or_default()
    }
}

#[derive(Default)]
struct Story {
    steps: Vec<Step>,
}

impl Story {
    fn add(&mut self, at_ms: u64, task: NewTask, note: &str) {
        self.push(at_ms, Act::Add(Box::new(task)), note);
    }

    fn enter(&mut self, at_ms: u64, id: &str, status: Status, issue: Option<&str>, note: &str) {
        let issue = issue.map(str::to_owned);
        self.push(
            at_ms,
            Act::Enter {
                task_id: id.to_owned(),
                status,
                issue,
            },
            note,
        );
    }

    fn push(&mut self, at_ms: u64, act: Act, note: &str) {
        let note = Some(note.to_owned()).filter(|note| !note.is_empty());
        self.steps.push(Step {
            at: Duration::from_millis(at_ms),
            act,
            note,
        });
    }
}

/// Twenty finished, healthy tasks, minutes to days old, over several repositories and rules.
fn quiet_tasks() -> Vec<NewTask> {
    const REPOSITORIES: [&str; 7] = [
        "shop/checkout",
        "shop/catalog",
        "shop/frontend",
        "data/ingest",
        "data/report",
        "platform/gateway",
        "platform/auth",
    ];
    (0..20_u32)
        .map(|n| {
            let repository = REPOSITORIES[n as usize % REPOSITORIES.len()];
            // 5 minutes to some 6 days, each older than the one before by a growing step.
            let age = Duration::from_mins(5 + u64::from(n).pow(3) * 5 / 4);
            let mut task = NewTask::of(repository, &format!("1.{}.{}", 20 - n, n % 4))
                .id(&format!("rst-demo0000000{:02}", n + 1))
                .status(Status::Success)
                .aged(age)
                .took(Duration::from_secs(u64::from(12 + n * 7 % 50)));
            task.batch_id = Some(format!("15DEEB56-9271-4FDD-AC4D-C3A5CC2C{n:04}"));
            task.trigger = Some(if n % 6 == 5 { "INITIATIVE" } else { "PASSIVE" }.to_owned());
            task
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_demo_fails_within_two_seconds_and_ends_within_eight() {
        let script = Script::demo();
        assert!(script.length() <= Duration::from_secs(8));
        let is_failure = |step: &&Step| {
            matches!(
                step.act,
                Act::Enter {
                    status: Status::Error,
                    ..
                }
            )
        };
        assert!(script.steps.iter().find(is_failure).unwrap().at <= Duration::from_secs(2));
        assert_eq!(Script::demo().at_speed(2.0).length(), script.length() / 2);
        assert_eq!(Script::demo().at_speed(0.0), script);
    }

    #[test]
    fn the_demos_baseline_is_twenty_quiet_tasks() {
        let baseline = Script::demo().baseline;
        assert_eq!(baseline.len(), 20);
        assert!(
            baseline
                .iter()
                .all(|task| task.status == Status::Success && task.issue.is_none())
        );
        let ids: BTreeSet<_> = baseline.iter().map(|task| task.id.clone()).collect();
        let rules: BTreeSet<_> = baseline
            .iter()
            .map(|task| task.sync_rule_id.clone())
            .collect();
        assert_eq!((ids.len(), rules.len()), (20, 3));
        assert!(
            baseline
                .iter()
                .all(|task| task.age_ms >= 5 * 60_000 && task.took_ms < task.age_ms)
        );
        assert!(baseline.iter().any(|task| task.age_ms > 3 * 24 * 3_600_000));
    }
}
