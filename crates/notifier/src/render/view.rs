//! What a mail says, in words, before it gets a form. Every text in a view is one clean line.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use syncbell_event::{AlertStatus, Detail, Image, Status, SyncTask};

use crate::delivery::{Delivery, Entry};

use super::notice;
use super::text::{ago, clip, counted, line, second, spoken};
use super::{only_incident, severity, status};

/// More entries than this are told as a digest.
const FULL_LIMIT: usize = 10;
/// Entries that a digest names.
const DIGEST_LINES: usize = 20;
/// Entries beyond those of which at least the task id is named.
const DIGEST_IDS: usize = 1_000;
const ID_LIMIT_CHARS: usize = 60;
/// Rules or repositories that a digest counts by name.
const DIGEST_COUNTS: usize = 10;
const HISTORY_LIMIT: usize = 5;
const LAYERS_LIMIT: usize = 3;
const TEXT_LIMIT_CHARS: usize = 300;
/// With the longest prefix in front, a subject stays below 150 characters and its base is the same for
/// firing and resolved.
const SUBJECT_BASE_LIMIT_CHARS: usize = 139;

/// What the templates see.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// `[FIRING]`, `[RESOLVED]` or `[REPLAY]`
    pub(super) prefix: &'static str,
    /// The rest of the subject.
    pub(super) subject: String,
    fires: bool,
    severity: &'static str,
    /// Said before all entries.
    intro: Option<String>,
    entries: Vec<EntryView>,
    digest: Option<Digest>,
    receiver: String,
    delivery_id: String,
}

