//! Many entries told together: counted, the gravest named, and of a batch how much of it failed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use syncbell_config::Language;
use syncbell_event::{BatchCounts, Status, SyncTask};

use crate::delivery::{Delivery, Entry};

use super::text::{clip, line};
use super::view::clean;
use super::{headline, phrases, words};

/// Entries that a digest names.
const LINES: usize = 20;
/// Of the others at least the task ids are named: of all that one notification holds, unless they are very long.
const IDS_LIMIT_BYTES: usize = 128 * 1024;
const ID_LIMIT_CHARS: usize = 60;
const SUMMARY_LIMIT_CHARS: usize = 200;
/// Values of one kind that a digest counts by name.
const COUNTS: usize = 10;
/// Tags of which it is said how many syncs failed.
const TAGS: usize = 5;

/// What a digest says; templates see it as `digest`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Digest {
    pub(super) counts: Vec<Counted>,
    pub(super) lines: Vec<String>,
    /// Those that have no line.
    pub(super) more: usize,
    /// `and 13 more`
    pub(super) more_text: String,
    /// Their task ids: even in a flood, a task is told with its id.
    pub(super) more_tasks: String,
}

/// How often each value of one kind stands in the entries, the most first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Counted {
    /// `rule`, `instance`, `to_region`, `issue` or `repository`
    by: &'static str,
    pub(super) label: &'static str,
    pub(super) items: Vec<Count>,
}

/// One value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Count {
    pub(super) name: String,
    pub(super) count: usize,
}

impl Digest {
    pub(super) fn of(language: Language, delivery: &Delivery) -> Self {
        let entries = &delivery.entries;
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by_key(|e| (!e.fires(), std::cmp::Reverse(e.item.severity)));
        let (first, rest) = order.split_at(order.len().min(LINES));
        Self {
            counts: counts(language, entries),
            lines: first
                .iter()
                .map(|entry| named(language, entry, delivery))
                .collect(),
            more: rest.len(),
            more_text: phrases::and_more(language, rest.len()),
            more_tasks: task_ids(language, rest),
        }
    }
}

/// By rule, instance, target region, issue and repository; what no entry has is not counted.
fn counts(language: Language, entries: &[Entry]) -> Vec<Counted> {
    let words = words::of(language);
    let by_rule = |entry: &Entry| {
        let rule = &entry.item.rule;
        Some(phrases::rule_and_status(language, rule, entry.fires()))
    };
    let to_region = |entry: &Entry| {
        let to = entry.item.task.as_ref()?.to.as_ref()?;
        to.region_id.clone()
    };
    let instance = |entry: &Entry| Some(entry.instance.clone());
    let issue = |entry: &Entry| Some(entry.item.reason.clone());
    let repository = |entry: &Entry| Some(repository(language, entry));
    let all = [
        ("rule", words.rule, count(language, entries, by_rule)),
        (
            "instance",
            words.instance,
            count(language, entries, instance),
        ),
        (
            "to_region",
            words.to_region,
            count(language, entries, to_region),
        ),
        ("issue", words.reason, count(language, entries, issue)),
        (
            "repository",
            words.repository,
            count(language, entries, repository),
        ),
    ];
    let counted = all.map(|(by, label, items)| Counted { by, label, items });
    counted
        .into_iter()
        .filter(|counted| !counted.items.is_empty())
        .collect()
}

fn count(
    language: Language,
    entries: &[Entry],
    name: impl Fn(&Entry) -> Option<String>,
) -> Vec<Count> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for name in entries.iter().filter_map(name) {
        let name = clean(&name);
        if !name.is_empty() {
            *counted.entry(name).or_default() += 1;
        }
    }
    let mut items: Vec<Count> = counted
        .into_iter()
        .map(|(name, count)| Count { name, count })
        .collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.count));
    if items.len() > COUNTS {
        let rest = items.split_off(COUNTS);
        items.push(Count {
            name: phrases::others(language, rest.len()),
            count: rest.iter().map(|item| item.count).sum(),
        });
    }
    items
}

/// `rst-1, rst-2 and 7 others`
fn task_ids(language: Language, entries: &[&Entry]) -> String {
    let id = |entry: &&Entry| match &entry.item.task {
        Some(task) => line(task.task_id.as_str(), ID_LIMIT_CHARS),
        None => clean(&format!("{} {}", entry.item.rule, entry.instance)),
    };
    let mut room = IDS_LIMIT_BYTES;
    let fits = |id: &String| {
        let left = room.checked_sub(id.len() + 2);
        room = left.unwrap_or_default();
        left.is_some()
    };
    let named: Vec<_> = entries.iter().map(id).take_while(fits).collect();
    phrases::and_others(language, &named.join(", "), entries.len() - named.len())
}

