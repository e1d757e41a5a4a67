use jiff::SignedDuration;
use syncbell_event::{Event, Status};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn task(id: &str, status: Status, modified: i64) -> SyncTask {
    let mut task = SyncTask::new(id, status);
    task.modified_at = Some(at(modified));
    task
}

struct Bench {
    store: Store,
    outbox: Arc<Outbox>,
    state: State,
}

impl Bench {
    /// Opens what is in `store`, as a process does at start.
    async fn open(store: Store) -> Self {
        let outbox = Arc::new(Outbox::load(store.clone()).await.unwrap());
        let source = Source {
            region: "cn-shanghai".to_owned(),
            instance: "cri-a".to_owned(),
        };
        let state = State::load(store.clone(), outbox.clone(), source, "f".to_owned())
            .await
            .unwrap();
        Self {
            store,
            outbox,
            state,
        }
    }

    /// A turn of one page that lists `tasks`. Gives what was told.
    async fn turn(&mut self, tasks: Vec<SyncTask>, now: Timestamp) -> Vec<Kind> {
        self.state.begin_turn(TraceParent::new(1, 1));
        self.state.index.begin_sweep();
        self.state.index.meet(IdHash::of("rst-refused"));
        let mut seen = Vec::new();
        for task in tasks {
            let id = IdHash::of(task.task_id.as_str());
            self.state.index.meet(id);
            if !self.state.index.knows_task(id, &task, 1) {
                seen.push(Seen { id, task, text: 1 });
            }
        }
        let mut told = Vec::new();
        if !seen.is_empty() {
            let watching = |_: &SyncTask| Sight::Watching;
            let pending = self.state.diff(seen, watching, Batch::new(), now).await;
            told = self.state.commit(pending.unwrap(), now).await.unwrap();
        }
        let absent = self.state.index.absent(now);
        told.extend(self.state.commit_absent(&absent, now).await.unwrap());
        told
    }

