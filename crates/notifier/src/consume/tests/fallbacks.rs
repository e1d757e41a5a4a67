//! What a receiver did not take reaches its fallback as that one wants it, over restarts.

use std::path::Path;

use syncbell_event::{Event, Kind, Status};
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, at, task};
use crate::dead_letters::DeathClass;
use crate::deliver::record::bury;
use crate::delivery::Delivery;

const STORM: u32 = 30;

fn setup() -> Arc<Setup> {
    let text = format!(
        "instances: [{{id: {INSTANCE}, region: cn-shanghai}}]\n\
         receivers:\n\
         \x20 - {{name: ops, webhook: {{url: 'http://127.0.0.1:1'}}}}\n\
         \x20 - {{name: pager, webhook: {{url: 'http://127.0.0.1:1'}}}}\n\
         \x20 - {{name: mail, email: {{from: a@b.example, to: [c@d.example, e@f.example], \
         smtp: {{host: 127.0.0.1, tls: none}}}}}}\n\
         route:\n\
         \x20 receivers: [ops]\n\
         \x20 group_by: ['...']\n\
         \x20 fallback: mail\n\
         \x20 routes: [{{match: [from.tag=page], receivers: [ops], fallback: pager}}]\n"
    );
    let read = syncbell_config::parse(&text, "x", Path::new("."), &|_| None);
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let rules = &config.rules;
    Arc::new(Setup::new(&config.route, &config.receivers, rules, &[]))
}

/// `ops` refuses all that waits for it.
async fn refuse(bench: &Bench) {
    let all = bench.deliveries().await;
    let of_ops = all.into_iter().filter(|one| one.target.receiver == "ops");
    for delivery in of_ops {
        let refused = bench.consumer.ledger.turn(move |draft| {
            bury(
                draft,
                &delivery,
                DeathClass::Refused,
                "HTTP 413",
                None,
                at(0),
            );
            Ok(())
        });
        refused.await.unwrap();
    }
}

/// `receiver: so many entries`, and whom it stands in for, a delivery, oldest first.
async fn told(bench: &Bench) -> Vec<String> {
    let mut all = bench.deliveries().await;
    all.sort_by_key(|delivery| delivery.seq);
    let line = |delivery: &Delivery| {
        let instead_of = delivery.instead_of.as_deref().unwrap_or("-");
        let ends = delivery.entries.iter().filter(|entry| !entry.fires());
        let (n, n_ends) = (delivery.entries.len(), ends.count());
        let address = delivery.target.address.as_deref().unwrap_or("-");
        format!("{address} for {instead_of}: {n}, {n_ends} over")
    };
    all.iter().map(line).collect()
}

fn failure(n: u32, status: Status) -> Envelope {
    let id = format!("rst-{n}");
    task(Kind::Updated, INSTANCE, &id, status, 0, 10, n)
}

#[tokio::test]
async fn a_storm_that_nobody_takes_is_a_handful_of_mails_to_the_fallback() {
    let now = Arc::new(std::sync::Mutex::new(at(0)));
    let clock = {
        let now = now.clone();
        Arc::new(move || *now.lock().unwrap())
    };
    let mut bench = Bench::by(Store::memory(), setup(), clock).await;
    bench
        .read((0..STORM).map(|n| failure(n, Status::Error)).collect())
        .await;
    refuse(&bench).await;
    assert!(told(&bench).await.is_empty(), "the consume loop tells it");
    // It dies before it does.
    bench.restart().await;
    let first = [
        "c@d.example for ops: 1, 0 over",
        "e@f.example for ops: 1, 0 over",
    ];
    assert_eq!(told(&bench).await, first);
    bench.attend().await;
    bench.restart().await;
    assert_eq!(told(&bench).await, first, "once");

    // Their ends go the same way, behind them.
    bench
        .read((0..STORM).map(|n| failure(n, Status::Success)).collect())
        .await;
    refuse(&bench).await;
    bench.attend().await;
    assert_eq!(told(&bench).await, first, "they wait for the interval");
    *now.lock().unwrap() = at(60);
    bench.pass_by(at(60)).await;
    let n = 2 * STORM - 1;
    let rest = ["c@d.example", "e@f.example"].map(|to| format!("{to} for ops: {n}, {STORM} over"));
    assert_eq!(told(&bench).await[2..], rest);
    for second in [3_600, 90_000] {
        bench.pass_by(at(second)).await;
    }
    assert_eq!(told(&bench).await.len(), 4, "and are not repeated");
    assert_eq!(bench.rows("fb/").await, 0);
}

#[tokio::test]
async fn a_program_that_is_a_fallback_is_told_each() {
    let mut bench = Bench::over(Store::memory(), setup()).await;
    let paged = |n| {
        let mut event = failure(n, Status::Error);
        if let Event::Task { data, .. } = &mut event.event
            && let Some(task) = &mut data.after
        {
            for (image, part) in [(&mut task.from, "from"), (&mut task.to, "to")] {
                let image = image.as_mut().unwrap();
                image.tag = Some("page".into());
                image.repo = Some(format!("{part}-{n}"));
            }
        }
        event
    };
    bench.read((0..STORM).map(paged).collect()).await;
    refuse(&bench).await;
    bench.attend().await;
    assert_eq!(
        told(&bench).await,
        vec!["- for ops: 1, 0 over"; STORM as usize]
    );
}
