//! The writer over rows that fail when they are told to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc as std_mpsc};

use super::*;
use crate::memory::MemoryRows;
use crate::rows::RowsSize;
use crate::{Retry, Store};

const MIN_FREE_BYTES: u64 = 100;

/// What the test arranges and what it sees.
#[derive(Default)]
struct Script {
    /// The rows; they survive a reopening, as those on a disk do.
    rows: MemoryRows,
    /// What the next applies do instead of applying.
    faults: Mutex<Vec<Fault>>,
    /// Opening again fails so.
    open_error: Mutex<Option<Error>>,
    /// Reads of rows opened before so many times fail, as those of a dead handle of sled do.
    dead_below: AtomicUsize,
    free_bytes: AtomicU64,
    /// What the folder takes beyond the rows.
    more_bytes: AtomicU64,
    n_slices: AtomicUsize,
    n_begun: AtomicUsize,
    n_applied: AtomicUsize,
    n_opened: AtomicUsize,
    /// Each apply waits for a word from here, once it is set.
    gate: Mutex<Option<std_mpsc::Receiver<()>>>,
}

#[derive(Clone, Copy)]
enum Fault {
    Broken,
    Damaged,
    Full,
    Panic,
}

/// With the how many-th opening they are of.
struct ScriptedRows(Arc<Script>, usize);

struct ScriptedPlace(Arc<Script>);

impl Place for ScriptedPlace {
    fn open(&mut self) -> Result<Arc<dyn Rows>, Error> {
        if let Some(error) = self.0.open_error.lock().unwrap().clone() {
            return Err(error);
        }
        let n_before = self.0.n_opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(ScriptedRows(Arc::clone(&self.0), n_before + 1)))
    }

    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(self.0.free_bytes.load(Ordering::SeqCst))
    }

    fn dir(&self) -> &Path {
        Path::new("/data")
    }

    fn forget_set_aside(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn begin_copy(&mut self) -> Result<Arc<dyn Rows>, Error> {
        Ok(Arc::new(MemoryRows::default()))
    }

    fn adopt_copy(&mut self) -> Adoption {
        Adoption::Refused(std::io::Error::other("there is no copy"))
    }

    fn drop_copy(&mut self) {}
}

impl Rows for ScriptedRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if self.1 < self.0.dead_below.load(Ordering::SeqCst) {
            return Err(Failure {
                kind: FailureKind::Full,
                what: "no space left".to_owned(),
            });
        }
        self.0.rows.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Failure> {
        self.0.rows.scan(prefix, after, limit)
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        self.0.rows.scan_back(prefix, before, limit)
    }

    fn apply(&self, operations: &[Operation]) -> Result<(), Failure> {
        self.0.n_begun.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &*self.0.gate.lock().unwrap() {
            gate.recv().unwrap();
        }
        let mut faults = self.0.faults.lock().unwrap();
        let fault = if faults.is_empty() {
            None
        } else {
            Some(faults.remove(0))
        };
        drop(faults);
        match fault {
            None => {
                self.0.n_applied.fetch_add(1, Ordering::SeqCst);
                self.0.rows.apply(operations)
            }
            Some(Fault::Broken) => Err(Failure::broken("broken")),
            Some(Fault::Damaged) => Err(Failure::damaged("a bad page")),
            Some(Fault::Full) => Err(Failure {
                kind: FailureKind::Full,
                what: "no space left".to_owned(),
            }),
            Some(Fault::Panic) => panic!("the backend panics"),
        }
    }

    fn slice(&self, after: Option<&[u8]>, limit_bytes: usize) -> Result<Vec<Row>, Failure> {
        self.0.n_slices.fetch_add(1, Ordering::SeqCst);
        self.0.rows.slice(after, limit_bytes)
    }

    fn apply_unsynced(&self, operations: &[Operation]) -> Result<(), Failure> {
        self.0.rows.apply(operations)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn size(&self) -> Result<RowsSize, Failure> {
        let mut size = self.0.rows.size()?;
        size.files_bytes += self.0.more_bytes.load(Ordering::SeqCst);
        Ok(size)
    }

    fn dir(&self) -> &Path {
        Path::new("/data")
    }
}

fn start(faults: &[Fault]) -> (Store, Arc<Script>) {
    let (writer, script) = writer(u64::MAX);
    script.faults.lock().unwrap().extend(faults);
    let slot = Arc::clone(&writer.slot);
    (Store::start(writer, slot, None).unwrap(), script)
}

