//! What silences and inhibition hold back, and when it is told after all.

use syncbell_config::{Inhibit, Route, RuleSwitches, parse_matcher};
use syncbell_event::{Event, Kind, Status};
use syncbell_store::Store;

use super::super::*;
use super::bench::{Bench, INSTANCE, at, routed, setup, task};
use crate::delivery::Entry;
use crate::rows;
use crate::silence::Silence;
use crate::silences::SilenceRow;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn rules() -> RuleSwitches {
    RuleSwitches {
        // Nothing is heard of its poller in an hour.
        blind: false,
        ..RuleSwitches::default()
    }
}

/// Task `id` in `status`, created and seen at second `n`. Tasks of one name without its number are on a route.
fn seen(id: &str, status: Status, n: u32) -> Envelope {
    let second = i64::from(n);
    let mut event = task(Kind::Updated, INSTANCE, id, status, second, second, n);
    if let Event::Task { data, .. } = &mut event.event
        && let Some(task) = &mut data.after
    {
        let route = id.trim_end_matches(|c: char| c.is_ascii_digit());
        for image in [&mut task.from, &mut task.to].into_iter().flatten() {
            image.tag = Some(route.to_owned());
            image.repo = Some("web".to_owned());
        }
    }
    event
}

fn failed(id: &str, n: u32) -> Envelope {
    seen(id, Status::Error, n)
}

fn well(id: &str, n: u32) -> Envelope {
    seen(id, Status::Success, n)
}

fn unknown(id: &str, n: u32) -> Envelope {
    seen(id, Status::Unknown("PAUSED".into()), n)
}

/// Status and task of what was told.
async fn told_of(bench: &Bench) -> Vec<String> {
    let deliveries = bench.deliveries().await;
    let entries = deliveries.iter().flat_map(|delivery| &delivery.entries);
    let line = |entry: &Entry| {
        let task = entry.item.task.as_ref().map(|task| task.task_id.as_str());
        format!("{} {}", entry.item.status.as_str(), task.unwrap_or("-"))
    };
    entries.map(line).collect()
}

async fn row(bench: &Bench, silence: &Silence) -> SilenceRow {
    let rows = bench.handle().await.silences(true).await.unwrap();
    let row = rows.into_iter().find(|row| row.silence.id == silence.id);
    row.expect("it is listed")
}

async fn counts(bench: &Bench, silence: &Silence) -> (u64, u64, u64) {
    let row = row(bench, silence).await;
    (row.held, row.told, row.over)
}

#[tokio::test]
async fn what_is_open_when_its_silence_ends_is_told_then_and_once() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench
        .silence(&["rule=failed", "from.namespace=~te.*"], 3_600)
        .await;
    assert!(bench.read(vec![failed("a1", 1)]).await.is_empty());
    assert_eq!(counts(&bench, &silence).await, (1, 0, 0));
    let held = row(&bench, &silence).await.last;
    assert!(held[0].summary.contains("ERROR"), "{held:?}");
    let before_end = silence.ends_at - SignedDuration::from_secs(1);
    assert!(bench.look_at(before_end).await.is_empty());
    assert_eq!(bench.look_at(silence.ends_at).await.len(), 1);
    assert_eq!(told_of(&bench).await, ["firing a1"]);
    assert_eq!(counts(&bench, &silence).await, (1, 1, 0));
    assert!(bench.look_at(silence.ends_at + HOUR).await.is_empty());
    assert_eq!(bench.rows("h/").await + bench.rows("j/").await, 0);
    bench.read(vec![well("a2", 2)]).await;
    assert_eq!(told_of(&bench).await, ["firing a1", "resolved a1"]);
}

#[tokio::test]
async fn what_no_matcher_holds_for_is_told() {
    let mut bench = Bench::new(&rules()).await;
    bench.silence(&["rule=failed", "from.tag=b"], 3_600).await;
    bench.read(vec![failed("a1", 1), unknown("b1", 2)]).await;
    assert_eq!(told_of(&bench).await, ["firing a1", "firing b1"]);
}

#[tokio::test]
async fn a_restart_neither_forgets_what_is_held_nor_lets_it_out() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    bench.read(vec![failed("a1", 1)]).await;
    bench.restart().await;
    assert!(bench.look_at(silence.ends_at - HOUR).await.is_empty());
    assert!(bench.read(vec![failed("b1", 2)]).await.is_empty());
    bench.restart().await;
    assert_eq!(bench.look_at(silence.ends_at).await.len(), 2);
    bench.restart().await;
    assert!(bench.look_at(silence.ends_at + HOUR).await.is_empty());
}

#[tokio::test]
async fn a_silence_that_is_expired_by_hand_ends_at_once_with_all_it_held() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    // More than one batch looks at.
    let events: Vec<Envelope> = (1..=8)
        .map(|n| failed(&format!("{}1", "x".repeat(n)), 1))
        .collect();
    assert!(bench.read(events).await.is_empty());
    assert_eq!(bench.expire(&silence).await.len(), 8);
    assert_eq!(counts(&bench, &silence).await, (8, 8, 0));
    assert!(bench.look_at(silence.ends_at).await.is_empty());
    assert_eq!(bench.read(vec![failed("y1", 9)]).await.len(), 1);
}

