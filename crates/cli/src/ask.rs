//! Commands about a running service. They ask its API; when none runs, they read its folders.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use syncbell_config::Config;
use syncbell_notifier::Handle;

use crate::bus;
use crate::exit::{self, Failure};
use crate::run::block_on;
use crate::service::{File, Service, Who, find, segment};
use crate::table::{self, Output};

/// Closing an incident waits for the service's next turn.
const CLOSE: Duration = Duration::from_secs(30);

/// What is wrong, and what was.
#[derive(Debug, Subcommand)]
pub(crate) enum Incidents {
    /// Open ones first, then the newest
    List(Shape),
    /// One incident: what holds it open, and what it holds back
    Show(One),
    /// End one by hand: its end is told where it was told, and a later failure opens it anew
    Close(Close),
}

/// Which incident to close.
#[derive(Debug, Args)]
pub(crate) struct Close {
    #[command(flatten)]
    one: One,
    /// Why; it stands in what is told
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// What was sent to whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// Pending ones first, then the newest
    List(Shape),
    /// One delivery: its attempts and the alert as on the wire
    Show(One),
    /// Try a dead, dropped or pending delivery again
    Retry(One),
}

/// How a list is printed.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    #[command(flatten)]
    file: File,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Rows at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct One {
    #[command(flatten)]
    file: File,
    /// Its id
    id: String,
}

/// `syncbell incidents …`
pub(crate) fn incidents(asked: &Incidents) -> anyhow::Result<()> {
    let shape = match asked {
        Incidents::List(shape) => shape,
        Incidents::Show(one) => {
            return table::one(&ask(
                &one.file,
                "GET",
                &format!("incidents/{}", segment(&one.id)),
            )?);
        }
        Incidents::Close(close) => return block_on(close_incident(close)),
    };
    let columns = [
        "state",
        "rule",
        "image",
        "instance",
        "opened_at",
        "occurrences",
        "id",
    ];
    list(shape, "incidents", &columns)
}

async fn close_incident(asked: &Close) -> anyhow::Result<()> {
    let id = &asked.one.id;
    let closed = match ask_whom(&asked.one.file).await? {
        Whom::Service(service) => {
            let (path, body) = (
                format!("incidents/{}/close", segment(id)),
                json!({"reason": asked.reason}),
            );
            service.post(&path, &body, CLOSE).await?
        }
        Whom::Folders(config, missing) => {
            let handle = open(*config, &missing).await?;
            let closed = handle.close_incident(id, &asked.reason).await;
            handle.close().await;
            serde_json::to_value(closed?.context("no such incident")?)?
        }
    };
    table::one(&closed)
}

/// `syncbell deliveries …`
pub(crate) fn deliveries(asked: &Deliveries) -> anyhow::Result<()> {
    match asked {
        Deliveries::List(shape) => {
            let columns = [
                "state",
                "target",
                "attempts",
                "created_at",
                "summary",
                "note",
                "id",
            ];
            list(shape, "deliveries", &columns)
        }
        Deliveries::Show(one) => table::one(&ask(
            &one.file,
            "GET",
            &format!("deliveries/{}", segment(&one.id)),
        )?),
        Deliveries::Retry(one) => table::one(&ask(
            &one.file,
            "POST",
            &format!("deliveries/{}/retry", segment(&one.id)),
        )?),
    }
}

fn list(shape: &Shape, what: &str, columns: &[&str]) -> anyhow::Result<()> {
    let rows = ask(&shape.file, "GET", &format!("{what}?limit={}", shape.limit))?;
    let rows = rows
        .as_array()
        .context("the service answered something else than a list")?;
    table::rows(shape.output, rows, columns)
}

fn ask(file: &File, method: &str, path: &str) -> anyhow::Result<Value> {
    let config = file.config()?;
    block_on(async {
        let addresses = file.addresses(config.as_ref());
        if let Some(service) = find(Who::Notifier, &addresses).await? {
            return service.ask(method, path).await;
        }
        let missing = Who::Notifier.missing(&addresses);
        match config {
            Some(config) => in_folders(config, method, path, &missing).await,
            None => Err(anyhow!(missing)).context(Failure::Unavailable),
        }
    })
}

/// The same answers from the stores themselves: no service holds their locks. `missing` says that none
/// was found.
async fn in_folders(
    config: Config,
    method: &str,
    path: &str,
    missing: &str,
) -> anyhow::Result<Value> {
    let (what, query) = path.split_once("?limit=").unwrap_or((path, "100"));
    let limit: usize = query.parse().unwrap_or(100);
    let handle = open(config, missing).await?;
    let mut parts = what.split('/');
    match (method, parts.next(), parts.next()) {
        (_, Some("incidents"), Some(id)) => {
            handle.incident_by_id(id).await?.context("no such incident")
        }
        (_, Some("incidents"), None) => Ok(serde_json::to_value(handle.incidents(limit).await?)?),
        (_, Some("deliveries"), None) => Ok(serde_json::to_value(handle.deliveries(limit).await?)?),
        ("POST", _, Some(id)) => {
            if !handle.retry_by_id(id).await? {
                bail!("no such delivery, or it was delivered");
            }
            Ok(serde_json::json!({"retried": true, "note": "it goes out at the next start"}))
        }
        (_, _, Some(id)) => handle.delivery_by_id(id).await?.context("no such delivery"),
        _ => bail!("there is no such question"),
    }
}

/// Who answers.
pub(crate) enum Whom {
    Service(Service),
    /// The folders and topics of a configuration; with why.
    Folders(Box<Config>, String),
}

/// The notifier that runs, else its folder.
pub(crate) async fn ask_whom(file: &File) -> anyhow::Result<Whom> {
    let config = file.config()?;
    let addresses = file.addresses(config.as_ref());
    if let Some(service) = find(Who::Notifier, &addresses).await? {
        return Ok(Whom::Service(service));
    }
    let missing = Who::Notifier.missing(&addresses);
    match config {
        Some(config) => Ok(Whom::Folders(Box::new(config), missing)),
        None => Err(anyhow!(missing)).context(Failure::Unavailable),
    }
}

/// The notifier's folder, if there is one and nobody has it open.
pub(crate) async fn open(config: Config, missing: &str) -> anyhow::Result<Handle> {
    let folder = config.data_dir.join("notifier");
    if !folder.is_dir() {
        let what = format!("{missing}, and there is no folder {}", folder.display());
        return Err(anyhow!(what)).context(Failure::Unavailable);
    }
    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || {
        syncbell_notifier::open_store(&data_dir, bus::QUESTION)
    });
    let store = opened.await.context("opening the store panicked")?;
    let store = store.with_context(|| bus::elsewhere(missing));
    let store = store.map_err(exit::store)?;
    let bus = bus::open(&config, bus::QUESTION, "syncbell-ask").await?;
    let handle = Handle::offline(store, bus, &config.retention).await;
    handle.context(Failure::TryAgain)
}
