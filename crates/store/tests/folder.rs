//! What only a store on the disk has: a folder, a lock, a format, crashes.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use syncbell_store::{Batch, Error, KEY_LIMIT_BYTES, Options, Retry, Store, VALUE_LIMIT_BYTES};

/// Tells the test `another_process_is_refused` that it is the other process.
const OTHER_PROCESS_DIR: &str = "SYNCBELL_STORE_OTHER_PROCESS_DIR";

fn open(dir: &Path) -> Result<Store, Error> {
    Store::open(
        dir,
        Options {
            min_free_bytes: 0,
            ..Options::default()
        },
    )
}

fn row(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below `dir`.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn rows_are_there_after_close_and_reopen_in_a_folder_made_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data/poller");
    let store = open(&dir).unwrap();
    store.commit(row("a", "1")).await.unwrap();
    store.close().await.unwrap();
    let store = open(&dir).unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.size().await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_second_store_on_the_folder_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    store.commit(row("a", "1")).await.unwrap();
    store.close().await.unwrap();
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn the_last_handles_drop_releases_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for turn in 0..10u8 {
        let store = open(dir.path()).unwrap();
        let other = store.clone();
        store.commit(row([turn], "1")).await.unwrap();
        drop(store);
        assert!(
            matches!(open(dir.path()), Err(Error::Locked { .. })),
            "one handle is left"
        );
        drop(other);
    }
    assert_eq!(open(dir.path()).unwrap().size().await.unwrap().rows, 10);
}

#[tokio::test]
async fn a_read_may_hold_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(row("a", "1")).await.unwrap();
    let handle = store.clone();
    let (begun, wait) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut reading = Box::pin(async move {
        let held = store.clone();
        store
            .read(move |reader| {
                begun.send(()).unwrap();
                released.recv().unwrap();
                let value = reader.get(b"a");
                drop(held);
                value
            })
            .await
    });
    // Starts the read, then gives up waiting for it: only the closure holds the store now.
    let started = tokio::time::timeout(std::time::Duration::ZERO, &mut reading).await;
    assert!(started.is_err());
    wait.recv().unwrap();
    drop(handle);
    drop(reading);
    release.send(()).unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while matches!(open(dir.path()), Err(Error::Locked { .. })) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the folder is never released"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn another_process_is_refused() {
    if let Some(dir) = std::env::var_os(OTHER_PROCESS_DIR) {
        let opened = open(Path::new(&dir));
        assert!(matches!(opened, Err(Error::Locked { .. })), "{opened:?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let other_process = || -> ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process_is_refused"])
            .env(OTHER_PROCESS_DIR, dir.path())
            .output()
            .unwrap()
            .status
    };
    let store = open(dir.path()).unwrap();
    assert!(other_process().success(), "it could open the folder");
    drop(store);
    assert!(
        !other_process().success(),
        "it was refused although nobody has the folder"
    );
}

