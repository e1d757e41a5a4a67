use jiff::SignedDuration;
use syncbell_event::{SweepKind, Swept};

use super::*;
use crate::decide::watch::Said;
use crate::delivery::Target;

fn setup(ids: &[&str], fallback: &str) -> Setup {
    let instances: Vec<String> = ids
        .iter()
        .map(|id| format!("{{id: {id}, region: cn-shanghai}}"))
        .collect();
    let text = format!(
        "instances: [{}]\nreceivers:\n  - {{name: ops, webhook: {{url: 'http://x'}}}}\n  - {{name: pager, webhook: \
         {{url: 'http://y'}}}}\nroute: {{receivers: [ops]{fallback}}}\n",
        instances.join(", ")
    );
    let read = syncbell_config::parse(&text, "x", std::path::Path::new("."), &|_| None);
    let config = read.unwrap();
    Setup::new(
        &config.route,
        &config.receivers,
        &config.rules,
        &config.instances,
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An instance that was seen at 1,000, the next time by 1,060.
fn seen(id: &str) -> Watch {
    let mut watch = Watch::new(id, true, at(0));
    let swept = Swept {
        seen_until: at(1_000),
        tasks: 1,
        open: 0,
        sweep: SweepKind::Head,
        next_by: at(1_060),
    };
    let said = Said {
        region: "cn-shanghai",
        at: at(1_000),
        traceparent: None,
    };
    watch.swept(&swept, &said, None, at(1_000));
    watch
}

fn why(watches: &[Watch], setup: &Setup, second: i64) -> Option<String> {
    unseen(watches, setup, at(second)).map(|unseen| unseen.why)
}

#[test]
fn it_beats_while_each_instance_is_seen() {
    let setup = setup(&["cri-1", "cri-2"], "");
    let both = [seen("cri-1"), seen("cri-2")];
    assert_eq!(why(&both, &setup, 1_030), None);
    // Two minutes past the time by which it was to be heard of, as with `blind`.
    assert_eq!(why(&both, &setup, 1_180), None);
    let said = why(&both, &setup, 1_181).unwrap();
    assert!(
        said.starts_with("cri-1 was not heard of since 1970-01-01T00:16:40Z"),
        "{said}"
    );

    let said = why(&both[..1], &setup, 1_030).unwrap();
    assert_eq!(said, "cri-2 was not heard of yet");
    let new = [seen("cri-1"), Watch::new("cri-2", true, at(0))];
    assert_eq!(
        why(&new, &setup, 1_030).unwrap(),
        "cri-2 was not heard of yet"
    );
    let mut blind = both.clone();
    blind[1].overdue(SignedDuration::from_secs(1), None, at(2_000));
    let said = why(&blind, &setup, 1_030).unwrap();
    assert_eq!(said, "cri-2 is blind: silent_poller");
}

#[test]
fn that_nothing_could_be_heard_yet_after_a_start_is_worth_no_line() {
    let setup = setup(&["cri-1"], "");
    let beat = |watches: &[Watch], second: i64, running_s: u64| {
        let unseen = unseen(watches, &setup, at(second)).unwrap();
        unseen.beat(Duration::from_secs(running_s))
    };
    let held_back = |beat: &Beat| matches!(beat, Beat::HeldBack(_));
    let never = [Watch::new("cri-1", true, at(0))];
    // Nobody ever heard of it, or all slept for a day: the first sweep has the patience of `blind`.
    for watches in [&[][..], &never, &[seen("cri-1")]] {
        assert_eq!(beat(watches, 90_000, 119), Beat::Early);
        assert!(held_back(&beat(watches, 90_000, 120)));
    }
    let mut blind = [seen("cri-1")];
    blind[0].overdue(SignedDuration::from_secs(1), None, at(2_000));
    assert!(held_back(&beat(&blind, 2_001, 0)), "that is known");
}

#[test]
fn what_left_the_configuration_is_not_waited_for_and_what_was_found_is() {
    let none = setup(&["cri-1"], "");
    let mut left = seen("cri-0");
    left.dropped_at = Some(at(900));
    assert_eq!(
        unseen(&[seen("cri-1"), left.clone()], &none, at(1_030)),
        None
    );
    assert!(unseen(&[left], &none, at(1_030)).is_some());
    // Found by asking for it, and never heard of.
    let found = Watch::new("cri-9", false, at(0));
    assert!(unseen(&[seen("cri-1"), found], &none, at(1_030)).is_some());
}

#[test]
fn without_anybody_to_tell_of_a_receiver_that_fails_it_is_held_back() {
    let row = |receiver: &str| Failing {
        target: Target {
            receiver: receiver.into(),
            address: None,
        },
        since: at(0),
        note: "HTTP 502".into(),
        outcome: "transient".into(),
        told_at: Some(at(900)),
        told: Vec::new(),
        over_at: None,
    };
    let (alone, backed) = (
        setup(&["cri-1"], ""),
        setup(&["cri-1"], ", fallback: pager"),
    );
    assert!(untold(&[row("ops")], &alone).is_some());
    assert_eq!(untold(&[row("ops")], &backed), None, "the fallback is told");
    assert!(
        untold(&[row("ops"), row("pager")], &backed).is_some(),
        "the fallback fails too"
    );
    let mut short = row("ops");
    short.told_at = None;
    assert_eq!(untold(&[short], &alone), None);
    let mut over = row("ops");
    over.over_at = Some(at(1_000));
    assert_eq!(untold(&[over], &alone), None);
}
