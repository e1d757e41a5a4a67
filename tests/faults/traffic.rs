//! What goes wrong in the registry while faults strike: the script whose every failure must be accounted for.

use std::time::Duration;

use syncbell_event::Status;
use syncbell_simulator::{NewTask, World};
use syncbell_testkit::Rng;

/// New tasks on routes of their own; some of the routes recover.
#[derive(Debug)]
pub(crate) struct Traffic {
    world: World,
    rng: Rng,
    tasks: usize,
    /// The tasks that failed or have an issue: each of them must be told.
    pub(crate) bad: Vec<String>,
    /// Routes that have not recovered, by the number of their task.
    unwell: Vec<usize>,
}

impl Traffic {
    pub(crate) fn new(world: World, rng: Rng) -> Self {
        Self {
            world,
            rng,
            tasks: 0,
            bad: Vec::new(),
            unwell: Vec::new(),
        }
    }

    /// Goes on until it is dropped, at random moments.
    pub(crate) async fn forever(&mut self) -> ! {
        loop {
            self.next();
            let pause = self.rng.duration(40..220);
            tokio::time::sleep(pause).await;
        }
    }

    /// The next task: it failed, or has an issue, or is well; now and then a route recovers.
    pub(crate) fn next(&mut self) {
        let n = self.tasks;
        self.tasks += 1;
        let id = format!("rst-fault-{n}");
        let task = NewTask::of(&format!("fault/image-{n}"), "v1").id(&id);
        self.world.add_task(match n % 4 {
            0 | 2 => task.status(Status::Error),
            1 => task.status(Status::Success).issue("NETWORK_ERROR"),
            _ => task.status(Status::Success),
        });
        if n % 4 == 3 {
            return;
        }
        self.bad.push(id);
        self.unwell.push(n);
        if self.rng.chance(1, 6) {
            self.recover();
        }
    }

    /// So many at once.
    pub(crate) fn burst(&mut self, n: usize) {
        for _ in 0..n {
            self.next();
        }
    }

    /// A newer task of the oldest unwell route goes well.
    fn recover(&mut self) {
        let n = self.unwell.remove(0);
        let task = NewTask::of(&format!("fault/image-{n}"), "v1").id(&format!("rst-well-{n}"));
        self.world.add_task(task.status(Status::Success));
    }

    /// Waits so long while it goes on.
    pub(crate) async fn during(&mut self, time: Duration) {
        tokio::time::timeout(time, self.forever()).await.ok();
    }
}
