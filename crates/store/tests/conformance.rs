//! One suite for both backends: what holds for sled holds for the twin in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::path::Path;

use syncbell_store::{
    Batch, Error, KEY_LIMIT_BYTES, Options, Retry, Row, Store, VALUE_LIMIT_BYTES,
};
use tokio_util::task::TaskTracker;

macro_rules! conformance {
    ($($name:ident)*) => {
        mod sled_backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(super::open(dir.path())).await;
            })*
        }
        mod memory_backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(syncbell_store::Store::memory()).await;
            })*
        }
    };
}

conformance! {
    rows_are_read_back_as_written
    a_later_operation_of_a_batch_wins
    a_later_commit_wins
    a_deleted_row_is_gone_and_deleting_nothing_is_no_error
    scans_give_a_prefix_in_order_after_a_key_up_to_a_limit
    scans_back_give_a_prefix_in_descending_order_before_a_key
    values_of_every_size_are_read_back_and_replaced
    a_value_over_the_limit_is_refused_by_name_and_its_batch_changes_nothing
    a_key_over_the_limit_is_refused
    commits_of_64_tasks_are_all_there
    a_batch_is_seen_whole_or_not_at_all
    rows_are_counted
    one_read_may_ask_several_things
    after_close_every_call_says_so
}

fn open(dir: &Path) -> Store {
    Store::open(
        dir,
        Options {
            min_free_bytes: 0,
            ..Options::default()
        },
    )
    .unwrap()
}

fn batch_of(rows: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in rows {
        batch.put(*key, *value);
    }
    batch
}

fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter()
        .map(|(key, _)| std::str::from_utf8(key).unwrap())
        .collect()
}

async fn rows_are_read_back_as_written(store: Store) {
    store
        .commit(batch_of(&[("a", "1"), ("b", ""), ("", "no key")]))
        .await
        .unwrap();
    store.commit(Batch::new()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get("b").await.unwrap(), Some(Vec::new()));
    assert_eq!(store.get("").await.unwrap(), Some(b"no key".to_vec()));
    assert_eq!(store.get("c").await.unwrap(), None);
    assert_eq!(
        store.clone().get("a").await.unwrap(),
        Some(b"1".to_vec()),
        "a clone is the same"
    );
}

async fn a_later_operation_of_a_batch_wins(store: Store) {
    let mut batch = batch_of(&[
        ("put twice", "1"),
        ("put twice", "2"),
        ("put, deleted", "1"),
    ]);
    batch.delete("put, deleted");
    batch.delete("deleted, put");
    let mut later = Batch::new();
    later.put("deleted, put", "3");
    batch.append(later);
    assert_eq!(batch.len(), 6);
    assert!(!batch.is_empty());
    store.commit(batch).await.unwrap();
    assert_eq!(store.get("put twice").await.unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.get("put, deleted").await.unwrap(), None);
    assert_eq!(
        store.get("deleted, put").await.unwrap(),
        Some(b"3".to_vec())
    );
}

async fn a_later_commit_wins(store: Store) {
    // All of them wait at the same time, so that groups hold several writes of one key.
    let commits: Vec<_> = (0..200u32)
        .map(|number| store.commit(batch_of(&[("k", &number.to_string())])))
        .collect();
    let mut commits: Vec<_> = commits.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        // Polled in order, which is the order in which they ask.
        commits.retain_mut(|commit| match commit.as_mut().poll(context) {
            std::task::Poll::Ready(result) => {
                result.unwrap();
                false
            }
            std::task::Poll::Pending => true,
        });
        if commits.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    assert_eq!(store.get("k").await.unwrap(), Some(b"199".to_vec()));
}

