//! `syncbell tasks`: what the poller knows, with a running one and without, and what the cloud lists.

use std::collections::BTreeSet;

use serde_json::Value;
use syncbell_event::{Status, SyncTask};
use syncbell_simulator::{
    Action, DEMO_INSTANCE, DEMO_REGION, Extent, Fault, NewTask, Options, Throttling,
};
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Binary, eventually};

use crate::house::{House, WAIT, admin_of};

/// Exit code, stdout, stderr.
type Said = (Option<i32>, String, String);

async fn tasks(arguments: &[&str], secret: &str) -> Said {
    let mut binary = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .arg("tasks")
        .args(arguments)
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
            Options::default().access_key_id,
        )
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)
        .start();
    let status = binary.wait_for_exit(WAIT).await;
    (
        status.code(),
        binary.text(Source::Stdout),
        binary.text(Source::Stderr),
    )
}

/// `syncbell tasks --live` of the house's registry.
async fn live(house: &House, more: &[&str]) -> Said {
    let url = house.simulator.url();
    let place = [
        "--live",
        "--instance",
        DEMO_INSTANCE,
        "--region",
        DEMO_REGION,
        "--endpoint",
        &url,
    ];
    tasks(&[&place, more].concat(), &house.access_key_secret).await
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    let id = |row: &Value| {
        row["task_id"]
            .as_str()
            .expect("a task has an id")
            .to_owned()
    };
    rows.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn live_shows_a_page_as_the_cloud_has_it_with_the_totals_beside_it() {
    let house = House::build().await;
    let mut seen = BTreeSet::new();
    for page in ["1", "2"] {
        let (code, out, err) = live(
            &house,
            &["--page", page, "--page-size", "20", "-o", "jsonl"],
        )
        .await;
        assert_eq!(code, Some(0), "{err}");
        let rows = lines(&out);
        for row in &rows {
            let task: SyncTask = serde_json::from_value(row.clone()).expect("a task");
            assert!(task.from.is_some() && task.created_at.is_some(), "{row}");
        }
        seen.extend(ids(&rows));
        let totals = format!("page {page} of 8: 20 of 150 tasks, at ");
        assert!(
            err.starts_with(&totals) && err.contains("(request "),
            "{err}"
        );
    }
    assert_eq!(seen.len(), 40, "two pages");

    let (code, out, _) = live(&house, &["--namespace", "quiet", "--repo", "image-7"]).await;
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}");
    assert!(
        out.starts_with(" ID ") && out.contains("quiet/image-7:v1"),
        "{out}"
    );
    let (_, out, err) = live(&house, &["--tag", "v2", "-o", "json"]).await;
    assert_eq!(out.trim(), "[]", "{err}");

    // The only instance of a configuration need not be named.
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    let (code, out, err) = tasks(&["--live", "-c", config], &house.access_key_secret).await;
    assert_eq!((code, out.lines().count()), (Some(0), 31), "{err}");
    let of_another = ["--live", "-c", config, "--instance", "cri-other"];
    let (code, _, err) = tasks(&of_another, &house.access_key_secret).await;
    assert!(code == Some(78) && err.contains(DEMO_INSTANCE), "{err}");

    house
        .simulator
        .world()
        .fault(Fault::TaskWithoutId, Extent::Calls(1))
        .expect("few faults");
    let (code, _, err) = live(&house, &[]).await;
    assert!(
        code == Some(0) && err.contains("not a task: row 1 (no id)"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn live_says_by_its_exit_code_who_has_to_do_something() {
    let mut house = House::build().await;
    let throttling = Throttling {
        x_acs_retry_after: Some("700".to_owned()),
        ..Throttling::default()
    };
    let gone = Fault::NotSuccessful {
        code: "INSTANCE_NOT_EXIST".to_owned(),
    };
    let cases = [
        (Fault::NoPrivilege, 77, "cr:GetRepositorySync"),
        (Fault::Throttling(throttling), 75, "Throttling.User"),
        (Fault::Closed, 69, "unavailable"),
        (Fault::BadGateway, 69, "502"),
        (Fault::Truncated { honest: true }, 69, "malformed"),
        (gone, 78, "INSTANCE_NOT_EXIST"),
        (Fault::ClockSkew { minutes: 20 }, 78, "wrong clock"),
    ];
    for (fault, expected, word) in cases {
        let fault_of = fault.clone();
        let world = house.simulator.world();
        world
            .fault_for(Action::ListRepoSyncTask, fault, Extent::Calls(1))
            .expect("few faults");
        let (code, out, err) = live(&house, &[]).await;
        assert_eq!(code, Some(expected), "{fault_of:?}: {err}");
        assert!(err.contains(word) && out.is_empty(), "{fault_of:?}: {err}");
    }
    "another".clone_into(&mut house.access_key_secret);
    let (code, _, err) = live(&house, &[]).await;
    assert!(
        code == Some(78) && err.contains("SignatureDoesNotMatch"),
        "{err}"
    );
    house.access_key_secret.clear();
    let (code, _, err) = live(&house, &[]).await;
    assert!(code == Some(78) && err.contains("is not set"), "{err}");

    let usage: [&[&str]; 8] = [
        &["--live", "--admin", "127.0.0.1:1"],
        &["--live", "--page-size", "101"],
        &["--live", "--page", "0"],
        &["--live", "--status", "ERROR"],
        &["--live", "--region", "cn-shanghai"],
        &["--live", "--instance", "cri-1", "--region", "a/b"],
        &["--tag", "v1"],
        &["--limit", "0"],
    ];
    for arguments in usage {
        let (code, _, err) = tasks(arguments, "x").await;
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_poller_knows_is_shown_while_it_runs_and_from_its_folder() {
    let mut house = House::build().await;
    let config = house.config("127.0.0.1:0");
    let config = config.to_str().expect("a plain path");
    let (code, _, err) = tasks(&["-c", config], "").await;
    assert!(code == Some(69) && err.contains("no folder"), "{err}");

    house.start().await;
    house.baseline().await;
    let task = NewTask::of("tasks/image", "v1").id("rst-failed");
    let task = task.status(Status::Error).issue("TAG_CONFLICT");
    house.simulator.world().add_task(task);
    let admin = admin_of(house.binary.lock().await.as_ref().expect("it runs")).await;
    let failed = ["--admin", &admin, "--status", "ERROR", "-o", "jsonl"];
    let row = eventually("the failed task", WAIT, async || {
        let (code, out, err) = tasks(&failed, "").await;
        assert_eq!(code, Some(0), "{err}");
        lines(&out).pop()
    })
    .await;
    assert_eq!(
        ids(std::slice::from_ref(&row)),
        ["rst-failed".to_owned()].into()
    );
    assert_eq!(row["issue"], "TAG_CONFLICT");
    assert_eq!(row["from"]["repo"], "image", "{row}");
    let (_, out, _) = tasks(&["--admin", &admin, "--limit", "1"], "").await;
    assert!(
        out.contains("rst-failed") && out.contains("tasks/image:v1"),
        "the newest first: {out}"
    );

    let all = all_pages(&["--admin", &admin]).await;
    assert_eq!(ids(&all).len(), 151);
    let quiet = &all[100];
    assert!(
        quiet["from"].is_null() && quiet["created_at"].is_string(),
        "{quiet}"
    );
    let (_, out, _) = tasks(
        &["--admin", &admin, "--instance", "cri-x", "-o", "json"],
        "",
    )
    .await;
    assert_eq!(out.trim(), "[]");
    let (code, _, err) = tasks(&["--admin", &admin, "--after", "here"], "").await;
    assert!(code == Some(1) && err.contains("`next`"), "{err}");

    // Nobody answers at the address of this file, and the folder is in use.
    let (code, _, err) = tasks(&["-c", config], "").await;
    assert!(code == Some(75) && err.contains("--admin"), "{err}");
    assert!(house.stop().await.success());
    let kept = all_pages(&["-c", config]).await;
    assert_eq!(kept, all);
}

/// All tasks, in pages of 60; a page that is not the last says where the next one begins.
async fn all_pages(place: &[&str]) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let mut arguments = [place, &["--limit", "60", "-o", "jsonl"]].concat();
        if !after.is_empty() {
            arguments.extend(["--after", &after]);
        }
        let (code, out, err) = tasks(&arguments, "").await;
        assert_eq!(code, Some(0), "{err}");
        all.extend(lines(&out));
        match err.split("--after ").nth(1) {
            Some(next) => next.trim().clone_into(&mut after),
            None => return all,
        }
    }
}
