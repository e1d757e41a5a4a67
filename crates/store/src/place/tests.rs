//! Formats, half migrations, half compactions: each state that a kill can leave.

use super::*;
use crate::folder::sync_dir;
use crate::{Batch, Options, Row, Store, layout};

const OPTIONS: Options = Options {
    cache_bytes: 1 << 20,
    min_free_bytes: 0,
    compact_from_bytes: u64::MAX,
};

type Step<'a> = &'a dyn Fn(&Path);
type Damage = fn(&Path);

/// A folder of format 1, written by sled alone, with small and large rows.
fn format_1(dir: &Path) -> Vec<Row> {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("format"), "1\n").unwrap();
    let tree = sled::Config::new()
        .path(dir)
        .segment_size(layout::SEGMENT_BYTES)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let mut rows = Vec::new();
    for number in 0..300u16 {
        let key = number.to_be_bytes();
        let size_bytes = if number % 50 == 0 { 20_000 } else { 300 };
        let value = vec![number.to_be_bytes()[1]; size_bytes];
        let (stored, chunks) = layout::encode(&value);
        tree.insert(layout::row_key(&key), stored).unwrap();
        for (number, chunk) in (0..).zip(chunks) {
            tree.insert(layout::chunk_key(&key, number), chunk).unwrap();
        }
        rows.push((key.to_vec(), value));
    }
    tree.flush().unwrap();
    rows
}

async fn scan(store: &Store) -> Vec<Row> {
    store.scan("", None, usize::MAX).await.unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let folder_names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = folder_names
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
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

const WHOLE: [&str; 4] = ["current", "format", "lock", "rows-1"];

#[tokio::test]
async fn format_1_is_copied_into_ours_and_its_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let rows = format_1(dir.path());
    let store = Store::open(dir.path(), OPTIONS).unwrap();
    assert!(scan(&store).await == rows);
    assert_eq!(store.size().await.unwrap().rows, 300);
    assert_eq!(names(dir.path()), WHOLE);
    let mut batch = Batch::new();
    batch.put("new", "row");
    store.commit(batch).await.unwrap();
    store.close().await.unwrap();
    let store = Store::open(dir.path(), OPTIONS).unwrap();
    assert_eq!(store.size().await.unwrap().rows, 301);
}

#[tokio::test]
async fn a_migration_that_was_killed_anywhere_is_made_again_or_finished() {
    // Both ends, from which each state between them is put together.
    let parent = tempfile::tempdir().unwrap();
    let (old, new) = (parent.path().join("old"), parent.path().join("new"));
    let rows = format_1(&old);
    copy_folder(&old, &new);
    drop(Store::open(&new, OPTIONS).unwrap());

    let half_copy: Step<'_> = &|dir| {
        copy_folder(&new.join("rows-1"), &dir.join("rows-1"));
        let file = std::fs::File::options()
            .write(true)
            .open(dir.join("rows-1/db"))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let whole_copy: Step<'_> = &|dir| copy_folder(&new.join("rows-1"), &dir.join("rows-1"));
    let pointer: Step<'_> = &|dir| {
        std::fs::copy(new.join("current"), dir.join("current")).unwrap();
    };
    let format: Step<'_> = &|dir| {
        std::fs::copy(new.join("format"), dir.join("format")).unwrap();
    };
    let half_removed: Step<'_> = &|dir| {
        std::fs::remove_dir_all(dir.join("blobs")).unwrap();
        std::fs::remove_file(dir.join("conf")).unwrap();
    };
    let states: [&[Step<'_>]; 6] = [
        &[],
        &[half_copy],
        &[whole_copy],
        &[whole_copy, pointer],
        &[whole_copy, pointer, format],
        &[whole_copy, pointer, format, half_removed],
    ];
    for (number, state) in states.iter().enumerate() {
        let dir = parent.path().join(format!("state-{number}"));
        copy_folder(&old, &dir);
        for step in *state {
            step(&dir);
        }
        let store = Store::open(&dir, OPTIONS).unwrap();
        assert!(scan(&store).await == rows, "state {number} has other rows");
        assert_eq!(names(&dir), WHOLE, "state {number}");
    }
}

#[tokio::test]
async fn a_compaction_that_was_killed_anywhere_leaves_the_database_that_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OPTIONS).unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1");
    store.commit(batch).await.unwrap();
    store.close().await.unwrap();

    // Half a copy, and one that was whole but did not count yet.
    for half in [true, false] {
        copy_folder(&dir.path().join("rows-1"), &dir.path().join("rows-2"));
        if half {
            std::fs::write(dir.path().join("rows-2/db"), b"half").unwrap();
        }
        let store = Store::open(dir.path(), OPTIONS).unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
        assert_eq!(names(dir.path()), WHOLE);
    }

    // The copy counts, and what it replaced is half removed.
    std::fs::rename(dir.path().join("rows-1"), dir.path().join("rows-2")).unwrap();
    std::fs::create_dir(dir.path().join("rows-1")).unwrap();
    std::fs::write(dir.path().join("rows-1/db"), b"half").unwrap();
    std::fs::write(dir.path().join("current"), "rows-2\n").unwrap();
    let store = Store::open(dir.path(), OPTIONS).unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(names(dir.path()), ["current", "format", "lock", "rows-2"]);
}

#[tokio::test]
async fn a_first_start_that_was_killed_anywhere_starts_again() {
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    drop(Store::open(&whole, OPTIONS).unwrap());
    let states: [&[&str]; 4] = [
        &[],
        &["lock"],
        &["lock", "format"],
        &["lock", "format", "rows-1"],
    ];
    for state in states {
        let dir = parent.path().join(format!("state-{}", state.len()));
        std::fs::create_dir(&dir).unwrap();
        for name in state {
            if whole.join(name).is_dir() {
                copy_folder(&whole.join(name), &dir.join(name));
            } else {
                std::fs::copy(whole.join(name), dir.join(name)).unwrap();
            }
        }
        let store = Store::open(&dir, OPTIONS).unwrap();
        let mut batch = Batch::new();
        batch.put("a", "1");
        store.commit(batch).await.unwrap();
        assert_eq!(names(&dir), WHOLE);
    }
}

#[tokio::test]
async fn a_pointer_or_a_database_that_is_gone_is_damage() {
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    drop(Store::open(&whole, OPTIONS).unwrap());
    let damages: [Damage; 5] = [
        |dir| std::fs::remove_dir_all(dir.join("rows-1")).unwrap(),
        |dir| std::fs::remove_file(dir.join("rows-1/db")).unwrap(),
        |dir| std::fs::write(dir.join("current"), "rows-7\n").unwrap(),
        |dir| std::fs::write(dir.join("current"), [0xff, 0]).unwrap(),
        |dir| {
            copy_folder(&dir.join("rows-1"), &dir.join("rows-2"));
            std::fs::remove_file(dir.join("current")).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let dir = parent.path().join(format!("damage-{number}"));
        copy_folder(&whole, &dir);
        damage(&dir);
        sync_dir(&dir).unwrap();
        let opened = Store::open(&dir, OPTIONS);
        assert!(
            matches!(opened, Err(Error::Corrupt { .. })),
            "damage {number}: {opened:?}"
        );
    }
}
