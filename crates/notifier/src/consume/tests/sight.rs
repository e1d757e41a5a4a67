//! Whether instances are seen, through the log and the wall clock.

use syncbell_config::{RuleSwitches, Silent, SilentSubject, SilentWatch};
use syncbell_event::{Kind, Status};

use super::super::*;
use super::bench::{Bench, INSTANCE, at, failing, recovered, setup, swept, task};
use crate::decide::watch::Watch;
use crate::decide::{ClosedBy, Incident, Rule};
use crate::rows;
use crate::standing::Standing;

const BLIND: &str = "firing blind silent_poller: cannot see cri-a since 03:00 UTC: silent_poller: \
                     nothing is heard of its poller";

fn rules() -> RuleSwitches {
    RuleSwitches::default()
}

#[tokio::test]
async fn a_dead_poller_makes_it_blind_once_and_the_next_heartbeat_ends_it_once() {
    let mut bench = Bench::new(&rules()).await;
    assert!(bench.read(vec![swept(INSTANCE, 0)]).await.is_empty());
    // 75 s until the next heartbeat is due, and 2 minutes of grace.
    assert!(bench.look(75 + 119).await.is_empty());
    assert_eq!(bench.look(75 + 120).await, [BLIND]);
    for second in 200..260 {
        assert!(bench.look(second).await.is_empty());
    }
    assert_eq!(
        bench.read(vec![swept(INSTANCE, 720)]).await,
        ["resolved blind silent_poller: sees cri-a again, after 12 minutes"]
    );
    assert!(bench.read(vec![swept(INSTANCE, 780)]).await.is_empty());
    let told = bench.deliveries().await;
    let item = &told[0].entries[0].item;
    assert_eq!(item.instance.as_deref(), Some(INSTANCE));
    assert_eq!(item.region.as_deref(), Some("cn-shanghai"));
    assert_eq!((item.task.as_ref(), item.since), (None, at(0)));
    assert_eq!(item.incident, told[1].entries[0].item.incident);
}

#[tokio::test]
async fn an_outage_of_an_hour_is_one_blind_and_one_end_with_restarts_in_between() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    let mut told = Vec::new();
    for second in (0..3_600).step_by(30) {
        told.extend(bench.look(second).await);
        if second % 300 == 0 {
            bench.restart().await;
            // The reader has not looked at the log yet: nobody knows whether something is on it.
            assert!(bench.look(second).await.is_empty());
            bench.open_log().await;
        }
    }
    told.extend(bench.read(vec![swept(INSTANCE, 3_600)]).await);
    assert_eq!(
        told,
        [
            BLIND,
            "resolved blind silent_poller: sees cri-a again, after 1 hour"
        ]
    );
}

#[tokio::test]
async fn a_restart_neither_forgets_nor_hurries() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    bench.restart().await;
    bench.open_log().await;
    assert!(bench.look(194).await.is_empty());
    bench.restart().await;
    bench.open_log().await;
    assert_eq!(bench.look(195).await, [BLIND]);
    bench.restart().await;
    bench.open_log().await;
    assert!(bench.look(9_000).await.is_empty());
}

#[tokio::test]
async fn while_the_log_is_not_read_to_its_end_nobody_is_called_blind() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    bench.append(vec![swept(INSTANCE, 60)]).await;
    assert!(bench.look(4_000).await.is_empty());
    assert!(bench.look(4_010).await.is_empty());
    bench.read_all().await;
    assert_eq!(bench.look(4_020).await.len(), 1, "now it is read");
}

#[tokio::test]
async fn what_the_poller_says_is_told_at_once_and_once() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    assert_eq!(
        bench.read(vec![failing("denied", 40, 60)]).await,
        ["firing blind denied: cannot see cri-a since 03:00 UTC: denied: denied says the registry"]
    );
    let more = vec![
        failing("denied", 41, 70),
        failing("throttled", 40, 80),
        failing("denied", 40, 90),
    ];
    assert!(bench.read(more).await.is_empty());
    assert!(bench.look(9_000).await.is_empty(), "told already");
    let incident: Incident = bench.blind_incident().await;
    assert_eq!(
        incident.notice.unwrap().reason,
        "throttled",
        "the last word"
    );
    assert_eq!(
        bench.read(vec![swept(INSTANCE, 100)]).await,
        ["resolved blind throttled: sees cri-a again, after 1 minute"]
    );
    assert_eq!(bench.read(vec![failing("clock", 200, 200)]).await.len(), 1);
    assert_eq!(
        bench.read(vec![recovered("clock", 200, 260)]).await,
        ["resolved blind clock: sees cri-a again, after 1 minute"]
    );
    // Its word that it sees again is worth a grace, not for ever.
    assert!(bench.look(260 + 119).await.is_empty());
    assert_eq!(bench.look(260 + 120).await.len(), 1);
}

