//! What a mail says, in words, before it gets a form. Every text in a view is one clean line.
//!
//! Its fields are what templates may use: `config/templates.md` names each, and a test holds that true.

mod rows;
mod shrink;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use syncbell_config::{Console, Language};
use syncbell_event::{AlertItem, AlertStatus, Image, Status};

use crate::delivery::{Delivery, Entry};

use super::digest::{self, Digest};
use super::text::line;
use super::words::{self, Words};
use super::{
    RECEIVER_FAILING, headline, links, notice, only_incident, phrases, receiver_of, severity,
    status,
};

/// More entries than this are told as a digest.
const FULL_LIMIT: usize = 10;
const HISTORY_LIMIT: usize = 5;
const TEXT_LIMIT_CHARS: usize = 300;
/// Values of a list that came from outside.
const LIST_LIMIT: usize = 20;
const GROUP_LIMIT: usize = 50;
/// With the longest prefix in front, a subject stays below 150 characters and its base is the same for
/// firing and resolved.
const SUBJECT_BASE_LIMIT_CHARS: usize = 139;

/// What the templates see.
#[derive(Clone, Debug, Serialize)]
pub(super) struct View {
    /// `[FIRING]`, `[RESOLVED]` or `[REPLAY]`
    pub(super) prefix: &'static str,
    /// The rest of the subject.
    pub(super) subject: String,
    /// Above the entries; for what comes after it, as the template `email.title` has it.
    pub(super) title: String,
    language: &'static str,
    fires: bool,
    severity: &'static str,
    repeat: bool,
    replay: bool,
    /// Entries in all.
    count: usize,
    firing: usize,
    resolved: usize,
    /// Said before all entries.
    intro: Option<String>,
    /// `37 of 40 syncs of v1.8 failed`
    batches: Vec<String>,
    entries: Vec<EntryView>,
    /// Entries left out for size.
    more: usize,
    /// `and 3 more`; empty where none is.
    more_text: String,
    digest: Option<Digest>,
    group: BTreeMap<String, String>,
    receiver: String,
    /// The receiver that did not take it, where this one is its fallback.
    instead_of: Option<String>,
    delivery_id: String,
    footer: String,
    command: String,
    words: &'static Words,
}

#[derive(Clone, Debug, Serialize)]
struct EntryView {
    fires: bool,
    headline: String,
    flapping: bool,
    /// A sentence where the facts alone mislead.
    remark: Option<&'static str>,
    rows: Vec<Row>,
    /// What happened before on this route; none: not to be mentioned.
    history: Option<Vec<String>>,
    instance: String,
    occurrence: u32,
    message: Option<String>,
    links: Links,
    /// As it stands on the wire, each text one clean line.
    alert: Value,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    label: Cow<'static, str>,
    value: String,
    url: Option<String>,
}

/// To the registry's console.
#[derive(Clone, Debug, Serialize)]
struct Links {
    /// Of the instance that lists it.
    instance: Option<String>,
    /// Of the source's repository.
    from: Option<String>,
    /// Of the target's repository.
    to: Option<String>,
}

/// How a view is said.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) language: Language,
    pub(super) console: &'a Console,
}

impl View {
    pub(super) fn of(delivery: &Delivery, manner: Manner<'_>, now: Timestamp) -> Self {
        let (language, entries) = (manner.language, &delivery.entries);
        let fires = status(entries) == AlertStatus::Firing;
        let is_digest = entries.len() > FULL_LIMIT;
        let full = if is_digest { &[][..] } else { entries };
        let firing = entries.iter().filter(|entry| entry.fires()).count();
        let (subject, title, batches) = titles(delivery, language);
        let group = delivery.group.iter().take(GROUP_LIMIT);
        let delivery_id = clean(&delivery.id.0);
        Self {
            prefix: phrases::prefix(language, fires, delivery.replay.is_some()),
            subject,
            title,
            language: language.as_str(),
            fires,
            severity: severity(entries).as_str(),
            repeat: delivery.repeat,
            replay: delivery.replay.is_some(),
            count: entries.len(),
            firing,
            resolved: entries.len() - firing,
            intro: intro(delivery, language),
            batches,
            entries: full
                .iter()
                .map(|entry| EntryView::of(entry, delivery, manner, now))
                .collect(),
            more: 0,
            more_text: String::new(),
            digest: is_digest.then(|| Digest::of(language, delivery)),
            group: group
                .map(|(label, value)| (clean(label), clean(value)))
                .collect(),
            receiver: clean(&delivery.target.receiver),
            instead_of: delivery.instead_of.as_deref().map(clean),
            footer: phrases::footer(language, &clean(&delivery.target.receiver)),
            command: format!("syncbell deliveries show {delivery_id}"),
            delivery_id,
            words: words::of(language),
        }
    }
}

