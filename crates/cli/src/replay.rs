//! `syncbell replay`: what the rules of now make of the events of before. With `--dry-run` it is shown, by the
//! configuration that is given, whether a service runs or not; else the notifier that runs sends it.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use syncbell_config::{Bus, Config, Part};
use syncbell_event::Envelope;
use syncbell_notifier::{
    EventsReplay, EventsReplayed, Notification, REPLAY_BEFORE, Replayer, replay_log,
};

use crate::bus;
use crate::dead_letters::since;
use crate::events::lines;
use crate::exit::Failure;
use crate::run::{block_on, load};
use crate::service::{File, Service, Who, find};
use crate::table::{self, Output};

/// A replay reads a day of the log and more.
const ANSWER: Duration = Duration::from_mins(10);

/// Which events, and for whom.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: File,
    /// The events since then: so long ago (30m, 2h, 1d), or since this time
    #[arg(long, value_name = "DURATION", value_parser = since)]
    since: Timestamp,
    /// Only what this receiver is told
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Show what would be told, by the configuration given, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// `syncbell replay …`
pub(crate) fn replay(asked: &Arguments) -> anyhow::Result<()> {
    let wanted = EventsReplay {
        since: asked.since,
        receiver: asked.receiver.clone(),
    };
    let replayed = block_on(async {
        if asked.dry_run {
            show(asked, wanted).await
        } else {
            send(asked, &wanted).await
        }
    })?;
    print(asked, &replayed)
}

/// The notifier that runs sends it, by its own configuration.
async fn send(asked: &Arguments, wanted: &EventsReplay) -> anyhow::Result<EventsReplayed> {
    let config = asked.file.config()?;
    let addresses = asked.file.addresses(config.as_ref());
    let Some(service) = find(Who::Notifier, &addresses).await? else {
        let missing = Who::Notifier.missing(&addresses);
        let what =
            format!("{missing}: start the service, or add --dry-run to see what it would send");
        return Err(anyhow!(what)).context(Failure::Unavailable);
    };
    let body = serde_json::to_value(wanted)?;
    let answer = service.post("replay", &body, ANSWER).await?;
    serde_json::from_value(answer).context("the service answered something else")
}

/// Decides here, over the log: that of a service that runs, else the one that the configuration names.
async fn show(asked: &Arguments, wanted: EventsReplay) -> anyhow::Result<EventsReplayed> {
    let config = load(asked.file.path(), Part::Rules)?;
    let since = wanted.since;
    let (route, receivers) = (&config.route, &config.receivers);
    let replayer = Replayer::new(wanted, route, receivers, &config.rules, &config.instances);
    let mut replayer = replayer.await?;
    // Anybody can read a topic; a log of files is locked by who has it open.
    if config.bus == Bus::Embedded {
        let given = asked.file.config()?;
        let addresses = asked.file.addresses(given.as_ref());
        if let Some(service) = find(Who::Any, &addresses).await? {
            of_service(&service, since, &mut replayer).await?;
            return replayer.end().await.context(Failure::Unavailable);
        }
    }
    of_log(&config, asked, since, &mut replayer).await?;
    replayer.end().await.context(Failure::Unavailable)
}

async fn of_service(
    service: &Service,
    since: Timestamp,
    replayer: &mut Replayer,
) -> anyhow::Result<()> {
    let from = since.checked_sub(REPLAY_BEFORE).unwrap_or(Timestamp::MIN);
    let query = [("from", from.to_string()), ("follow", "false".to_owned())];
    let mut lines = lines(service, &query).await?;
    while let Some(line) = lines.next().await? {
        // What is no event is in the dead letters.
        if let Ok(event) = Envelope::decode(line.as_bytes()) {
            replayer.take(event).await?;
        }
    }
    Ok(())
}

async fn of_log(
    config: &Config,
    asked: &Arguments,
    since: Timestamp,
    replayer: &mut Replayer,
) -> anyhow::Result<()> {
    let missing = Who::Any.missing(&asked.file.addresses(Some(config)));
    let bus = bus::open_kept(config, "syncbell-replay", &missing).await?;
    let read = replay_log(&bus, since, replayer).await;
    bus.close().await;
    read.context(Failure::Unavailable)
}

fn print(asked: &Arguments, replayed: &EventsReplayed) -> anyhow::Result<()> {
    match asked.output {
        Output::Json => table::one(&serde_json::to_value(replayed)?)?,
        Output::Jsonl => {
            let rows: Result<Vec<Value>, _> = replayed
                .notifications
                .iter()
                .map(serde_json::to_value)
                .collect();
            table::rows(Output::Jsonl, &rows?, &[])?;
        }
        Output::Table => {
            let rows: Vec<Value> = replayed.notifications.iter().map(row).collect();
            let columns = ["at", "target", "group", "summary", "incidents"];
            table::rows(Output::Table, &rows, &columns)?;
        }
    }
    let (events, n) = (replayed.events, replayed.notifications.len());
    let done = if asked.dry_run {
        "would be sent"
    } else {
        "are sent"
    };
    anstream::eprintln!(
        "syncbell: {events} events since {}: {n} notifications {done}",
        asked.since
    );
    let (events, notifications) = (replayed.events_left_out, replayed.notifications_left_out);
    if events + notifications > 0 {
        bail!(
            "{events} events and {notifications} notifications were left out: say a shorter time, or --receiver"
        );
    }
    Ok(())
}

fn row(notification: &Notification) -> Value {
    let labels = notification.group.iter();
    let group: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let summary = match notification.summaries.as_slice() {
        [one] => one.clone(),
        several => format!("{} conditions: {}", several.len(), several.join("; ")),
    };
    let incidents = notification.incidents.len();
    let first = notification.incidents.first().map_or("", String::as_str);
    json!({
        "at": notification.at,
        "target": notification.target,
        "group": group.join(" "),
        "summary": summary,
        "incidents": if incidents > 1 { format!("{first} and {} more", incidents - 1) } else { first.to_owned() },
    })
}