#[tokio::test]
async fn an_instance_that_is_never_heard_of_is_blind_after_ten_minutes() {
    let mut bench = Bench::new(&rules()).await;
    bench.open_log().await;
    let since = bench.watch(INSTANCE).await.unwrap().expected_since;
    let second = since.duration_since(at(0)).as_secs();
    assert!(bench.look(second + 590).await.is_empty());
    bench.restart().await;
    bench.open_log().await;
    let told = bench.look(second + 601).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("firing blind never_heard: cannot see cri-a since "));
    assert!(bench.look(second + 9_000).await.is_empty());
}

#[tokio::test]
async fn what_left_the_configuration_is_not_watched_and_what_only_events_name_is() {
    let mut bench = Bench::new(&rules()).await;
    bench
        .read(vec![swept(INSTANCE, 0), swept("cri-found", 0)])
        .await;
    assert_eq!(bench.look(300).await.len(), 2);
    bench.setup = setup(&rules(), &["cri-other"]);
    bench.restart().await;
    assert!(
        !bench.blind_incident().await.is_open(),
        "no all-clear either"
    );
    let dropped_at = bench.watch(INSTANCE).await.unwrap().dropped_at.unwrap();
    let second = dropped_at.duration_since(at(0)).as_secs();
    // The poller hears of it later, and the log is read behind.
    assert!(
        bench
            .read(vec![swept(INSTANCE, second + 60)])
            .await
            .is_empty()
    );
    assert!(bench.watch(INSTANCE).await.unwrap().dropped_at.is_some());
    let told = bench.read(vec![swept("cri-found", second)]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let told = bench.look(second + 5_000).await;
    assert_eq!(told.len(), 2, "cri-found and cri-other: {told:?}");
    // It comes back for good.
    assert!(
        bench
            .read(vec![swept(INSTANCE, second + 6_000)])
            .await
            .is_empty()
    );
    assert_eq!(bench.look(second + 7_000).await.len(), 1);
}

#[tokio::test]
async fn a_blind_incident_that_was_closed_by_hand_stays_closed_until_the_next_time() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    bench.read(vec![failing("denied", 40, 60)]).await;
    let mut incident = bench.blind_incident().await;
    incident.close(ClosedBy::Expired, at(70));
    bench.put(rows::incident(&incident.id), incident).await;
    assert!(bench.read(vec![failing("denied", 41, 80)]).await.is_empty());
    assert!(bench.look(9_000).await.is_empty());
    assert!(bench.read(vec![swept(INSTANCE, 100)]).await.is_empty());
    assert_eq!(bench.read(vec![failing("denied", 200, 200)]).await.len(), 1);
}

#[tokio::test]
async fn where_blind_is_off_nothing_is_told() {
    let off = RuleSwitches {
        blind: false,
        ..rules()
    };
    let mut bench = Bench::new(&off).await;
    let events = vec![swept(INSTANCE, 0), failing("denied", 40, 60)];
    assert!(bench.read(events).await.is_empty());
    assert!(bench.look(90_000).await.is_empty());
}

#[tokio::test]
async fn a_slow_interval_has_a_grace_of_twice_its_length() {
    let mut bench = Bench::new(&RuleSwitches {
        blind_after: Duration::from_secs(1),
        ..rules()
    })
    .await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    // poll_every is 15 s.
    assert!(bench.look(75 + 29).await.is_empty());
    assert_eq!(bench.look(75 + 30).await, [BLIND]);
}

#[tokio::test]
async fn a_log_that_is_another_one_makes_every_known_instance_blind_until_it_is_seen() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 0)]).await;
    let stand = bench.consumer.ledger.turn(|draft| {
        let standing = Standing {
            next: 900,
            observed_at: Some(at(0)),
            event_id: None,
        };
        draft.stand(Stream::Changes, &BTreeMap::from([(0, standing)]));
        Ok(())
    });
    stand.await.unwrap();
    bench.restart().await;
    let told = bench.read(vec![swept(INSTANCE, 60)]).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("firing blind log_lost: cannot see cri-a since "),
        "{told:?}"
    );
    assert!(told[0].contains("(it ends before): the 2 events on it are read from its start"));
    assert!(told[1].starts_with("resolved blind log_lost: "), "{told:?}");
    assert_eq!(bench.rows("b/log-lost").await, 0);
}

