//! A disk that is full, and has space again: a tmpfs of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]
#![expect(clippy::print_stdout, reason = "what is left out is said")]

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use syncbell_store::{Batch, Error, Options, Retry, Store};
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;

/// A small file system that ends with it.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a word, where this process may not mount.
    fn mount(size_bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size_bytes}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            println!(
                "left out: a full disk needs a tmpfs of its own, and mounting is refused: {why}"
            );
            return None;
        }
        Some(Self { dir })
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }

    /// Fills the disk until about `left_bytes` are free.
    fn fill(&self, left_bytes: u64) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        let block = vec![7; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left_bytes)).unwrap();
    }

    /// Takes all that is free, nearly at once, while others take some of it too.
    fn take_all(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        let disk = rustix::fs::statvfs(self.dir.path()).unwrap();
        let mut bytes = disk.f_bavail * disk.f_frsize;
        let (flags, mut end) = (rustix::fs::FallocateFlags::empty(), 0);
        while bytes > MIB {
            match rustix::fs::fallocate(&file, flags, end, bytes) {
                Ok(()) => end += bytes,
                Err(_) => bytes /= 2,
            }
        }
        file.seek(SeekFrom::Start(end)).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        assert!(unmounted.unwrap().success(), "the tmpfs stays mounted");
    }
}

fn open(dir: &Path, compact_from_bytes: u64) -> Result<Store, Error> {
    let options = Options {
        cache_bytes: MIB,
        min_free_bytes: 0,
        compact_from_bytes,
    };
    Store::open_or_start_over(dir, options).map(|(store, set_aside)| {
        assert_eq!(set_aside, None, "a full disk is no damage");
        store
    })
}

fn batch(number: u32) -> Batch {
    let mut batch = Batch::new();
    for row in 0..20u8 {
        let key = [number.to_be_bytes().as_slice(), &[row]].concat();
        batch.put(key, vec![7; 1000]);
    }
    batch
}

/// Commits until the disk is full; gives how many were acknowledged.
async fn commit_until_full(store: &Store) -> u32 {
    for number in 0.. {
        match store.commit(batch(number)).await {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "{error}");
                assert_eq!(error.retry(), Retry::Later);
                return number;
            }
        }
    }
    unreachable!()
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. })
}

