//! A command that prints credentials: the profile mode `External`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use syncbell_acr::{CredentialsProvider, Surroundings};
use syncbell_testkit::eventually;
use tokio::time::Instant;

use crate::cloud::{Machine, exists, fails, key, later};

/// A profile whose command is a shell that runs `script`.
fn machine(script: &str) -> Machine {
    let machine = Machine::new(&[]);
    let script = machine.file("script with blank", script);
    write(&machine, &format!("/bin/sh '{script}' hush-argument"));
    machine
}

fn write(machine: &Machine, command: &str) {
    let profile = json!({"name": "x", "mode": "External", "process_command": command});
    let config = json!({"current": "x", "profiles": [profile]});
    machine.file(".aliyun/config.json", &config.to_string());
}

fn provider(surroundings: &Surroundings) -> Arc<dyn CredentialsProvider> {
    surroundings.profile(None, None).expect("plain options")
}

fn says(answer: &Value) -> String {
    format!("cat <<'END'\n{answer}\nEND\n")
}

fn answer() -> Value {
    json!({
        "mode": "StsToken", "access_key_id": "ext", "access_key_secret": "hush",
        "sts_token": "hush-token", "expiration": "2099-01-01T00:00:00Z",
    })
}

#[tokio::test]
async fn what_a_command_prints_is_taken_and_its_errors_are_not_shown() {
    let script = "test \"$1\" = hush-argument || exit 9\necho hush >&2\n".to_owned();
    let machine = machine(&(script + &says(&answer())));
    let provider = provider(&machine.surroundings);
    let given = provider.credentials().await.unwrap();
    assert_eq!(given.access_key_id, "ext");
    assert!(given.security_token.is_some());

    let mut of_a_key = answer();
    of_a_key["mode"] = json!("AK");
    machine.file("script with blank", &says(&of_a_key));
    later(Duration::from_hours(1_000_000)).await;
    let given = provider.credentials().await.unwrap();
    assert!(given.security_token.is_none());
}

#[tokio::test]
async fn what_is_wrong_with_its_answer_is_said_without_its_words() {
    let without = |name: &str| {
        let mut answer = answer();
        answer.as_object_mut().unwrap().remove(name);
        says(&answer)
    };
    let with = |name: &str, value: &str| {
        let mut answer = answer();
        answer[name] = json!(value);
        says(&answer)
    };
    for (script, why) in [
        (without("access_key_id"), "access_key_id"),
        (without("access_key_secret"), "access_key_secret"),
        (without("sts_token"), "sts_token"),
        (with("mode", "hush"), "mode"),
        (with("expiration", "hush"), "expiration"),
        (with("expiration", "2020-01-01T00:00:00Z"), "over"),
        ("echo hush".to_owned(), "not a JSON object"),
        ("echo hush >&2; exit 3".to_owned(), "ended with 3"),
        ("kill -9 $$".to_owned(), "was killed"),
        ("while :; do echo hush; done".to_owned(), "64 KiB"),
        (String::new(), "not a JSON object"),
    ] {
        let machine = machine(&script);
        let words = ["\"x\": external: ", why];
        fails(&*provider(&machine.surroundings), "credentials", &words).await;
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_not_shown() {
    let machine = Machine::new(&[]);
    for (command, why) in [
        ("/hush/absent", "does not start"),
        (" ", "process_command"),
        ("''x 'hush", "quotes"),
    ] {
        write(&machine, command);
        fails(&*provider(&machine.surroundings), "credentials", &[why]).await;
    }
}

/// Writes its number and that of a child of its own, and stays.
const STAYS: &str = "sleep 300 &\necho $! $$ > \"$(dirname \"$0\")/started.new\"\n\
                     mv \"$(dirname \"$0\")/started.new\" \"$(dirname \"$0\")/started\"\nwait\n";

async fn are_gone(started: &Path) {
    let numbers = std::fs::read_to_string(started).expect("it started");
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    assert_eq!(numbers.len(), 2);
    eventually("the command's end", Duration::from_secs(10), async || {
        // A zombie that waits for its parent has ended too.
        let runs = |number: &&str| {
            let status = std::fs::read_to_string(format!("/proc/{number}/stat"));
            status.is_ok_and(|status| !status.contains(") Z "))
        };
        (!numbers.iter().any(runs)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_that_stays_is_killed_with_what_it_started() {
    let mut machine = machine(STAYS);
    assert_eq!(machine.surroundings.limits.command, Duration::from_mins(1));
    machine.surroundings.limits.command = Duration::from_secs(1);
    let begin = Instant::now();
    let words = ["took longer than 1000 ms"];
    fails(&*provider(&machine.surroundings), "unavailable", &words).await;
    assert!(begin.elapsed() < Duration::from_secs(20));
    are_gone(&machine.home.path().join("started")).await;
}

#[tokio::test]
async fn a_command_nobody_waits_for_any_more_is_killed_with_what_it_started() {
    let machine = machine(STAYS);
    let started = machine.home.path().join("started");
    let provider = provider(&machine.surroundings);
    let asked = key(&*provider);
    let wait = eventually("its start", Duration::from_secs(20), async || {
        exists(&started).then_some(())
    });
    tokio::select! {
        key = asked => panic!("it ended by itself: {key:?}"),
        () = wait => {}
    }
    are_gone(&started).await;
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_does_not_hold_it_up_for_good() {
    let mut machine = machine("sleep 300 &\necho hush\n");
    machine.surroundings.limits.command = Duration::from_millis(500);
    let words = ["took longer"];
    fails(&*provider(&machine.surroundings), "unavailable", &words).await;
}
