//! `syncbell simulate -f`: the commented example plays, and a wrong file is refused at its place.

use std::path::Path;
use std::time::Duration;

use syncbell_testkit::{Binary, eventually};

use crate::syncbell;

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_example_timeline_is_served_and_played() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/timeline.yaml");
    let mut running = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .args(["simulate", "--listen", "127.0.0.1:0", "--speed", "50", "-f"])
        .arg(&example)
        .start();
    let line = running.wait_for_line("what must be told: ", WAIT).await;
    let ledger = line.text.rsplit(' ').next().expect("a URL").to_owned();
    let client = reqwest::Client::builder().timeout(WAIT).build();
    let client = client.expect("a client");
    let at = ledger.trim_end_matches("ledger").to_owned();
    eventually("the batch to fail", WAIT, async || {
        let state = client
            .get(format!("{at}state"))
            .send()
            .await
            .expect("state");
        let state = state.text().await.expect("text");
        state
            .contains("37 of 40 images of a release fail")
            .then_some(())
    })
    .await;
    running.terminate();
    assert!(running.wait_for_exit(WAIT).await.success());
}

#[test]
fn a_wrong_timeline_gets_its_place_and_exit_78() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("timeline.yaml");
    let text = "tasks:\n  - image: a/b:1\n    steps:\n      - { at: 5s, staus: ERROR }\n";
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("a plain path");
    let output = syncbell(&["simulate", "--listen", "127.0.0.1:0", "-f", path]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("timeline.yaml:4:19: unknown key `staus`, did you mean `status`?"),
        "{said}"
    );
}