#[tokio::test]
async fn what_was_over_before_the_silence_ended_is_not_told_nor_is_its_end() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    bench
        .read(vec![failed("a1", 1), failed("a2", 2), well("a3", 3)])
        .await;
    // Read late: failed, and over already.
    bench.read(vec![failed("a0", 0)]).await;
    assert!(bench.look_at(silence.ends_at).await.is_empty());
    assert_eq!(told_of(&bench).await, [""; 0]);
    assert_eq!(counts(&bench, &silence).await, (3, 0, 3));
    assert_eq!(bench.rows("h/").await + bench.rows("j/").await, 0);
}

#[tokio::test]
async fn the_end_of_what_was_told_before_is_told_while_it_is_silenced() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![failed("a1", 1)]).await;
    let silence = bench.silence(&["from.tag=a"], 3_600).await;
    bench.read(vec![failed("a2", 2)]).await;
    assert_eq!(
        told_of(&bench).await,
        ["firing a1"],
        "failed again, and held"
    );
    bench.read(vec![well("a3", 3)]).await;
    assert_eq!(told_of(&bench).await, ["firing a1", "resolved a2"]);
    assert!(bench.look_at(silence.ends_at).await.is_empty());
    assert_eq!(counts(&bench, &silence).await, (1, 0, 1));
}

#[tokio::test]
async fn each_opening_has_its_own_story() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["from.tag=a"], 3_600).await;
    bench.read(vec![failed("a1", 1), well("a2", 2)]).await;
    bench.expire(&silence).await;
    bench.read(vec![failed("a3", 3)]).await;
    let again = bench.silence(&["from.tag=a"], 3_600).await;
    bench.read(vec![well("a4", 4), failed("a5", 5)]).await;
    assert_eq!(told_of(&bench).await, ["firing a3", "resolved a3"]);
    bench.read(vec![failed("a6", 6)]).await;
    bench.expire(&again).await;
    let all = ["firing a3", "resolved a3", "firing a5", "firing a6"];
    assert_eq!(told_of(&bench).await, all);
    bench.read(vec![well("a7", 7)]).await;
    assert_eq!(told_of(&bench).await.last().unwrap(), "resolved a6");
}

#[tokio::test]
async fn what_two_silences_hold_is_told_when_the_last_ends() {
    let mut bench = Bench::new(&rules()).await;
    let first = bench.silence(&["rule=failed"], 3_600).await;
    bench.read(vec![failed("a1", 1), failed("b1", 2)]).await;
    let second = bench.silence(&["from.tag=a"], 7_200).await;
    assert_eq!(bench.look_at(first.ends_at).await.len(), 1);
    assert_eq!(told_of(&bench).await, ["firing b1"]);
    assert_eq!(counts(&bench, &second).await, (1, 0, 0));
    bench.restart().await;
    assert_eq!(bench.look_at(second.ends_at).await.len(), 1);
    assert_eq!(counts(&bench, &second).await, (1, 1, 0));
}

#[tokio::test]
async fn a_task_that_got_well_by_itself_is_left_out_when_the_others_are_told() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    // The later one fails first: that the earlier one got well ends nothing of it.
    bench.read(vec![failed("a2", 2), failed("a1", 1)]).await;
    let mut again = well("a1", 3);
    if let Event::Task { data, .. } = &mut again.event {
        data.after.as_mut().unwrap().created_at = Some(at(1));
    }
    bench.read(vec![again]).await;
    bench.expire(&silence).await;
    assert_eq!(told_of(&bench).await, ["firing a2"]);
    assert_eq!(counts(&bench, &silence).await, (2, 1, 1));
}

#[tokio::test]
async fn of_many_failures_of_one_route_the_newest_are_kept() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    let events = (1..=40).map(|n| failed(&format!("a{n}"), n));
    assert!(bench.read(events.collect()).await.is_empty());
    assert_eq!(bench.expire(&silence).await.len(), 32);
    assert_eq!(told_of(&bench).await[0], "firing a9");
    assert_eq!(counts(&bench, &silence).await, (40, 32, 8));
}

/// A receiver that gets repeats after an hour.
fn people() -> Arc<Setup> {
    let route = Route {
        group_by: Some(vec!["instance".into()]),
        repeat_interval: Some(Duration::from_hours(1)),
        ..Route::default()
    };
    routed(route, &rules(), &[])
}