#[derive(Debug, Serialize)]
struct EntryView {
    fires: bool,
    headline: String,
    /// A sentence where the facts alone mislead.
    remark: Option<&'static str>,
    rows: Vec<Row>,
    /// What happened before on this route; none: not to be mentioned.
    history: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Row {
    label: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
struct Digest {
    rules: Vec<String>,
    repositories: Vec<String>,
    lines: Vec<String>,
    /// Those that have no line.
    more: usize,
    /// Their task ids: even in a flood, a task is told with its id.
    more_tasks: String,
}

impl View {
    pub(super) fn of(delivery: &Delivery, now: Timestamp) -> Self {
        let entries = &delivery.entries;
        let fires = status(entries) == AlertStatus::Firing;
        let is_digest = entries.len() > FULL_LIMIT;
        let full = if is_digest { &[][..] } else { entries };
        Self {
            prefix: match (&delivery.replay, fires) {
                (Some(_), _) => "[REPLAY]",
                (None, true) => "[FIRING]",
                (None, false) => "[RESOLVED]",
            },
            subject: subject(entries),
            fires,
            severity: severity(entries).as_str(),
            intro: intro(delivery),
            entries: full
                .iter()
                .map(|entry| EntryView::of(entry, delivery, now))
                .collect(),
            digest: is_digest.then(|| Digest::of(entries)),
            receiver: clean(&delivery.target.receiver),
            delivery_id: clean(&delivery.id.0),
        }
    }
}

/// One incident: the same at each of its mails, so that clients thread them. Several: their number.
fn subject(entries: &[Entry]) -> String {
    let Some(first) = entries.first() else {
        return "nothing".to_owned();
    };
    let rule = clean(&first.item.rule);
    let text = if only_incident(entries).is_some() {
        match &first.item.task {
            None => match notice::of(&first.item) {
                Some(what) => format!("{rule}: {what} on {}", clean(&first.instance)),
                None => format!("{rule}: {}", clean(&first.instance)),
            },
            Some(task) => match (&task.from, &task.to) {
                (Some(from), Some(to)) => format!("{rule}: {} to {}", from.name(), to.place()),
                (Some(image), None) | (None, Some(image)) => format!("{rule}: {}", image.name()),
                (None, None) => format!("{rule}: task {}", task.task_id),
            },
        }
    } else {
        let rules = names(entries, |entry| &entry.item.rule);
        let instances = names(entries, |entry| &entry.instance);
        format!("{}: {rules} on {instances}", totals(entries))
    };
    line(&text, SUBJECT_BASE_LIMIT_CHARS)
}

/// `12 alerts`, or `3 firing, 2 resolved`
fn totals(entries: &[Entry]) -> String {
    let firing = entries.iter().filter(|entry| entry.fires()).count();
    match entries.len() - firing {
        0 => number(entries.len(), "alert"),
        resolved if firing == 0 => number(resolved, "alert"),
        resolved => format!("{firing} firing, {resolved} resolved"),
    }
}

/// The one value that all entries have, or how many there are.
fn names<'a>(entries: &'a [Entry], value: impl Fn(&'a Entry) -> &'a String) -> String {
    let mut values: Vec<&str> = entries.iter().map(|entry| value(entry).as_str()).collect();
    values.sort_unstable();
    values.dedup();
    match values.as_slice() {
        [] => String::new(),
        [one] => clean(one),
        [one, other] => format!("{} and {}", clean(one), clean(other)),
        [one, rest @ ..] => format!("{} and {} more", clean(one), rest.len()),
    }
}

fn intro(delivery: &Delivery) -> Option<String> {
    let several = delivery.entries.len() > 1;
    if let Some(replay) = &delivery.replay {
        return Some(format!(
            "This is a replay: nothing happened anew. The events since {} were decided again at {}; with the rules \
             of now this is told at {}.",
            second(replay.since),
            second(replay.at),
            second(replay.of),
        ));
    }
    match (delivery.repeat, several) {
        (true, true) => Some(format!(
            "Reminder: {} still open.",
            totals(&delivery.entries)
        )),
        (true, false) => Some("Reminder: this is still open.".to_owned()),
        (false, true) => Some(format!("{}.", totals(&delivery.entries))),
        (false, false) => None,
    }
}

impl EntryView {
    fn of(entry: &Entry, delivery: &Delivery, now: Timestamp) -> Self {
        let item = &entry.item;
        let task = item.task.as_ref();
        let odd = task.is_some_and(|task| task.status == Status::Success && task.issue.is_some());
        let tells_history = entry.fires() && !delivery.repeat && task.is_some();
        let history = entry
            .history
            .iter()
            .take(HISTORY_LIMIT)
            .map(|text| clean(text));
        Self {
            fires: entry.fires(),
            headline: clean(&item.summary),
            remark: (odd && entry.fires()).then_some(
                "The registry calls this task SUCCESS and reports an issue all the same.",
            ),
            rows: rows(entry, delivery, now),
            history: tells_history.then(|| history.collect()),
        }
    }
}

/// The facts, in the order in which a reader asks for them.
fn rows(entry: &Entry, delivery: &Delivery, now: Timestamp) -> Vec<Row> {
    let item = &entry.item;
    let mut rows = Rows::default();
    if let Some(task) = &item.task {
        rows.add("Task", state(task));
    }
    if let Some(by) = &item.resolved_by {
        let same = item.task.as_ref().is_some_and(|task| task.task_id == *by);
        let by = if same {
            "the same task".to_owned()
        } else {
            format!("task {by}")
        };
        rows.add("Ended by", by);
    }
    if let Some(task) = &item.task {
        rows.add(
            "From",
            task.from
                .as_ref()
                .map_or_else(|| "not known".to_owned(), end),
        );
        rows.add(
            "To",
            task.to.as_ref().map_or_else(|| "not known".to_owned(), end),
        );
    } else {
        notice_rows(&mut rows, entry);
    }
    rows.add("Reason", &item.reason);
    if let Some(message) = &entry.message {
        rows.add("Message", message);
    }
    rows.add(
        "Since",
        format!("{} ({})", second(item.since), ago(item.since, now)),
    );
    if !entry.fires() {
        // When it was decided is when the end was seen; the attempt may come much later.
        let replay = delivery.replay.as_ref();
        let decided_at = replay.map_or(delivery.created_at, |replay| replay.of);
        rows.add("Lasted", spoken(decided_at.duration_since(item.since)));
    }
    if entry.occurrence > 1 {
        rows.add(
            "Count",
            format!("{} failures in this incident", entry.occurrence),
        );
    }
    rows.add(
        "Rule",
        format!("{} ({})", item.rule, item.severity.as_str()),
    );
    if let Some(task) = &item.task {
        vendor_rows(&mut rows, task, item.detail.as_ref());
    }
    if entry.fires()
        && let Some((meanwhile, to_do)) = notice::advice(item)
    {
        rows.add("Meanwhile", meanwhile);
        rows.add("To do", to_do);
    }
    rows.0
}

fn notice_rows(rows: &mut Rows, entry: &Entry) {
    let place = match &entry.item.region {
        Some(region) => format!("{} in {region}", entry.instance),
        None => entry.instance.clone(),
    };
    rows.add("Instance", place);
    if let Some(id) = &entry.item.sync_rule_id {
        rows.add("Sync rule", id);
    }
    if let Some(repo) = &entry.item.repo {
        rows.add("Repository", repo);
    }
}

fn vendor_rows(rows: &mut Rows, task: &SyncTask, detail: Option<&Detail>) {
    let detail = detail.cloned().unwrap_or_default();
    match (&detail.sync_rule_name, &task.sync_rule_id) {
        (Some(name), Some(id)) => rows.add("Sync rule", format!("{name} ({id})")),
        (Some(only), None) | (None, Some(only)) => rows.add("Sync rule", only),
        (None, None) => {}
    }
    match task.trigger.as_deref() {
        Some("PASSIVE") => rows.add("Started", "by a sync rule"),
        Some("INITIATIVE") => rows.add("Started", "by hand"),
        Some(other) => rows.add("Started", other),
        None => {}
    }
    if let Some(batch) = &detail.batch {
        let (total, failed, open) = (batch.total, batch.failed, batch.open);
        rows.add("Batch", format!("{failed} of {total} failed, {open} open"));
    }
    if let Some(progress) = detail.progress {
        rows.add("Progress", format!("{:.0} %", progress * 100.0));
    }
    if !detail.failed_layers.is_empty() {
        let shown: Vec<_> = detail
            .failed_layers
            .iter()
            .take(LAYERS_LIMIT)
            .cloned()
            .collect();
        let more = match detail.failed_layers.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        rows.add("Layers", format!("{}{more}", shown.join(", ")));
    }
    if let Some(request_id) = detail.request_id {
        rows.add(
            "Request",
            format!("{request_id} (for the registry's support)"),
        );
    }
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, label: &'static str, value: impl AsRef<str>) {
        self.0.push(Row {
            label,
            value: clean(value.as_ref()),
        });
    }
}

/// `rst-1 (SUCCESS with NETWORK_ERROR)`. The id stands first and is never what is cut.
fn state(task: &SyncTask) -> String {
    let issue = task
        .issue
        .as_deref()
        .map(|issue| format!(" with {issue}"))
        .unwrap_or_default();
    format!(
        "{} ({}{})",
        clip(task.task_id.as_str(), 200),
        task.status,
        clip(&issue, 60)
    )
}

/// `test/test:v0.1 in cn-shanghai/cri-1`
fn end(image: &Image) -> String {
    format!("{} in {}", image.name(), image.place())
}

impl Digest {
    fn of(entries: &[Entry]) -> Self {
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by_key(|e| (!e.fires(), std::cmp::Reverse(e.item.severity)));
        let (first, rest) = order.split_at(order.len().min(DIGEST_LINES));
        Self {
            rules: counts(entries, |entry| {
                format!("{} ({})", entry.item.rule, entry.item.status.as_str())
            }),
            repositories: counts(entries, repository),
            lines: first.iter().map(|entry| digest_line(entry)).collect(),
            more: rest.len(),
            more_tasks: task_ids(rest),
        }
    }
}

/// `rst-1, rst-2 and 7 others`
fn task_ids(entries: &[&Entry]) -> String {
    let id = |entry: &&Entry| match &entry.item.task {
        Some(task) => line(task.task_id.as_str(), ID_LIMIT_CHARS),
        None => clean(&format!("{} {}", entry.item.rule, entry.instance)),
    };
    let named: Vec<_> = entries.iter().take(DIGEST_IDS).map(id).collect();
    match entries.len() - named.len() {
        0 => named.join(", "),
        others => format!("{} and {others} others", named.join(", ")),
    }
}

fn digest_line(entry: &Entry) -> String {
    let status = entry.item.status.as_str().to_uppercase();
    let summary = clip(&entry.item.summary, 200);
    let task = match &entry.item.task {
        Some(task) => format!("task {}, ", clip(task.task_id.as_str(), ID_LIMIT_CHARS)),
        None => String::new(),
    };
    clean(&format!(
        "{status} {summary} ({task}since {})",
        second(entry.item.since)
    ))
}

fn repository(entry: &Entry) -> String {
    let image = entry
        .item
        .task
        .as_ref()
        .and_then(|task| task.from.as_ref().or(task.to.as_ref()));
    let Some(image) = image else {
        let repo = entry.item.repo.clone();
        return repo.unwrap_or_else(|| "no repository".to_owned());
    };
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    format!("{}/{}", part(&image.namespace), part(&image.repo))
}

/// `7 x test/test`, the most first; past the limit only how many.
fn counts(entries: &[Entry], name: impl Fn(&Entry) -> String) -> Vec<String> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        *counted.entry(clean(&name(entry))).or_default() += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let mut lines: Vec<String> = counted
        .iter()
        .take(DIGEST_COUNTS)
        .map(|(name, n)| format!("{n} x {name}"))
        .collect();
    if counted.len() > DIGEST_COUNTS {
        let rest = &counted[DIGEST_COUNTS..];
        let n: usize = rest.iter().map(|(_, n)| n).sum();
        lines.push(format!("{n} x {} others", rest.len()));
    }
    lines
}

fn number(n: usize, noun: &str) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), noun)
}

fn clean(text: &str) -> String {
    line(text, TEXT_LIMIT_CHARS)
}

/// The built-in plain text, for when a template fails.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(intro) = &self.intro {
            writeln!(f, "{intro}\n")?;
        }
        for entry in &self.entries {
            writeln!(f, "{}", entry.headline)?;
            for row in &entry.rows {
                writeln!(f, "{}: {}", row.label, row.value)?;
            }
            for before in entry.history.iter().flatten() {
                writeln!(f, "Before: {before}")?;
            }
            writeln!(f)?;
        }
        if let Some(digest) = &self.digest {
            for text in digest
                .rules
                .iter()
                .chain(&digest.repositories)
                .chain(&digest.lines)
            {
                writeln!(f, "{text}")?;
            }
            writeln!(f, "and {} more: {}\n", digest.more, digest.more_tasks)?;
        }
        writeln!(f, "Delivery {} for {}", self.delivery_id, self.receiver)
    }
}
