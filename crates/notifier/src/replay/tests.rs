//! Events of before, decided by other rules and in another time.

use std::collections::BTreeSet;

use syncbell_config::{ReceiverKind, Webhook};
use syncbell_event::{Change, Image, Kind, Source, Status, SweepKind, Swept, SyncTask};

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_767_322_800 + minute * 60).unwrap()
}

fn source() -> Source {
    Source {
        region: "cn-a".into(),
        instance: "cri-1".into(),
    }
}

fn task(id: &str, tag: &str, status: Status, minute: i64) -> Envelope {
    let part = |text: &str| Some(text.to_owned());
    let image = Some(Image {
        region_id: part("cn-a"),
        instance_id: part("cri-1"),
        namespace: part("team"),
        repo: part("shop"),
        tag: part(tag),
    });
    let mut after = SyncTask::new(id, status);
    (after.from, after.to) = (image.clone(), image);
    after.created_at = Some(at(minute));
    after.modified_at = Some(at(minute));
    let change = Change {
        kind: Kind::Created,
        task_id: id.into(),
        before: None,
        after: Some(after),
        changed: vec![],
        n: 0,
    };
    change.into_envelope(&source(), at(minute), None)
}

fn swept(minute: i64) -> Envelope {
    let swept = Swept {
        seen_until: at(minute),
        tasks: 1,
        open: 1,
        sweep: SweepKind::Head,
        next_by: at(minute + 1),
    };
    Envelope::swept(&source(), at(minute), swept)
}

fn setup(group_by: Option<&str>) -> Arc<Setup> {
    let receivers = ["ops", "chat"].map(|name| Receiver {
        name: name.into(),
        language: syncbell_config::Language::En,
        kind: ReceiverKind::Webhook(Box::new(Webhook::new(
            &"http://127.0.0.1:1/".parse().unwrap(),
        ))),
    });
    let route = Route {
        receivers: vec!["ops".into(), "chat".into()],
        group_by: group_by.map(|label| vec![label.into()]),
        ..Route::default()
    };
    let rules = RuleSwitches::default();
    Arc::new(Setup::new(&route, &receivers, &rules, &[]))
}

async fn replayed(
    events: Vec<Envelope>,
    since: i64,
    receiver: Option<&str>,
    setup: &Arc<Setup>,
) -> (EventsReplayed, Vec<Delivery>) {
    let wanted = EventsReplay {
        since: at(since),
        receiver: receiver.map(str::to_owned),
    };
    let mut replayer = Replayer::over(wanted, setup.clone()).await.unwrap();
    for event in events {
        replayer.take(event).await.unwrap();
    }
    replayer.ended().await.unwrap()
}

fn told(replayed: &EventsReplayed) -> Vec<String> {
    let notifications = replayed.notifications.iter();
    notifications
        .map(|one| {
            let minute = one.at.duration_since(at(0)).as_mins();
            format!("{minute} {}: {}", one.receiver, one.summaries.join(" | "))
        })
        .collect()
}

#[tokio::test]
async fn what_was_before_is_how_things_stood_and_is_not_told() {
    let events = vec![
        task("rst-1", "v1", Status::Error, 0),
        task("rst-2", "v1", Status::Error, 10),
        task("rst-3", "v1", Status::Success, 20),
    ];
    let (replayed, _) = replayed(events, 5, Some("ops"), &setup(None)).await;
    assert_eq!(replayed.events, 2);
    assert_eq!(
        told(&replayed),
        [
            "10 ops: firing: team/shop:v1 did not reach cn-a/cri-1: ERROR (again, 2nd time)",
            "20 ops: resolved: team/shop:v1 reached cn-a/cri-1, by task rst-3",
        ]
    );
    let one = &replayed.notifications;
    assert_eq!(one[0].incidents, one[1].incidents);
}

