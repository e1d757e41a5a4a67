//! `syncbell dead-letters`: what could not be read or delivered, and trying it again. Asks the notifier that
//! runs; where none does, it opens the ledger and the log itself.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_config::Config;
use syncbell_notifier::{
    Handle, LetterBox, LetterKind, LettersReplayed, LettersWanted, ReplayWanted, tail,
};

use crate::ask::{self, Whom, ask_whom};
use crate::bus;
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, segment};
use crate::table::{self, Output, plain};

/// Many letters take their time.
const ANSWER: Duration = Duration::from_mins(5);

/// What could not be read or delivered.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// The newest first
    List(List),
    /// One in full: why it is there, its headers and its bytes
    Show(Show),
    /// Try again: a record is decided, a delivery is sent, under the ids that they have
    ///
    /// Each letter is replayed once, unless --again is given. Where no notifier runs, they go out at its
    /// next start.
    Replay(Replay),
}

/// Which.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only those given up within this time (30m, 2h, 1d), or since this time
    #[arg(long, value_name = "DURATION", value_parser = since)]
    since: Option<Timestamp>,
    /// Only records, or only deliveries
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only deliveries to this receiver
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Record,
    Delivery,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    filter: Filter,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Rows at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    file: File,
    /// The letter's id, or that of the delivery in it
    id: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["id", "since"]))]
pub(crate) struct Replay {
    #[command(flatten)]
    file: File,
    /// This letter, by its id or that of the delivery in it; may be given more than once
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "kind", "receiver"])]
    id: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Also what was replayed before
    #[arg(long)]
    again: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A time, or so long ago.
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    tail::since(text).ok_or_else(|| {
        "expected a duration such as `2h`, or a time such as 2026-01-02T03:04:05Z".to_owned()
    })
}

impl Filter {
    fn wanted(&self, limit: Option<usize>) -> LettersWanted {
        LettersWanted {
            limit,
            since: self.since,
            kind: self.kind.map(|kind| match kind {
                Kind::Record => LetterKind::Record,
                Kind::Delivery => LetterKind::Delivery,
            }),
            receiver: self.receiver.clone(),
        }
    }
}

/// `syncbell dead-letters …`
pub(crate) fn dead_letters(asked: &DeadLetters) -> anyhow::Result<()> {
    match asked {
        DeadLetters::List(asked) => block_on(list(asked)),
        DeadLetters::Show(asked) => block_on(show(asked)),
        DeadLetters::Replay(asked) => block_on(replay(asked)),
    }
}

async fn list(asked: &List) -> anyhow::Result<()> {
    let wanted = asked.filter.wanted(Some(asked.limit));
    let mut rows = match ask_whom(&asked.file).await? {
        Whom::Service(service) => service.get("dead-letters", &query(&wanted)?).await?,
        Whom::Folders(config, missing) => {
            let letters = open(*config, &missing).await?;
            let listed = letters.list(&wanted).await;
            letters.close().await;
            serde_json::to_value(listed.context(Failure::Unavailable)?)?
        }
    };
    let rows = rows
        .as_array_mut()
        .context("the service answered something else than a list")?;
    if matches!(asked.output, Output::Table) {
        for row in &mut *rows {
            row["replayed"] = words_of(&row["replayed"]);
        }
    }
    let columns = [
        "at", "kind", "what", "class", "reason", "attempts", "replayed", "id",
    ];
    table::rows(asked.output, rows, &columns)
}

async fn show(asked: &Show) -> anyhow::Result<()> {
    let letter = match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            service
                .get(&format!("dead-letters/{}", segment(&asked.id)), &[])
                .await?
        }
        Whom::Folders(config, missing) => {
            let letters = open(*config, &missing).await?;
            let found = letters.show(&asked.id).await;
            letters.close().await;
            found
                .context(Failure::Unavailable)?
                .context("no such dead letter")?
        }
    };
    match asked.output {
        Output::Json => table::one(&letter),
        Output::Jsonl => table::rows(Output::Jsonl, &[letter], &[]),
        Output::Table => print(&letter),
    }
}

async fn replay(asked: &Replay) -> anyhow::Result<()> {
    let wanted = ReplayWanted {
        ids: asked.id.clone(),
        which: asked.filter.wanted(None),
        again: asked.again,
    };
    let replayed: LettersReplayed = match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            let body = serde_json::to_value(&wanted)?;
            let answer = service.post("dead-letters/replay", &body, ANSWER).await?;
            serde_json::from_value(answer).context("the service answered something else")?
        }
        Whom::Folders(config, missing) => {
            let handle = ask::open(*config, &missing).await?;
            let replayed = handle.replay_letters(&wanted).await;
            handle.close().await;
            replayed.context(Failure::Unavailable)?
        }
    };
    let rows: Vec<Value> = replayed
        .letters
        .iter()
        .map(|one| json!({"id": one.id, "outcome": one.outcome, "note": one.note}))
        .collect();
    table::rows(asked.output, &rows, &["outcome", "id", "note"])?;
    if replayed.more {
        anstream::eprintln!("syncbell: there are more: run it again");
    }
    let not_replayed = replayed.letters.iter().filter(|one| !one.is_well()).count();
    if not_replayed > 0 {
        let all = replayed.letters.len();
        return Err(anyhow!("{not_replayed} of {all} were not replayed"));
    }
    Ok(())
}

