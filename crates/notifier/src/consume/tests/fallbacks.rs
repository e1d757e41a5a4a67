//! What a receiver did not take reaches its fallback as that one wants it, over restarts.

use std::path::Path;

use syncbell_event::{Event, Kind, Status};
use syncbell_service::Metrics;
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, at, task};
use crate::dead_letters::{DeadLetter, DeathClass};
use crate::deliver::record::bury;
use crate::delivery::Delivery;
use crate::rows;

const STORM: u32 = 30;

fn setup() -> Arc<Setup> {
    let route = "receivers: [ops]\n\
         \x20 group_by: ['...']\n\
         \x20 fallback: mail\n\
         \x20 routes: [{match: [from.tag=page], receivers: [ops], fallback: pager}]\n";
    setup_of(&["ops", "pager", "mail"], route)
}

/// With these receivers: `mail` has two addresses, the others are webhooks.
fn setup_of(receivers: &[&str], route: &str) -> Arc<Setup> {
    let line = |name: &&str| match *name {
        "mail" => "\x20 - {name: mail, email: {from: a@b.example, to: [c@d.example, e@f.example], \
             smtp: {host: 127.0.0.1, tls: none}}}\n"
            .to_owned(),
        name => format!("\x20 - {{name: {name}, webhook: {{url: 'http://127.0.0.1:1'}}}}\n"),
    };
    let receivers: String = receivers.iter().map(line).collect();
    let text = format!(
        "instances: [{{id: {INSTANCE}, region: cn-shanghai}}]\n\
         receivers:\n{receivers}\
         route:\n\x20 {route}"
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

/// As a start does it that finds another configuration: the lanes that are gone first, then the consume loop.
async fn restart_with(bench: &mut Bench, setup: Arc<Setup>) {
    let relay = crate::dead_letters::Relay {
        ledger: Ledger::open(bench.store.clone()).await.unwrap(),
        publisher: bench.bus.publisher(),
        buried: Arc::default(),
        metrics: NotifierMetrics::new(&Metrics::new()),
    };
    relay.bury_orphans(&setup).await.unwrap();
    bench.setup = setup;
    bench.restart().await;
    bench.pass_by(at(0)).await;
}

/// `receiver for whom: firing entries` a delivery that waits, and whom each dead letter was for.
async fn stands(bench: &Bench) -> (Vec<String>, Vec<String>) {
    let mut all = bench.deliveries().await;
    all.sort_by_key(|delivery| delivery.seq);
    let line = |delivery: &Delivery| {
        let instead_of = delivery.instead_of.as_deref().unwrap_or("-");
        let events: Vec<&str> = delivery
            .entries
            .iter()
            .filter_map(|entry| entry.item.task.as_ref())
            .map(|task| task.task_id.as_str())
            .collect();
        format!(
            "{} for {instead_of}: {}",
            delivery.target.receiver,
            events.join(" ")
        )
    };
    let letters = bench.store.read(|reader| {
        let mut letters = Vec::new();
        for (key, row) in reader.scan(rows::DEAD_LETTERS, None, 1_000)? {
            if !rows::is_piece(&key) {
                let letter = DeadLetter::of_row(&rows::bytes(reader, &key, &row)?).unwrap();
                letters.push(letter.target.unwrap().receiver);
            }
        }
        Ok(letters)
    });
    (all.iter().map(line).collect(), letters.await.unwrap())
}

const PAGED: &str = "receivers: [ops]\n  fallback: pager\n";

/// `ops` refuses two failures, its fallback `pager` leaves before it was told (as a row, or in its lane).
async fn refused_and_handed_over(told: bool) -> Bench {
    let mut bench = Bench::over(Store::memory(), setup_of(&["ops", "pager"], PAGED)).await;
    let failures = (0..2).map(|n| failure(n, Status::Error));
    bench.read(failures.collect()).await;
    refuse(&bench).await;
    if told {
        bench.attend().await;
    }
    bench
}

#[tokio::test]
async fn what_a_fallback_that_left_was_handed_is_told_to_the_fallback_of_now() {
    for told in [false, true] {
        let mut bench = refused_and_handed_over(told).await;
        let now = setup_of(&["ops", "second"], "receivers: [ops]\n  fallback: second\n");
        restart_with(&mut bench, now).await;
        let (waits, letters) = stands(&bench).await;
        assert_eq!(waits, ["second for ops: rst-0", "second for ops: rst-1"]);
        // Those that `ops` refused, and those that were in the lane of the one that left.
        assert_eq!(letters.len(), if told { 4 } else { 2 }, "{letters:?}");
        bench.restart().await;
        assert_eq!(stands(&bench).await.0, waits, "once");
        assert_eq!(bench.rows("fb/").await, 0);
    }
}

#[tokio::test]
async fn what_a_fallback_that_left_was_handed_is_a_dead_letter_where_there_is_none_now() {
    for told in [false, true] {
        let mut bench = refused_and_handed_over(told).await;
        restart_with(&mut bench, setup_of(&["ops"], "receivers: [ops]\n")).await;
        let (waits, letters) = stands(&bench).await;
        assert_eq!(waits, [""; 0]);
        let of = |name: &str| letters.iter().filter(|one| *one == name).count();
        assert_eq!((of("ops"), of("pager")), (2, 2), "{letters:?}");
        assert_eq!(bench.rows("fb/").await, 0);
    }
}

/// What waits in its lane goes to the fallback with which it was decided, or to that of the route now.
#[tokio::test]
async fn the_fallback_of_a_receiver_that_left_is_told_what_waited_for_it() {
    for (kept, route, expected) in [
        (["new", "pager"], "receivers: [new]\n", Some("pager")),
        (
            ["new", "second"],
            "receivers: [new]\n  fallback: second\n",
            Some("second"),
        ),
        (["new", "other"], "receivers: [new, other]\n", None),
    ] {
        let mut bench = Bench::over(Store::memory(), setup_of(&["ops", "pager"], PAGED)).await;
        bench.read(vec![failure(0, Status::Error)]).await;
        restart_with(&mut bench, setup_of(&kept, route)).await;
        let (waits, letters) = stands(&bench).await;
        let expected = expected.map(|name| format!("{name} for ops: rst-0"));
        assert_eq!(waits, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(letters, ["ops"]);
    }
}

/// Two addresses that left with their receiver are one fallback: the next one hears of it once.
#[tokio::test]
async fn what_was_for_two_addresses_of_a_fallback_that_left_is_told_once() {
    let mailed = "receivers: [ops]\n  fallback: mail\n";
    let mut bench = Bench::over(Store::memory(), setup_of(&["ops", "mail"], mailed)).await;
    bench.read(vec![failure(0, Status::Error)]).await;
    refuse(&bench).await;
    bench.attend().await;
    assert_eq!(stands(&bench).await.0.len(), 2);
    restart_with(&mut bench, setup_of(&["ops", "pager"], PAGED)).await;
    assert_eq!(stands(&bench).await.0, ["pager for ops: rst-0"]);
}

/// What waits for its interval, and not yet in a lane.
#[tokio::test]
async fn what_waits_in_a_group_of_a_receiver_that_left_is_told_instead_and_a_dead_letter() {
    let now = Arc::new(move || at(0));
    let mailed = "receivers: [mail]\n  group_wait: 1h\n  fallback: pager\n";
    for fallback in [true, false] {
        let before = setup_of(&["mail", "pager"], mailed);
        let mut bench = Bench::by(Store::memory(), before, now.clone()).await;
        let failures = (0..3).map(|n| failure(n, Status::Error));
        bench.read(failures.collect()).await;
        assert_eq!(stands(&bench).await, (vec![], vec![]), "all of it waits");
        let after = if fallback {
            "receivers: [new]\n  fallback: pager\n"
        } else {
            "receivers: [new, pager]\n"
        };
        restart_with(&mut bench, setup_of(&["new", "pager"], after)).await;
        let (waits, letters) = stands(&bench).await;
        let told = "pager for mail: rst-0 rst-1 rst-2".to_owned();
        assert_eq!(
            waits,
            fallback.then_some(told).into_iter().collect::<Vec<_>>()
        );
        assert_eq!(letters, ["mail"]);
        assert_eq!((bench.rows("q/").await, bench.rows("qi/").await), (0, 0));
    }
}

/// No route leads there any more, and it is still there: what was decided goes out.
#[tokio::test]
async fn what_waits_for_a_receiver_that_left_its_route_goes_out() {
    let now = Arc::new(move || at(0));
    let mailed = "receivers: [mail]\n  group_wait: 1h\n";
    let before = setup_of(&["mail", "pager"], mailed);
    let mut bench = Bench::by(Store::memory(), before, now).await;
    bench.read(vec![failure(0, Status::Error)]).await;
    restart_with(
        &mut bench,
        setup_of(&["mail", "pager"], "receivers: [pager]\n"),
    )
    .await;
    let (waits, letters) = stands(&bench).await;
    assert_eq!(waits, ["mail for -: rst-0", "mail for -: rst-0"]);
    assert_eq!(letters, [""; 0]);
}