    async fn events(&self) -> Vec<Envelope> {
        let rows = self.outbox.oldest(1_000).await.unwrap();
        rows.iter()
            .map(|row| Envelope::decode(&row.event).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn what_changed_is_told_once_also_after_a_restart() {
    let mut bench = Bench::open(Store::memory()).await;
    let old = task("rst-1", Status::Pending, 1);
    let new = task("rst-1", Status::Error, 2);
    assert_eq!(bench.turn(vec![old.clone()], at(1)).await, [Kind::Created]);
    assert_eq!(bench.turn(vec![old.clone()], at(2)).await, []);

    let mut bench = Bench::open(bench.store).await;
    assert_eq!(bench.turn(vec![old.clone()], at(3)).await, []);
    assert_eq!(bench.turn(vec![new.clone()], at(4)).await, [Kind::Updated]);

    let mut bench = Bench::open(bench.store).await;
    assert_eq!(bench.turn(vec![new.clone()], at(5)).await, []);
    let events = bench.events().await;
    assert_eq!(events.len(), 2);
    let Event::Task { kind, data } = &events[1].event else {
        panic!("not a task event")
    };
    assert_eq!(*kind, Kind::Updated);
    assert_eq!(data.before.as_ref(), Some(&old));
    assert_eq!(data.after.as_ref(), Some(&new));
    assert_eq!(
        (events[1].subject.as_str(), events[1].time),
        ("rst-1", at(4))
    );
}

#[tokio::test]
async fn an_unchanged_page_writes_nothing() {
    let mut bench = Bench::open(Store::memory()).await;
    let page: Vec<SyncTask> = (0..50)
        .map(|n| task(&format!("rst-{n}"), Status::Success, n))
        .collect();
    assert_eq!(bench.turn(page.clone(), at(1)).await.len(), 50);
    let size = bench.store.size().await.unwrap();
    bench.store.close().await.unwrap();
    // On a closed store each read and write would fail.
    bench.turn(page, at(2)).await;
    assert_eq!(
        size.rows,
        50 + 50 + 1,
        "rows, events, the next sequence number"
    );
    assert_eq!(
        bench.state.index.counts(),
        crate::index::Counts { tasks: 50, open: 0 }
    );
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_and_the_page_is_told_when_it_comes_again() {
    let mut bench = Bench::open(Store::memory()).await;
    let seen = || {
        let task = task("rst-1", Status::Error, 1);
        let id = IdHash::of("rst-1");
        vec![Seen { id, task, text: 1 }]
    };
    let watching = |_: &SyncTask| Sight::Watching;
    bench.state.begin_turn(TraceParent::new(1, 1));
    let mut too_large = Batch::new();
    too_large.put("x", vec![0; 100_000]);
    let pending = bench.state.diff(seen(), watching, too_large, at(1)).await;
    let failed = bench.state.commit(pending.unwrap(), at(1)).await;
    assert!(matches!(failed, Err(Error::Store(_))));
    assert_eq!(bench.outbox.depth().rows, 0);
    assert_eq!(bench.store.size().await.unwrap().rows, 0);
    let pending = bench
        .state
        .diff(seen(), watching, Batch::new(), at(2))
        .await;
    let told = bench.state.commit(pending.unwrap(), at(2)).await;
    assert_eq!(told.unwrap(), [Kind::Created]);
}

#[tokio::test]
async fn the_largest_task_that_is_admitted_fits_a_row_and_an_event() {
    let mut bench = Bench::open(Store::memory()).await;
    // One byte that JSON writes as six.
    let id = "\u{1}".repeat(crate::admit::TASK_ID_LIMIT_BYTES);
    for second in 0..40 {
        let mut wide = task(&id, Status::Error, second);
        wide.issue = Some(format!("{second}{}", "x".repeat(10_000)));
        let free = crate::admit::TASK_LIMIT_BYTES - 8_000;
        wide.link_id = Some("x".repeat(free));
        let wide = crate::admit::admit(wide).unwrap();
        assert_eq!(bench.turn(vec![wide], at(second)).await.len(), 1);
    }
    let largest = bench.outbox.oldest(100).await.unwrap();
    let largest = largest.iter().map(|row| row.event.len()).max().unwrap();
    assert!(largest > 40_000, "{largest}");
}

#[tokio::test]
async fn within_a_page_what_happened_first_is_told_first() {
    let mut bench = Bench::open(Store::memory()).await;
    let page = vec![
        task("rst-3", Status::Success, 30),
        task("rst-1", Status::Error, 10),
        task("rst-2", Status::Error, 20),
    ];
    bench.turn(page, at(99)).await;
    let events = bench.events().await;
    let subjects: Vec<&str> = events.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["rst-1", "rst-2", "rst-3"]);
}

#[tokio::test]
async fn a_task_that_a_page_lists_twice_is_told_once() {
    let mut bench = Bench::open(Store::memory()).await;
    let twice = vec![task("rst-1", Status::Error, 1); 2];
    assert_eq!(bench.turn(twice, at(1)).await, [Kind::Created]);
    let both = vec![
        task("rst-1", Status::Error, 1),
        task("rst-1", Status::Success, 2),
    ];
    assert_eq!(bench.turn(both, at(2)).await, [Kind::Updated]);
}

#[tokio::test]
async fn an_open_task_vanishes_after_two_complete_sweeps_a_restart_between_them_or_not() {
    for restart in [false, true] {
        let mut bench = Bench::open(Store::memory()).await;
        let open = [
            task("rst-1", Status::Pending, 1),
            task("rst-refused", Status::Pending, 1),
        ];
        bench.turn(open.to_vec(), at(1)).await;
        assert_eq!(bench.turn(vec![], at(2)).await, []);
        if restart {
            bench = Bench::open(bench.store).await;
        }
        // The refused row is listed, so it is not gone.
        assert_eq!(bench.turn(vec![], at(3)).await, [Kind::Vanished]);
        assert_eq!(bench.turn(vec![], at(4)).await, []);
        let last = bench.events().await.pop().unwrap();
        assert_eq!(last.subject, "rst-1");
        let back = bench.turn(vec![open[0].clone()], at(5)).await;
        assert_eq!(back, [Kind::Updated]);
    }
}

#[tokio::test]
async fn the_row_of_a_finished_task_goes_seven_days_after_the_task() {
    let mut bench = Bench::open(Store::memory()).await;
    let done = task("rst-1", Status::Success, 1);
    bench.turn(vec![done.clone()], at(0)).await;
    let rows = bench.store.size().await.unwrap().rows;
    bench.turn(vec![], at(1)).await;
    bench.turn(vec![done.clone()], at(2)).await;
    bench.turn(vec![], at(3)).await;
    let week = at(3) + SignedDuration::from_hours(7 * 24);
    assert_eq!(
        bench
            .turn(vec![], week - SignedDuration::from_secs(1))
            .await,
        []
    );
    assert_eq!(bench.store.size().await.unwrap().rows, rows);
    assert_eq!(bench.turn(vec![], week).await, []);
    assert_eq!(bench.store.size().await.unwrap().rows, rows - 1);
    assert_eq!(bench.turn(vec![done], week).await, [Kind::Created]);
}

#[tokio::test]
async fn a_task_that_other_filters_do_not_list_does_not_vanish() {
    let mut bench = Bench::open(Store::memory()).await;
    bench
        .turn(vec![task("rst-1", Status::Pending, 1)], at(1))
        .await;
    bench.state = State::load(
        bench.store.clone(),
        bench.outbox.clone(),
        bench.state.source.clone(),
        "other".to_owned(),
    )
    .await
    .unwrap();
    for second in 2..6 {
        assert_eq!(bench.turn(vec![], at(second)).await, []);
    }
}

#[tokio::test]
async fn a_snapshot_says_how_a_task_stands_and_not_how_it_was_listed() {
    let mut bench = Bench::open(Store::memory()).await;
    let listed = ["a", "b", "c"].map(|id| task(id, Status::Error, 10));
    bench.turn(listed.to_vec(), at(11)).await;
    // Between the page and the answer two of them move on.
    let later = vec![
        task("a", Status::Error, 10),
        task("b", Status::Pending, 20),
        task("c", Status::Success, 20),
    ];
    bench.turn(later, at(21)).await;
    let snapshots = bench.state.snapshots(listed.to_vec()).await.unwrap();
    let said: Vec<_> = snapshots
        .into_iter()
        .map(|change| change.after.unwrap())
        .map(|task| (task.task_id.as_str().to_owned(), task.status))
        .collect();
    let expected = [("a", Status::Error), ("b", Status::Pending)];
    assert_eq!(said, expected.map(|(id, status)| (id.to_owned(), status)));
}
