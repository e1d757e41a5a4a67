//! Entries of one incident that belong to different groups.

use super::*;

/// An entry of one incident, told of a task of this batch.
fn of_batch(batch: &str, name: &str) -> Entry {
    let mut entry = crate::label::entry_with(&format!("incident=one batch_id={batch}"));
    entry.event_id = EventId(name.to_owned());
    entry
}

/// The end has a route of its own, which is quiet.
#[tokio::test]
async fn an_end_does_not_overtake_its_beginning_where_routes_match_on_status() {
    let (without, _) = NIGHTS.split_once("  routes:").unwrap();
    let text = without.replace(
        "receivers: [ops, mail]",
        "receivers: [mail]\n  group_wait: 30s",
    );
    let text = format!(
        "{text}  routes: [{{receivers: [mail], match: [status=resolved], group_wait: 0s}}]\n"
    );
    for restarts in [false, true] {
        let mut desk = Desk::new(&text).await;
        assert!(desk.tell(of_batch("a", "1"), second(0)).await.is_empty());
        if restarts {
            desk.restart(&text).await;
        }
        let told = desk.tell(ended(of_batch("a", "2")), second(5)).await;
        assert!(told.is_empty(), "before it began: {told:?}");
        if restarts {
            desk.restart(&text).await;
        }
        assert!(desk.look(second(29)).await.is_empty());
        assert_eq!(desk.look(second(30)).await, ["mail: 1 firing, 2 resolved"]);
        // Nothing waits: by its own route.
        assert!(desk.tell(of_batch("a", "3"), second(100)).await.is_empty());
        assert_eq!(desk.look(second(130)).await, ["mail: 3 firing"]);
        let told = desk.tell(ended(of_batch("a", "4")), second(200)).await;
        assert_eq!(told, ["mail: 4 resolved"]);
        assert_eq!(desk.rows("qi/").await, 0, "nothing is left");
    }
}

/// Each goes alone to a webhook, and the route of the beginning is mute.
#[tokio::test]
async fn an_end_of_what_is_mute_waits_with_it_where_each_goes_by_itself() {
    let text = NIGHTS.replace(
        "match: ['from.namespace=night'], mute",
        "match: [status=firing], mute",
    );
    let mut desk = Desk::new(&text).await;
    let night = |minute: i64| at("2026-11-27T15:00:00Z") + SignedDuration::from_mins(minute);
    assert!(desk.tell(of_batch("a", "1"), night(0)).await.is_empty());
    let told = desk.tell(ended(of_batch("a", "2")), night(1)).await;
    assert!(told.is_empty(), "{told:?}");
    let expected = [
        "mail: 1 firing, 2 resolved",
        "ops: 1 firing",
        "ops: 2 resolved",
    ];
    assert_eq!(desk.look(at("2026-11-27T23:00:00Z")).await, expected);
}

fn by_batch() -> String {
    let (without, _) = NIGHTS.split_once("route:").unwrap();
    format!(
        "{without}route:\n  receivers: [mail]\n  group_by: [batch_id]\n  routes:\n    \
           - {{receivers: [mail], match: [batch_id=night], mute: [nights]}}\n    \
           - {{receivers: [mail], match: [batch_id=slow], group_wait: 30s}}\n"
    )
}

/// It fails again in another batch while its end waits: both are told, in order, and the failure does not wait.
#[tokio::test]
async fn a_beginning_takes_the_end_along_that_waits_in_another_group() {
    let text = by_batch();
    for restarts in [false, true] {
        let mut desk = Desk::new(&text).await;
        assert_eq!(
            desk.tell(of_batch("a", "1"), second(0)).await,
            ["mail: 1 firing"]
        );
        assert!(
            desk.tell(of_batch("a", "2"), second(10)).await.is_empty(),
            "its interval"
        );
        let told = desk.tell(ended(of_batch("b", "3")), second(20)).await;
        assert!(told.is_empty(), "behind the second failure: {told:?}");
        if restarts {
            desk.restart(&text).await;
        }
        let told = desk.tell(of_batch("c", "4"), second(30)).await;
        assert_eq!(told, ["mail: 2 firing, 3 resolved, 4 firing"]);
        assert!(desk.look(second(3_600)).await.is_empty(), "each once");
        assert_eq!((desk.rows("q/").await, desk.rows("qi/").await), (0, 0));
        // Where it waits itself, they wait before it.
        assert!(
            desk.tell(ended(of_batch("c", "5")), second(3_610))
                .await
                .len()
                == 1
        );
        assert!(
            desk.tell(of_batch("c", "6"), second(3_620))
                .await
                .is_empty()
        );
        assert!(
            desk.tell(ended(of_batch("c", "7")), second(3_625))
                .await
                .is_empty()
        );
        assert!(
            desk.tell(of_batch("slow", "8"), second(3_630))
                .await
                .is_empty()
        );
        assert!(desk.look(second(3_659)).await.is_empty());
        let told = desk.look(second(3_660)).await;
        assert_eq!(told, ["mail: 6 firing, 7 resolved, 8 firing"]);
    }
}

