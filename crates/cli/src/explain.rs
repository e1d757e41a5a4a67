//! `syncbell explain`: why something was told, or was not. Asks the notifier that runs; where none does, its folder.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::ask::{self, Whom, ask_whom};
use crate::exit::Failure;
use crate::run::block_on;
use crate::service::{File, segment};
use crate::table::{self, Output, plain};

/// What.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: File,
    /// The id of a task, an event or an incident
    id: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// `syncbell explain ID`
pub(crate) fn explain(asked: &Arguments) -> anyhow::Result<()> {
    let explained = block_on(ask(asked))?;
    match asked.output {
        Output::Json => table::one(&explained),
        Output::Jsonl => table::rows(Output::Jsonl, &[explained], &[]),
        Output::Table => {
            let mut out = anstream::stdout().lock();
            for line in lines(&explained) {
                writeln!(out, "{line}")?;
            }
            out.flush().context("could not print")
        }
    }
}

async fn ask(asked: &Arguments) -> anyhow::Result<Value> {
    match ask_whom(&asked.file).await? {
        Whom::Service(service) => {
            service
                .get(&format!("explain/{}", segment(&asked.id)), &[])
                .await
        }
        Whom::Folders(config, missing) => {
            let handle = ask::open(*config, &missing).await?;
            let explained = handle.explain(&asked.id).await;
            handle.close().await;
            let missing = "nothing is known of it: trails are kept for 24 hours";
            explained.context(Failure::Unavailable)?.context(missing)
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The words of those that are there, with spaces between.
fn joined(words: &[&str]) -> String {
    let words = words.iter().filter(|word| !word.is_empty());
    words.map(|word| plain(word)).collect::<Vec<_>>().join(" ")
}

/// For people. Others wrote what is in it: nothing of it may steer the terminal.
pub(crate) fn lines(explained: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let incident = &explained["incident"];
    if !incident.is_null() {
        let (id, state, rule) = (
            text(incident, "id"),
            text(incident, "state"),
            text(incident, "rule"),
        );
        let about = [
            text(incident, "image"),
            "since",
            text(incident, "opened_at"),
        ];
        lines.push(joined(
            &[&["incident", id, state, rule], &about[..]].concat(),
        ));
    }
    for event in list(explained, "events") {
        let task = joined(&[
            text(event, "task"),
            text(event, "status"),
            text(event, "issue"),
        ]);
        let head = ["event", text(event, "event_id"), text(event, "what")];
        lines.push(format!("{} {}", text(event, "read_at"), joined(&head)));
        lines.push(format!(
            "  {}",
            joined(&[&task, "of", text(event, "instance")])
        ));
        if !text(event, "words").is_empty() {
            let rule = match text(event, "rule") {
                "" => String::new(),
                rule => format!("rule {rule}: "),
            };
            lines.push(format!(
                "  {}",
                plain(&format!("{rule}{}", text(event, "words")))
            ));
        }
        for fate in list(event, "fates") {
            fate_lines(fate, &mut lines);
        }
        if let Some(more @ 1..) = event["more"].as_u64() {
            lines.push(format!("  and {more} more"));
        }
    }
    lines
}

fn fate_lines(fate: &Value, lines: &mut Vec<String>) {
    let head = [text(fate, "at"), text(fate, "status"), text(fate, "rule")];
    let (incident, words) = (text(fate, "incident"), text(fate, "words"));
    let line = format!("  {} incident {incident}: {words}", joined(&head));
    lines.push(plain(&line));
    for receiver in list(fate, "receivers") {
        let name = plain(text(receiver, "receiver"));
        let by = match text(receiver, "route") {
            "" => String::new(),
            route => format!(" by {}", plain(route)),
        };
        let waits = text(receiver, "waits_until");
        let deliveries = list(receiver, "deliveries");
        if !waits.is_empty() {
            lines.push(format!("    {name}{by}: waits in its group until {waits}"));
        } else if deliveries.is_empty() {
            lines.push(format!("    {name}{by}: no delivery is known any more"));
        }
        for delivery in deliveries {
            let (id, state) = (text(delivery, "id"), text(delivery, "state"));
            let repeat = if delivery["repeat"] == true {
                " (a repeat)"
            } else {
                ""
            };
            let attempts = delivery["attempts"].as_u64().unwrap_or_default();
            let target = plain(text(delivery, "target"));
            let note = match text(delivery, "note") {
                "" => String::new(),
                note => format!(": {}", plain(note)),
            };
            lines.push(format!(
                "    {target}{by}: delivery {id}{repeat} {state}, {attempts} attempts{note}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trail_reads_from_the_event_to_its_deliveries() {
        let explained = json!({
            "incident": {"id": "i1", "state": "open", "rule": "failed", "image": "a/b:v1", "opened_at": "t0"},
            "events": [{
                "event_id": "e1", "read_at": "t1", "what": "updated", "instance": "cri-a", "task": "rst-1\u{1b}[2J",
                "status": "ERROR", "issue": null, "rule": "failed", "words": "to be told", "more": 2,
                "fates": [
                    {"at": "t1", "status": "firing", "rule": "failed", "incident": "i1", "words": "held back: silence s1",
                     "receivers": []},
                    {"at": "t2", "status": "firing", "rule": "failed", "incident": "i1", "words": "told", "receivers": [
                        {"receiver": "ops", "waits_until": null, "deliveries": [
                            {"id": "d1", "state": "delivered", "attempts": 1, "target": "ops", "repeat": false}]},
                        {"receiver": "mail", "route": "route.routes[1]", "waits_until": "t3", "deliveries": []}]},
                ],
            }],
        });
        assert_eq!(
            lines(&explained),
            [
                "incident i1 open failed a/b:v1 since t0",
                "t1 event e1 updated",
                "  rst-1\u{fffd}[2J ERROR of cri-a",
                "  rule failed: to be told",
                "  t1 firing failed incident i1: held back: silence s1",
                "  t2 firing failed incident i1: told",
                "    ops: delivery d1 delivered, 1 attempts",
                "    mail by route.routes[1]: waits in its group until t3",
                "  and 2 more",
            ]
        );
    }
}
