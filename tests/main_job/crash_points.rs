//! The binary dies between each pair of steps of a task's path, one after the other, while changes flow.
//!
//! The points stand in the code as `crash_point("…")`, named by the step just finished; the binary of
//! the tests obeys `FAILPOINTS` (`syncbell_service::crash_point`), one that is built for use does not.
//!
//! Decode, diff, decide and group are steps in memory: a death within one is a death at the point before.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use syncbell_event::{AlertStatus, Status};
use syncbell_simulator::NewTask;
use syncbell_testkit::{Answer, Seed};

use crate::WEBHOOKS_UNDER_WAY;
use crate::house::{House, WAIT};
use crate::story::settled;

/// SIGKILL.
const KILLED: i32 = 9;

/// In the order of the path. Where the webhook hangs, only the mailbox comes as far as the point.
const DEATHS: [(&str, Webhook); 14] = [
    ("poller.page-read", Webhook::Answers),
    ("poller.diffed", Webhook::Answers),
    ("poller.committed", Webhook::Answers),
    ("publish.acknowledged", Webhook::Answers),
    ("publish.deleted", Webhook::Answers),
    ("consume.read", Webhook::Answers),
    ("consume.decided", Webhook::Answers),
    ("consume.committed", Webhook::Answers),
    ("deliver.webhook-rendered", Webhook::Answers),
    ("deliver.mail-rendered", Webhook::Answers),
    ("deliver.sent", Webhook::Answers),
    ("deliver.sent", Webhook::Hangs),
    ("deliver.recorded", Webhook::Answers),
    ("deliver.recorded", Webhook::Hangs),
];

#[derive(Clone, Copy, PartialEq)]
enum Webhook {
    Answers,
    Hangs,
}

/// Tasks of routes of their own, so many so far.
#[derive(Default)]
struct Traffic {
    tasks: usize,
    recovered: usize,
}

impl Traffic {
    /// The next task: it failed, or has an issue, or is well.
    fn next(&mut self, house: &House) {
        let n = self.tasks;
        self.tasks += 1;
        let task = NewTask::of(&format!("crash/image-{n}"), "v1").id(&format!("rst-crash-{n}"));
        house.simulator.world().add_task(match n % 4 {
            0 | 2 => task.status(Status::Error),
            1 => task.status(Status::Success).issue("NETWORK_ERROR"),
            _ => task.status(Status::Success),
        });
    }

    /// The next route whose task failed recovers.
    fn recover(&mut self, house: &House) {
        let n = self.recovered;
        self.recovered += 4;
        let task = NewTask::of(&format!("crash/image-{n}"), "v1");
        let task = task
            .id(&format!("rst-recovery-{n}"))
            .status(Status::Success);
        house.simulator.world().add_task(task);
    }
}

/// Starts the binary, lets changes flow until it has passed `point` `passes` times and dies the next.
async fn die_at(house: &House, point: &str, passes: u64, traffic: &mut Traffic) {
    // Something is there for the very first pass.
    for _ in 0..4 {
        traffic.next(house);
    }
    let mut binary = house
        .launcher("run", "127.0.0.1:0")
        .env("FAILPOINTS", format!("{point}={passes}*off->return"))
        .start();
    let mut changes = tokio::time::interval(Duration::from_millis(150));
    let exit = {
        let mut ended = std::pin::pin!(binary.wait_for_exit(WAIT));
        loop {
            tokio::select! {
                exit = &mut ended => break exit,
                _ = changes.tick() => traffic.next(house),
            }
        }
    };
    let said: Vec<String> = binary.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(exit.signal(), Some(KILLED), "{point}: {exit}: {said:?}");
    // Not always the last line: other threads live on until the signal has reached them.
    let told = format!("\"point\":\"{point}\"");
    assert!(
        said.iter().any(|line| line.contains(&told)),
        "{point}: {said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_death_between_each_pair_of_steps_nothing_is_missing_and_repeats_carry_their_id() {
    let mut house = House::build().await;
    let mut rng = Seed::from_environment().rng();
    house.start().await;
    house.baseline().await;
    house.kill().await;

    let mut traffic = Traffic::default();
    // Once at the first changes after a start, once in the midst of its work.
    for passes in [0..1, 1..6] {
        for (point, webhook) in DEATHS {
            if webhook == Webhook::Hangs {
                let late = Answer::status(204).after(WAIT);
                house.webhook.answer_always(late);
            }
            die_at(&house, point, rng.between(passes.clone()), &mut traffic).await;
            house.webhook.answer_always(Answer::status(204));
            traffic.recover(&house);
        }
    }
    let deaths = 2 * DEATHS.len();
    house.start().await;
    let (webhook, mail) = settled(&house, "every alert in spite of the deaths").await;

    let told = house.simulator.world().ledger().expected();
    let resolved = told
        .iter()
        .filter(|told| told.status == AlertStatus::Resolved);
    println!(
        "{} deaths, {} tasks, {} told: {} repeated at the webhook, {} in the mailbox",
        deaths,
        traffic.tasks,
        told.len(),
        webhook.repeated.len(),
        mail.repeated.len()
    );
    assert_eq!(resolved.count(), deaths, "not every route recovered");
    assert!(webhook.is_complete(), "webhook: {webhook}");
    assert!(mail.is_complete(), "mailbox: {mail}");
    // At most what was under way at each death. A mail that was sent and not recorded is sent again.
    let bound = WEBHOOKS_UNDER_WAY * deaths;
    assert!(webhook.repeated.len() <= bound, "webhook: {webhook}");
    assert!(
        (1..=deaths).contains(&mail.repeated.len()),
        "mailbox: {mail}"
    );
    let status = house.stop().await;
    assert!(status.success(), "SIGTERM drains: {status}");
}