/// Subject, title, and what else is to be said of batches. Of one incident the subject is the same at each of its
/// mails, so that clients thread them. Several: their number, or how much of a batch failed.
fn titles(delivery: &Delivery, language: Language) -> (String, String, Vec<String>) {
    let entries = &delivery.entries;
    let Some(first) = entries.first() else {
        return ("-".to_owned(), "-".to_owned(), Vec::new());
    };
    if entries.len() == 1 {
        let title = clean(&headline::of(language, first, delivery));
        return (of_one(first, delivery, language), title, Vec::new());
    }
    let mut batches = digest::by_tag(language, entries);
    let rules: Vec<String> = distinct(entries, |entry| phrases::rule(language, &entry.item.rule));
    let instances = distinct(entries, |entry| &entry.instance);
    let joined = |values: &[String]| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        phrases::names(language, &values)
    };
    let totals = totals(entries, language);
    let mut title = phrases::several(language, &totals, &joined(&rules), &joined(&instances));
    if let [batch] = batches.as_slice()
        && batch.entries == entries.len()
    {
        title = batches.remove(0).sentence;
    }
    let subject = match only_incident(entries) {
        Some(_) => of_one(first, delivery, language),
        None => line(&title, SUBJECT_BASE_LIMIT_CHARS),
    };
    let batches = batches.into_iter().map(|batch| batch.sentence).collect();
    (subject, clean(&title), batches)
}

/// The subject of one incident.
fn of_one(entry: &Entry, delivery: &Delivery, language: Language) -> String {
    let rule = clean(phrases::rule(language, &entry.item.rule));
    let (colon, to, on) = match language {
        Language::En => (": ", " to ", " on "),
        Language::Zh => ("：", " → ", "，"),
    };
    let what = match &entry.item.task {
        None if entry.item.rule == RECEIVER_FAILING => receiver_of(delivery),
        None => match notice::of(language, &entry.item) {
            Some(what) => format!("{what}{on}{}", clean(&entry.instance)),
            None => clean(&entry.instance),
        },
        Some(task) => match (&task.from, &task.to) {
            (Some(from), Some(target)) => format!("{}{to}{}", from.name(), target.place()),
            (Some(image), None) | (None, Some(image)) => image.name(),
            (None, None) => phrases::ended_by(language, Some(task.task_id.as_str())),
        },
    };
    line(&format!("{rule}{colon}{what}"), SUBJECT_BASE_LIMIT_CHARS)
}

fn totals(entries: &[Entry], language: Language) -> String {
    let firing = entries.iter().filter(|entry| entry.fires()).count();
    phrases::totals(language, firing, entries.len() - firing)
}

/// The different values, cleaned; an empty one is none.
fn distinct<'a>(entries: &'a [Entry], value: impl Fn(&'a Entry) -> &'a str) -> Vec<String> {
    let mut values: Vec<&str> = entries.iter().map(value).collect();
    values.sort_unstable();
    values.dedup();
    let named = values.into_iter().map(clean);
    named.filter(|value| !value.is_empty()).collect()
}

fn intro(delivery: &Delivery, language: Language) -> Option<String> {
    if let Some(receiver) = &delivery.instead_of {
        return Some(phrases::instead_of(language, &clean(receiver)));
    }
    if let Some(replay) = &delivery.replay {
        return Some(phrases::replay(language, replay));
    }
    let totals = totals(&delivery.entries, language);
    let several = delivery.entries.len() > 1;
    delivery
        .repeat
        .then(|| phrases::reminder(language, several, &totals))
}

