//! `syncbell status`: how the services of a configuration stand.
//!
//! In: their own answers; where none runs, their folders. Out: lines for people, JSON for programs.

use anyhow::{Context as _, anyhow};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use syncbell_config::Config;

use crate::ask;
use crate::bus;
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, Who, find};
use crate::table::{self, Output, plain};

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: File,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// `syncbell status`
pub(crate) fn status(asked: &Arguments) -> anyhow::Result<()> {
    let config = asked.file.config()?;
    let said = block_on(gather(&asked.file, config))?;
    match asked.output {
        Output::Json => table::one(&said),
        Output::Jsonl => {
            anstream::println!("{said}");
            Ok(())
        }
        Output::Table => {
            for line in lines(&said, Timestamp::now()) {
                anstream::println!("{}", plain(&line));
            }
            Ok(())
        }
    }
}

/// What poller and notifier say, each from the service or, where no service runs, from its folder.
async fn gather(file: &File, config: Option<Config>) -> anyhow::Result<Value> {
    let addresses = file.addresses(config.as_ref());
    let mut said = Map::new();
    for (who, name) in [(Who::Poller, "poller"), (Who::Notifier, "notifier")] {
        if let Some(service) = find(who, &addresses).await? {
            let mut status = service.get(&format!("{name}/status"), &[]).await?;
            status["runs_at"] = service.address.to_string().into();
            said.insert(name.to_owned(), status);
        }
    }
    if !said.is_empty() {
        return Ok(Value::Object(said));
    }
    let missing = Who::Any.missing(&addresses);
    let Some(config) = config else {
        return Err(anyhow!(missing)).context(Failure::Unavailable);
    };
    if config.data_dir.join("poller").is_dir() {
        said.insert("poller".to_owned(), of_poller(&config, &missing).await?);
    }
    if config.data_dir.join("notifier").is_dir() {
        let handle = ask::open(config.clone(), &missing).await?;
        let status = handle.status().await.context(Failure::TryAgain)?;
        said.insert("notifier".to_owned(), serde_json::to_value(status)?);
    }
    if said.is_empty() {
        let what = format!("{missing}, and {} holds nothing", config.data_dir.display());
        return Err(anyhow!(what)).context(Failure::Unavailable);
    }
    Ok(Value::Object(said))
}

async fn of_poller(config: &Config, missing: &str) -> anyhow::Result<Value> {
    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || syncbell_poller::open_store(&data_dir));
    let store = opened.await.context("opening the store panicked")?;
    let store = store.with_context(|| bus::elsewhere(missing));
    let store = store.context(Failure::TryAgain)?;
    let status = syncbell_poller::status_of(&store).await;
    store.close().await.context(Failure::TryAgain)?;
    Ok(serde_json::to_value(status.context(Failure::TryAgain)?)?)
}

/// For people: a block for each service.
fn lines(said: &Value, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(poller) = said.get("poller") {
        lines.push(heading("poller", poller));
        poller_lines(poller, now, &mut lines);
    }
    if let Some(notifier) = said.get("notifier") {
        lines.push(heading("notifier", notifier));
        notifier_lines(notifier, now, &mut lines);
    }
    lines
}

fn heading(name: &str, status: &Value) -> String {
    match status["runs_at"].as_str() {
        Some(address) => format!("{name}: runs at {address}"),
        None => format!("{name}: does not run; this is from its folder"),
    }
}

fn line(name: &str, text: impl AsRef<str>) -> String {
    format!("  {name:<14} {}", text.as_ref())
}

fn poller_lines(poller: &Value, now: Timestamp, lines: &mut Vec<String>) {
    lines.push(line("store", store(&poller["store"])));
    let outbox = &poller["outbox"];
    let waiting = format!("{} events wait for the log", number(&outbox["rows"]));
    lines.push(line(
        "outbox",
        format!("{waiting}, {}", size(&outbox["bytes"])),
    ));
    for (id, instance) in poller["instances"].as_object().into_iter().flatten() {
        let (tasks, open) = (number(&instance["tasks"]), number(&instance["open"]));
        let sweep = match instance["last_sweep"]["ended_at"].as_str() {
            Some(at) => format!("all read {}", ago(at, now)),
            None => "not all read yet".to_owned(),
        };
        lines.push(line(id, format!("{tasks} tasks, {open} open; {sweep}")));
        if let Some(sweeping) = instance["sweeping"].as_object() {
            let pages = number(sweeping.get("pages").unwrap_or(&Value::Null));
            lines.push(line(
                "",
                format!("a sweep is under way: {pages} pages so far"),
            ));
        }
        if instance["baseline"]["complete"] == false {
            let what = if instance["baseline"]["recovery"] == true {
                "its rows were lost and are read again"
            } else {
                "the baseline is being taken"
            };
            lines.push(line("", what));
        }
        let failing = &instance["failing"];
        if let Some(since) = failing["since"].as_str() {
            let why = failing["message"].as_str().unwrap_or_default();
            lines.push(line("", format!("CANNOT BE READ since {since}: {why}")));
        }
    }
}

