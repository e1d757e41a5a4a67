//! The main job: the built binary between a simulated registry and real receivers. What must arrive is
//! the simulator's ledger's word, compared both ways.

#![expect(clippy::print_stdout, reason = "figures of a run, beside its verdict")]

mod house;
mod mailbox;
mod story;
mod crash_points;
mod groups;
mod storm;
mod mute;
mod fallback;
mod bad_input;
mod dead_letters;
mod events;
mod status;
mod templates;
mod chats;
mod receivers;
mod watchdog;
mod tasks;
mod services;
mod folders;
mod heap;
mod outage;
mod replay;
mod silences;
mod explain;
mod over_kafka;
mod three_brokers;

use house::{House, WAIT};
use story::{settled, story};
use syncbell_testkit::Seed;

/// Deliveries that may be sent and not recorded, to a webhook that answers at once.
const WEBHOOKS_UNDER_WAY: usize = 128;

#[tokio::test(flavor = "multi_thread")]
async fn in_calm_running_each_alert_arrives_exactly_once_at_webhook_and_mailbox() {
    let house = House::build().await;
    told_exactly_once(house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_at_any_moment_nothing_is_missing_and_repeats_carry_their_id() {
    let house = House::build().await;
    told_in_spite_of_kills(house, 8).await;
}

/// The story, in calm running.
async fn told_exactly_once(mut house: House) {
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

/// The story, with `kills` at random moments.
async fn told_in_spite_of_kills(mut house: House, kills: usize) {
    let mut rng = Seed::from_environment().rng();
    house.start().await;
    house.baseline().await;
    let story = story(&house, 60);
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
    // At most what was under way when it was killed: of a mailbox one.
    assert!(
        webhook.repeated.len() <= WEBHOOKS_UNDER_WAY * killed,
        "webhook: {webhook}"
    );
    assert!(mail.repeated.len() <= killed, "mailbox: {mail}");
    house.stop().await;
}
