//! Groups of a tree of routes over a ledger, with every moment given: what goes out when.

mod order;

use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use syncbell_config::Config;
use syncbell_event::{AlertStatus, EventId};
use syncbell_store::Store;

use super::*;
use crate::decide::{Rule, Subject};
use crate::ledger::Ledger;

/// Friday 2026-11-27 12:00 in Shanghai.
const NOON: &str = "2026-11-27T04:00:00Z";

const NIGHTS: &str = "
instances: [{id: cri-a, region: cn-shanghai}]
receivers:
  - {name: ops, webhook: {url: 'http://127.0.0.1:1'}}
  - {name: mail, email: {from: a@b.example, to: [c@d.example], smtp: {host: 127.0.0.1, tls: none}}}
windows:
  - {name: nights, time_zone: Asia/Shanghai, times: ['22:00-07:00']}
  - {name: week, time_zone: Asia/Shanghai, days_of_week: [monday-friday]}
route:
  receivers: [ops, mail]
  routes:
    - {receivers: [ops, mail], match: ['from.namespace=night'], mute: [nights]}
    - {receivers: [mail], match: ['from.namespace=week'], active: [week], group_wait: 30s}
";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The notifier between two crashes.
struct Desk {
    store: Store,
    ledger: Ledger,
    setup: Arc<Setup>,
    timers: Timers<GroupKey>,
    shown: usize,
}

impl Desk {
    async fn new(text: &str) -> Self {
        let store = Store::memory();
        let ledger = Ledger::open(store.clone()).await.unwrap();
        Self {
            store,
            ledger,
            setup: setup(text),
            timers: Timers::default(),
            shown: 0,
        }
    }

    /// Nothing but the rows is left.
    async fn restart(&mut self, text: &str) {
        self.ledger = Ledger::open(self.store.clone()).await.unwrap();
        self.setup = setup(text);
        let timers = load_timers(&self.store, self.setup.clone());
        self.timers = timers.await.unwrap();
    }

    async fn tell(&mut self, entry: Entry, now: Timestamp) -> Vec<String> {
        let setup = self.setup.clone();
        let turn = self.ledger.turn(move |draft| {
            let mut done = Done::default();
            tell(draft, &entry, &setup.routes, now, &mut done)?;
            Ok(done)
        });
        self.timers.apply(turn.await.unwrap().timers);
        self.new_deliveries().await
    }

    /// What this moment brings.
    async fn look(&mut self, now: Timestamp) -> Vec<String> {
        for key in self.timers.due(now) {
            let setup = self.setup.clone();
            let turn = self.ledger.turn(move |draft| {
                let mut done = Done::default();
                tick(draft, &key, &setup, now, &mut done)?;
                Ok(done)
            });
            self.timers.apply(turn.await.unwrap().timers);
        }
        self.new_deliveries().await
    }

    /// Rows whose keys begin so.
    async fn rows(&self, prefix: &str) -> usize {
        let rows = self.store.scan(prefix.as_bytes().to_vec(), None, 1_000);
        rows.await.unwrap().len()
    }

    /// When the next group is looked at, to the second.
    fn next(&self) -> Option<String> {
        self.timers.next_at().map(|at| at.to_string())
    }

    /// `receiver: what, what …` a delivery, oldest first, of those that are new.
    async fn new_deliveries(&mut self) -> Vec<String> {
        let read = self.store.read(|reader| {
            let rows = reader.scan(rows::PENDING, None, 10_000)?;
            let rows = rows.iter().filter(|(key, _)| !rows::is_piece(key));
            let rows = rows.map(|(key, row)| rows::read(reader, key, row));
            rows.collect::<Result<Vec<Delivery>, Error>>()
        });
        let mut all = read.await.unwrap();
        all.sort_by_key(|delivery| delivery.seq);
        let new = all.split_off(self.shown);
        self.shown += new.len();
        new.iter().map(line).collect()
    }
}

fn setup(text: &str) -> Arc<Setup> {
    let read = syncbell_config::parse(text, "x", Path::new("."), &|_| None);
    let config: Config = read.unwrap_or_else(|problems| panic!("{problems}"));
    let (route, receivers) = (&config.route, &config.receivers);
    Arc::new(Setup::new(route, receivers, &config.rules, &[]))
}

