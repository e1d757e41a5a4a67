//! The built binary plays its story once and judges itself; and it says what is wrong with a file.

mod route;
mod timeline;

use std::process::{Command, Output};

fn syncbell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncbell"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

#[test]
fn the_story_arrives_exactly_once_with_a_retry_a_digest_a_silence_and_an_explanation() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_syncbell"))
        .args(["demo", "--once"])
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "it keeps what it writes in a folder of its own");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = told.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{told}\n{said}");
    assert!(
        last.ends_with("42 alerts, 42 deliveries, 1 retries, 0 lost, 0 repeated: ok"),
        "{told}"
    );
    let at = |what: &str| {
        let found = told.find(what);
        found.unwrap_or_else(|| panic!("{what} is not in {told}"))
    };
    // In this order; how many of the 37 stand in one mail is for the machine to say.
    let order = [
        "syncbell silence add -m from.namespace=legacy",
        "syncs of 1.8 failed",
        " × failed (firing)",
        "syncbell explain rst-demo000000301",
        "held back: silence",
        "syncbell silence expire",
        "FIRING legacy/billing:1.0",
    ];
    let places = order.map(at);
    assert!(places.is_sorted(), "{places:?}: {told}");
    assert_eq!(
        told.matches("FIRING legacy/billing:1.0").count(),
        1,
        "{told}"
    );
}

#[test]
fn a_wrong_key_gets_its_place_and_exit_78() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("syncbell.yaml");
    std::fs::write(&file, "instances:\n  - id: a\n    regoin: cn-a\n").expect("a file");
    let output = syncbell(&["check", "-c", file.to_str().expect("a plain path")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains(":3:5") && said.contains("did you mean `region`"),
        "{said}"
    );
}
