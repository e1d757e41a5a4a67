//! Folders that cannot be written: the process ends at once, with a word on whose they are.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::house::House;

/// Nobody, on every Linux.
const STRANGER: u32 = 65534;
const NOT_SET: &str = "0123456789abcdef";

fn chmod(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("a mode can be set");
}

/// `syncbell run` where `stranger` may read the binary and the configuration; as another user where this
/// test may do that.
fn run(house: &House, stranger: bool) -> Output {
    let folder = house.folder.path();
    chmod(folder, 0o755);
    let config = house.config("127.0.0.1:0");
    chmod(&config, 0o644);
    let binary = folder.join("syncbell");
    std::fs::copy(env!("CARGO_BIN_EXE_syncbell"), &binary).expect("the binary is there");
    let mut command = Command::new(binary);
    command.args(["run", "-c"]).arg(config);
    for name in [
        "HOOK_SECRET",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    ] {
        command.env(name, NOT_SET);
    }
    if stranger {
        command.uid(STRANGER).gid(STRANGER);
    }
    command.output().expect("the binary starts")
}

fn is_root(house: &House) -> bool {
    let metadata = std::fs::metadata(house.folder.path());
    metadata.expect("the folder is there").uid() == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_somebody_else_is_told_with_its_owner_and_what_to_do() {
    let house = House::build().await;
    let poller = house.folder.path().join("data/poller");
    std::fs::create_dir_all(&poller).expect("a folder");
    let root = is_root(&house);
    chmod(&poller, if root { 0o755 } else { 0o555 });
    let output = tokio::task::block_in_place(|| run(&house, root));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains(&poller.display().to_string()), "{said}");
    let expected = if root {
        vec![
            "belongs to uid 0",
            "this process is uid 65534",
            "chown -R 65534",
        ]
    } else {
        vec!["has mode 555", "chmod u+rwx"]
    };
    for words in expected {
        assert!(said.contains(words), "{words}: {said}");
    }
    let left = std::fs::read_dir(&poller)
        .expect("the folder is there")
        .count();
    assert_eq!(left, 0, "nothing was set aside or written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_mount_is_told() {
    let house = House::build().await;
    let data = house.folder.path().join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"])
        .arg(&data)
        .output()
        .expect("mount runs");
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        println!("left out: mounting is refused: {why}");
        return;
    }
    let output = tokio::task::block_in_place(|| run(&house, false));
    let unmounted = Command::new("umount").arg("-l").arg(&data).status();
    assert!(unmounted.expect("umount runs").success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains(&data.join("poller").display().to_string())
            && said.contains("mount it for writing"),
        "{said}"
    );
}