fn line(delivery: &Delivery) -> String {
    let entries = delivery.entries.iter().map(|entry| {
        let item = &entry.item;
        format!("{} {}", entry.event_id.as_str(), item.status.as_str())
    });
    let entries: Vec<String> = entries.collect();
    let again = if delivery.repeat { " again" } else { "" };
    format!(
        "{}{again}: {}",
        delivery.target.receiver,
        entries.join(", ")
    )
}

fn entry(namespace: &str, name: &str) -> Entry {
    let mut entry =
        crate::label::entry_with(&format!("incident={name} from.namespace={namespace}"));
    entry.event_id = EventId(name.to_owned());
    entry
}

fn ended(mut entry: Entry) -> Entry {
    entry.item.status = AlertStatus::Resolved;
    entry
}

#[tokio::test]
async fn what_is_mute_waits_and_goes_out_in_order_when_the_window_ends() {
    let mut desk = Desk::new(NIGHTS).await;
    assert_eq!(
        desk.tell(entry("night", "a"), at(NOON)).await.len(),
        2,
        "by day"
    );
    let night = |minute: u32| at(&format!("2026-11-27T15:{minute:02}:00Z"));
    for name in ["b", "c"] {
        assert!(desk.tell(entry("night", name), night(1)).await.is_empty());
    }
    // Over before the window is: both are told, in one message where messages are merged.
    assert!(
        desk.tell(ended(entry("night", "b")), night(5))
            .await
            .is_empty()
    );
    // Others are told meanwhile.
    assert_eq!(desk.tell(entry("other", "d"), night(6)).await.len(), 2);
    assert_eq!(
        desk.next().unwrap(),
        "2026-11-27T23:00:00Z",
        "07:00 in Shanghai"
    );
    assert!(desk.look(night(30)).await.is_empty());
    let told = desk.look(at("2026-11-27T23:00:00Z")).await;
    let expected = [
        "mail: b firing, c firing, b resolved",
        "ops: b firing",
        "ops: c firing",
        "ops: b resolved",
    ];
    assert_eq!(told, expected);
    let next = desk
        .tell(entry("night", "e"), at("2026-11-27T23:10:00Z"))
        .await;
    assert_eq!(next, ["ops: e firing", "mail: e firing"], "as before");
}

#[tokio::test]
async fn a_restart_neither_forgets_nor_hurries_what_is_mute() {
    let mut desk = Desk::new(NIGHTS).await;
    let night = at("2026-11-27T15:00:00Z");
    assert!(desk.tell(entry("night", "a"), night).await.is_empty());
    desk.restart(NIGHTS).await;
    assert!(desk.look(at("2026-11-27T16:00:00Z")).await.is_empty());
    assert_eq!(desk.next().unwrap(), "2026-11-27T23:00:00Z");
    // A second one waits behind the first, also where each goes by itself.
    assert!(
        desk.tell(entry("night", "b"), at("2026-11-27T17:00:00Z"))
            .await
            .is_empty()
    );
    desk.restart(NIGHTS).await;
    let told = desk.look(at("2026-11-27T23:30:00Z")).await;
    assert_eq!(
        told,
        ["mail: a firing, b firing", "ops: a firing", "ops: b firing"]
    );
    desk.restart(NIGHTS).await;
    assert!(
        desk.look(at("2026-11-28T00:30:00Z")).await.is_empty(),
        "once"
    );
}

#[tokio::test]
async fn a_window_that_left_the_configuration_holds_nothing_back() {
    let mut desk = Desk::new(NIGHTS).await;
    let night = at("2026-11-27T15:00:00Z");
    assert!(desk.tell(entry("night", "a"), night).await.is_empty());
    let without = NIGHTS.replace(", mute: [nights]", "");
    desk.restart(&without).await;
    // Before the group is looked at: the newer one does not go first.
    let told = desk
        .tell(ended(entry("night", "a")), at("2026-11-27T15:01:00Z"))
        .await;
    assert!(told.is_empty(), "{told:?}");
    let told = desk.look(at("2026-11-27T15:01:00Z")).await;
    assert_eq!(
        told,
        [
            "mail: a firing, a resolved",
            "ops: a firing",
            "ops: a resolved"
        ]
    );
}

