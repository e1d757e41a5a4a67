//! Commands about a running service. They ask its API; when none runs, they read its folders.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use syncbell_config::Config;
use syncbell_notifier::Handle;

use crate::exit::Failure;
use crate::run::{load, runtime};

/// What is wrong, and what was.
#[derive(Debug, Subcommand)]
pub(crate) enum Incidents {
    /// Open ones first, then the newest
    List(Shape),
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

/// What could not be read or delivered.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// The newest first
    List(Shape),
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

/// One delivery.
#[derive(Debug, Args)]
pub(crate) struct One {
    #[command(flatten)]
    file: File,
    /// The delivery's id
    id: String,
}

#[derive(Debug, Args)]
struct File {
    /// The configuration of the service
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
    /// Ask this address instead of the configuration's
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
    Jsonl,
}

/// `syncbell incidents …`
pub(crate) fn incidents(asked: &Incidents) -> anyhow::Result<()> {
    let Incidents::List(shape) = asked;
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
        Deliveries::Show(one) => print(&ask(&one.file, "GET", &format!("deliveries/{}", one.id))?),
        Deliveries::Retry(one) => print(&ask(
            &one.file,
            "POST",
            &format!("deliveries/{}/retry", one.id),
        )?),
    }
}

/// `syncbell dead-letters …`
pub(crate) fn dead_letters(asked: &DeadLetters) -> anyhow::Result<()> {
    let DeadLetters::List(shape) = asked;
    list(shape, "dead-letters", &["at", "reason", "attempts", "key"])
}

fn print(value: &Value) -> anyhow::Result<()> {
    anstream::println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn list(shape: &Shape, what: &str, columns: &[&str]) -> anyhow::Result<()> {
    let rows = ask(&shape.file, "GET", &format!("{what}?limit={}", shape.limit))?;
    let rows = rows
        .as_array()
        .context("the service answered something else than a list")?;
    match shape.output {
        Output::Json => print(&Value::Array(rows.clone())),
        Output::Jsonl => {
            for row in rows {
                anstream::println!("{row}");
            }
            Ok(())
        }
        Output::Table => {
            let mut table = Table::new();
            table
                .load_style(NOTHING)
                .set_header(columns.iter().map(|name| name.to_uppercase()));
            for row in rows {
                table.add_row(columns.iter().map(|name| match &row[*name] {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                }));
            }
            anstream::println!("{table}");
            Ok(())
        }
    }
}

fn ask(file: &File, method: &str, path: &str) -> anyhow::Result<Value> {
    let config = if file.admin.is_some() {
        None
    } else {
        Some(load(&file.config)?)
    };
    let listen = config.as_ref().map(|config| config.admin.listen);
    let address = file.admin.or(listen).context("no address to ask")?;
    runtime()?.block_on(async {
        match over_http(address, method, path).await? {
            Some(answer) => Ok(answer),
            None => match config {
                Some(config) => in_folders(config, method, path).await,
                None => Err(anyhow::anyhow!("nothing answers at {address}"))
                    .context(Failure::Unavailable),
            },
        }
    })
}

/// The API's answer; none if nothing listens there.
async fn over_http(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<Option<Value>> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?;
    let url = format!("http://{address}/api/v1/{path}");
    let request = if method == "POST" {
        http.post(url)
    } else {
        http.get(url)
    };
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(error).context(Failure::Unavailable),
    };
    let status = answer.status();
    let body: Value = answer
        .json()
        .await
        .context("the service's answer is not JSON")?;
    if !status.is_success() {
        bail!(
            "{}",
            body["error"].as_str().unwrap_or("the service refused")
        );
    }
    Ok(Some(body))
}

/// The same answers from the stores themselves: no service holds their locks.
async fn in_folders(config: Config, method: &str, path: &str) -> anyhow::Result<Value> {
    let data_dir = config.data_dir;
    if !data_dir.join("notifier").is_dir() {
        return Err(anyhow::anyhow!(
            "no service runs, and {} holds none",
            data_dir.display()
        ))
        .context(Failure::Unavailable);
    }
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let store = syncbell_notifier::open_store(&data_dir).context(Failure::TryAgain)?;
        Ok((
            store,
            syncbell_notifier::open_bus(&data_dir).context(Failure::TryAgain)?,
        ))
    });
    let (store, bus) = opened.await.context("opening the stores panicked")??;
    let handle = Handle::offline(store, bus)
        .await
        .context(Failure::TryAgain)?;
    let (what, query) = path.split_once("?limit=").unwrap_or((path, "100"));
    let limit: usize = query.parse().unwrap_or(100);
    let mut parts = what.split('/');
    match (method, parts.next(), parts.next()) {
        (_, Some("incidents"), _) => Ok(serde_json::to_value(handle.incidents(limit).await?)?),
        (_, Some("dead-letters"), _) => {
            Ok(serde_json::to_value(handle.dead_letters(limit).await?)?)
        }
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
