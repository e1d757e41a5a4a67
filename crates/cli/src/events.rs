//! `syncbell events tail`: the event log as it is, on either bus.

mod row;

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use syncbell_config::{Bus, Config};
use syncbell_notifier::tail::{ERROR_KEY, LAST_EVENTS, NoStart, StartFrom, Tail, Wanted};
use syncbell_service::shutdown;

use crate::bus;
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, Service, Who, find};

/// A line of the log is at most this; a record is at most 1 MB, in base64 a third more.
const LINE_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// What the poller told.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Show the newest events, then each that comes, until Ctrl-C
    ///
    /// Asks a running service; where none runs it opens the log itself, and then a log of files has no
    /// more to come, so that it ends when all was shown.
    Tail(Arguments),
}

/// Which events, and how they are printed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: File,
    /// Begin with: `start`, `end`, the newest so many (a number), or what was observed since a duration
    /// ago (`2h`) or a time (2026-01-02T03:04:05Z)
    #[arg(long, value_name = "WHERE", value_parser = start, default_value_t = LAST_EVENTS.to_string())]
    from: String,
    /// Only of this ACR instance
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Wait for more when everything was shown; so it is unless --no-follow is given
    #[arg(short, long, overrides_with = "no_follow")]
    follow: bool,
    /// End when everything that is there was shown
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line an event for people
    Table,
    /// The event as it travels, one a line
    Jsonl,
}

/// Refuses what is no start; the text itself goes to the service.
fn start(text: &str) -> Result<String, NoStart> {
    text.parse::<StartFrom>().map(|_| text.to_owned())
}

/// `syncbell events …`
pub(crate) fn events(asked: &Events) -> anyhow::Result<()> {
    let Events::Tail(asked) = asked;
    let config = asked.file.config()?;
    block_on(async {
        tokio::select! {
            shown = show(asked, config) => shown,
            signal = shutdown::signalled() => signal.map(|_| ()).context("listening for signals"),
        }
    })
}

async fn show(asked: &Arguments, config: Option<Config>) -> anyhow::Result<()> {
    let printer = Printer {
        output: asked.output,
        lines: 0,
    };
    let addresses = asked.file.addresses(config.as_ref());
    if let Some(service) = find(Who::Any, &addresses).await? {
        return of_service(&service, asked, printer).await;
    }
    let missing = Who::Any.missing(&addresses);
    match config {
        Some(config) => by_itself(config, asked, printer, &missing).await,
        None => Err(anyhow!(missing)).context(Failure::Unavailable),
    }
}

/// Shows what a service answers.
async fn of_service(
    service: &Service,
    asked: &Arguments,
    mut printer: Printer,
) -> anyhow::Result<()> {
    let mut query = vec![
        ("from", asked.from.clone()),
        ("follow", (!asked.no_follow).to_string()),
    ];
    query.extend(asked.instance.clone().map(|id| ("instance", id)));
    query.extend(asked.limit.map(|limit| ("limit", limit.to_string())));
    let mut lines = lines(service, &query).await?;
    while let Some(line) = lines.next().await? {
        if !printer.print(&line)? {
            return Ok(());
        }
    }
    if asked.no_follow || asked.limit.is_some_and(|limit| printer.lines >= limit) {
        return Ok(());
    }
    Err(anyhow!(lines.ended())).context(Failure::Unavailable)
}

/// The lines of a tail that a service gives.
pub(crate) struct Lines {
    answer: reqwest::Response,
    address: SocketAddr,
    rest: Vec<u8>,
}

/// Asks `service` for events.
pub(crate) async fn lines(service: &Service, query: &[(&str, String)]) -> anyhow::Result<Lines> {
    Ok(Lines {
        answer: service.stream("events", query).await?,
        address: service.address,
        rest: Vec::new(),
    })
}