impl EntryView {
    fn of(entry: &Entry, delivery: &Delivery, manner: Manner<'_>, now: Timestamp) -> Self {
        let (item, language) = (&entry.item, manner.language);
        let task = item.task.as_ref();
        let odd = task.is_some_and(|task| task.status == Status::Success && task.issue.is_some());
        let tells_history = entry.fires() && !delivery.repeat && task.is_some();
        let history = entry.history.iter().take(HISTORY_LIMIT);
        let history = history.map(|text| clean(&headline::before(language, text)));
        let links = Links::of(entry, manner.console);
        let message = entry.message.as_deref();
        let message = message.map(|text| headline::message(language, text));
        Self {
            fires: entry.fires(),
            headline: clean(&headline::of(language, entry, delivery)),
            remark: match (odd && entry.fires(), entry.flapping) {
                (true, _) => Some(phrases::issue_with_success(language)),
                (false, true) => Some(phrases::flapping(language)),
                (false, false) => None,
            },
            flapping: entry.flapping,
            rows: rows::rows(entry, delivery, language, &links, now),
            history: tells_history.then(|| history.collect()),
            instance: clean(&entry.instance),
            occurrence: entry.occurrence,
            message: message.map(|text| clean(&text)),
            links,
            alert: wire(item),
        }
    }
}

impl Links {
    fn of(entry: &Entry, console: &Console) -> Self {
        let item = &entry.item;
        let of = |image: Option<&Image>| image.and_then(|image| links::repository(console, image));
        let Some(task) = &item.task else {
            let (region, id) = (item.region.as_deref(), item.instance.as_deref());
            return Self {
                instance: links::instance(console, region, id),
                from: None,
                to: None,
            };
        };
        let listed = |image: &&Image| image.instance_id.as_ref() == Some(&entry.instance);
        let lists = task.from.iter().chain(&task.to).find(listed);
        let region = lists.and_then(|image| image.region_id.as_deref());
        Self {
            instance: links::instance(console, region, Some(&entry.instance)),
            from: of(task.from.as_ref()),
            to: of(task.to.as_ref()),
        }
    }
}

/// The item as on the wire, with clean texts and bounded lists. What the vendor added stays out: nothing is known of it.
fn wire(item: &AlertItem) -> Value {
    fn tidy(value: &mut Value) {
        match value {
            Value::String(text) => *text = clean(text),
            Value::Array(items) => {
                items.truncate(LIST_LIMIT);
                items.iter_mut().for_each(tidy);
            }
            Value::Object(fields) => fields.values_mut().for_each(tidy),
            _ => {}
        }
    }
    let mut item = item.clone();
    if let Some(task) = &mut item.task {
        task.extra.clear();
    }
    let mut value = serde_json::to_value(item).expect("alerts have string keys and plain fields");
    tidy(&mut value);
    value
}

pub(super) fn clean(text: &str) -> String {
    line(text, TEXT_LIMIT_CHARS)
}

/// The built-in plain text, for when a template fails.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for said in self.intro.iter().chain(&self.batches) {
            writeln!(f, "{said}\n")?;
        }
        for entry in &self.entries {
            writeln!(f, "{}", entry.headline)?;
            for row in &entry.rows {
                writeln!(f, "{}: {}", row.label, row.value)?;
            }
            if entry
                .history
                .as_ref()
                .is_some_and(|history| !history.is_empty())
            {
                writeln!(f, "{}", self.words.before)?;
            }
            for before in entry.history.iter().flatten() {
                writeln!(f, "{before}")?;
            }
            writeln!(f)?;
        }
        if let Some(digest) = &self.digest {
            for counted in &digest.counts {
                for item in &counted.items {
                    writeln!(f, "{}: {} x {}", counted.label, item.count, item.name)?;
                }
            }
            for text in &digest.lines {
                writeln!(f, "{text}")?;
            }
            writeln!(f, "{}: {}\n", digest.more_text, digest.more_tasks)?;
        }
        writeln!(f, "{} {}", self.footer, self.command)
    }
}