/// The letters, with the ledger that knows of replays or, over Kafka, perhaps without.
enum Letters {
    WithLedger(Handle),
    OfLog(LetterBox, syncbell_notifier::Bus),
}

async fn open(config: Config, missing: &str) -> anyhow::Result<Letters> {
    if config.data_dir.join("notifier").is_dir() {
        return Ok(Letters::WithLedger(ask::open(config, missing).await?));
    }
    let bus = bus::open_kept(&config, "syncbell-ask", missing).await?;
    let letters = LetterBox::of_log(bus.clone(), &config.retention);
    Ok(Letters::OfLog(letters, bus))
}

impl Letters {
    fn letter_box(&self) -> LetterBox {
        match self {
            Self::WithLedger(handle) => handle.letter_box(),
            Self::OfLog(letters, _) => letters.clone(),
        }
    }

    async fn list(
        &self,
        wanted: &LettersWanted,
    ) -> Result<Vec<syncbell_notifier::LetterRow>, syncbell_notifier::Error> {
        self.letter_box().list(wanted).await
    }

    async fn show(&self, id: &str) -> Result<Option<Value>, syncbell_notifier::Error> {
        self.letter_box().show(id).await
    }

    async fn close(self) {
        match self {
            Self::WithLedger(handle) => handle.close().await,
            Self::OfLog(_, bus) => bus.close().await,
        }
    }
}

fn query(wanted: &LettersWanted) -> anyhow::Result<Vec<(&'static str, String)>> {
    let said = serde_json::to_value(wanted)?;
    let names = ["limit", "since", "kind", "receiver"];
    let given = names.into_iter().filter(|name| !said[name].is_null());
    let text = |name: &str| match &said[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(given.map(|name| (name, text(name))).collect())
}

/// When it was replayed and how that ended, in one cell.
fn words_of(replayed: &Value) -> Value {
    match (&replayed["at"], &replayed["ended"]) {
        (Value::String(at), Value::String(ended)) => json!(format!("{at}: {ended}")),
        _ => Value::Null,
    }
}

/// One letter for people. Others wrote what is in it: nothing of it may steer the terminal.
fn print(letter: &Value) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let fields = [
        "id",
        "kind",
        "what",
        "class",
        "reason",
        "at",
        "first_failure_at",
        "attempts",
        "app_version",
        "size_bytes",
    ];
    for name in fields {
        let value = match &letter[name] {
            Value::Null => continue,
            Value::String(text) => plain(text),
            other => other.to_string(),
        };
        writeln!(out, "{name:<17} {value}")?;
    }
    if let Value::String(at) = &letter["origin"]["appended_at"] {
        writeln!(out, "{:<17} {at}", "appended_at")?;
    }
    if let Value::String(words) = words_of(&letter["replayed"]) {
        writeln!(out, "{:<17} {words}", "replayed")?;
    }
    writeln!(out, "{:<17} {}", "key", readable(&letter["key"]).join(" "))?;
    for header in letter["headers"].as_array().into_iter().flatten() {
        let name = plain(header["name"].as_str().unwrap_or_default());
        let value = readable(&header["value"]).join(" ");
        writeln!(out, "{:<17} {name}: {value}", "header")?;
    }
    writeln!(out)?;
    for line in readable(&letter["value"]) {
        writeln!(out, "{line}")?;
    }
    out.flush().context("could not print")
}

/// The lines of `{text}` or `{hex}`.
fn readable(bytes: &Value) -> Vec<String> {
    if let Value::String(text) = &bytes["text"] {
        return text.lines().map(plain).collect();
    }
    let lines = bytes["hex"].as_array().into_iter().flatten();
    lines
        .map(|line| line.as_str().unwrap_or_default().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        dead_letters: DeadLetters,
    }

    fn read(arguments: &str) -> Result<DeadLetters, clap::Error> {
        let words = ["dead-letters"]
            .into_iter()
            .chain(arguments.split_whitespace());
        Line::try_parse_from(words).map(|line| line.dead_letters)
    }

    #[test]
    fn a_replay_says_which_and_not_in_two_ways() {
        for wrong in [
            "replay",
            "replay --kind record",
            "replay --id a --since 2h",
            "replay --id a --receiver ops",
            "replay --since tomorrow",
        ] {
            let error = read(wrong).expect_err(wrong);
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
        for right in [
            "replay --id a --id b",
            "replay --since 2h --kind delivery --receiver ops --again",
            "replay --since 2026-01-02T03:04:05Z",
            "list --kind record --since 1d --limit 5 -o jsonl",
            "show abc -o json",
        ] {
            assert!(read(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn what_is_wanted_travels_as_a_query() {
        let DeadLetters::List(asked) = read("list --kind delivery --receiver ops").unwrap() else {
            panic!()
        };
        let query = query(&asked.filter.wanted(Some(5))).unwrap();
        let text = |value: &str| value.to_owned();
        let expected = [
            ("limit", text("5")),
            ("kind", text("delivery")),
            ("receiver", text("ops")),
        ];
        assert_eq!(query, expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_hex_and_text_steers_nothing() {
        assert_eq!(
            readable(&json!({"hex": ["00ff", "10"], "base64": "AP8Q"})),
            ["00ff", "10"]
        );
        assert_eq!(
            readable(&json!({"text": "a\u{1b}[2J\nb"})),
            ["a\u{fffd}[2J", "b"]
        );
    }
}
