//! `syncbell route test`: who would be told what of an event, by which rule and route; and the `tests` of a
//! configuration, which `syncbell check` tries.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_config::{Config, Part, Test, parse_duration};
use syncbell_notifier::{Trial, Tried, Verdict};

use crate::run::load;
use crate::table::{self, Output};

/// The largest event that is read, in bytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Questions about routes.
#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Who would be told what of an event, by which rule and route. Asks no service and sends nothing: whether a
    /// silence or `inhibit` holds it back, and what is open already, is not looked at; `explain` says what became of
    /// a real one
    Test(Arguments),
}

/// Which event, and what is expected of it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A file with an event as `syncbell events tail -o jsonl` prints it, or a sync task; `-`: stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The receivers that are to be told, by commas; exit 1 if it is others. Empty: nobody
    #[arg(long, value_name = "NAMES")]
    expect: Option<String>,
    /// It remains so for so long (30m, 2h): rules that want it to be so for some time are told too
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    after: Duration,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 30m or 2h".to_owned())
}

/// `syncbell route …`
pub(crate) fn route(asked: &Route) -> anyhow::Result<()> {
    let Route::Test(asked) = asked;
    let config = load(&asked.config, Part::Rules)?;
    let known: Vec<&str> = config
        .receivers
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let expected = asked.expect.as_deref().map(names);
    if let Some(wrong) = expected
        .iter()
        .flatten()
        .find(|name| !known.contains(&name.as_str()))
    {
        let known = known.join(", ");
        let what = format!("--expect: no receiver is named `{wrong}`, expected some of: {known}\n");
        clap::Error::raw(clap::error::ErrorKind::ValueValidation, what).exit();
    }
    let tried = read(asked)?;
    let verdicts = trial(&config).of(tried, asked.after, Timestamp::now());
    print(asked.output, &verdicts)?;
    let told = receivers(&verdicts);
    match expected {
        Some(expected) if expected != told => {
            bail!("expected {}, told: {}", listed(&expected), listed(&told))
        }
        _ => Ok(()),
    }
}

/// Tries the tests of `config`; gives what does not hold, a line each.
pub(crate) fn failed_tests(config: &Config) -> Vec<String> {
    let trial = trial(config);
    let tests = config.tests.iter();
    tests.filter_map(|test| failed(&trial, test)).collect()
}

fn failed(trial: &Trial, test: &Test) -> Option<String> {
    let wrong = |what: String| Some(format!("{}: the test `{}`: {what}", test.place, test.name));
    let verdicts = match Tried::read(&test.input) {
        Ok(tried) => trial.of(tried, test.after, Timestamp::now()),
        Err(error) => return wrong(error),
    };
    let mut unlike = Vec::new();
    let told = receivers(&verdicts);
    if let Some(expected) = &test.receivers {
        let expected: BTreeSet<String> = expected.iter().cloned().collect();
        if expected != told {
            unlike.push(format!(
                "expected receivers {}, told: {}",
                listed(&expected),
                listed(&told)
            ));
        }
    }
    let last = verdicts.last();
    let rule = last.map_or("none", |verdict| verdict.rule.as_str());
    if let Some(expected) = test.rule.as_ref().filter(|expected| *expected != rule) {
        unlike.push(format!("expected rule {expected}, got {rule}"));
    }
    let severity = last.map_or("none", |verdict| verdict.severity);
    if let Some(expected) = test
        .severity
        .as_ref()
        .filter(|expected| *expected != severity)
    {
        unlike.push(format!("expected severity {expected}, got {severity}"));
    }
    if unlike.is_empty() {
        return None;
    }
    let ways = verdicts.iter().flat_map(|verdict| &verdict.told);
    let ways: Vec<String> = ways
        .map(|told| format!("{} by {}", told.receiver, told.route))
        .collect();
    let ways = if ways.is_empty() {
        String::new()
    } else {
        format!(" ({})", ways.join(", "))
    };
    wrong(format!("{}{ways}", unlike.join("; ")))
}

fn trial(config: &Config) -> Trial {
    Trial::new(
        &config.route,
        &config.receivers,
        &config.rules,
        &config.instances,
    )
}

fn names(list: &str) -> BTreeSet<String> {
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn receivers(verdicts: &[Verdict]) -> BTreeSet<String> {
    let told = verdicts.iter().flat_map(|verdict| &verdict.told);
    told.map(|told| told.receiver.clone()).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn read(asked: &Arguments) -> anyhow::Result<Tried> {
    let mut text = String::new();
    let file = asked.file.display();
    if asked.file.as_os_str() == "-" {
        std::io::stdin()
            .take(FILE_LIMIT_BYTES)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(&asked.file)
            .and_then(|opened| opened.take(FILE_LIMIT_BYTES).read_to_string(&mut text))
    }
    .with_context(|| format!("could not read {file}"))?;
    let json: Value = serde_json::from_str(&text).with_context(|| format!("{file} is not JSON"))?;
    Tried::read(&json).map_err(|error| anyhow!("{file}: {error}"))
}

fn print(output: Output, verdicts: &[Verdict]) -> anyhow::Result<()> {
    if let Output::Json | Output::Jsonl = output {
        let rows: Result<Vec<Value>, _> = verdicts.iter().map(serde_json::to_value).collect();
        return table::rows(output, &rows?, &[]);
    }
    if verdicts.is_empty() {
        anstream::eprintln!("syncbell: no rule is broken: nobody is told");
        return Ok(());
    }
    let mut rows = Vec::new();
    for verdict in verdicts {
        let head = |route: &str, receiver: &str, group: String, mute: Option<Timestamp>| {
            json!({
                "rule": verdict.rule, "severity": verdict.severity, "route": route,
                "receiver": receiver, "group": group, "mute_until": mute,
            })
        };
        if verdict.told.is_empty() {
            rows.push(head("none", "nobody", String::new(), None));
        }
        for told in &verdict.told {
            let group = told.group.as_ref().map_or_else(
                || "...".to_owned(),
                |labels| {
                    let pairs = labels.iter().map(|(name, value)| format!("{name}={value}"));
                    pairs.collect::<Vec<_>>().join(" ")
                },
            );
            rows.push(head(&told.route, &told.receiver, group, told.mute_until));
        }
    }
    let columns = [
        "rule",
        "severity",
        "route",
        "receiver",
        "group",
        "mute_until",
    ];
    table::rows(Output::Table, &rows, &columns)
}
