//! The facts of one entry, as rows of a label and a value. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use syncbell_config::Language;
use syncbell_event::{Detail, Image, SyncTask};

use crate::delivery::{Delivery, Entry};

use super::super::text::clip;
use super::super::{RECEIVER_FAILING, headline, notice, phrases, receiver_of, words};
use super::{LIST_LIMIT, Links, Row, clean};

const LAYERS_LIMIT: usize = 3;

/// The facts, in the order in which a reader asks for them.
pub(super) fn rows(
    entry: &Entry,
    delivery: &Delivery,
    language: Language,
    links: &Links,
    now: Timestamp,
) -> Vec<Row> {
    let (item, words) = (&entry.item, words::of(language));
    let mut rows = Rows::default();
    if let Some(task) = &item.task {
        rows.add(words.task, state(task, language));
    }
    if let Some(by) = &item.resolved_by {
        let same = item.task.as_ref().is_some_and(|task| task.task_id == *by);
        let by = (!same).then_some(by.as_str());
        rows.add(words.ended_by, phrases::ended_by(language, by));
    }
    if let Some(task) = &item.task {
        let end = |image: &Option<Image>| match image {
            Some(image) => phrases::within(language, &image.name(), &image.place()),
            None => words.not_known.to_owned(),
        };
        rows.link(words.from, end(&task.from), links.from.as_ref());
        rows.link(words.to, end(&task.to), links.to.as_ref());
    } else {
        notice_rows(&mut rows, entry, delivery, language, links);
    }
    rows.add(words.reason, phrases::reason(language, item));
    if let Some(message) = &entry.message {
        rows.add(words.message, headline::message(language, message));
    }
    rows.add(words.since, phrases::since(language, item.since, now));
    if !entry.fires() {
        // When it was decided is when the end was seen; the attempt may come much later.
        let replay = delivery.replay.as_ref();
        let decided_at = replay.map_or(delivery.created_at, |replay| replay.of);
        let lasted = phrases::spoken(language, decided_at.duration_since(item.since));
        rows.add(words.lasted, lasted);
    }
    if entry.occurrence > 1 {
        rows.add(words.count, phrases::failures(language, entry.occurrence));
    }
    let rule = phrases::rule_and_severity(language, &item.rule, item.severity);
    rows.add(words.rule, rule);
    for (name, value) in item.annotations.iter().take(LIST_LIMIT) {
        rows.add(clean(name), value);
    }
    if let Some(task) = &item.task {
        vendor_rows(&mut rows, task, item.detail.as_ref(), language);
    }
    if entry.fires()
        && let Some((meanwhile, to_do)) = notice::advice(language, item)
    {
        rows.add(words.meanwhile, meanwhile);
        rows.add(words.to_do, to_do);
    }
    rows.0
}

fn notice_rows(
    rows: &mut Rows,
    entry: &Entry,
    delivery: &Delivery,
    language: Language,
    links: &Links,
) {
    let words = words::of(language);
    if entry.item.rule == RECEIVER_FAILING {
        rows.add(words.receiver, receiver_of(delivery));
        return;
    }
    let place = match &entry.item.region {
        Some(region) => phrases::within(language, &entry.instance, region),
        None => entry.instance.clone(),
    };
    rows.link(words.instance, place, links.instance.as_ref());
    if let Some(id) = &entry.item.sync_rule_id {
        rows.add(words.sync_rule, id);
    }
    if let Some(repo) = &entry.item.repo {
        rows.add(words.repository, repo);
    }
}

fn vendor_rows(rows: &mut Rows, task: &SyncTask, detail: Option<&Detail>, language: Language) {
    let (detail, words) = (detail.cloned().unwrap_or_default(), words::of(language));
    match (&detail.sync_rule_name, &task.sync_rule_id) {
        (Some(name), Some(id)) => rows.add(words.sync_rule, format!("{name} ({id})")),
        (Some(only), None) | (None, Some(only)) => rows.add(words.sync_rule, only),
        (None, None) => {}
    }
    if let Some(trigger) = task.trigger.as_deref() {
        rows.add(words.started, phrases::trigger(language, trigger));
    }
    if let Some(batch) = &detail.batch {
        let (total, failed, open) = (batch.total, batch.failed, batch.open);
        rows.add(
            words.batch,
            phrases::batch_row(language, total, failed, open),
        );
    }
    if let Some(progress) = detail.progress {
        rows.add(words.progress, format!("{:.0} %", progress * 100.0));
    }
    if !detail.failed_layers.is_empty() {
        let shown = detail.failed_layers.iter().take(LAYERS_LIMIT);
        let shown: Vec<&str> = shown.map(String::as_str).collect();
        let more = match detail.failed_layers.len() - shown.len() {
            0 => String::new(),
            more => format!(" {}", phrases::and_more(language, more)),
        };
        rows.add(words.layers, format!("{}{more}", shown.join(", ")));
    }
    if let Some(request_id) = detail.request_id {
        rows.add(words.request, phrases::for_support(language, &request_id));
    }
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, label: impl Into<Cow<'static, str>>, value: impl AsRef<str>) {
        self.link(label, value, None);
    }

    fn link(
        &mut self,
        label: impl Into<Cow<'static, str>>,
        value: impl AsRef<str>,
        url: Option<&String>,
    ) {
        self.0.push(Row {
            label: label.into(),
            value: clean(value.as_ref()),
            url: url.cloned(),
        });
    }
}

/// `rst-1 (SUCCESS with NETWORK_ERROR)`. The id stands first and is never what is cut.
fn state(task: &SyncTask, language: Language) -> String {
    let issue = task.issue.as_deref().map(|issue| clip(issue, 60));
    let state = phrases::state(language, &task.status, issue.as_deref());
    let id = clip(task.task_id.as_str(), 200);
    match language {
        Language::En => format!("{id} ({state})"),
        Language::Zh => format!("{id}（{state}）"),
    }
}
