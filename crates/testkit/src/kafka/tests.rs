use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::{Binary, eventually};

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_shared_broker_serves_every_test_with_topics_of_its_own() {
    let Some(kafka) = shared().await else { return };
    let admin = kafka.admin();
    let (one, other) = (unique_prefix("launcher"), unique_prefix("launcher"));
    assert_ne!(one, other);
    let changes = format!("{one}changes");
    let topic = Topic::new(&changes).partitions(3);
    let topic = topic.config("cleanup.policy", "compact");
    admin.create_topic(&topic).await;
    assert!(admin.topics().await.contains(&changes));
    assert_eq!(admin.partitions(&changes).await.len(), 3);
    admin.add_partitions(&changes, 4).await;
    admin
        .alter_config(&changes, "cleanup.policy", "delete")
        .await;
    for offset in 0..5 {
        let appended = admin.append(&changes, 3, b"key", &[b'x'; 200]).await;
        assert_eq!(appended, offset);
    }
    admin.delete_records(&changes, 3, 2).await;
    assert_eq!(admin.offsets(&changes, 3).await, (2, 5));
    assert_eq!(admin.offsets(&changes, 0).await, (0, 0));
    admin.delete_topic(&changes).await;
    assert!(!admin.topics().await.contains(&changes));
}

#[tokio::test]
async fn another_test_gets_the_same_broker() {
    let Some(kafka) = shared().await else { return };
    let again = shared().await.unwrap();
    assert_eq!(kafka.bootstrap(), again.bootstrap());
    kafka.admin().wait_until_it_answers().await;
}

#[tokio::test]
#[should_panic(expected = "could not create topic")]
async fn what_kafka_refuses_is_said() {
    let admin = shared().await.map(Kafka::admin);
    let Some(admin) = admin else {
        panic!("could not create topic: left out");
    };
    let topic = Topic::new(unique_prefix("refused")).replication(7);
    admin.create_topic(&topic).await;
}

#[tokio::test]
async fn a_broker_is_killed_and_restarted_on_its_data() {
    let cluster = KafkaCluster::start(KafkaOptions::default()).await;
    let Some(cluster) = cluster else { return };
    let admin = cluster.admin();
    admin.create_topic(&Topic::new("kept")).await;
    assert_eq!(admin.append("kept", 0, b"key", b"value").await, 0);
    cluster.kill(1);
    assert!(!cluster.is_running(1));
    assert!(TcpStream::connect(cluster.addr(1)).is_err());
    cluster.restart(1).await;
    assert_eq!(admin.offsets("kept", 0).await, (0, 1));
    cluster.terminate(1).await;
    cluster.restart(1).await;
    assert_eq!(admin.append("kept", 0, b"key", b"value").await, 1);
}

#[tokio::test]
async fn leadership_moves_from_a_killed_broker_of_three_and_from_a_stopped_one() {
    let cluster = KafkaCluster::start(KafkaOptions::brokers(3)).await;
    let Some(cluster) = cluster else { return };
    let admin = cluster.admin();
    let topic = Topic::new("moves").replication(3);
    let topic = topic.config("min.insync.replicas", "2");
    admin.create_topic(&topic).await;
    let moved_from = async |old: i32| {
        eventually("another leader", LONG, || async {
            let leader = admin.leader_of("moves", 0).await;
            leader.filter(|leader| *leader != old)
        })
        .await
    };
    let first = admin.leader_of("moves", 0).await.unwrap();
    admin.append("moves", 0, b"key", b"before").await;
    cluster.kill(first);
    let second = moved_from(first).await;
    admin.append("moves", 0, b"key", b"without one").await;
    cluster.restart(first).await;
    cluster.wait_until_in_sync().await;

    cluster.stop(second);
    assert!(cluster.is_running(second));
    let third = moved_from(second).await;
    admin.append("moves", 0, b"key", b"with one silent").await;
    cluster.cont(second);
    cluster.wait_until_in_sync().await;

    cluster.roll().await;
    // An append of which the answer is lost is made again, and no broker knows that it is the same.
    let (begin, end) = admin.offsets("moves", 0).await;
    assert!(begin == 0 && end >= 3, "{begin}..{end}");
    let all = admin.partitions("moves").await.remove(0).replicas;
    assert!(BTreeSet::from_iter(all).contains(&third));
}

/// Runs this test in a process of its own, and kills that.
#[tokio::test]
async fn the_shared_broker_does_not_survive_its_test_process() {
    const HOLD: &str = "SYNCBELL_TEST_HOLD_KAFKA";
    let Some(kafka) = shared().await else { return };
    if std::env::var_os(HOLD).is_some() {
        let cluster = kafka.cluster.as_ref().unwrap();
        println!(
            "holding {} {}",
            kafka.bootstrap(),
            cluster.folder().display()
        );
        return std::future::pending().await;
    }
    if Launcher::chosen().await == Launcher::Given(kafka.bootstrap().to_owned()) {
        return launcher::left_out("SYNCBELL_TEST_KAFKA=HOST:PORT, which is not ours to end");
    }
    let mut binary = Binary::launch(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("kafka::tests::the_shared_broker_does_not_survive_its_test_process")
        .env(HOLD, "1")
        .start();
    let line = binary.wait_for_line("holding ", LONG).await.text;
    let (_, held) = line.split_once("holding ").unwrap();
    let (address, folder) = held.split_once(' ').unwrap();
    assert!(TcpStream::connect(address).is_ok());
    binary.kill().await;
    eventually("the end of a broker without its process", LONG, || async {
        let ended = TcpStream::connect(address).is_err() && !Path::new(folder).exists();
        ended.then_some(())
    })
    .await;
}

mod security;