/// The group whose end it follows goes out first: it stays behind the beginning that is mute.
#[tokio::test]
async fn an_end_waits_for_the_last_of_its_beginnings_to_be_told() {
    let text = by_batch();
    let mut desk = Desk::new(&text).await;
    let night = |second: i64| at("2026-11-27T15:00:00Z") + SignedDuration::from_secs(second);
    assert!(desk.tell(of_batch("night", "1"), night(0)).await.is_empty());
    assert!(desk.tell(of_batch("slow", "2"), night(10)).await.is_empty());
    assert!(
        desk.tell(ended(of_batch("b", "3")), night(20))
            .await
            .is_empty()
    );
    assert_eq!(desk.look(night(40)).await, ["mail: 2 firing"]);
    desk.restart(&text).await;
    assert!(desk.look(night(3_600)).await.is_empty());
    let told = desk.look(at("2026-11-27T23:00:00Z")).await;
    assert_eq!(told, ["mail: 1 firing, 3 resolved"]);
    assert_eq!((desk.rows("q/").await, desk.rows("qi/").await), (0, 0));
}

/// The names of what is told, in order, of lines such as `mail: 1 firing, 2 resolved`.
fn names(told: &[String]) -> Vec<u32> {
    let entries = told
        .iter()
        .flat_map(|line| line["mail: ".len()..].split(", "));
    let names = entries.map(|entry| entry.split(' ').next().unwrap().parse().unwrap());
    names.collect()
}

/// One image fails and is well again all night; in the morning another batch of it fails.
#[tokio::test]
async fn of_thousands_of_one_incident_that_wait_nothing_is_overtaken() {
    let text = by_batch();
    let night = |second: i64| at("2026-11-27T15:00:00Z") + SignedDuration::from_secs(second);
    // As many as are taken along, and more.
    for n in [1_500_u32, 2_500] {
        let mut desk = Desk::new(&text).await;
        for name in 0..n {
            let entry = of_batch("night", &name.to_string());
            let entry = if name % 2 == 0 { entry } else { ended(entry) };
            assert!(desk.tell(entry, night(0)).await.is_empty());
        }
        desk.restart(&text).await;
        let other = of_batch("b", &n.to_string());
        let mut told = desk.tell(other, night(10)).await;
        assert_eq!(told.len(), usize::from(n == 1_500), "{n} wait");
        let last = ended(of_batch("c", &(n + 1).to_string()));
        told.extend(desk.tell(last, night(20)).await);
        let morning = at("2026-11-27T23:00:00Z");
        for minute in 0..4 {
            told.extend(desk.look(morning + SignedDuration::from_mins(minute)).await);
        }
        assert_eq!(names(&told), (0..n + 2).collect::<Vec<_>>(), "{n} wait");
        assert!(told.len() <= 3, "{} messages", told.len());
        assert_eq!((desk.rows("q/").await, desk.rows("qi/").await), (0, 0));
    }
}

/// Half of it waits in one group and half in another, each behind what is in the other.
#[tokio::test]
async fn what_waits_in_two_groups_by_turns_is_told_in_order() {
    let text = by_batch();
    let night = |second: i64| at("2026-11-27T15:00:00Z") + SignedDuration::from_secs(second);
    let mut desk = Desk::new(&text).await;
    let mut n = 0;
    let mut told = Vec::new();
    for turn in 0..40 {
        let batch = if turn % 2 == 0 { "night" } else { "slow" };
        for _ in 0..20 {
            let entry = of_batch(batch, &n.to_string());
            told.extend(desk.tell(entry, night(turn)).await);
            n += 1;
        }
        let end = ended(of_batch("other", &n.to_string()));
        told.extend(desk.tell(end, night(turn)).await);
        n += 1;
    }
    for second in [60, 120, 300] {
        told.extend(desk.look(night(second)).await);
    }
    let morning = at("2026-11-27T23:00:00Z");
    for minute in 0..4 {
        told.extend(desk.look(morning + SignedDuration::from_mins(minute)).await);
    }
    // Beginnings may be told before others of their incident; no end before what it ends, nor after what follows it.
    let order = names(&told);
    let turn_of = |name: u32| name / 21;
    let in_turns = order
        .windows(2)
        .all(|two| turn_of(two[0]) <= turn_of(two[1]));
    assert!(in_turns, "{order:?}");
    let mut sorted = order;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..n).collect::<Vec<_>>());
    assert_eq!((desk.rows("q/").await, desk.rows("qi/").await), (0, 0));
}
