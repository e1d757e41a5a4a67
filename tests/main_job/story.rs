//! What happens in the registry, and how a test waits until all of it was told.

use std::time::Duration;

use syncbell_event::Status;
use syncbell_simulator::{Comparison, NewTask, compare};

use crate::house::{House, WAIT};

/// Fifty new tasks on routes of their own: some fail, some have an issue, one route recovers; rows are
/// inserted while pages are read. `pause_ms` is between changes.
pub(crate) async fn story(house: &House, pause_ms: u64) {
    let world = house.simulator.world();
    let pause = async || tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    world.insert_while_paging(10);
    for n in 0..50 {
        let id = format!("rst-story-{n}");
        let task = NewTask::of(&format!("story/image-{n}"), "v1").id(&id);
        world.add_task(task.status(Status::Synchronizing));
        pause().await;
        let (status, issue) = match n % 5 {
            0 => (Status::Error, Some("NETWORK_ERROR")),
            1 => (Status::Success, Some("NETWORK_ERROR")),
            2 => (Status::Error, None),
            3 => (Status::Canceled, None),
            _ => (Status::Success, None),
        };
        world
            .set_state(&id, status, issue)
            .expect("the task was just added");
    }
    // What failed must have been seen before its route recovers: else there is nothing to resolve.
    world.until(|world| world.counts().unserved == 0).await;
    let recovery = NewTask::of("story/image-0", "v1").id("rst-recovery");
    world.add_task(recovery.status(Status::Success));
}

/// Waits until nothing is missing, then looks once more after a whole poll.
pub(crate) async fn settled(house: &House, what: &str) -> (Comparison, Comparison) {
    let world = house.simulator.world();
    let compared = async || {
        let expected = world.ledger().expected();
        (
            compare(&expected, &house.webhook_got()),
            compare(&expected, &house.mail_got()),
        )
    };
    let nothing_missing = async {
        loop {
            // Well tasks too: a recovery is expected only once it was served, and what is served while the two are
            // compared is expected too.
            let all_served = world.counts().unserved == 0;
            let (webhook, mail) = compared().await;
            if all_served && webhook.missing.is_empty() && mail.missing.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(WAIT, nothing_missing).await.is_err() {
        let (webhook, mail) = compared().await;
        panic!("waited in vain for {what}\nwebhook: {webhook}\nmailbox: {mail}");
    }
    let answers = world.counts().answers;
    world
        .until(|world| world.counts().answers > answers + 20)
        .await;
    compared().await
}
