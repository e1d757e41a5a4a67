//! A ledger that begins anew.

use syncbell_config::RuleSwitches;
use syncbell_event::{Kind, SnapshotRequest, Status};
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, at, setup, swept, task};
use crate::begin::begun;
use crate::rows;

async fn requests(store: &Store) -> Vec<SnapshotRequest> {
    let read = store.read(|reader| {
        let rows = reader.scan(rows::REQUESTS, None, 100)?;
        rows.iter()
            .map(|(key, row)| rows::read::<String>(reader, key, row))
            .collect::<Result<Vec<String>, _>>()
    });
    let texts = read.await.unwrap();
    let decode = |text: &String| SnapshotRequest::decode(text.as_bytes()).unwrap();
    texts.iter().map(decode).collect()
}

#[tokio::test]
async fn what_the_ledger_before_told_is_known_and_its_end_is_told() {
    let rules = RuleSwitches::default();
    let mut bench = Bench::new(&rules).await;
    bench.consumer.begun.tells_from = at(100);
    let story = vec![
        task(Kind::Created, INSTANCE, "old", Status::Error, 5, 10, 0),
        task(Kind::Created, INSTANCE, "older", Status::Error, 5, 11, 0),
        task(Kind::Updated, INSTANCE, "older", Status::Success, 5, 20, 0),
        task(Kind::Created, INSTANCE, "new", Status::Error, 90, 110, 0),
        task(Kind::Updated, INSTANCE, "old", Status::Success, 5, 120, 0),
    ];
    let told: Vec<String> = bench.read(story).await;
    let begins = |n: usize, with: &str| assert!(told[n].starts_with(with), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    begins(0, "firing failed ERROR: team/repo-1:new");
    begins(1, "resolved failed ERROR: team/repo-1:old");
}

#[tokio::test]
async fn an_empty_ledger_asks_the_poller_once_and_tells_a_day_back() {
    let rules = RuleSwitches::default();
    let mut bench = Bench::new(&rules).await;
    let kept = begun(&bench.consumer.ledger, at(9_999)).await.unwrap();
    assert_eq!((kept.at, kept.is_new), (at(0), false));
    let a_day_back = at(0) - SignedDuration::from_hours(24);
    assert_eq!(kept.tells_from, a_day_back);
    bench.restart().await;
    let asked = requests(&bench.store).await;
    let [asked] = &asked[..] else {
        panic!("it asks once, not {}", asked.len());
    };
    assert!(asked.fresh && asked.since < a_day_back);
}

#[tokio::test]
async fn a_lost_ledger_is_told_for_each_instance_until_it_is_seen() {
    let rules = RuleSwitches::default();
    let mut bench = Bench::over(Store::memory(), setup(&rules, &[INSTANCE, "cri-b"])).await;
    bench.store = Store::memory();
    bench.consumer.ledger = Ledger::open(bench.store.clone()).await.unwrap();
    bench.consumer.begun = begun(&bench.consumer.ledger, at(50)).await.unwrap();
    bench.consumer.lost = Some(LedgerLost {
        why: "a row is damaged".to_owned(),
        kept_as: "notifier.corrupt-1".to_owned(),
    });
    bench.consumer.start().await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 2, "{told:?}");
    for instance in [INSTANCE, "cri-b"] {
        let begin = format!("firing blind ledger_lost: cannot see {instance} since");
        let line = told.iter().find(|line| line.starts_with(&begin)).unwrap();
        assert!(line.contains("is kept as notifier.corrupt-1"), "{line}");
    }
    bench.restart().await;
    assert_eq!(bench.told().await.len(), 2, "it is told once");
    let told = bench.read(vec![swept(INSTANCE, 100)]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("resolved blind ledger_lost"),
        "{told:?}"
    );
}
