//! The main job over a real Kafka, with poller and notifier as two processes.

use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::eventually;
use syncbell_testkit::kafka::{self, KafkaCluster, KafkaOptions};

use crate::house::{House, WAIT};
use crate::story::{settled, story};
use crate::{told_exactly_once, told_in_spite_of_kills};

#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_each_alert_arrives_exactly_once_at_webhook_and_mailbox() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    told_exactly_once(House::over_kafka(kafka.bootstrap(), "calm").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_after_sigkill_of_either_process_nothing_is_missing() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    told_in_spite_of_kills(House::over_kafka(kafka.bootstrap(), "kills").await, 10).await;
}

/// The poller polls and keeps; the notifier waits; both say why. Then all of it arrives, once.
#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_a_broker_that_appears_late_costs_nothing_but_time() {
    let Some(cluster) = KafkaCluster::start(KafkaOptions::brokers(1)).await else {
        return;
    };
    cluster.kill(1);
    let mut house = House::over_kafka(&cluster.bootstrap(), "late").await;
    house.start().await;
    house.baseline().await;
    story(&house, 1).await;
    house
        .say(
            "could not send events from the outbox",
            "could not read the event log",
        )
        .await;
    assert!(house.webhook_got().is_empty());
    cluster.restart(1).await;
    let (webhook, mail) = settled(&house, "every alert once the broker is there").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    assert!(house.stop().await.success());
}

/// What stood only on the log that was lost is told all the same, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn over_kafka_a_topic_that_is_lost_with_unread_events_loses_no_alert() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "lost").await;
    house.start().await;
    house.baseline().await;
    let world = house.simulator.world();
    let fail = |n: u32| {
        let task = NewTask::of(&format!("lost/image-{n}"), "v1").id(&format!("rst-lost-{n}"));
        world.add_task(task.status(Status::Error));
    };
    fail(1);
    settled(&house, "the first alert").await;
    house.kill_notifier().await;
    let (admin, topic) = (kafka.admin(), house.changes_topic());
    let n_events = async || {
        let mut n = 0;
        for partition in 0..6 {
            n += admin.offsets(&topic, partition).await.1;
        }
        n
    };
    let before = n_events().await;
    fail(2);
    eventually("an event that nobody reads", WAIT, async || {
        (world.counts().unserved == 0 && n_events().await > before).then_some(())
    })
    .await;
    admin.delete_topic(&topic).await;
    house
        .start_notifier("the event log is not the one that was read")
        .await;
    let (webhook, mail) = settled(&house, "the alert that stood on the lost topic").await;
    assert!(webhook.is_exact(), "webhook: {webhook}");
    assert!(mail.is_exact(), "mailbox: {mail}");
    assert!(house.stop().await.success());
}
