//! What may be begun, in any order of events; and against a plain model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::deliver::lane::tests::{delivery, now};
use jiff::SignedDuration;
use syncbell_event::AlertStatus;

/// A delivery that tells of `incidents`, due `wait_s` seconds from now.
fn row(seq: u64, incidents: &[u8], wait_s: i64) -> Arc<Delivery> {
    let mut row = delivery(seq, "", AlertStatus::Firing);
    let entry = row.entries.remove(0);
    row.entries = incidents
        .iter()
        .map(|incident| {
            let mut entry = entry.clone();
            entry.item.incident = incident.to_string();
            entry
        })
        .collect();
    row.due_at = now() + SignedDuration::from_secs(wait_s);
    Arc::new(row)
}

#[test]
fn what_comes_late_with_a_lower_number_goes_before() {
    let mut queue = Queue::default();
    queue.insert(row(5, &[1], 0));
    queue.insert(row(3, &[1, 2], 60));
    assert!(queue.begin(now()).is_none(), "the 5th waits for the 3rd");
    queue.hurry_oldest(now(), |_| true);
    assert_eq!(queue.begin(now()).unwrap().seq, 3);
    assert!(queue.begin(now()).is_none());
    queue.end(3, None);
    assert_eq!(queue.begin(now()).unwrap().seq, 5);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, Vec<u8>, i64),
    Begin(i64),
    End(usize, Option<i64>),
    HurryAll,
    HurryOldest,
    ForgetIdle,
}

fn step() -> impl Strategy<Value = Step> {
    let incidents = proptest::collection::vec(0..6u8, 1..4);
    prop_oneof![
        4 => (0..40u64, incidents, 0..5i64).prop_map(|(seq, of, wait)| Step::Insert(seq, of, wait)),
        4 => (0..5i64).prop_map(Step::Begin),
        3 => (any::<usize>(), proptest::option::of(0..5i64)).prop_map(|(n, left)| Step::End(n, left)),
        1 => Just(Step::HurryAll),
        1 => Just(Step::HurryOldest),
        1 => Just(Step::ForgetIdle),
    ]
}

/// The same, found by looking at all rows each time.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, (Arc<Delivery>, bool)>,
}

impl Model {
    fn free(&self) -> Vec<(Timestamp, u64)> {
        let tells = |row: &Delivery, of: &Delivery| {
            let mut entries = row.entries.iter();
            entries.any(|one| {
                of.entries
                    .iter()
                    .any(|other| other.item.incident == one.item.incident)
            })
        };
        let mut free: Vec<(Timestamp, u64)> = self
            .rows
            .iter()
            .filter(|(seq, (row, under_way))| {
                let mut earlier = self.rows.range(..*seq);
                !under_way && !earlier.any(|(_, (other, _))| tells(other, row))
            })
            .map(|(seq, (row, _))| (row.due_at, *seq))
            .collect();
        free.sort_unstable();
        free
    }
}

proptest! {
    #[test]
    fn it_begins_what_a_plain_search_finds(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut queue, mut model) = (Queue::default(), Model::default());
        for step in steps {
            match step {
                Step::Insert(seq, incidents, wait) => {
                    let row = row(seq, &incidents, wait);
                    queue.insert(Arc::clone(&row));
                    model.rows.entry(seq).or_insert((row, false));
                }
                Step::Begin(later) => {
                    let at = now() + SignedDuration::from_secs(later);
                    let expected = model.free().first().filter(|(due_at, _)| *due_at <= at).copied();
                    let begun = queue.begin(at).map(|row| (row.due_at, row.seq));
                    prop_assert_eq!(begun, expected);
                    if let Some((_, seq)) = begun {
                        model.rows.get_mut(&seq).unwrap().1 = true;
                    }
                }
                Step::End(n, left) => {
                    let under_way: Vec<u64> = model
                        .rows
                        .iter()
                        .filter(|(_, (_, under_way))| *under_way)
                        .map(|(seq, _)| *seq)
                        .collect();
                    if under_way.is_empty() {
                        continue;
                    }
                    let seq = under_way[n % under_way.len()];
                    let (was, _) = model.rows.remove(&seq).unwrap();
                    let left = left.map(|wait| {
                        let due_at = now() + SignedDuration::from_secs(wait);
                        Arc::new(Delivery { due_at, ..Delivery::clone(&was) })
                    });
                    if let Some(left) = &left {
                        model.rows.insert(seq, (Arc::clone(left), false));
                    }
                    queue.end(seq, left);
                }
                Step::HurryAll | Step::HurryOldest => {
                    let all = matches!(step, Step::HurryAll);
                    let n = if all { usize::MAX } else { 1 };
                    for (row, under_way) in model.rows.values_mut().take(n) {
                        if !*under_way && row.due_at > now() {
                            *row = due(row, now());
                        }
                    }
                    if all { queue.hurry_all(now()) } else { queue.hurry_oldest(now(), |_| true) }
                }
                Step::ForgetIdle => {
                    model.rows.retain(|_, (_, under_way)| *under_way);
                    queue.forget_idle();
                }
            }
            prop_assert_eq!(queue.len(), model.rows.len());
            let n_entries: usize = model.rows.values().map(|(row, _)| row.entries.len()).sum();
            prop_assert_eq!(queue.n_entries(), n_entries);
            prop_assert_eq!(queue.under_way(), model.rows.values().filter(|(_, under_way)| *under_way).count());
            prop_assert_eq!(queue.due_at(), model.free().first().map(|(due_at, _)| *due_at));
        }
    }
}