#[tokio::test]
async fn a_sync_rule_of_which_nothing_runs_is_told_and_ends_with_its_next_task() {
    let watch = |subject| SilentWatch {
        instance: INSTANCE.into(),
        subject,
    };
    let silent = Silent {
        within: Duration::from_hours(24),
        watched: vec![watch(SilentSubject::SyncRule("crsr-1".into()))],
    };
    let mut bench = Bench::new(&RuleSwitches {
        silent: Some(silent),
        ..rules()
    })
    .await;
    let day = 86_400;
    let snapshot = task(
        Kind::Snapshot,
        INSTANCE,
        "old",
        Status::Success,
        -9 * day,
        0,
        0,
    );
    // Counts from the first heartbeat since it is watched, not from a task of long ago.
    assert!(
        bench
            .read(vec![snapshot, swept(INSTANCE, 0)])
            .await
            .is_empty()
    );
    assert!(bench.read(vec![swept(INSTANCE, day - 1)]).await.is_empty());
    bench.restart().await;
    assert_eq!(
        bench.read(vec![swept(INSTANCE, day)]).await,
        ["firing silent nothing_ran: nothing ran of sync rule crsr-1 on cri-a for 24 hours"]
    );
    assert!(bench.read(vec![swept(INSTANCE, day + 60)]).await.is_empty());
    let late = task(
        Kind::Updated,
        INSTANCE,
        "old",
        Status::Error,
        -9 * day,
        day + 70,
        0,
    );
    assert_eq!(
        bench.read(vec![late]).await.len(),
        1,
        "failed; not a run of its own"
    );
    let next = task(
        Kind::Created,
        INSTANCE,
        "next",
        Status::Pending,
        day + 80,
        day + 90,
        0,
    );
    assert_eq!(
        bench.read(vec![next]).await,
        ["resolved silent nothing_ran: sync rule crsr-1 on cri-a runs again: PENDING"]
    );
    // Taken out of the configuration while it is silent: closed, and forgotten.
    assert_eq!(bench.read(vec![swept(INSTANCE, 3 * day)]).await.len(), 2);
    bench.setup = setup(&rules(), &[INSTANCE]);
    bench.restart().await;
    assert_eq!(bench.rows("n/").await, 0);
}

#[tokio::test]
async fn timers_survive_a_reopened_store() {
    let folder = tempfile::tempdir().unwrap();
    let open = || syncbell_store::Store::open(folder.path(), syncbell_store::Options::default());
    let setup = setup(&rules(), &[INSTANCE]);
    let mut bench = Bench::over(open().unwrap(), setup.clone()).await;
    let pending = |id: &str| task(Kind::Created, INSTANCE, id, Status::Pending, 0, 1, 0);
    let events = vec![pending("a"), pending("b"), swept(INSTANCE, 60)];
    assert!(bench.read(events).await.is_empty());
    assert_eq!((bench.rows("o/").await, bench.rows("w/").await), (2, 1));
    bench.store.close().await.unwrap();
    drop(bench);
    let mut bench = Bench::over(open().unwrap(), setup).await;
    let well = task(Kind::Updated, INSTANCE, "b", Status::Success, 0, 100, 0);
    let told = bench.read(vec![well, swept(INSTANCE, 7_199)]).await;
    assert!(told.iter().all(|line| line.contains("blind")), "{told:?}");
    let told = bench.read(vec![swept(INSTANCE, 7_200)]).await;
    assert_eq!(
        told,
        [
            "firing stuck PENDING: team/repo-1:a is stuck on its way to cn-shenzhen/cri-a, \
          open for 2 hours: PENDING"
        ]
    );
    assert_eq!(bench.rows("o/").await, 0, "nothing waits any more");
}

impl Bench {
    async fn watch(&self, instance: &str) -> Option<Watch> {
        let key = rows::watch(instance);
        let read = self.store.read(move |reader| {
            let row = reader.get(&key)?;
            row.map(|row| rows::read(reader, &key, &row)).transpose()
        });
        read.await.unwrap()
    }

    pub(super) async fn blind_incident(&self) -> Incident {
        let key = rows::incident(&Watch::subject(INSTANCE).incident_id(Rule::Blind));
        let read = self.store.read(move |reader| {
            let row = reader.get(&key)?.expect("there is one");
            rows::read(reader, &key, &row)
        });
        read.await.unwrap()
    }

    async fn put(&self, key: rows::Key, incident: Incident) {
        let put = self.consumer.ledger.turn(move |draft| {
            draft.put(key, &incident);
            Ok(())
        });
        put.await.unwrap();
    }
}
