use super::*;
use crate::{Batch, Options, Store};

const OPTIONS: Options = Options {
    cache_bytes: 1 << 20,
    min_free_bytes: 0,
    compact_from_bytes: 1 << 30,
};

/// A store with a row in it, closed, in a folder of its own; and a database that holds no rows.
async fn damaged(parent: &Path) -> PathBuf {
    let dir = parent.join("poller");
    let store = Store::open(&dir, OPTIONS).unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1");
    store.commit(batch).await.unwrap();
    store.close().await.unwrap();
    std::fs::write(dir.join("format"), "no number").unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn marker(dir: &Path) -> Marker {
    serde_json::from_slice(&std::fs::read(dir.join(MARKER_FILE)).unwrap()).unwrap()
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_whole_and_remembered_until_it_is_forgotten() {
    let parent = tempfile::tempdir().unwrap();
    let dir = damaged(parent.path()).await;
    let mut before = names(&dir);
    before.retain(|name| name != LOCK_FILE);

    let error = Store::open(&dir, OPTIONS).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let (store, set_aside) = Store::open_or_start_over(&dir, OPTIONS).unwrap();
    let set_aside = set_aside.unwrap();
    assert!(set_aside.why.contains("format file"), "{}", set_aside.why);
    assert_eq!(names(&set_aside.dir), before, "all that was there moved");
    let name = set_aside.dir.file_name().unwrap().to_string_lossy();
    assert!(name.starts_with("poller.corrupt-2"), "{name}");
    assert_eq!(store.size().await.unwrap().rows, 0);
    assert!(matches!(
        Store::open(&dir, OPTIONS),
        Err(Error::Locked { .. })
    ));
    store.close().await.unwrap();

    // The owner was killed before it had rebuilt.
    let (store, again) = Store::open_or_start_over(&dir, OPTIONS).unwrap();
    assert_eq!(again.as_ref(), Some(&set_aside));
    store.forget_set_aside().await.unwrap();
    assert_eq!(store.set_aside(), None);
    store.close().await.unwrap();
    let (store, none) = Store::open_or_start_over(&dir, OPTIONS).unwrap();
    assert_eq!(none, None);
    assert!(set_aside.dir.exists());
    drop(store);

    // Whoever repairs what was set aside has it back.
    std::fs::write(set_aside.dir.join("format"), before_format()).unwrap();
    let repaired = Store::open(&set_aside.dir, OPTIONS).unwrap();
    assert_eq!(repaired.get("a").await.unwrap(), Some(b"1".to_vec()));
}

fn before_format() -> String {
    format!("{}\n", crate::folder::FORMAT)
}

#[tokio::test]
async fn a_kill_at_any_step_of_setting_aside_is_made_good() {
    let n_entries = {
        let parent = tempfile::tempdir().unwrap();
        names(&damaged(parent.path()).await).len() - 1
    };
    for n_moved in 0..=n_entries {
        for opened_by_open in [true, false] {
            let parent = tempfile::tempdir().unwrap();
            let dir = damaged(parent.path()).await;
            let folder = Folder::lock(&dir).unwrap();
            let begun = Marker {
                name: "poller.corrupt-x".to_owned(),
                why: "damage".to_owned(),
                at: Timestamp::UNIX_EPOCH,
                moving: true,
            };
            write(&folder, &begun).unwrap();
            drop(folder);
            let mut old = names(&dir);
            old.retain(|name| name != LOCK_FILE && name != MARKER_FILE);
            let target = parent.path().join("poller.corrupt-x");
            for name in old.iter().take(n_moved) {
                std::fs::create_dir_all(&target).unwrap();
                std::fs::rename(dir.join(name), target.join(name)).unwrap();
            }

            let store = if opened_by_open {
                Store::open(&dir, OPTIONS).unwrap()
            } else {
                Store::open_or_start_over(&dir, OPTIONS).unwrap().0
            };
            assert_eq!(names(&target), old, "after {n_moved} of {n_entries} moved");
            assert_eq!(store.size().await.unwrap().rows, 0);
            assert_eq!(store.set_aside().unwrap().why, "damage");
            assert!(!marker(&dir).moving);
            let mut batch = Batch::new();
            batch.put("b", "2");
            store.commit(batch).await.unwrap();
            store.close().await.unwrap();
            let store = Store::open(&dir, OPTIONS).unwrap();
            assert!(
                store.get("b").await.unwrap().is_some(),
                "the new store stays where it is"
            );
        }
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_numbered() {
    let parent = tempfile::tempdir().unwrap();
    let dir = damaged(parent.path()).await;
    let folder = Folder::lock(&dir).unwrap();
    let at = Timestamp::UNIX_EPOCH;
    let mut found = Vec::new();
    for number in 0..3 {
        std::fs::write(dir.join("content"), number.to_string()).unwrap();
        set_aside(&folder, "damage", at).unwrap();
        let pending = pending(&folder).unwrap().unwrap();
        found.push(std::fs::read_to_string(pending.dir.join("content")).unwrap());
    }
    assert_eq!(found, ["0", "1", "2"]);
    assert_eq!(
        names(parent.path()),
        [
            "poller",
            "poller.corrupt-19700101T000000Z",
            "poller.corrupt-19700101T000000Z-2",
            "poller.corrupt-19700101T000000Z-3"
        ]
    );
}

#[tokio::test]
async fn a_marker_that_cannot_be_read_is_damage_of_the_store() {
    let parent = tempfile::tempdir().unwrap();
    let dir = damaged(parent.path()).await;
    std::fs::write(dir.join("format"), before_format()).unwrap();
    std::fs::write(dir.join(MARKER_FILE), b"{").unwrap();
    let error = Store::open(&dir, OPTIONS).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let (_store, set_aside) = Store::open_or_start_over(&dir, OPTIONS).unwrap();
    assert!(set_aside.unwrap().why.contains(MARKER_FILE));
}

#[tokio::test]
async fn nothing_is_set_aside_for_a_lock_a_newer_format_or_a_folder_that_cannot_be_written() {
    let parent = tempfile::tempdir().unwrap();
    let dir = damaged(parent.path()).await;
    std::fs::write(dir.join("format"), "99\n").unwrap();
    let newer = Store::open_or_start_over(&dir, OPTIONS).unwrap_err();
    assert!(matches!(newer, Error::NewerFormat { .. }), "{newer}");
    std::fs::write(dir.join("format"), before_format()).unwrap();
    let held = Store::open(&dir, OPTIONS).unwrap();
    let locked = Store::open_or_start_over(&dir, OPTIONS).unwrap_err();
    assert!(matches!(locked, Error::Locked { .. }), "{locked}");
    drop(held);
    let inside = dir.join("format/store");
    let unwritable = Store::open_or_start_over(&inside, OPTIONS).unwrap_err();
    assert!(
        matches!(unwritable, Error::Unwritable { .. }),
        "{unwritable}"
    );
    assert_eq!(names(parent.path()), ["poller"]);
}
