//! The disk is full, and then it is not: a small file system as the data folder's disk, filled by a file
//! while tasks fail, and freed. Nobody does anything else: what waited goes on by itself.
//!
//! In one half of it the free space falls below `disk.min_free`, in the other one writes fail in the midst
//! of what they do (ENOSPC, `min_free: 0B`). `SYNCBELL_FAULTS_DISK=none` leaves it out where nothing may be
//! mounted.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use syncbell_testkit::{Binary, kafka};

use crate::account::Account;
use crate::house::{House, WAIT};
use crate::seeds::seed;
use crate::traffic::Traffic;

/// What the poller's, the notifier's and the log's files take is a fraction of it.
const SIZE: &str = "size=48m";

const FULL: Duration = Duration::from_secs(6);

/// Left free by the file that fills the disk, where writes are not to fail: below `min_free`.
const LEFT_BYTES: u64 = 6 * 1024 * 1024;
const MIN_FREE: &str = "disk: {min_free: 12MiB}\n";
const MIN_FREE_NOTHING: &str = "disk: {min_free: 0B}\n";

/// A file system of its own; unmounted when dropped.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// None, and a line that says so, where it is to be left out. Panics where it cannot be mounted.
    async fn mount(at: PathBuf) -> Option<Self> {
        if std::env::var("SYNCBELL_FAULTS_DISK").is_ok_and(|chosen| chosen == "none") {
            println!("faults full-disk: left out (SYNCBELL_FAULTS_DISK=none)");
            return None;
        }
        std::fs::create_dir_all(&at).expect("a folder");
        let mut mount = Binary::launch("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "syncbell-faults"])
            .arg(&at)
            .start();
        let status = mount.wait_for_exit(WAIT).await;
        assert!(
            status.success(),
            "a small disk cannot be mounted ({:?}): run the tests as root, or leave them out by \
             SYNCBELL_FAULTS_DISK=none",
            mount.lines()
        );
        Some(Self { at })
    }

    /// Fills it until so much is left.
    fn fill(&self, left_bytes: u64) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        let piece = vec![0; 16 * 1024];
        while free_bytes(&self.at) > left_bytes {
            if file.write_all(&piece).is_err() {
                break;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file that fills it");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: who runs on it is killed after this.
        let at = self.at.as_os_str();
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(at)
            .status();
        drop(unmounted);
    }
}

fn free_bytes(at: &Path) -> u64 {
    let disk = rustix::fs::statvfs(at).expect("a file system");
    disk.f_bavail * disk.f_frsize
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_embedded() {
    let mut house = House::build().await;
    full(&mut house, MIN_FREE, LEFT_BYTES, "low-disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_writes_embedded() {
    let mut house = House::build().await;
    full(&mut house, MIN_FREE_NOTHING, 0, "full-disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_writes_kafka() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    let mut house = House::over_kafka(kafka.bootstrap(), "full-disk").await;
    full(&mut house, MIN_FREE_NOTHING, 0, "full-disk").await;
}

async fn full(house: &mut House, config: &str, left_bytes: u64, fault: &str) {
    let Some(disk) = Disk::mount(house.folder().join("disk")).await else {
        return;
    };
    config.clone_into(&mut house.more);
    let seed = seed();
    let mut traffic = Traffic::new(house.simulator.world(), seed.rng_for("traffic"));
    house.start_and_baseline().await;
    traffic.during(Duration::from_secs(2)).await;
    for _ in 0..2 {
        disk.fill(left_bytes);
        traffic.during(FULL).await;
        for service in house.services() {
            let binary = house.running.get_mut(service).expect("it was started");
            assert!(binary.is_running(), "{service} ended: {:?}", binary.lines());
        }
        disk.free();
        traffic.during(Duration::from_secs(3)).await;
    }
    // Over Kafka a poller that takes nothing in leaves the notifier nothing to write: it may not notice.
    let says = ["store refuses commits", "store is down", "an append failed"];
    let said = house.services().iter().map(|service| house.said(service));
    let noticed = said
        .into_iter()
        .any(|said| says.iter().any(|line| said.contains(line)));
    assert!(noticed, "nobody says that the disk is full");
    Account::settle(house, &traffic, fault, seed, 2, 0).await;
    house.stop().await;
}
