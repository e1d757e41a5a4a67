//! The trail that events leave, and incidents that are closed by hand.

use serde_json::Value;
use syncbell_config::RuleSwitches;
use syncbell_event::{Kind, Status};

use super::super::*;
use super::bench::{Bench, INSTANCE, at, failing, swept, task};
use crate::trail;
use crate::trail::Ending;

fn rules() -> RuleSwitches {
    RuleSwitches::default()
}

fn failed(id: &str, n: u32) -> Envelope {
    let second = i64::from(n);
    task(Kind::Updated, INSTANCE, id, Status::Error, 0, second, n)
}

async fn explain(bench: &Bench, id: &str) -> Option<Value> {
    bench.handle().await.explain(id).await.unwrap()
}

/// Of each event of `id`: what it is, why it is told or not, and how far its conditions came.
async fn story(bench: &Bench, id: &str) -> Vec<String> {
    let explained = explain(bench, id).await.expect("something is known");
    let events = explained["events"].as_array().unwrap();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |event: &Value| {
        let fates = event["fates"].as_array().unwrap().iter();
        let fates =
            fates.map(|fate| format!(", {} {}", word(&fate["status"]), word(&fate["ending"])));
        let fates: String = fates.collect();
        format!("{} {}{fates}", word(&event["what"]), word(&event["why"]))
    };
    events.iter().map(line).collect()
}

async fn only_incident(bench: &Bench) -> crate::IncidentRow {
    let mut incidents = bench.handle().await.incidents(10).await.unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    incidents.remove(0)
}

#[tokio::test]
async fn each_event_says_why_it_was_told_or_not() {
    let mut bench = Bench::new(&rules()).await;
    let event = |kind, status, second, n| task(kind, INSTANCE, "a", status, 0, second, n);
    bench
        .read(vec![
            event(Kind::Snapshot, Status::Pending, 1, 0),
            event(Kind::Updated, Status::Error, 10, 1),
            event(Kind::Updated, Status::Error, 11, 2),
            event(Kind::Updated, Status::Synchronizing, 5, 3),
            event(Kind::Updated, Status::Success, 20, 4),
            event(Kind::Updated, Status::Success, 21, 5),
        ])
        .await;
    assert_eq!(
        story(&bench, "a").await,
        [
            "snapshot no_rule",
            "updated told, firing told",
            "updated known",
            "updated stale",
            "updated told, resolved told",
            "updated no_rule",
        ]
    );
    let bad = task(Kind::Snapshot, INSTANCE, "b", Status::Error, 0, 1, 0);
    let well = task(Kind::Updated, INSTANCE, "b", Status::Success, 0, 2, 1);
    bench.read(vec![bad, well]).await;
    assert_eq!(
        story(&bench, "b").await,
        ["snapshot snapshot", "updated untold_end"]
    );
    assert_eq!(explain(&bench, "nobody").await, None);
}

#[tokio::test]
async fn a_trail_leads_to_the_deliveries_and_from_the_event_and_the_incident_alike() {
    let mut bench = Bench::new(&rules()).await;
    let event = failed("a", 1);
    let event_id = event.id.to_string();
    bench.read(vec![event]).await;
    let delivery = bench.deliveries().await.remove(0);
    let incident = only_incident(&bench).await.id;
    for id in ["a", &event_id, &incident] {
        let explained = explain(&bench, id).await.unwrap();
        let event = &explained["events"][0];
        assert_eq!(event["event_id"], event_id, "{explained}");
        assert_eq!(
            (&event["task"], &event["rule"]),
            (&"a".into(), &"failed".into())
        );
        let fate = &event["fates"][0];
        assert_eq!(fate["incident"], incident.as_str());
        let receiver = &fate["receivers"][0];
        assert_eq!(receiver["receiver"], "ops");
        let shown = &receiver["deliveries"][0];
        assert_eq!(
            (&shown["id"], &shown["state"]),
            (&delivery.id.0.as_str().into(), &"pending".into())
        );
    }
}

#[tokio::test]
async fn what_was_held_says_by_what_and_how_it_went_on() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    let well = task(Kind::Updated, INSTANCE, "b", Status::Success, 0, 3, 3);
    bench.read(vec![failed("a", 1), failed("b", 2), well]).await;
    let held = explain(&bench, "a").await.unwrap();
    let fate = &held["events"][0]["fates"][0];
    assert_eq!(fate["held_by"]["silence"], silence.id.as_str());
    bench.expire(&silence).await;
    assert_eq!(
        story(&bench, "a").await,
        ["updated told, firing held, firing told"]
    );
    assert_eq!(
        story(&bench, "b").await,
        [
            "updated told, firing held, firing over",
            "updated told, resolved over"
        ]
    );
}

#[tokio::test]
async fn an_event_is_as_old_as_its_first_trail_whatever_became_of_it_later() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    bench.read(vec![failed("a", 1), failed("a", 2)]).await;
    bench.expire(&silence).await;
    assert_eq!(
        story(&bench, "a").await,
        ["updated told, firing held, firing told", "updated known"]
    );
}

