//! `syncbell silence`: what nobody wants to hear of for a while. Asks the notifier that runs; where none does, it
//! writes to its folder, and what ends there is told at the next start.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncbell_notifier::{SilenceRow, SilenceWanted, unknown_rules};

use crate::ask::{self, Whom, ask_whom};
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, segment};
use crate::table::{self, Output};

const ANSWER: Duration = Duration::from_secs(30);

/// Silences.
#[derive(Debug, Subcommand)]
pub(crate) enum Silences {
    /// Hold back what these matchers hold for, until it ends; what is open still is told then
    Add(Add),
    /// Those that go on or are to begin, and what each has held back
    List(List),
    /// End one now: what it holds back and is open still is told
    Expire(Expire),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["matchers", "all"]))]
#[command(group = clap::ArgGroup::new("end").required(true).args(["length", "until"]))]
pub(crate) struct Add {
    #[command(flatten)]
    file: File,
    /// label=value, !=, =~ or !~, in whose pattern .* stands for anything; all must hold
    #[arg(short = 'm', long = "match", value_name = "MATCHER")]
    matchers: Vec<String>,
    /// It may hold back everything
    #[arg(long)]
    all: bool,
    /// So long from its start on: 30m, 2h, 1d
    #[arg(long = "for", value_name = "DURATION", value_parser = length)]
    length: Option<SignedDuration>,
    /// Until this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// From this time on, instead of now
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who wants it; by default $USER
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    file: File,
    /// Also those that are over
    #[arg(long)]
    expired: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Expire {
    #[command(flatten)]
    file: File,
    /// Its id
    id: String,
}

fn length(text: &str) -> Result<SignedDuration, String> {
    let parsed = syncbell_config::parse_duration(text).filter(|length| !length.is_zero());
    let parsed = parsed.and_then(|length| SignedDuration::try_from(length).ok());
    parsed.ok_or_else(|| "expected a duration such as `2h`".to_owned())
}

/// `syncbell silence …`
pub(crate) fn silences(asked: &Silences) -> anyhow::Result<()> {
    match asked {
        Silences::Add(asked) => block_on(add(asked)),
        Silences::List(asked) => block_on(list(asked)),
        Silences::Expire(asked) => block_on(expire(asked)),
    }
}

impl Add {
    fn wanted(&self, now: Timestamp) -> anyhow::Result<SilenceWanted> {
        let starts_at = self.start.unwrap_or(now);
        let ends_at = match (self.until, self.length) {
            (Some(until), _) => until,
            (None, Some(length)) => starts_at.checked_add(length).context("--for is too long")?,
            (None, None) => return Err(anyhow!("a silence ends: --for or --until")),
        };
        let author = self.author.clone().or_else(|| std::env::var("USER").ok());
        let author = author.context("who wants it? --author NAME, as $USER is not set")?;
        Ok(SilenceWanted {
            matchers: self.matchers.clone(),
            starts_at: self.start,
            ends_at,
            author,
            reason: self.reason.clone(),
            all: self.all,
        })
    }
}

async fn add(asked: &Add) -> anyhow::Result<()> {
    let wanted = asked.wanted(Timestamp::now())?;
    let silence = match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            let body = serde_json::to_value(&wanted)?;
            service.post("silences", &body, ANSWER).await?
        }
        Whom::Folders(config, missing) => {
            let own = config.rules.own.iter().map(|own| own.name.clone());
            let warning = unknown_rules(&wanted.matchers, &own.collect::<Vec<_>>());
            let handle = ask::open(*config, &missing).await?;
            let added = handle.add_silence(wanted).await;
            handle.close().await;
            let mut added = serde_json::to_value(added?)?;
            if let Some(warning) = warning {
                added["warning"] = warning.into();
            }
            added
        }
    };
    if let Some(warning) = silence["warning"].as_str() {
        anstream::eprintln!("warning: {warning}");
    }
    match asked.output {
        Output::Table => {
            anstream::println!("{}", silence["id"].as_str().unwrap_or_default());
            Ok(())
        }
        Output::Json => table::one(&silence),
        Output::Jsonl => table::rows(Output::Jsonl, &[silence], &[]),
    }
}