#[tokio::test]
async fn a_full_disk_refuses_commits_loses_nothing_and_takes_them_again() {
    let Some(disk) = SmallDisk::mount(32 * MIB) else {
        return;
    };
    let store = open(&disk.store(), u64::MAX).unwrap();
    store.commit(batch(u32::MAX)).await.unwrap();
    disk.fill(6 * MIB);
    let n_acknowledged = commit_until_full(&store).await;
    assert!(n_acknowledged > 10, "{n_acknowledged}");
    // Every other call answers, with what is there or that the disk is full.
    assert!(
        store
            .get("a")
            .await
            .map_or_else(|error| is_full(&error), |value| value.is_none())
    );
    assert!(
        store
            .scan("", None, 5)
            .await
            .map_or_else(|error| is_full(&error), |rows| rows.len() == 5)
    );
    assert!(
        store
            .size()
            .await
            .map_or_else(|error| is_full(&error), |size| size.rows > 0)
    );
    let read = store.read(|reader| reader.scan_back(b"", None, 5)).await;
    assert!(read.map_or_else(|error| is_full(&error), |rows| rows.len() == 5));

    disk.empty();
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = store.commit(batch(n_acknowledged)).await {
        assert!(is_full(&error), "{error}");
        assert!(Instant::now() < deadline, "it never takes rows again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let n_rows = u64::from(n_acknowledged + 2) * 20;
    assert_eq!(store.size().await.unwrap().rows, n_rows);
    store.close().await.unwrap();
    let store = open(&disk.store(), u64::MAX).unwrap();
    assert_eq!(
        store.scan("", None, usize::MAX).await.unwrap().len() as u64,
        n_rows
    );
}

#[tokio::test]
async fn a_store_is_closed_and_opened_on_a_full_disk_and_nothing_is_set_aside() {
    let Some(disk) = SmallDisk::mount(32 * MIB) else {
        return;
    };
    let store = open(&disk.store(), u64::MAX).unwrap();
    store.commit(batch(u32::MAX)).await.unwrap();
    disk.fill(4 * MIB);
    let n_acknowledged = commit_until_full(&store).await;
    store.close().await.unwrap();
    let mut rest = std::fs::File::create(disk.dir.path().join("rest")).unwrap();
    while rest.write_all(&[7; 1024]).is_ok() {}
    // It opens, or says that there is no room.
    match open(&disk.store(), u64::MAX) {
        Ok(store) => {
            assert!(
                store
                    .commit(batch(7))
                    .await
                    .map_or_else(|error| is_full(&error), |()| true)
            );
            store.close().await.unwrap();
        }
        Err(error) => assert!(
            matches!(error, Error::Unwritable { .. } | Error::DiskFull { .. }),
            "{error}"
        ),
    }
    disk.empty();
    let store = open(&disk.store(), u64::MAX).unwrap();
    for number in (0..n_acknowledged).chain([u32::MAX]) {
        let rows = store
            .scan(number.to_be_bytes(), None, usize::MAX)
            .await
            .unwrap();
        assert_eq!(rows.len(), 20, "batch {number}");
    }
}

#[tokio::test]
async fn a_compaction_without_room_is_left_until_there_is_some() {
    let Some(disk) = SmallDisk::mount(64 * MIB) else {
        return;
    };
    let store = open(&disk.store(), u64::MAX).unwrap();
    for number in 0..400 {
        store.commit(batch(number)).await.unwrap();
    }
    for number in 20..400u32 {
        let mut batch = Batch::new();
        for row in 0..20u8 {
            batch.delete([number.to_be_bytes().as_slice(), &[row]].concat());
        }
        store.commit(batch).await.unwrap();
    }
    store.close().await.unwrap();
    // Sled grows by whole segments: enough for commits, too little for a copy.
    disk.fill(8 * MIB);
    let store = open(&disk.store(), 4 * MIB).unwrap();
    for number in 400..410 {
        store.commit(batch(number)).await.unwrap();
    }
    let size = store.size().await.unwrap();
    assert!(size.files_bytes > 4 * size.live_bytes, "{size:?}");
    assert_eq!((size.compactions, size.rows), (0, 30 * 20));
    store.close().await.unwrap();
    assert_eq!(n_databases(&disk.store()), 1);

    // With room it is made at the next start.
    disk.empty();
    let store = open(&disk.store(), 4 * MIB).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    for number in 410.. {
        store.commit(batch(number)).await.unwrap();
        if store.size().await.unwrap().compactions == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "it is never compacted");
    }
    assert_eq!(
        store
            .scan(0u32.to_be_bytes(), None, 100)
            .await
            .unwrap()
            .len(),
        20
    );
}

/// The same rows over and over, never in the order of the keys: the files grow, what lives in them does not.
fn again(round: u32) -> Batch {
    const ROWS: u32 = 8_000;
    let mut batch = Batch::new();
    for n in 0..40 {
        let row = (round * 40 + n) % ROWS;
        let value = [round.to_be_bytes(), row.to_be_bytes()].concat();
        let key = row.wrapping_mul(0x9E37_79B1);
        batch.put(key.to_be_bytes(), value.repeat(50));
    }
    batch
}

/// Fills the disk as soon as there is a copy beside the rows. Gives how many rounds were acknowledged.
async fn full_in_the_midst_of_a_copy(disk: &SmallDisk, store: &Store) -> u32 {
    for round in 0.. {
        store.commit(again(round)).await.unwrap();
        if n_databases(&disk.store()) > 1 {
            disk.take_all();
            return round + 1;
        }
        assert!(round < 20_000, "no copy is ever begun");
    }
    unreachable!()
}

/// The copy is given up, or the store goes down with it: either way all that was acknowledged is there, and with
/// room it takes rows again.
#[tokio::test]
async fn a_disk_that_fills_in_the_midst_of_a_copy_loses_nothing() {
    let mut n_hit = 0;
    for _ in 0..3 {
        let Some(disk) = SmallDisk::mount(160 * MIB) else {
            return;
        };
        let store = open(&disk.store(), 8 * MIB).unwrap();
        let mut round = full_in_the_midst_of_a_copy(&disk, &store).await;
        let full_at = round;
        while round < full_at + 2_000 {
            match store.commit(again(round)).await {
                Ok(()) => round += 1,
                Err(error) => {
                    assert!(is_full(&error), "{error}");
                    break;
                }
            }
        }
        disk.empty();
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = store.commit(again(round)).await {
            assert!(is_full(&error), "{error}");
            assert!(Instant::now() < deadline, "it never takes rows again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let size = store.size().await.unwrap();
        // The next one is tried ten minutes later.
        n_hit += u32::from(size.compactions == 0);
        store.close().await.unwrap();
        let store = open(&disk.store(), u64::MAX).unwrap();
        let rows = store.scan("", None, usize::MAX).await.unwrap();
        for (_, value) in rows {
            let row = u32::from_be_bytes(value[4..8].try_into().unwrap());
            let last = (0..=round).rev().find(|round| {
                let first = round * 40 % 8_000;
                (first..first + 40).contains(&row)
            });
            assert_eq!(value[..4], last.unwrap().to_be_bytes(), "row {row}");
        }
        assert_eq!(n_databases(&disk.store()), 1);
    }
    assert!(n_hit > 0, "each copy was done before the disk was full");
}

/// The names of the databases in a store's folder.
fn n_databases(store: &Path) -> usize {
    let names = std::fs::read_dir(store).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("rows-"))
        .count()
}