#[tokio::test]
async fn what_time_brings_is_in_the_trail_of_what_it_is_about() {
    let mut bench = Bench::new(&rules()).await;
    let pending = task(Kind::Created, INSTANCE, "a", Status::Pending, 0, 0, 0);
    bench.read(vec![pending, swept(INSTANCE, 7_200)]).await;
    assert_eq!(
        story(&bench, "a").await,
        ["created no_rule", "time -, firing told"]
    );
    let event = failing("denied", 7_300, 7_300);
    let event_id = event.id.to_string();
    bench.read(vec![event]).await;
    assert_eq!(story(&bench, &event_id).await, ["failing -, firing told"]);
    bench.read(vec![swept(INSTANCE, 7_400)]).await;
    // Overdue by the wall clock: no event.
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(bench.look_at(later).await.len(), 1);
    let blind = bench.blind_incident().await.id;
    let story = story(&bench, &blind).await;
    assert_eq!(
        story,
        [
            "failing -, firing told",
            "swept -, resolved told",
            "time -, firing told"
        ]
    );
}

#[tokio::test]
async fn the_end_of_what_time_brought_is_found_by_its_event_too() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![swept(INSTANCE, 7_200)]).await;
    bench.silence(&["rule=blind"], 36_000).await;
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert!(bench.look_at(later).await.is_empty(), "it is held");
    bench.read(vec![swept(INSTANCE, 7_300)]).await;
    let blind = bench.blind_incident().await.id;
    let explained = explain(&bench, &blind).await.unwrap();
    let event_id = explained["events"][0]["event_id"].as_str().unwrap();
    let story = story(&bench, event_id).await;
    assert_eq!(story[0], "time -, firing held");
    assert!(story[1].starts_with("swept -, firing over"), "{story:?}");
}

#[tokio::test]
async fn an_incident_that_is_closed_by_hand_is_told_over_and_a_later_failure_opens_it_anew() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![failed("a", 1)]).await;
    let id = only_incident(&bench).await.id;
    let handle = bench.handle().await;
    assert!(handle.close_incident("nobody", "").await.unwrap().is_none());
    let closed = handle
        .close_incident(&id, "the tag is gone")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        closed.note,
        Some("it is closed, and its end told, at the next start")
    );
    bench.restart().await;
    let told = bench.told().await;
    assert_eq!(
        told[1..],
        ["resolved failed ERROR: team/repo-1:a: closed by hand: the tag is gone"]
    );
    assert_eq!(only_incident(&bench).await.state, "closed");
    let again = handle.close_incident(&id, "").await.unwrap().unwrap();
    assert_eq!(again.note, Some("it was over already"));
    bench.attend().await;
    assert_eq!(bench.told().await.len(), 2, "closed once");
    let repeated = bench.read(vec![failed("a", 2)]).await;
    assert!(
        repeated.is_empty(),
        "the task was known to be so: {repeated:?}"
    );
    let well = task(Kind::Updated, INSTANCE, "a", Status::Success, 0, 3, 3);
    let told = bench.read(vec![well, failed("a", 4)]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(only_incident(&bench).await.state, "open");
}

#[tokio::test]
async fn what_was_never_told_is_closed_without_a_word() {
    let mut bench = Bench::new(&rules()).await;
    let silence = bench.silence(&["rule=failed"], 3_600).await;
    bench.read(vec![failed("a", 1)]).await;
    let id = only_incident(&bench).await.id;
    let handle = bench.handle().await;
    handle.close_incident(&id, "").await.unwrap();
    bench.attend().await;
    bench.expire(&silence).await;
    assert!(bench.told().await.is_empty());
    let shown = handle.incident_by_id(&id).await.unwrap().unwrap();
    assert_eq!(shown["incident"]["state"], "closed");
    assert_eq!(bench.rows("h/").await + bench.rows("j/").await, 0);
}

#[tokio::test]
async fn an_incident_that_hides_others_lets_them_out_when_it_is_closed() {
    let matcher = |text| vec![syncbell_config::parse_matcher(text).unwrap()];
    let inhibit = syncbell_config::Inhibit {
        source: matcher("rule=failed"),
        target: matcher("rule=unknown_status"),
        equal: vec![],
    };
    let rules = RuleSwitches {
        inhibit: vec![inhibit],
        ..rules()
    };
    let mut bench = Bench::new(&rules).await;
    let status = Status::Unknown("PAUSED".into());
    let hidden = task(Kind::Updated, INSTANCE, "bb", status, 0, 2, 2);
    bench.read(vec![failed("a", 1), hidden]).await;
    let incidents = bench.handle().await.incidents(10).await.unwrap();
    let id = incidents
        .iter()
        .find(|row| row.rule == "failed")
        .unwrap()
        .id
        .clone();
    let handle = bench.handle().await;
    let shown = handle.incident_by_id(&id).await.unwrap().unwrap();
    assert_eq!(shown["hides"]["held"], 1);
    handle.close_incident(&id, "").await.unwrap();
    bench.attend().await;
    let told: Vec<String> = bench.told().await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("firing unknown_status"), "{told:?}");
}

#[tokio::test]
async fn trails_are_bounded_in_their_fates_and_leave_nothing_beside_their_rows() {
    let mut bench = Bench::new(&rules()).await;
    bench.read(vec![failed("a", 1)]).await;
    let entry = bench.deliveries().await[0].entries[0].clone();
    let ledger = bench.consumer.ledger.clone();
    let turn = ledger.turn(move |draft| {
        for n in 0..100 {
            trail::note(draft, None, &entry, Ending::Over, at(n))?;
        }
        Ok(())
    });
    turn.await.unwrap();
    let explained = explain(&bench, "a").await.unwrap();
    let event = &explained["events"][0];
    assert_eq!(event["fates"].as_array().unwrap().len(), 24);
    assert_eq!(event["more"], 77);
    assert!(explained.to_string().len() < 20_000);
}