impl Lines {
    /// The next line; none at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line[..end]).into_owned();
                if let Some(error) = failure(&line) {
                    return Err(anyhow!(error)).context(Failure::Unavailable);
                }
                return Ok(Some(line));
            }
            if self.rest.len() > LINE_LIMIT_BYTES {
                bail!("the service sent a line without an end");
            }
            let chunk = self.answer.chunk().await;
            let chunk = chunk.with_context(|| self.ended());
            let Some(chunk) = chunk.context(Failure::Unavailable)? else {
                return Ok(None);
            };
            self.rest.extend_from_slice(&chunk);
        }
    }

    fn ended(&self) -> String {
        format!("the service at {} ended", self.address)
    }
}

/// The reason that a service gives in its last line.
fn failure(line: &str) -> Option<String> {
    if !line.starts_with(&format!("{{\"{ERROR_KEY}\"")) {
        return None;
    }
    let said: Value = serde_json::from_str(line).ok()?;
    Some(said[ERROR_KEY].as_str()?.to_owned())
}

/// Reads the log itself.
async fn by_itself(
    config: Config,
    asked: &Arguments,
    mut printer: Printer,
    missing: &str,
) -> anyhow::Result<()> {
    // Nobody else can write to a folder that this process has locked, and nobody could start.
    let is_complete = matches!(config.bus, Bus::Embedded);
    let wanted = Wanted {
        from: asked.from.parse()?,
        instance: asked.instance.clone(),
        limit: asked.limit,
        follow: !asked.no_follow && !is_complete,
    };
    let bus = bus::open_kept(&config, "syncbell-tail", missing).await?;
    let tail = Tail::open(&bus, wanted).await;
    let mut tail = tail.context(Failure::Unavailable)?;
    'all: while let Some(lines) = tail.next().await.context(Failure::Unavailable)? {
        for line in lines {
            if !printer.print(&line)? {
                break 'all;
            }
        }
    }
    drop(tail);
    bus.close().await;
    if is_complete && !asked.no_follow {
        anstream::eprintln!("syncbell: {missing}: the log gets no more");
    }
    Ok(())
}

/// Where lines go.
struct Printer {
    output: Output,
    /// So many were printed.
    lines: u64,
}

impl Printer {
    /// False if nobody reads any more, as behind `| head`.
    fn print(&mut self, line: &str) -> anyhow::Result<bool> {
        let mut out = anstream::stdout().lock();
        let mut written = Ok(());
        if self.output == Output::Table && self.lines == 0 {
            written = writeln!(out, "{}", row::head());
        }
        written = written.and_then(|()| match self.output {
            Output::Jsonl => writeln!(out, "{line}"),
            Output::Table => writeln!(out, "{}", row::of(line)),
        });
        self.lines += 1;
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("could not print"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        events: Events,
    }

    fn read(arguments: &str) -> Result<Arguments, clap::Error> {
        let words = ["events", "tail"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let Events::Tail(asked) = Line::try_parse_from(words)?.events;
        Ok(asked)
    }

    #[test]
    fn it_follows_unless_told_otherwise_and_a_wrong_start_is_wrong_usage() {
        let plain = read("").unwrap();
        assert!(!plain.no_follow && plain.from == "10");
        assert!(read("--no-follow").unwrap().no_follow);
        assert!(!read("--no-follow -f").unwrap().no_follow);
        assert!(read("-f --no-follow").unwrap().no_follow);
        let wrong = read("--from yesterday").err().unwrap();
        assert_eq!(wrong.exit_code(), 2);
        assert!(
            wrong.to_string().contains("expected `start`, `end`"),
            "{wrong}"
        );
    }

    #[test]
    fn only_the_services_own_line_is_a_failure() {
        assert_eq!(failure(r#"{"syncbell_error":"gone"}"#).unwrap(), "gone");
        for line in [
            r#"{"error":"x"}"#,
            r#"{"undecodable":{"error":"x"}}"#,
            "{}",
            "",
        ] {
            assert_eq!(failure(line), None, "{line}");
        }
    }
}