fn named(language: Language, entry: &Entry, delivery: &Delivery) -> String {
    let headline = clip(
        &headline::of(language, entry, delivery),
        SUMMARY_LIMIT_CHARS,
    );
    let task = entry.item.task.as_ref();
    let task = task.map(|task| clip(task.task_id.as_str(), ID_LIMIT_CHARS));
    clean(&phrases::digest_line(
        language,
        entry.fires(),
        &headline,
        task.as_deref(),
        entry.item.since,
    ))
}

fn repository(language: Language, entry: &Entry) -> String {
    let task = entry.item.task.as_ref();
    let image = task.and_then(|task| task.from.as_ref().or(task.to.as_ref()));
    let Some(image) = image else {
        let repo = entry.item.repo.clone();
        return repo.unwrap_or_else(|| phrases::no_repository(language).to_owned());
    };
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    format!("{}/{}", part(&image.namespace), part(&image.repo))
}

/// How much of what has one tag failed.
#[derive(Debug)]
pub(super) struct TagCount {
    /// As it is said: `37 of 40 syncs of v1.8 failed`.
    pub(super) sentence: String,
    /// Entries that it is about.
    pub(super) entries: usize,
}

/// Of each tag with several failed syncs, how many failed; the most first. The total is known only where the poller
/// counted the batch of each of them.
pub(super) fn by_tag(language: Language, entries: &[Entry]) -> Vec<TagCount> {
    let mut tags: BTreeMap<&str, Tag<'_>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.fires()) {
        let Some(task) = entry.item.task.as_ref() else {
            continue;
        };
        let image = task.from.as_ref().or(task.to.as_ref());
        let tag = image.and_then(|image| image.tag.as_deref());
        if let (Status::Error, Some(tag)) = (&task.status, tag) {
            let detail = entry.item.detail.as_ref();
            let counts = detail.and_then(|detail| detail.batch.as_ref());
            tags.entry(tag).or_default().add(task, counts);
        }
    }
    let mut said: Vec<(u64, TagCount)> = Vec::new();
    for (name, tag) in tags.iter().filter(|(_, tag)| tag.tasks.len() > 1) {
        let (failed, total) = tag.failed_and_total();
        let name = clip(name, ID_LIMIT_CHARS);
        let sentence = clean(&phrases::batch(language, failed, total, &name));
        let entries = tag.entries;
        said.push((failed, TagCount { sentence, entries }));
    }
    said.sort_by_key(|(failed, _)| std::cmp::Reverse(*failed));
    said.into_iter()
        .take(TAGS)
        .map(|(_, count)| count)
        .collect()
}

/// What failed of one tag.
#[derive(Default)]
struct Tag<'a> {
    entries: usize,
    tasks: BTreeSet<&'a str>,
    batches: BTreeMap<&'a str, Batch<'a>>,
    /// Of some task nobody counted the batch.
    is_uncounted: bool,
}

/// What failed of one batch.
#[derive(Default)]
struct Batch<'a> {
    tasks: BTreeSet<&'a str>,
    /// The most that the poller counted.
    total: u64,
    failed: u64,
}

impl<'a> Tag<'a> {
    fn add(&mut self, task: &'a SyncTask, counts: Option<&BatchCounts>) {
        let task_id = task.task_id.as_str();
        self.entries += 1;
        self.tasks.insert(task_id);
        let (Some(batch_id), Some(counts)) = (task.batch_id.as_deref(), counts) else {
            self.is_uncounted = true;
            return;
        };
        let batch = self.batches.entry(batch_id).or_default();
        batch.tasks.insert(task_id);
        batch.total = batch.total.max(counts.total);
        batch.failed = batch.failed.max(counts.failed);
    }

    fn failed_and_total(&self) -> (u64, Option<u64>) {
        if self.is_uncounted {
            return (self.tasks.len() as u64, None);
        }
        let counts = self.batches.values().map(|batch| {
            let failed = batch.failed();
            (failed, batch.total.max(failed))
        });
        let (failed, total) = counts.fold((0u64, 0u64), |(failed, total), batch| {
            (
                failed.saturating_add(batch.0),
                total.saturating_add(batch.1),
            )
        });
        (failed, Some(total))
    }
}

impl Batch<'_> {
    /// A task that failed after the poller counted stands in the entries all the same.
    fn failed(&self) -> u64 {
        self.failed.max(self.tasks.len() as u64)
    }
}