#[tokio::test]
async fn outside_of_its_active_windows_a_route_waits() {
    let mut desk = Desk::new(NIGHTS).await;
    assert!(desk.tell(entry("week", "a"), at(NOON)).await.is_empty());
    assert_eq!(
        desk.look(at("2026-11-27T04:00:30Z")).await,
        ["mail: a firing"]
    );
    let saturday = at("2026-11-28T04:00:00Z");
    assert!(desk.tell(entry("week", "b"), saturday).await.is_empty());
    assert_eq!(
        desk.next().unwrap(),
        "2026-11-29T16:00:00Z",
        "Monday in Shanghai"
    );
    assert_eq!(
        desk.look(at("2026-11-29T16:00:00Z")).await,
        ["mail: b firing"]
    );
}

/// A repeat is due in the night: it comes in the morning.
#[tokio::test]
async fn a_repeat_waits_for_the_window_too() {
    let mut desk =
        Desk::new(&NIGHTS.replace("mute: [nights]", "mute: [nights], repeat_interval: 12h")).await;
    let mut first = entry("night", "a");
    let subject = Subject::of("cri-a", first.item.task.as_ref().unwrap());
    let mut incident = Incident::open(Rule::Failed, subject, "cri-a", at(NOON));
    incident.id = "a".into();
    let cause = crate::decide::told_cause(&first, at(NOON));
    incident.add(cause, at(NOON));
    first.item.incident = "a".into();
    let put = desk.ledger.turn(move |draft| {
        draft.put(rows::incident("a"), &incident);
        Ok(())
    });
    put.await.unwrap();
    desk.tell(first, at(NOON)).await;
    // 16:00 UTC is midnight in Shanghai.
    assert!(desk.look(at("2026-11-27T16:00:00Z")).await.is_empty());
    assert_eq!(desk.next().unwrap(), "2026-11-27T23:00:00Z");
    let told = desk.look(at("2026-11-27T23:00:00Z")).await;
    assert_eq!(told, ["mail again: a firing"]);
}

#[tokio::test]
async fn two_routes_to_one_receiver_are_two_groups() {
    let text = NIGHTS.replace(
        "    - {receivers: [ops, mail], match: ['from.namespace=night'], mute: [nights]}\n",
        "    - {receivers: [mail], match: ['from.namespace=a']}\n    \
           - {receivers: [mail], match: ['from.namespace=b']}\n",
    );
    let mut desk = Desk::new(&text).await;
    for (namespace, name) in [("a", "1"), ("b", "2")] {
        let told = desk.tell(entry(namespace, name), at(NOON)).await;
        assert_eq!(told, [format!("mail: {name} firing")], "its group is quiet");
    }
    let told = desk.tell(entry("b", "3"), at("2026-11-27T04:00:10Z")).await;
    assert!(told.is_empty(), "the interval of its group");
    assert_eq!(
        desk.look(at("2026-11-27T04:01:00Z")).await,
        ["mail: 3 firing"]
    );
}

/// A ledger of the version before: groups without a route, under the digest of their labels.
#[tokio::test]
async fn groups_of_a_ledger_without_routes_go_on() {
    let mut desk = Desk::new(NIGHTS).await;
    let labels = BTreeMap::from([
        ("instance".to_owned(), String::new()),
        ("rule".to_owned(), "failed".to_owned()),
    ]);
    let digest = group::digest(&labels);
    let row = serde_json::json!({
        "receiver": "mail", "labels": labels, "waiting": 1, "notified_at": at(NOON),
        "due_at": at("2026-11-27T04:01:00Z"), "repeat_at": null, "repeats": 0, "open": [],
    });
    let put = desk.ledger.turn(move |draft| {
        draft.put(rows::group("mail", &digest), &row);
        let waiting = rows::numbered(rows::waiting("mail", &digest), draft.next_number());
        draft.put(waiting, &entry("x", "a"));
        Ok(())
    });
    put.await.unwrap();
    desk.restart(NIGHTS).await;
    let told = desk.tell(entry("x", "b"), at("2026-11-27T04:00:30Z")).await;
    assert_eq!(told, ["ops: b firing"], "mail waits with the one before");
    assert_eq!(
        desk.look(at("2026-11-27T04:01:00Z")).await,
        ["mail: a firing, b firing"]
    );
}

