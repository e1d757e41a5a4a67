//! `syncbell receivers`: how the lanes of receivers stand, and letting a stopped one go on.

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::ask::{self, Whom, ask_whom};
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, segment};
use crate::table::{self, Output};

const COLUMNS: [&str; 7] = [
    "target",
    "state",
    "until",
    "pending",
    "oldest_at",
    "failures",
    "why",
];

/// Receivers.
#[derive(Debug, Subcommand)]
pub(crate) enum Receivers {
    /// Each lane: whether it runs, is paused, probes or stopped, why, and what waits
    List(List),
    /// Let a receiver go on that stopped because it refused us; a restart does that too
    Resume(Resume),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    file: File,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    file: File,
    /// The receiver's name
    name: String,
}

/// `syncbell receivers …`
pub(crate) fn receivers(asked: &Receivers) -> anyhow::Result<()> {
    block_on(async {
        match asked {
            Receivers::List(list) => show(list).await,
            Receivers::Resume(resume) => go_on(resume).await,
        }
    })
}

async fn show(asked: &List) -> anyhow::Result<()> {
    let rows = match ask_whom(&asked.file).await? {
        Whom::Service(service) => service.ask("GET", "receivers").await?,
        Whom::Folders(config, missing) => {
            let handle = ask::open(*config, &missing).await?;
            let rows = handle.receivers().await;
            handle.close().await;
            json!(rows?)
        }
    };
    let rows = rows
        .as_array()
        .context("the service answered something else than a list")?;
    table::rows(asked.output, rows, &COLUMNS)
}

async fn go_on(asked: &Resume) -> anyhow::Result<()> {
    match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            let path = format!("receivers/{}/resume", segment(&asked.name));
            let resumed = service.ask("POST", &path).await?;
            table::one(&json!({"resumed": resumed}))
        }
        Whom::Folders(_, missing) => {
            let why = anyhow!("{missing}: every receiver goes on with the next start");
            Err(why).context(Failure::Unavailable)
        }
    }
}