#[tokio::test]
async fn a_repeat_leaves_out_what_is_silenced_then() {
    let mut bench = Bench::over(Store::memory(), people()).await;
    bench.read(vec![failed("a1", 1)]).await;
    let start = Timestamp::now();
    bench.read(vec![failed("b1", 2)]).await;
    bench.look_at(start + SignedDuration::from_mins(2)).await;
    assert_eq!(told_of(&bench).await, ["firing a1", "firing b1"]);
    bench.silence(&["from.tag=a"], 2 * 3_600).await;
    let repeated = bench.look_at(start + SignedDuration::from_mins(63)).await;
    assert_eq!(repeated.len(), 1, "{repeated:?}");
    assert_eq!(told_of(&bench).await.last().unwrap(), "firing b1");
    let repeated = bench.look_at(start + SignedDuration::from_mins(124)).await;
    assert_eq!(repeated.len(), 2, "the silence is over: {repeated:?}");
}

fn hides(equal: &[&str]) -> RuleSwitches {
    let matcher = |text| vec![parse_matcher(text).unwrap()];
    RuleSwitches {
        inhibit: vec![Inhibit {
            source: matcher("rule=failed"),
            target: matcher("rule=unknown_status"),
            equal: equal.iter().map(|label| (*label).to_owned()).collect(),
        }],
        ..rules()
    }
}

#[tokio::test]
async fn what_an_open_incident_hides_is_told_when_it_is_over() {
    let mut bench = Bench::new(&hides(&["from.namespace"])).await;
    bench
        .read(vec![failed("a1", 1), failed("b1", 2), unknown("c1", 3)])
        .await;
    assert_eq!(told_of(&bench).await, ["firing a1", "firing b1"]);
    bench.restart().await;
    bench.read(vec![well("a2", 4)]).await;
    let told = told_of(&bench).await;
    assert_eq!(
        told[2..],
        ["resolved a1"],
        "the other source is open: {told:?}"
    );
    bench.read(vec![well("b2", 5)]).await;
    let told = told_of(&bench).await;
    assert_eq!(told[3..], ["resolved b1", "firing c1"]);
}

#[tokio::test]
async fn all_that_is_let_out_is_told_before_the_next_event_is_decided() {
    let mut bench = Bench::new(&hides(&[])).await;
    let id = |n: u32| format!("{}1", "x".repeat(n as usize));
    let mut events = vec![failed("a1", 1)];
    events.extend((1..=10).map(|n| unknown(&id(n), 2)));
    events.push(well("a2", 3));
    events.extend((1..=10).map(|n| well(&id(n), 4)));
    bench.read(events).await;
    let told = told_of(&bench).await;
    let fired = told.iter().filter(|line| line.starts_with("firing x"));
    assert_eq!((fired.count(), told.len()), (10, 22), "{told:?}");
}

#[tokio::test]
async fn pairs_of_a_new_configuration_hold_and_let_out_from_its_start_on() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![failed("a1", 1)]).await;
    bench.setup = setup(&hides(&[]), &[INSTANCE]);
    bench.restart().await;
    assert!(
        bench.read(vec![unknown("c1", 2)]).await.is_empty(),
        "its source was open before"
    );
    bench.setup = setup(&rules(), &[INSTANCE]);
    bench.restart().await;
    assert_eq!(told_of(&bench).await, ["firing a1", "firing c1"]);
}

#[tokio::test]
async fn an_incident_that_ends_without_a_word_hides_nothing_any_more() {
    let mut bench = Bench::new(&hides(&[])).await;
    bench.read(vec![failed("a1", 1), unknown("c1", 2)]).await;
    let incidents = bench.handle().await.incidents(10).await.unwrap();
    let source = incidents
        .iter()
        .find(|row| row.rule == "failed")
        .unwrap()
        .id
        .clone();
    let ledger = bench.consumer.ledger.clone();
    let setup = bench.setup.clone();
    let turn = ledger.turn(move |draft| {
        let mut done = Done::default();
        let mut incident: crate::decide::Incident = draft.get(&rows::incident(&source))?.unwrap();
        let week = SignedDuration::from_hours(24 * 7);
        assert!(incident.expire(week, Timestamp::now() + week));
        draft.put_incident(&incident);
        held::release_ended(draft, &setup, Timestamp::now(), &mut done)
    });
    turn.await.unwrap();
    assert_eq!(told_of(&bench).await, ["firing a1", "firing c1"]);
}

/// A group of its own is quiet, and tells at once; that of the beginning waits for its interval.
#[tokio::test]
async fn an_end_does_not_overtake_its_beginning_in_a_group_of_its_own() {
    let route = Route {
        group_by: Some(vec![
            "status".into(),
            "resolved_by".into(),
            "instance".into(),
        ]),
        group_interval: Some(Duration::from_mins(1)),
        ..Route::default()
    };
    let mut bench = Bench::over(Store::memory(), routed(route, &rules(), &[])).await;
    bench.read(vec![failed("a1", 1)]).await;
    bench.read(vec![failed("b1", 2), well("b2", 3)]).await;
    assert_eq!(told_of(&bench).await, ["firing a1"]);
    bench
        .look_at(Timestamp::now() + SignedDuration::from_mins(2))
        .await;
    let all = ["firing a1", "firing b1", "resolved b1"];
    assert_eq!(told_of(&bench).await, all);
}
