//! The same events in whatever batches, with restarts wherever: the same is told.

use proptest::prelude::*;
use syncbell_bus::{Position, Read, Record};
use syncbell_config::{Inhibit, RuleSwitches, Silent, SilentSubject, SilentWatch, parse_matcher};
use syncbell_event::{Kind, Status};
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, failing, recovered, setup, swept, task};

/// Seconds between two events of a script: a task gets stuck after nine of them.
const STEP: i64 = 800;

fn rules() -> RuleSwitches {
    let subject = SilentSubject::Repo {
        namespace: "team".into(),
        repo: "repo-0".into(),
    };
    RuleSwitches {
        canceled: true,
        slow: true,
        silent: Some(Silent {
            within: Duration::from_secs(5_000),
            watched: vec![SilentWatch {
                instance: INSTANCE.into(),
                subject,
            }],
        }),
        // What is told of one may wait for the end of another.
        inhibit: vec![Inhibit {
            source: vec![parse_matcher("rule=failed").unwrap()],
            target: vec![parse_matcher("rule=unknown_status").unwrap()],
            equal: vec!["instance".into()],
        }],
        ..RuleSwitches::default()
    }
}

/// What one step of a script is, made of three small numbers.
fn event(step: usize, (what, which, how): (u8, u8, u8)) -> Envelope {
    let n = u32::try_from(step).unwrap();
    let second = i64::from(n) * STEP;
    let instance = if which % 4 == 3 { "cri-b" } else { INSTANCE };
    // Ids of two lengths: two repositories.
    let id = format!("{instance}-{}", u32::from(which) * 3);
    let status = match how % 7 {
        0 | 5 => Status::Pending,
        1 => Status::Synchronizing,
        2 => Status::Success,
        3 => Status::Error,
        4 => Status::Canceled,
        _ => Status::Unknown("PAUSED".into()),
    };
    match what {
        0..=2 => swept(instance, second),
        3 if how % 2 == 0 => failing("denied", second, second),
        3 => recovered("denied", second, second),
        4 => task(Kind::Vanished, instance, &id, Status::Pending, 0, second, n),
        5 => task(
            Kind::Snapshot,
            instance,
            &id,
            status,
            i64::from(how) * STEP,
            second,
            n,
        ),
        _ => task(
            Kind::Updated,
            instance,
            &id,
            status,
            i64::from(which) * STEP,
            second,
            n,
        ),
    }
}

fn reads(script: &[(u8, u8, u8)]) -> Vec<Read> {
    let reads = script.iter().enumerate().map(|(step, parts)| {
        let event = event(step, *parts);
        Read {
            position: Position {
                partition: 0,
                offset: u64::try_from(step).unwrap(),
            },
            record: Record::new(event.source.instance.clone(), event.encode()),
            appended_at_ms: None,
        }
    });
    reads.collect()
}

/// What is told, with the ids under which it is delivered. `cuts` are the lengths of the batches; after an
/// even one comes a restart, in the middle of what is due if it is of four.
async fn told(script: &[(u8, u8, u8)], cuts: &[usize]) -> Vec<String> {
    let setup = setup(&rules(), &[INSTANCE, "cri-b"]);
    let mut bench = Bench::over(Store::memory(), setup).await;
    let records = reads(script);
    let mut taken = 0;
    let mut cuts = cuts.iter().copied();
    while taken < records.len() {
        let length = cuts.next().unwrap_or(records.len());
        let end = records.len().min(taken + length);
        let batch = records[taken..end].to_vec();
        if length % 4 == 0 {
            taken += bench.read_and_die(&Arc::new(batch), 0).await;
        } else {
            bench.take(batch).await;
            taken = end;
            if length % 2 == 0 {
                bench.restart().await;
            }
        }
    }
    let deliveries = bench.deliveries().await;
    let lines = deliveries.iter().map(|delivery| {
        let item = &delivery.entries[0].item;
        let (status, rule) = (item.status.as_str(), &item.rule);
        format!("{} {status} {rule} {}", delivery.id, item.summary)
    });
    lines.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_of_the_same_events_tells_the_same(
        script in prop::collection::vec((0u8..9, 0u8..8, 0u8..7), 1..70),
        cuts in prop::collection::vec(1usize..9, 0..70),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = told(&script, &[]).await;
            let split = told(&script, &cuts).await;
            prop_assert_eq!(whole, split);
            Ok(())
        })?;
    }
}

/// More is due at one heartbeat than one batch takes, and what comes after it in the same batch would
/// change what is told.
#[tokio::test]
async fn all_that_is_due_is_told_before_the_next_event_is_decided() {
    let mut bench = Bench::new(&RuleSwitches::default()).await;
    let mut events: Vec<Envelope> = (0..10)
        .map(|n| {
            task(
                Kind::Created,
                INSTANCE,
                &format!("t{n}"),
                Status::Pending,
                0,
                n,
                0,
            )
        })
        .collect();
    events.push(swept(INSTANCE, 7_200));
    events.extend((0..10).map(|n| {
        task(
            Kind::Updated,
            INSTANCE,
            &format!("t{n}"),
            Status::Success,
            0,
            7_300,
            0,
        )
    }));
    let told = bench.read(events).await;
    let firing = told.iter().filter(|line| line.starts_with("firing stuck"));
    assert_eq!((firing.count(), told.len()), (10, 20), "{told:?}");
    assert!(
        told[..10].iter().all(|line| line.starts_with("firing")),
        "{told:?}"
    );
}
