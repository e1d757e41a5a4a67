//! The machine loses power, over and over, while tasks fail all the time.
//!
//! As near as it can be tried without a machine: a library between the binary and its system
//! (`shims/power.c`) keeps a shadow of the data folder that holds only what was asked to be durable: of each
//! file the bytes up to its last fsync or fdatasync (sync_file_range, which sled calls, counts for nothing),
//! and names up to the last fsync of their directory. At a random moment the process is killed, its folder
//! is replaced by the shadow, and it starts again. In every second round some of the pages that were written
//! and not synced are there all the same, as early writeback leaves them.
//!
//! Shown: every row, event and name that the design calls durable is synced before it is answered, and what
//! a disk keeps of the rest never stops a start nor loses an alert. Not shown: a disk that lies about a sync,
//! sectors torn in the middle, pages reordered within one sync that was under way, file systems that lose
//! names after their directory was synced. Over Kafka poller and notifier have a disk each and lose power at
//! the same moment; the brokers keep theirs, as `acks=all` over several machines is meant to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use syncbell_testkit::{Binary, kafka};

use crate::account::{Account, UNDER_WAY};
use crate::house::{House, WAIT};
use crate::seeds::{Run, runs};
use crate::shim;
use crate::traffic::Traffic;

/// Of 100 pages that nobody synced, in every second round.
const EARLY: &str = "30";

#[tokio::test(flavor = "multi_thread")]
async fn power_loss_embedded() {
    for run in runs("power-loss embedded") {
        rounds(House::build().await, run).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_loss_kafka() {
    let Some(kafka) = kafka::shared().await else {
        return;
    };
    for run in runs("power-loss kafka") {
        let house = House::over_kafka(kafka.bootstrap(), "power-loss").await;
        rounds(house, run).await;
    }
}

async fn rounds(mut house: House, run: Run) {
    let mut rng = run.seed.rng_for("power-loss");
    let mut traffic = Traffic::new(house.simulator.world(), run.seed.rng_for("traffic"));
    let library = shim::built("power", house.folder()).await;
    for service in house.services() {
        std::fs::create_dir_all(house.disk_of(service)).expect("the disk");
    }
    for round in 0..run.rounds {
        let early = if round % 2 == 0 { "0" } else { EARLY };
        let shadow_of = |service: &str| house.folder().join(format!("shadow-{service}-{round}"));
        let mut disks = BTreeMap::new();
        for service in house.services() {
            let env: Vec<(_, OsString)> = vec![
                ("LD_PRELOAD", library.clone().into()),
                ("SHIM_ROOT", house.disk_of(service).into()),
                ("SHIM_SHADOW", shadow_of(service).into()),
                ("SHIM_EARLY", early.into()),
                ("SHIM_SEED", rng.next_u64().to_string().into()),
            ];
            disks.insert(*service, env);
        }
        let shadows: Vec<_> = house.services().iter().map(|one| shadow_of(one)).collect();
        house.disks = Some(disks);
        if round == 0 {
            // From an empty disk: the folders themselves have to be there afterwards.
            house.start_and_baseline().await;
        } else {
            house.start_all();
        }
        traffic.during(rng.duration(50..2_500)).await;
        let services = house.services();
        house.kill(services).await;
        for (service, shadow) in services.iter().zip(&shadows) {
            lose(&house.disk_of(service), shadow);
        }
        traffic.during(rng.duration(0..200)).await;
    }
    house.disks = Some(BTreeMap::new());
    house.start_all();
    let bound = UNDER_WAY * run.rounds;
    Account::settle(&house, &traffic, "power-loss", run.seed, run.rounds, bound).await;
    house.stop().await;
}

/// What was not synced is gone. A process that died before its shadow was there had written nothing.
fn lose(disk: &Path, shadow: &Path) {
    if shadow.join("ready").exists() {
        std::fs::remove_dir_all(disk).expect("the disk");
        std::fs::rename(shadow.join("tree"), disk).expect("what was kept");
    }
    if shadow.exists() {
        std::fs::remove_dir_all(shadow).expect("the shadow");
    }
}

/// Without this, a shadow that kept everything would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_shadow_forgets_what_nobody_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = shim::built("power", folder.path()).await;
    let (disk, shadow) = (folder.path().join("disk"), folder.path().join("shadow"));
    std::fs::create_dir_all(disk.join("old")).expect("a folder");
    std::fs::write(disk.join("old/file"), "before").expect("a file");
    // One process, as the library wants it: sysopen, syswrite, and fsync of files and of folders.
    let script = "use Fcntl; use IO::Handle; my $r = $ENV{SHIM_ROOT}; \
        sub put { my ($n, $what, $sync) = @_; \
            sysopen(my $f, \"$r/$n\", O_WRONLY | O_CREAT | O_APPEND) or die; \
            syswrite($f, $what); $f->sync if $sync; close $f } \
        sub names { sysopen(my $d, $_[0], O_RDONLY) or die; $d->sync or die } \
        put('named', 'synced', 1); names($r); \
        put('named', ' lost', 0); put('nameless', 'x', 1); put('old/file', ' lost', 0); \
        rename(\"$r/named\", \"$r/renamed\") or die; names(\"$r/old\");";
    let mut shell = Binary::launch("perl")
        .args(["-e", script])
        .env("LD_PRELOAD", library)
        .env("SHIM_ROOT", &disk)
        .env("SHIM_SHADOW", &shadow)
        .start();
    let status = shell.wait_for_exit(WAIT).await;
    assert!(status.success(), "{:?}", shell.lines());
    lose(&disk, &shadow);
    let mut names: Vec<_> = std::fs::read_dir(&disk)
        .expect("the disk")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["named", "old"]);
    assert_eq!(
        std::fs::read_to_string(disk.join("named")).expect("it"),
        "synced"
    );
    assert_eq!(
        std::fs::read_to_string(disk.join("old/file")).expect("it"),
        "before"
    );
}