#[tokio::test]
async fn a_newer_format_is_refused_by_its_numbers_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(row("a", "1")).await.unwrap();
    store.close().await.unwrap();
    std::fs::write(dir.path().join("format"), "3\n").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NewerFormat {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("has format 3, this version knows up to 2"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_to_string(dir.path().join("format")).unwrap(),
        "3\n"
    );
    std::fs::write(dir.path().join("format"), "2\n").unwrap();
    assert_eq!(
        open(dir.path()).unwrap().get("a").await.unwrap(),
        Some(b"1".to_vec())
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_unwritable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("store")] {
        let error = open(&place).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error}");
        assert!(
            error.to_string().contains(&place.display().to_string()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_damaged_database_is_told_and_does_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..200u8 {
        store
            .commit(row([number], vec![number; 500]))
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    // A reopening writes sled's snapshot of where its pages are; then they are not there.
    open(dir.path()).unwrap().close().await.unwrap();
    let database = dir.path().join("rows-1/db");
    let length = std::fs::metadata(&database).unwrap().len();
    std::fs::write(&database, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(
        matches!(open(dir.path()), Err(Error::Corrupt { .. })),
        "its lock is released"
    );
}

#[tokio::test]
async fn a_snapshot_that_is_unfinished_or_damaged_costs_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..200u8 {
        store
            .commit(row([number], vec![number; 500]))
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    // A reopening writes a snapshot.
    open(dir.path()).unwrap().close().await.unwrap();
    let is_snapshot = |path: &std::path::PathBuf| path.to_string_lossy().contains("/snap.");
    let snapshot = files(dir.path()).into_iter().find(is_snapshot).unwrap();
    let content = std::fs::read(&snapshot).unwrap();
    let unfinished = snapshot.with_file_name("snap.FFFFFFFFFFFFFFFF.generating");
    std::fs::write(&unfinished, &content[..content.len() / 2]).unwrap();
    std::fs::write(&snapshot, &content[..content.len() / 2]).unwrap();
    let store = open(dir.path()).unwrap();
    let rows = store.scan("", None, usize::MAX).await.unwrap();
    let expected: Vec<_> = (0..200u8).map(|n| (vec![n], vec![n; 500])).collect();
    assert!(rows == expected, "{} rows", rows.len());
    let left = files(dir.path());
    assert!(
        !left.contains(&unfinished)
            && !left
                .iter()
                .any(|path| path.to_string_lossy().contains("kept.")),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_after_a_commit_holds_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store")).unwrap();
    let mut expected = Vec::new();
    for turn in 0..25u8 {
        let mut batch = Batch::new();
        for number in 0..10u8 {
            let size_bytes = if number == 0 { VALUE_LIMIT_BYTES } else { 700 };
            batch.put([turn, number], vec![turn ^ number; size_bytes]);
            expected.push((vec![turn, number], vec![turn ^ number; size_bytes]));
        }
        if turn > 0 {
            batch.delete([turn - 1, 5]);
            expected.retain(|(key, _)| *key != [turn - 1, 5]);
        }
        store.commit(batch).await.unwrap();
        let copy = dir.path().join(format!("copy-{turn}"));
        copy_folder(&dir.path().join("store"), &copy);
        let copied = open(&copy).unwrap();
        let rows = copied.scan("", None, usize::MAX).await.unwrap();
        assert!(
            rows == expected,
            "after commit {turn} the copy has other rows"
        );
        assert_eq!(copied.size().await.unwrap().rows, expected.len() as u64);
    }
}

#[tokio::test]
async fn the_largest_rows_never_become_blob_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut n_looks = 0;
    for turn in 0..30u64 {
        let mut batch = Batch::new();
        for number in 0..40u64 {
            // Keys that differ at their ends: the longest separators in the index.
            let mut key = vec![b'k'; KEY_LIMIT_BYTES];
            key[KEY_LIMIT_BYTES - 8..]
                .copy_from_slice(&(turn * 7919 + number * 104_729).to_be_bytes());
            batch.put(
                key,
                vec![7; if number < 3 { VALUE_LIMIT_BYTES } else { 4096 }],
            );
        }
        store.commit(batch).await.unwrap();
        for rows in rows_folders(dir.path()) {
            // A compaction may have ended since: its old folder goes.
            let Ok(blobs) = std::fs::read_dir(rows.join("blobs")) else {
                continue;
            };
            assert_eq!(blobs.count(), 0, "in turn {turn}, {}", rows.display());
            n_looks += 1;
        }
    }
    assert!(n_looks >= 30, "{n_looks} folders were looked at");
}

/// The folders of rows of a store: one, or two while it is compacted.
fn rows_folders(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("rows-")
        })
        .collect()
}

#[tokio::test]
async fn a_disk_with_too_little_space_refuses_commits_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(row("a", "1")).await.unwrap();
    store.close().await.unwrap();
    let options = Options {
        min_free_bytes: u64::MAX,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let error = store.commit(row("b", "2")).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DiskFull {
                min_bytes: u64::MAX,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.scan("", None, 10).await.unwrap().len(), 1);
}