#[tokio::test]
async fn groups_and_heartbeats_come_out_at_their_time() {
    let events = vec![
        task("rst-0", "v0", Status::Pending, 0),
        task("rst-1", "v1", Status::Error, 1),
        task("rst-2", "v2", Status::Error, 1),
        task("rst-3", "v3", Status::Error, 1),
        swept(121),
    ];
    let (replayed, _) = replayed(events, 0, Some("chat"), &setup(Some("rule"))).await;
    let told = told(&replayed);
    // The first at once, the others together when the interval is over; then what is stuck.
    assert!(told[0].starts_with("1 chat: firing"), "{told:?}");
    assert!(told[1].starts_with("2 chat: firing"), "{told:?}");
    assert!(told[1].contains(" | "), "{told:?}");
    let stuck = "121 chat: firing: team/shop:v0 is stuck";
    assert!(told[2].starts_with(stuck), "{told:?}");
}

#[tokio::test]
async fn too_much_is_left_out_and_counted() {
    let events = (0..NOTIFICATIONS_LIMIT / 2 + 3)
        .map(|n| task(&format!("rst-{n}"), &format!("v{n}"), Status::Error, 1));
    let (replayed, _) = replayed(events.collect(), 0, None, &setup(None)).await;
    assert_eq!(replayed.notifications.len(), NOTIFICATIONS_LIMIT);
    assert_eq!(replayed.notifications_left_out, 6);
    let nobody = EventsReplay {
        since: at(0),
        receiver: Some("nobody".into()),
    };
    let refused = Replayer::over(nobody, setup(None)).await.err();
    assert!(refused.unwrap().to_string().contains("\"nobody\""));
}

#[tokio::test]
async fn what_is_sent_has_ids_of_its_own_and_says_what_it_is() {
    let events = (0..25).map(|n| task(&format!("rst-{n}"), &format!("v{n}"), Status::Error, n));
    let setup = setup(None);
    let (_, deliveries) = replayed(events.collect(), 0, Some("ops"), &setup).await;
    assert_eq!(deliveries.len(), 25);
    let ids = |deliveries: &[Delivery]| -> BTreeSet<String> {
        deliveries.iter().map(|one| one.id.0.clone()).collect()
    };
    let before = ids(&deliveries);
    let one = marked(deliveries.clone(), &setup, at(0), at(100));
    let two = marked(deliveries, &setup, at(0), at(101));
    assert!(ids(&one).is_disjoint(&before) && ids(&one).is_disjoint(&ids(&two)));
    let replay = one[3].replay.clone().unwrap();
    assert_eq!(
        (replay.since, replay.of, replay.at),
        (at(0), at(3), at(100))
    );
    assert!(
        one.iter().all(|one| one.created_at == at(100)),
        "its age starts anew"
    );
}

/// A mailbox that takes ten a minute gets ten a minute.
#[tokio::test]
async fn what_is_sent_keeps_to_the_cap_of_its_receiver() {
    let events = (0..25).map(|n| task(&format!("rst-{n}"), &format!("v{n}"), Status::Error, n));
    let setup = setup(None);
    let (_, deliveries) = replayed(events.collect(), 0, Some("ops"), &setup).await;
    let text = "instances: [{id: a, region: b}]\n\
                receivers: [{name: ops, email: {from: a@example.com, to: [b@example.com], \
                smtp: {host: localhost, tls: none}}}]\nroute: {receivers: [ops]}\n";
    let config = syncbell_config::parse(text, "x", std::path::Path::new("."), &|_| None).unwrap();
    let people = Setup::new(
        &config.route,
        &config.receivers,
        &config.rules,
        &config.instances,
    );
    let sent = marked(deliveries, &people, at(0), at(100));
    let minutes: Vec<i64> = sent
        .iter()
        .map(|one| one.due_at.duration_since(at(100)).as_mins())
        .collect();
    let of = |minute| minutes.iter().filter(|at| **at == minute).count();
    assert_eq!((of(0), of(1), of(2)), (10, 10, 5));
}