/// A writer whose thread does not run.
fn writer(compact_from_bytes: u64) -> (Writer, Arc<Script>) {
    let script = Arc::new(Script::default());
    script.free_bytes.store(MIN_FREE_BYTES, Ordering::SeqCst);
    let rows: Arc<dyn Rows> = Arc::new(ScriptedRows(Arc::clone(&script), 0));
    let slot = Arc::new(RwLock::new(Slot::Open(rows)));
    let place = Box::new(ScriptedPlace(Arc::clone(&script)));
    let limits = Limits {
        min_free_bytes: MIN_FREE_BYTES,
        compact_from_bytes,
    };
    (Writer::new(place, slot, limits), script)
}

fn row(key: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, "1");
    batch
}

/// Commits until it works, for as long as the error says that it may.
async fn commit_until_done(store: &Store, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = store.commit(row(key)).await {
        assert_eq!(error.retry(), Retry::Later, "{error}");
        assert!(Instant::now() < deadline, "it is never ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads until it works, for as long as the error says that the disk is full.
async fn read_until_there(store: &Store, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = store.get(key).await {
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert_eq!(error.retry(), Retry::Later);
        assert!(Instant::now() < deadline, "it is never opened again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_commit_that_fails_once_is_written_after_opening_again() {
    for fault in [Fault::Broken, Fault::Panic] {
        let (store, script) = start(&[fault]);
        store.commit(row("a")).await.unwrap();
        assert_eq!(script.n_opened.load(Ordering::SeqCst), 1);
        assert!(store.get("a").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_store_that_fails_again_says_failed_from_then_on() {
    let (store, script) = start(&[Fault::Broken, Fault::Broken]);
    let error = store.commit(row("a")).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert!(matches!(
        store.commit(row("b")).await,
        Err(Error::Failed { .. })
    ));
    assert!(matches!(store.get("a").await, Err(Error::Failed { .. })));
    assert!(matches!(
        store.scan("", None, 1).await,
        Err(Error::Failed { .. })
    ));
    assert_eq!(
        script.n_opened.load(Ordering::SeqCst),
        1,
        "it is opened again once, not for ever"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_again_says_why() {
    let (store, script) = start(&[Fault::Broken]);
    let damaged = Error::Corrupt {
        dir: "/data".into(),
        what: "a bad page".to_owned(),
    };
    *script.open_error.lock().unwrap() = Some(damaged);
    let error = store.commit(row("a")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { what, .. } if what.contains("a bad page")),
        "{error}"
    );
}

#[tokio::test]
async fn damage_that_a_commit_meets_twice_is_told_as_damage() {
    let (store, _script) = start(&[Fault::Damaged, Fault::Damaged]);
    let error = store.commit(row("a")).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(matches!(store.get("a").await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_write_that_fills_the_disk_waits_for_space_and_goes_on_by_itself() {
    let (store, script) = start(&[]);
    store.commit(row("before")).await.unwrap();
    script.faults.lock().unwrap().push(Fault::Full);
    let error = store.commit(row("during")).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DiskFull {
                min_bytes: MIN_FREE_BYTES,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        store.get("before").await,
        Err(Error::DiskFull { .. })
    ));
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let unwritable = Error::Unwritable {
        dir: "/data".into(),
        source: Arc::new(full),
        hint: String::new(),
    };
    *script.open_error.lock().unwrap() = Some(unwritable);
    assert!(matches!(
        store.commit(row("during")).await,
        Err(Error::DiskFull { .. })
    ));
    *script.open_error.lock().unwrap() = None;
    commit_until_done(&store, "after").await;
    assert!(store.get("before").await.unwrap().is_some());
    assert!(store.get("after").await.unwrap().is_some());
    assert!(store.get("during").await.unwrap().is_none());
}

/// A reader that waits for space may be the only one who asks.
#[tokio::test]
async fn a_store_closed_by_a_full_disk_is_opened_again_for_who_only_reads() {
    let (store, script) = start(&[]);
    store.commit(row("before")).await.unwrap();
    script.faults.lock().unwrap().push(Fault::Full);
    store.commit(row("during")).await.unwrap_err();
    read_until_there(&store, "before").await;
}

/// Whoever reads while a commit meets the full disk, or finds the handle dead without one, waits like all others.
#[tokio::test]
async fn a_reader_that_meets_a_full_disk_has_the_store_opened_again() {
    let (store, script) = start(&[]);
    store.commit(row("before")).await.unwrap();
    script.dead_below.store(1, Ordering::SeqCst);
    let error = store.get("before").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DiskFull {
                min_bytes: MIN_FREE_BYTES,
                ..
            }
        ),
        "{error}"
    );
    read_until_there(&store, "before").await;
    assert_eq!(script.n_opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn below_the_least_free_space_commits_are_refused_until_there_is_more() {
    let (store, script) = start(&[]);
    script
        .free_bytes
        .store(MIN_FREE_BYTES - 1, Ordering::SeqCst);
    let error = store.commit(row("a")).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DiskFull {
                free_bytes: 99,
                min_bytes: 100
            }
        ),
        "{error}"
    );
    assert_eq!(script.n_applied.load(Ordering::SeqCst), 0);
    assert!(
        store.scan("", None, 1).await.unwrap().is_empty(),
        "reading goes on"
    );
    script.free_bytes.store(MIN_FREE_BYTES, Ordering::SeqCst);
    commit_until_done(&store, "a").await;
    assert_eq!(
        script.n_opened.load(Ordering::SeqCst),
        0,
        "nothing was wrong with the rows"
    );
}

#[tokio::test]
async fn commits_that_wait_are_one_group_and_a_scan_keeps_its_place() {
    let (store, script) = start(&[]);
    let (open_gate, gate) = std_mpsc::channel();
    *script.gate.lock().unwrap() = Some(gate);
    let first = store.commit(row("0"));
    let waiting = async {
        let deadline = Instant::now() + Duration::from_secs(30);
        while script.n_begun.load(Ordering::SeqCst) == 0 {
            assert!(
                Instant::now() < deadline,
                "the first group is never written"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let keys: Vec<String> = (1..=50).map(|number| format!("{number:02}")).collect();
        let commits: Vec<_> = keys.iter().map(|key| store.commit(row(key))).collect();
        let mut commits: Vec<_> = commits.into_iter().map(Box::pin).collect();
        // Each is asked for, none is answered: the first group still waits at the gate.
        for commit in &mut commits {
            assert!(is_pending(commit).await);
        }
        let mut scan = Box::pin(store.scan("", None, 100));
        assert!(is_pending(&mut scan).await);
        let mut last = Box::pin(store.commit(row("99")));
        assert!(is_pending(&mut last).await);
        for _ in 0..3 {
            open_gate.send(()).unwrap();
        }
        for commit in commits {
            commit.await.unwrap();
        }
        last.await.unwrap();
        scan.await.unwrap()
    };
    let (first, scanned) = tokio::join!(first, waiting);
    first.unwrap();
    assert_eq!(
        scanned.len(),
        51,
        "it sees what was asked before it, not what came after"
    );
    assert_eq!(script.n_applied.load(Ordering::SeqCst), 3);
    assert_eq!(store.size().await.unwrap().rows, 52);
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

/// Found with a hundred targets: the copy's own files were taken for growth, and each commit waited for all the slices
/// that there may be, 600 ms.
#[test]
fn a_commit_waits_for_one_slice_of_a_copy_and_for_more_only_as_the_files_grow() {
    const ROW_BYTES: usize = 32 * 1024;
    let (mut writer, script) = writer(1);
    script.free_bytes.store(u64::MAX, Ordering::SeqCst);
    let rows = (0..100_u8).map(|key| Operation {
        key: vec![key],
        value: Some(vec![7; ROW_BYTES]),
    });
    script.rows.apply(&rows.collect::<Vec<_>>()).unwrap();
    let commit = [Operation {
        key: b"one".to_vec(),
        value: None,
    }];
    let mut slices_after = |more_bytes| {
        script.more_bytes.store(more_bytes, Ordering::SeqCst);
        let before = script.n_slices.load(Ordering::SeqCst);
        writer.compact_after(&commit);
        script.n_slices.load(Ordering::SeqCst) - before
    };
    // 100 rows in files of 5 times their size: a copy begins. A slice is one row.
    let (begins_bytes, row_bytes) = (15_000_000, ROW_BYTES as u64);
    assert_eq!(slices_after(begins_bytes), 0);
    assert_eq!(slices_after(begins_bytes), 1);
    // The copy takes twice what is copied.
    assert_eq!(slices_after(begins_bytes + 2 * row_bytes), 1);
    assert_eq!(slices_after(begins_bytes + 7 * row_bytes), 1);
    // What is committed grows them by more than the next row makes good.
    assert_eq!(slices_after(begins_bytes + 12 * row_bytes), 2);
}
