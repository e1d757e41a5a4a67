//! Random trees and entries, decided by Alertmanager's own `amtool config routes test` and by ours.
//!
//! `SYNCBELL_SEED` chooses another run. Where there is no `amtool` (Debian: `prometheus-alertmanager`) the test
//! fails and says so.

use std::fmt::Write as _;
use std::process::Command;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use syncbell_config::{MatchOp, Matcher};

use super::super::*;
use crate::label::entry_with;

const TREES: usize = 12;
const ENTRIES_A_TREE: usize = 8;

const LABELS: [&str; 4] = ["from.namespace", "from.repo", "batch_id", "issue"];
const VALUES: [&str; 4] = ["web", "web-1", "db", "mysql"];
const PATTERNS: [&str; 8] = [
    "web.*",
    "web|db",
    ".+",
    ".*",
    "",
    "(my|)sql",
    "w[a-e]b(-[0-9])?",
    "web",
];

fn route(random: &mut StdRng, depth: u32, receivers: &mut usize) -> Route {
    let name = format!("r{receivers}");
    *receivers += 1;
    let is_top = depth == 0;
    let n_matchers = if is_top {
        0
    } else {
        random.random_range(0..=2)
    };
    let n_routes = if depth == 3 {
        0
    } else {
        random.random_range(0..=3)
    };
    Route {
        receivers: vec![name],
        matchers: (0..n_matchers).map(|_| matcher(random)).collect(),
        continues: !is_top && random.random_bool(0.4),
        routes: (0..n_routes)
            .map(|_| route(random, depth + 1, receivers))
            .collect(),
        ..Route::default()
    }
}

fn matcher(random: &mut StdRng) -> Matcher {
    let ops = [
        MatchOp::Equals,
        MatchOp::NotEquals,
        MatchOp::Matches,
        MatchOp::NotMatches,
    ];
    let op = *ops.choose(random).unwrap();
    let value = match op {
        MatchOp::Equals | MatchOp::NotEquals if random.random_bool(0.2) => "",
        MatchOp::Equals | MatchOp::NotEquals => VALUES.choose(random).unwrap(),
        MatchOp::Matches | MatchOp::NotMatches => PATTERNS.choose(random).unwrap(),
    };
    Matcher::try_new(*LABELS.choose(random).unwrap(), op, value).unwrap()
}

/// The route as Alertmanager's configuration has it; its labels have no dots.
fn yaml(route: &Route, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    writeln!(text, "{pad}receiver: {}", route.receivers[0]).unwrap();
    if !route.matchers.is_empty() {
        let matchers = route.matchers.iter().map(|matcher| {
            let op = match matcher.op {
                MatchOp::Equals => "=",
                MatchOp::NotEquals => "!=",
                MatchOp::Matches => "=~",
                MatchOp::NotMatches => "!~",
            };
            format!(
                "'{}{op}\"{}\"'",
                matcher.label.replace('.', "_"),
                matcher.value
            )
        });
        let matchers: Vec<String> = matchers.collect();
        writeln!(text, "{pad}matchers: [{}]", matchers.join(", ")).unwrap();
    }
    if route.continues {
        writeln!(text, "{pad}continue: true").unwrap();
    }
    if !route.routes.is_empty() {
        writeln!(text, "{pad}routes:").unwrap();
        for child in &route.routes {
            writeln!(text, "{pad}-").unwrap();
            yaml(child, indent + 2, text);
        }
    }
}

/// The receivers that `amtool` names, each once.
fn asked(file: &std::path::Path, labels: &str) -> Vec<String> {
    let labels = labels.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        format!("{}={value}", name.replace('.', "_"))
    });
    let output = Command::new("amtool")
        .args(["config", "routes", "test", "--config.file"])
        .arg(file)
        .args(labels)
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("no amtool ({error}): Debian has it in the package prometheus-alertmanager")
    });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut names: Vec<String> = Vec::new();
    for name in String::from_utf8(output.stdout).unwrap().trim().split(',') {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn amtool_says_the_same_of_random_trees() {
    let seed = std::env::var("SYNCBELL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(7_u64);
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alertmanager.yml");
    let mut deep = 0;
    for _ in 0..TREES {
        let mut n_receivers = 0;
        let tree = route(&mut random, 0, &mut n_receivers);
        let mut text = "route:\n".to_owned();
        yaml(&tree, 2, &mut text);
        let names: Vec<String> = (0..n_receivers)
            .map(|n| format!("{{name: r{n}}}"))
            .collect();
        writeln!(text, "receivers: [{}]", names.join(", ")).unwrap();
        std::fs::write(&file, &text).unwrap();
        let receivers: Vec<Receiver> = (0..n_receivers)
            .map(|n| receiver(&format!("r{n}")))
            .collect();
        let routes = Routes::new(&tree, &receivers);
        for _ in 0..ENTRIES_A_TREE {
            let has = LABELS
                .into_iter()
                .filter(|_| random.random_bool(0.6))
                .collect::<Vec<_>>();
            let labels = has
                .iter()
                .map(|label| format!("{label}={}", VALUES.choose(&mut random).unwrap()));
            let labels = labels.collect::<Vec<_>>().join(" ");
            let expected = asked(&file, &labels);
            let entry = entry_with(&labels);
            let told = routes.of(&entry);
            deep += usize::from(
                told.iter()
                    .any(|one| one.path.matches("routes").count() > 1),
            );
            let told: Vec<&str> = told.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(told, expected, "seed {seed}, {labels}\n{text}");
        }
    }
    assert!(deep > 5, "seed {seed}: the trees are too flat, {deep}");
}

fn receiver(name: &str) -> Receiver {
    Receiver {
        language: syncbell_config::Language::En,
        name: name.to_owned(),
        kind: ReceiverKind::Webhook(Box::new(syncbell_config::Webhook::new(
            &"http://127.0.0.1:1/".parse().unwrap(),
        ))),
    }
}