async fn list(asked: &List) -> anyhow::Result<()> {
    let rows = match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            let expired = [("expired", asked.expired.to_string())];
            service.get("silences", &expired).await?
        }
        Whom::Folders(config, missing) => {
            let handle = ask::open(*config, &missing).await?;
            let listed = handle.silences(asked.expired).await;
            handle.close().await;
            serde_json::to_value(listed.context(Failure::Unavailable)?)?
        }
    };
    if !matches!(asked.output, Output::Table) {
        let rows = rows
            .as_array()
            .context("the service answered something else than a list")?;
        return table::rows(asked.output, rows, &[]);
    }
    let listed: Vec<SilenceRow> =
        serde_json::from_value(rows).context("the service answered something else than a list")?;
    let lines: Vec<Value> = listed.iter().map(line).collect();
    let columns = [
        "state", "matchers", "ends_at", "author", "reason", "held", "told", "over", "last", "id",
    ];
    table::rows(Output::Table, &lines, &columns)
}

/// A silence for people.
fn line(row: &SilenceRow) -> Value {
    let silence = &row.silence;
    let ends_at = silence.expired_at.unwrap_or(silence.ends_at);
    let last = row.last.first();
    json!({
        "state": row.state,
        "matchers": silence.matchers.join(", "),
        "ends_at": ends_at.to_string(),
        "author": silence.author,
        "reason": silence.reason,
        "held": row.held,
        "told": row.told,
        "over": row.over,
        "last": last.map(|last| last.summary.clone()),
        "id": silence.id,
    })
}

async fn expire(asked: &Expire) -> anyhow::Result<()> {
    let silence = match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            let path = format!("silences/{}/expire", segment(&asked.id));
            service.ask("POST", &path).await?
        }
        Whom::Folders(config, missing) => {
            let handle = ask::open(*config, &missing).await?;
            let expired = handle.expire_silence(&asked.id).await;
            handle.close().await;
            serde_json::to_value(expired?.context("no such silence")?)?
        }
    };
    table::one(&silence)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        silences: Silences,
    }

    fn read(arguments: &[&str]) -> Result<Silences, clap::Error> {
        let words = ["silence", "add", "--author", "ann", "--reason", "x"];
        let words = words.iter().chain(arguments);
        Line::try_parse_from(words).map(|line| line.silences)
    }

    #[test]
    fn a_silence_says_what_and_until_when() {
        for wrong in [
            &["-m", "rule=failed"][..],
            &["--for", "2h"],
            &[
                "-m",
                "rule=failed",
                "--for",
                "2h",
                "--until",
                "2026-01-02T03:00:00Z",
            ],
            &["-m", "rule=failed", "--for", "soon"],
            &["-m", "rule=failed", "--for", "0s"],
            &["-m", "rule=failed", "--until", "soon"],
        ] {
            assert_eq!(read(wrong).expect_err("no end").exit_code(), 2, "{wrong:?}");
        }
        for right in [
            &["-m", "rule=failed", "-m", "from.tag=v1", "--for", "1h30m"][..],
            &["--all", "--until", "2026-01-02T03:00:00Z"],
        ] {
            assert!(read(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn its_length_counts_from_its_start() {
        let now: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
        let ends = |arguments: &[&str]| {
            let Silences::Add(add) = read(arguments).unwrap() else {
                panic!()
            };
            add.wanted(now).unwrap().ends_at.to_string()
        };
        let two = ["--all", "--for", "2h"];
        assert_eq!(ends(&two), "2026-01-02T05:00:00Z");
        let later = [&two[..], &["--start", "2026-01-02T10:00:00Z"]].concat();
        assert_eq!(ends(&later), "2026-01-02T12:00:00Z");
    }
}
