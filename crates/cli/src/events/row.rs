//! One event in a line for people. What it shows was written by others: no character of it may steer the
//! terminal.

use serde_json::Value;
use syncbell_event::{Envelope, Event, Image, Kind, SweepKind, SyncTask, TaskData};

use crate::table::plain;

/// The columns, each as wide as it usually is, and wider where it must be; what changed comes last.
const COLUMNS: [(&str, usize); 7] = [
    ("TIME", 24),
    ("TYPE", 11),
    ("INSTANCE", 20),
    ("TASK", 32),
    ("STATUS", 13),
    ("ISSUE", 14),
    ("IMAGE", 32),
];

const NOTHING: &str = "-";

/// The columns of one line of JSON.
#[derive(Debug, Default)]
struct Row {
    time: String,
    kind: String,
    instance: String,
    task: String,
    status: String,
    issue: String,
    image: String,
    change: String,
}

/// The names of the columns.
pub(crate) fn head() -> String {
    aligned(&COLUMNS.map(|(name, _)| name.to_owned()), "CHANGE")
}

/// The row of a line that a tail gave.
pub(crate) fn of(line: &str) -> String {
    let row = match Envelope::decode(line.as_bytes()) {
        Ok(envelope) => Row::of_event(&envelope),
        Err(_) => Row::of_other(&serde_json::from_str(line).unwrap_or_default()),
    };
    row.text()
}

impl Row {
    fn of_event(envelope: &Envelope) -> Self {
        let mut row = Self {
            time: format!("{:.3}", envelope.time),
            instance: envelope.source.instance.clone(),
            ..Self::default()
        };
        let (kind, change) = match &envelope.event {
            Event::Task { kind, data } => {
                row.task.clone_from(&envelope.subject);
                if let Some(task) = data.after.as_ref().or(data.before.as_ref()) {
                    task.status.as_str().clone_into(&mut row.status);
                    row.issue = task.issue.clone().unwrap_or_default();
                    row.image = task.from.as_ref().map(Image::name).unwrap_or_default();
                }
                of_task(*kind, data)
            }
            Event::Swept(swept) => {
                let sweep = match swept.sweep {
                    SweepKind::Head => "head",
                    SweepKind::Full => "full",
                };
                let (tasks, open) = (swept.tasks, swept.open);
                ("swept", format!("{sweep}: {tasks} tasks, {open} open"))
            }
            Event::Failing(failing) => (
                "failing",
                format!("{}: {}", failing.reason, failing.message),
            ),
            Event::Recovered(recovered) => {
                let (reason, since) = (&recovered.reason, recovered.since);
                ("recovered", format!("{reason} since {since:.3}"))
            }
        };
        row.kind = kind.to_owned();
        row.change = change;
        row
    }

