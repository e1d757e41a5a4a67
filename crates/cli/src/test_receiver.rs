//! `syncbell test-receiver`: one sample through one receiver, by the code that sends alerts. Needs no service.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;
use syncbell_config::Part;
use syncbell_notifier::{Error, Rehearsed, rehearse};

use crate::exit::Failure;
use crate::run::{block_on, load};
use crate::table::{self, Output};

/// Which receiver, and what it gets.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The receiver's name
    name: String,
    /// What happened: sample, failed, failed-again, stuck, blind, resolved, a-digest, … (a wrong one shows all)
    #[arg(long, value_name = "KIND", default_value = "sample")]
    incident: String,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Sends, and prints what was sent, without secrets, and what came back.
pub(crate) fn test_receiver(asked: &Arguments) -> anyhow::Result<()> {
    let config = load(&asked.config, Part::Notifier)?;
    let all = block_on(async {
        let rehearsed = rehearse(&config, &asked.name, &asked.incident).await;
        rehearsed.map_err(|error| match error {
            Error::Refused { .. } => error.into(),
            _ => anyhow!(error).context(Failure::Configuration),
        })
    })?;
    match asked.output {
        Output::Table => all.iter().for_each(show),
        output => {
            let rows: Vec<_> = all.iter().map(|one| json!(one)).collect();
            table::rows(output, &rows, &[])?;
        }
    }
    match all.iter().find(|one| one.outcome != "delivered") {
        None => Ok(()),
        Some(one) => Err(anyhow!("{}: {}", one.target, one.note)).context(failure(one.outcome)),
    }
}

fn show(one: &Rehearsed) {
    anstream::println!("to {}", table::plain(&one.target));
    for line in one.sent.lines() {
        anstream::println!("> {}", table::plain(line));
    }
    let (outcome, took) = (one.outcome, one.duration_ms);
    anstream::println!("< {outcome} in {took} ms: {}", table::plain(&one.note));
}

/// What to do next, by the name of an outcome.
fn failure(outcome: &str) -> Failure {
    match outcome {
        "transient" => Failure::Unavailable,
        "retry_after" => Failure::TryAgain,
        "permanent_target" => Failure::Denied,
        _ => Failure::Refused,
    }
}
