//! The main job: the built binary between a simulated registry and real receivers. What must arrive is
//! the simulator's ledger's word, compared both ways.

mod house;
mod mailbox;
mod crash_points;
mod groups;
mod bad_input;

use std::time::Duration;

use house::{House, WAIT};
use syncbell_event::Status;
use syncbell_simulator::{Comparison, NewTask, compare};
use syncbell_testkit::Seed;

/// Fifty new tasks on routes of their own: some fail, some have an issue, one route recovers; rows are
/// inserted while pages are read. `pause_ms` is between changes.
async fn story(house: &House, pause_ms: u64) {
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
async fn settled(house: &House, what: &str) -> (Comparison, Comparison) {
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
            let (webhook, mail) = compared().await;
            // Well tasks too: a recovery is expected only once it was served.
            let all_served = world.counts().unserved == 0;
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

#[tokio::test(flavor = "multi_thread")]
async fn in_calm_running_each_alert_arrives_exactly_once_at_webhook_and_mailbox() {
    let mut house = House::build().await;
    house.start().await;
    house.baseline().await;
    story(&house, 20).await;
    let (webhook, mail) = settled(&house, "every alert at webhook and mailbox").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    let told = house.simulator.world().ledger().expected();
    assert!(told.len() >= 31, "the story is too quiet: {}", told.len());
    assert!(
        told.iter().any(|told| told.resolved_by.is_some()),
        "no recovery"
    );

    // A second process on the same folder is refused, and says so.
    let mut second = house.launch("127.0.0.1:0");
    let exit = second.wait_for_exit(WAIT).await;
    assert_eq!(exit.code(), Some(75));

    let status = house.stop().await;
    assert!(status.success(), "SIGTERM drains: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_at_any_moment_nothing_is_missing_and_repeats_carry_their_id() {
    let mut house = House::build().await;
    let mut rng = Seed::from_environment().rng();
    house.start().await;
    house.baseline().await;
    let story = story(&house, 60);
    let kills = 8;
    let house_ref = &house;
    let (killed, ()) = tokio::join!(house_ref.kill_and_restart(kills, &mut rng), story);
    let (webhook, mail) = settled(&house, "every alert in spite of the kills").await;
    println!(
        "{killed} kills: {} repeated at the webhook, {} in the mailbox",
        webhook.repeated.len(),
        mail.repeated.len()
    );
    assert!(webhook.is_complete(), "webhook: {webhook}");
    assert!(mail.is_complete(), "mailbox: {mail}");
    // At most what was under way when it was killed: sixteen to a webhook, one a mailbox.
    assert!(webhook.repeated.len() <= 16 * killed, "webhook: {webhook}");
    assert!(mail.repeated.len() <= killed, "mailbox: {mail}");
    house.stop().await;
}