async fn a_deleted_row_is_gone_and_deleting_nothing_is_no_error(store: Store) {
    store
        .commit(batch_of(&[("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    let mut batch = Batch::new();
    batch.delete("a");
    batch.delete("never there");
    store.commit(batch).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(keys(&store.scan("", None, 10).await.unwrap()), ["b"]);
}

async fn scans_give_a_prefix_in_order_after_a_key_up_to_a_limit(store: Store) {
    let rows = [
        ("t/2", ""),
        ("t/10", ""),
        ("t/1", ""),
        ("s/9", ""),
        ("u", ""),
        ("t", ""),
    ];
    store.commit(batch_of(&rows)).await.unwrap();
    let scan = async |prefix: &str, after: Option<&str>, limit| {
        let rows = store.scan(prefix, after.map(|key| key.as_bytes().to_vec()), limit);
        keys(&rows.await.unwrap()).join(" ")
    };
    assert_eq!(scan("t/", None, 10).await, "t/1 t/10 t/2");
    assert_eq!(scan("t/", None, 2).await, "t/1 t/10");
    assert_eq!(scan("t/", None, 0).await, "");
    assert_eq!(scan("t/", Some("t/1"), 10).await, "t/10 t/2");
    assert_eq!(
        scan("t/", Some("t/15"), 10).await,
        "t/2",
        "the key need not be there"
    );
    assert_eq!(scan("t/", Some("t/2"), 10).await, "");
    assert_eq!(
        scan("t/", Some("z"), 10).await,
        "",
        "after all of the prefix"
    );
    assert_eq!(
        scan("t/", Some("a"), 10).await,
        "t/1 t/10 t/2",
        "before all of it"
    );
    assert_eq!(scan("", None, 10).await, "s/9 t t/1 t/10 t/2 u");
    let mut high = Batch::new();
    high.put([0xff], "");
    high.put([0xff, 0xff, 1], "");
    store.commit(high).await.unwrap();
    assert_eq!(store.scan([0xff], None, 10).await.unwrap().len(), 2);
    assert_eq!(
        store
            .scan([0xff, 0xff], Some(vec![0xff]), 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn scans_back_give_a_prefix_in_descending_order_before_a_key(store: Store) {
    store
        .commit(batch_of(&[
            ("t/2", "b"),
            ("t/1", "a"),
            ("t/3", "c"),
            ("s", ""),
        ]))
        .await
        .unwrap();
    store
        .read(|reader| {
            let back = |prefix: &str, before: Option<&str>, limit| {
                let rows = reader
                    .scan_back(prefix.as_bytes(), before.map(str::as_bytes), limit)
                    .unwrap();
                keys(&rows).join(" ")
            };
            assert_eq!(back("t/", None, 10), "t/3 t/2 t/1");
            assert_eq!(back("t/", None, 1), "t/3");
            assert_eq!(back("t/", Some("t/3"), 10), "t/2 t/1");
            assert_eq!(back("t/", Some("t/1"), 10), "");
            assert_eq!(back("t/", Some("a"), 10), "", "before all of the prefix");
            assert_eq!(back("t/", Some("z"), 10), "t/3 t/2 t/1", "after all of it");
            assert_eq!(back("", None, 10), "t/3 t/2 t/1 s");
            assert_eq!(
                reader.scan_back(b"t/", None, 1)?,
                [(b"t/3".to_vec(), b"c".to_vec())]
            );
            Ok(())
        })
        .await
        .unwrap();
}

async fn values_of_every_size_are_read_back_and_replaced(store: Store) {
    let sizes = [
        VALUE_LIMIT_BYTES,
        0,
        4096,
        4097,
        40_000,
        600,
        8192,
        VALUE_LIMIT_BYTES,
    ];
    for (turn, size_bytes) in sizes.into_iter().enumerate() {
        let value = |row: u8| vec![row ^ u8::try_from(turn).unwrap(); size_bytes];
        let mut batch = Batch::new();
        for row in 0..20u8 {
            batch.put([b'k', row], value(row));
        }
        store.commit(batch).await.unwrap();
        assert_eq!(store.get([b'k', 7]).await.unwrap(), Some(value(7)));
        let rows = store.scan("k", None, 100).await.unwrap();
        let expected: Vec<Row> = (0..20).map(|row| (vec![b'k', row], value(row))).collect();
        assert!(rows == expected, "values of {size_bytes} bytes differ");
    }
    let mut batch = Batch::new();
    for row in 0..20u8 {
        batch.delete([b'k', row]);
    }
    store.commit(batch).await.unwrap();
    assert!(store.scan("", None, 100).await.unwrap().is_empty());
}

async fn a_value_over_the_limit_is_refused_by_name_and_its_batch_changes_nothing(store: Store) {
    let mut batch = batch_of(&[("first", "1")]);
    batch.put(b"task/\x00\xff".to_vec(), vec![0; VALUE_LIMIT_BYTES + 1]);
    let error = store.commit(batch).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(
        error.to_string(),
        "cannot write row \"task/\\x00\\xff\": 65537 bytes are over the limit of 65536"
    );
    assert_eq!(store.size().await.unwrap().rows, 0);
    let mut batch = Batch::new();
    batch.put("at the limit", vec![0; VALUE_LIMIT_BYTES]);
    store.commit(batch).await.unwrap();
}

async fn a_key_over_the_limit_is_refused(store: Store) {
    let mut batch = Batch::new();
    batch.put(vec![b'k'; KEY_LIMIT_BYTES + 1], "1");
    let error = store.commit(batch).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit: KEY_LIMIT_BYTES,
                ..
            }
        ),
        "{error}"
    );
    let mut batch = Batch::new();
    batch.put(vec![b'k'; KEY_LIMIT_BYTES], "1");
    store.commit(batch).await.unwrap();
    assert_eq!(
        store.scan("k", None, 10).await.unwrap()[0].0.len(),
        KEY_LIMIT_BYTES
    );
}

async fn commits_of_64_tasks_are_all_there(store: Store) {
    const N_TASKS: u32 = 64;
    const N_COMMITS: u32 = 20;
    let tracker = TaskTracker::new();
    let tasks: Vec<_> = (0..N_TASKS)
        .map(|task| {
            let store = store.clone();
            tracker.spawn(async move {
                for commit in 0..N_COMMITS {
                    let mut batch = Batch::new();
                    batch.put(format!("{task:02}/{commit:02}"), commit.to_be_bytes());
                    store.commit(batch).await.unwrap();
                    let key = format!("{task:02}/{commit:02}");
                    assert!(
                        store.get(key).await.unwrap().is_some(),
                        "own writes are read"
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rows = store.scan("", None, usize::MAX).await.unwrap();
    let expected: Vec<Row> = (0..N_TASKS)
        .flat_map(|task| (0..N_COMMITS).map(move |commit| (task, commit)))
        .map(|(task, commit)| {
            (
                format!("{task:02}/{commit:02}").into_bytes(),
                commit.to_be_bytes().to_vec(),
            )
        })
        .collect();
    assert_eq!(rows, expected);
}

async fn a_batch_is_seen_whole_or_not_at_all(store: Store) {
    let writing = async |turn: u8| {
        let mut batch = Batch::new();
        for row in 0..30u8 {
            // Every third is split over several rows of the tree.
            let size_bytes = if row % 3 == 0 { 9000 } else { 100 };
            batch.put([row], vec![turn; size_bytes]);
        }
        store.commit(batch).await.unwrap();
    };
    writing(0).await;
    let whole = |rows: &[Row]| {
        let turn = rows[0].1[0];
        rows.len() == 30
            && rows
                .iter()
                .all(|(_, value)| value.iter().all(|byte| *byte == turn))
    };
    let tracker = TaskTracker::new();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tracker.spawn(async move {
                let mut last = 0;
                while last < 50 {
                    let rows = store
                        .read(|reader| reader.scan(b"", None, 100))
                        .await
                        .unwrap();
                    assert!(whole(&rows), "a reader saw a part of a batch");
                    assert!(rows[0].1[0] >= last, "a reader saw an older batch");
                    last = rows[0].1[0];
                    let rows = store.scan("", None, 100).await.unwrap();
                    assert!(whole(&rows), "a scan saw a part of a batch");
                    let back = store
                        .read(|reader| reader.scan_back(b"", None, 100))
                        .await
                        .unwrap();
                    assert!(whole(&back), "a scan back saw a part of a batch");
                }
            })
        })
        .collect();
    for turn in 1..=50 {
        writing(turn).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

async fn rows_are_counted(store: Store) {
    assert_eq!(store.size().await.unwrap().rows, 0);
    let mut batch = batch_of(&[("a", "1"), ("b", "2"), ("a", "3")]);
    batch.put("large", vec![7; 20_000]);
    store.commit(batch).await.unwrap();
    assert_eq!(
        store.size().await.unwrap().rows,
        3,
        "a row counts once, however it is kept"
    );
    let mut batch = batch_of(&[("a", "4"), ("c", "5")]);
    batch.delete("b");
    batch.delete("b");
    batch.delete("never there");
    store.commit(batch).await.unwrap();
    let size = store.size().await.unwrap();
    assert_eq!(size.rows, 3);
    assert!(size.files_bytes >= 20_000);
}

async fn one_read_may_ask_several_things(store: Store) {
    store
        .commit(batch_of(&[("next", "t/1"), ("t/1", "found"), ("t/2", "")]))
        .await
        .unwrap();
    let found = store
        .read(|reader| {
            let next = reader.get(b"next")?.unwrap_or_default();
            Ok((
                reader.get(&next)?,
                reader.scan(b"t/", Some(&next), 10)?.len(),
            ))
        })
        .await
        .unwrap();
    assert_eq!(found, (Some(b"found".to_vec()), 1));
    let refused = store.read(|_| Err::<(), _>(Error::Closed)).await;
    assert!(
        matches!(refused, Err(Error::Closed)),
        "the closure's own error comes back"
    );
}

async fn after_close_every_call_says_so(store: Store) {
    let other = store.clone();
    store.commit(batch_of(&[("a", "1")])).await.unwrap();
    store.close().await.unwrap();
    for store in [store, other] {
        let error = store.commit(batch_of(&[("b", "2")])).await.unwrap_err();
        assert!(matches!(error, Error::Closed));
        assert_eq!(error.retry(), Retry::Never);
        assert!(matches!(
            store.commit(Batch::new()).await,
            Err(Error::Closed)
        ));
        assert!(matches!(store.get("a").await, Err(Error::Closed)));
        assert!(matches!(store.read(|_| Ok(())).await, Err(Error::Closed)));
        assert!(matches!(store.scan("", None, 1).await, Err(Error::Closed)));
        assert!(matches!(store.size().await, Err(Error::Closed)));
        assert!(matches!(store.close().await, Err(Error::Closed)));
    }
}