/// Its route left the configuration: what waits goes where its receiver is now.
#[tokio::test]
async fn what_waits_in_a_group_whose_route_is_gone_is_not_lost() {
    let mut desk = Desk::new(NIGHTS).await;
    assert!(
        desk.tell(entry("week", "a"), at(NOON)).await.is_empty(),
        "group_wait"
    );
    let (without, _) = NIGHTS.split_once("  routes:").unwrap();
    desk.restart(without).await;
    assert_eq!(
        desk.look(at("2026-11-27T04:00:30Z")).await,
        ["mail: a firing"]
    );
}

#[tokio::test]
async fn what_flaps_waits_longer_for_people_and_not_for_programs_and_keeps_its_order() {
    let (without, _) = NIGHTS.split_once("  routes:").unwrap();
    let mut desk = Desk::new(without).await;
    let entry = |name: &str, flapping: bool| {
        let mut entry = entry("day", name);
        entry.item.incident = "incident".into();
        entry.flapping = flapping;
        entry
    };
    let other = |name: &str| {
        let mut other = entry(name, false);
        other.item.incident = "other".into();
        other
    };
    let noon = at(NOON);
    let minute = |n: i64| noon + SignedDuration::from_mins(n);
    assert_eq!(
        desk.tell(entry("a", true), minute(0)).await,
        ["ops: a firing", "mail: a firing"],
        "that it flaps is said at once"
    );
    assert_eq!(
        desk.tell(ended(entry("b", true)), minute(5)).await,
        ["ops: b resolved"]
    );
    // It does not flap any more, and does not overtake what waits; others do.
    assert_eq!(
        desk.tell(entry("c", false), minute(20)).await,
        ["ops: c firing"]
    );
    assert_eq!(
        desk.tell(other("d"), minute(21)).await,
        ["ops: d firing", "mail: d firing"]
    );
    assert!(desk.look(minute(29)).await.is_empty());
    assert_eq!(desk.look(minute(30)).await, ["mail: b resolved, c firing"]);
    assert_eq!(
        desk.tell(ended(entry("e", false)), minute(31)).await,
        ["ops: e resolved", "mail: e resolved"],
        "nothing of it waits: as ever"
    );
}

fn second(n: i64) -> Timestamp {
    at(NOON) + SignedDuration::from_secs(n)
}

/// A repeat of a storm counts all that is open, not the first of it.
#[tokio::test]
async fn a_repeat_counts_all_that_is_open() {
    const OPEN: usize = 1_500;
    let (without, _) = NIGHTS.split_once("route:").unwrap();
    let text = format!("{without}route: {{receivers: [mail]}}\n");
    let mut desk = Desk::new(&text).await;
    let mut entries = Vec::new();
    for n in 0..OPEN {
        let name = format!("{n:04}");
        let mut entry = entry("day", &name);
        let task = entry.item.task.as_mut().unwrap();
        task.task_id = name.as_str().into();
        let subject = Subject::of("cri-a", task);
        let mut incident = Incident::open(Rule::Failed, subject, "cri-a", at(NOON));
        incident.id.clone_from(&name);
        // One has more causes than there is room for.
        let mut causes = vec![crate::decide::told_cause(&entry, at(NOON))];
        if n == 0 {
            let mut older = causes[0].clone();
            older.task.task_id = "older".into();
            causes.insert(0, older);
        }
        for cause in causes {
            incident.add(cause, at(NOON));
        }
        entries.push((entry, incident));
    }
    let setup = desk.setup.clone();
    let told = desk.ledger.turn(move |draft| {
        let mut done = Done::default();
        for (entry, incident) in &entries {
            draft.put(rows::incident(&incident.id), incident);
            tell(draft, entry, &setup.routes, at(NOON), &mut done)?;
        }
        Ok(done)
    });
    desk.timers.apply(told.await.unwrap().timers);
    desk.look(second(60)).await;
    desk.restart(&text).await;
    let told = desk.look(second(60 + 24 * 3_600)).await;
    assert_eq!(told.len(), 1);
    let names: Vec<&str> = told[0]
        .trim_start_matches("mail again: ")
        .split(", ")
        .collect();
    assert_eq!(names.len(), OPEN);
    assert_eq!((names[0], names[OPEN - 1]), ("0000 firing", "1499 firing"));
}