    /// A record that is no event of this version.
    fn of_other(line: &Value) -> Self {
        let record = &line["undecodable"];
        let error = record["error"].as_str().unwrap_or("not a line of a tail");
        let (partition, offset) = (&record["partition"], &record["offset"]);
        Self {
            kind: "undecodable".to_owned(),
            instance: record["key"].as_str().unwrap_or_default().to_owned(),
            change: format!("partition {partition} offset {offset}: {error}"),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        let columns = [
            &self.time,
            &self.kind,
            &self.instance,
            &self.task,
            &self.status,
            &self.issue,
            &self.image,
        ];
        aligned(&columns.map(|column| shown(column)), &shown(&self.change))
    }
}

fn aligned(columns: &[String; COLUMNS.len()], last: &str) -> String {
    let columns = columns.iter().zip(COLUMNS);
    let columns = columns.map(|(column, (_, width))| format!("{column:<width$}  "));
    columns.collect::<String>() + last
}

/// The short name of the type, and what changed.
fn of_task(kind: Kind, data: &TaskData) -> (&'static str, String) {
    match kind {
        Kind::Snapshot => ("snapshot", String::new()),
        Kind::Created => ("created", String::new()),
        Kind::Vanished => ("vanished", "no longer listed".to_owned()),
        Kind::Updated => {
            let fields = data.changed.iter().map(|field| {
                let word = |task: Option<&SyncTask>| match (field.as_str(), task) {
                    ("status", Some(task)) => Some(task.status.as_str().to_owned()),
                    ("issue", Some(task)) => Some(task.issue.clone().unwrap_or(NOTHING.to_owned())),
                    _ => None,
                };
                match (word(data.before.as_ref()), word(data.after.as_ref())) {
                    (Some(before), Some(after)) => format!("{field} {before} -> {after}"),
                    _ => field.clone(),
                }
            });
            ("updated", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Something in each column, so that columns can be counted; nothing that is no character.
fn shown(text: &str) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns, of which none but the last holds two blanks.
    fn columns(line: &str) -> Vec<String> {
        let row = of(line);
        let columns = row
            .split("  ")
            .map(str::trim)
            .filter(|column| !column.is_empty());
        columns.map(str::to_owned).collect()
    }

    const UPDATED: &str = r#"{"specversion":"1.0","id":"x","source":"/acr/cn-shanghai/cri-1",
        "type":"dev.syncbell.sync-task.updated.v1","subject":"rst-1","time":"2026-01-02T03:04:05Z","data":{
        "before":{"task_id":"rst-1","status":"PENDING"},
        "after":{"task_id":"rst-1","status":"ERROR","issue":"NETWORK_ERROR",
            "from":{"namespace":"team","repo":"web","tag":"v1"}},
        "changed":["status","issue","modified_at"]}}"#;

    #[test]
    fn a_row_says_how_a_task_stood_and_stands() {
        let change = "status PENDING -> ERROR, issue - -> NETWORK_ERROR, modified_at";
        let expected = [
            "2026-01-02T03:04:05.000Z",
            "updated",
            "cri-1",
            "rst-1",
            "ERROR",
            "NETWORK_ERROR",
            "team/web:v1",
            change,
        ];
        assert_eq!(columns(UPDATED), expected);
        let (head, row) = (head(), of(UPDATED));
        assert_eq!(head.split_whitespace().count(), expected.len());
        for (name, value) in [
            ("TASK", "rst-1"),
            ("IMAGE", "team/web"),
            ("CHANGE", "status P"),
        ] {
            assert_eq!(head.find(name), row.find(value), "{name}");
        }
    }

    #[test]
    fn what_is_no_event_is_shown_as_such() {
        let line = r#"{"undecodable":{"error":"no JSON","partition":3,"offset":7,"key":"cri-1"}}"#;
        assert_eq!(
            columns(line),
            [
                "-",
                "undecodable",
                "cri-1",
                "-",
                "-",
                "-",
                "-",
                "partition 3 offset 7: no JSON"
            ]
        );
        assert!(of("garbage").contains("undecodable"));
    }

    #[test]
    fn the_heartbeat_is_one_row_too() {
        let swept = r#"{"specversion":"1.0","id":"x","source":"/acr/cn-shanghai/cri-1",
            "type":"dev.syncbell.watch.swept.v1","subject":"cri-1","time":"2026-01-02T03:04:05Z",
            "data":{"seen_until":"2026-01-02T03:04:05Z","tasks":7,"open":1,"sweep":"full",
            "next_by":"2026-01-02T03:05:05Z"}}"#;
        assert_eq!(columns(swept)[1..4], ["swept", "cri-1", "-"]);
        assert_eq!(columns(swept)[7], "full: 7 tasks, 1 open");
    }

    #[test]
    fn nothing_of_it_steers_the_terminal() {
        let line = UPDATED
            .replace("NETWORK_ERROR", "\\u001b[2J\\u0007\\n")
            .replace('\n', " ");
        let row = of(&line);
        assert!(
            row.contains("[2J") && !row.contains(char::is_control),
            "{row:?}"
        );
    }
}