fn notifier_lines(notifier: &Value, now: Timestamp, lines: &mut Vec<String>) {
    lines.push(line("ledger", store(&notifier["ledger"])));
    let log = &notifier["log"];
    let read = match log["lag"].as_u64() {
        Some(0) => "read to its end".to_owned(),
        Some(lag) => format!("{lag} events are not read yet"),
        None => "DOES NOT ANSWER".to_owned(),
    };
    let times = log["partitions"].as_array().into_iter().flatten();
    let last = times.filter_map(|one| one["read_until"].as_str()).max();
    let last = last.map_or(String::new(), |at| {
        format!("; the last event is of {}", ago(at, now))
    });
    let of_size = match log["size_bytes"].as_u64() {
        Some(0) | None => String::new(),
        Some(_) => format!(", {}", size(&log["size_bytes"])),
    };
    lines.push(line("log", format!("{read}{last}{of_size}")));
    let open = number(&notifier["incidents_open"]);
    let closed = number(&notifier["incidents_closed"]);
    lines.push(line(
        "incidents",
        format!("{open} open, {closed} over and kept"),
    ));
    let pending = notifier["pending"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if pending.is_empty() {
        lines.push(line("outbox", "nothing waits to be delivered"));
    }
    for one in pending {
        let target = one["target"].as_str().unwrap_or_default();
        let oldest = ago(one["oldest_at"].as_str().unwrap_or_default(), now);
        let n = number(&one["deliveries"]);
        let error = one["last_error"].as_str();
        let error = error.map_or(String::new(), |error| format!(": {error}"));
        lines.push(line(
            target,
            format!("{n} wait, the oldest since {oldest}{error}"),
        ));
    }
    let letters = match notifier["dead_letters"].as_u64() {
        Some(n) => format!("{n} on the log"),
        None => "the log does not say".to_owned(),
    };
    let waiting = notifier["dead_letters_waiting"].as_u64().unwrap_or(0);
    let waiting = match waiting {
        0 => String::new(),
        n => format!(", {n} on their way to it"),
    };
    lines.push(line("dead letters", format!("{letters}{waiting}")));
}

fn number(value: &Value) -> String {
    value.as_u64().map_or("?".to_owned(), |n| n.to_string())
}

fn store(value: &Value) -> String {
    if value.is_null() {
        return "does not answer: is the disk full?".to_owned();
    }
    format!(
        "{} rows, {} on the disk",
        number(&value["rows"]),
        size(&value["files_bytes"])
    )
}

/// Bytes, for people.
fn size(value: &Value) -> String {
    let Some(bytes) = value.as_u64() else {
        return "? B".to_owned();
    };
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, of) in units {
        if bytes >= of {
            // One digit behind the point.
            let tenths = bytes.saturating_mul(10) / of;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// How long ago `at` was, for people.
fn ago(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else {
        return at.to_owned();
    };
    let passed = now.duration_since(at).max(SignedDuration::ZERO);
    let seconds = passed.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_a_person_stands_out() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let said = json!({
            "poller": {
                "runs_at": "127.0.0.1:9464",
                "store": {"rows": 1_200, "files_bytes": 3_500_000},
                "outbox": {"rows": 2, "bytes": 900},
                "instances": {"cri-a": {
                    "tasks": 1_100, "open": 3, "last_sweep": {"ended_at": "2026-01-02T11:57:00Z"},
                    "sweeping": null, "baseline": {"complete": true, "recovery": false},
                    "failing": {"since": "2026-01-02T11:58:00Z", "message": "NoPrivilege"},
                }},
            },
            "notifier": {
                "ledger": {"rows": 40, "files_bytes": 1_048_576},
                "log": {"size_bytes": 2_048, "lag": 7, "partitions": [
                    {"partition": 0, "read_until": "2026-01-02T11:59:30Z"},
                ]},
                "incidents_open": 1, "incidents_closed": 2,
                "pending": [{
                    "target": "ops", "deliveries": 4, "oldest_at": "2026-01-02T09:00:00Z",
                    "due_at": "2026-01-02T12:00:09Z", "last_error": "connection refused",
                }],
                "dead_letters": 5, "dead_letters_waiting": 1,
            },
        });
        let expected = "\
poller: runs at 127.0.0.1:9464
  store          1200 rows, 3.3 MiB on the disk
  outbox         2 events wait for the log, 900 B
  cri-a          1100 tasks, 3 open; all read 3 min ago
                 CANNOT BE READ since 2026-01-02T11:58:00Z: NoPrivilege
notifier: does not run; this is from its folder
  ledger         40 rows, 1.0 MiB on the disk
  log            7 events are not read yet; the last event is of 30 s ago, 2.0 KiB
  incidents      1 open, 2 over and kept
  ops            4 wait, the oldest since 3 h ago: connection refused
  dead letters   5 on the log, 1 on their way to it";
        assert_eq!(lines(&said, now).join("\n"), expected);
    }
}
