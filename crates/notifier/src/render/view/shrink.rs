//! A view made smaller, step by step, for receivers that take little. Pure.
//!
//! What is left out goes in whole items, and is counted: first what else the registry said, then entries from the
//! last on, then facts from the last on. Only then texts are cut.

use serde_json::Value;
use syncbell_config::Language;

use super::View;
use crate::render::phrases;
use crate::render::text::clip;

/// Facts of an entry that stay longest: its task, its ends, the reason.
const ROWS_KEPT: usize = 5;
/// No text is cut below this.
const TEXT_KEPT_CHARS: usize = 24;

impl View {
    /// Makes it smaller by one step. False: it is as small as it can be.
    pub(in crate::render) fn shrink(&mut self, language: Language) -> bool {
        self.shrink_extras() || self.shrink_items(language) || self.shrink_texts()
    }

    /// What a person can do without.
    fn shrink_extras(&mut self) -> bool {
        if let Some(digest) = &mut self.digest {
            if !digest.more_tasks.is_empty() {
                digest.more_tasks.clear();
                return true;
            }
            let long = |counted: &&mut super::digest::Counted| counted.items.len() > 3;
            let mut cut = false;
            for counted in digest.counts.iter_mut().filter(long) {
                counted.items.truncate(3);
                cut = true;
            }
            if cut {
                return true;
            }
        }
        let longest = self.entries.iter().map(|entry| entry.rows.len()).max();
        let longest = longest.unwrap_or_default();
        let has_history = self.entries.iter().any(|entry| entry.history.is_some());
        if longest <= ROWS_KEPT * 2 && !has_history {
            return false;
        }
        for entry in &mut self.entries {
            entry.history = None;
            entry.rows.truncate(ROWS_KEPT * 2);
        }
        true
    }

    /// Entries, then facts.
    fn shrink_items(&mut self, language: Language) -> bool {
        if let Some(digest) = &mut self.digest {
            if digest.lines.len() > 1 {
                digest.lines.pop();
                digest.more += 1;
                digest.more_text = phrases::and_more(language, digest.more);
                return true;
            }
            return digest.counts.pop().is_some();
        }
        if self.entries.len() > 1 {
            self.entries.pop();
            self.more += 1;
            self.more_text = phrases::and_more(language, self.more);
            return true;
        }
        if self.batches.pop().is_some() {
            return true;
        }
        let mut entries = self.entries.iter_mut();
        let long = entries.find(|entry| entry.rows.len() > ROWS_KEPT);
        long.is_some_and(|entry| entry.rows.pop().is_some())
    }

    /// Every text to at most half of the longest.
    fn shrink_texts(&mut self) -> bool {
        let longest = self.texts().map(|text| text.chars().count()).max();
        let limit = longest.unwrap_or_default() / 2;
        if limit < TEXT_KEPT_CHARS {
            return false;
        }
        for text in self.texts() {
            *text = clip(text, limit);
        }
        for entry in &mut self.entries {
            cut(&mut entry.alert, limit);
            for row in &mut entry.rows {
                // A URL that is cut leads nowhere.
                row.url = None;
            }
        }
        true
    }

    /// All texts of any length that are shown.
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let digest = self.digest.iter_mut();
        let entries = self.entries.iter_mut().flat_map(|entry| {
            let rows = entry.rows.iter_mut().map(|row| &mut row.value);
            [&mut entry.headline, &mut entry.instance]
                .into_iter()
                .chain(&mut entry.message)
                .chain(rows)
        });
        [&mut self.title, &mut self.subject, &mut self.receiver]
            .into_iter()
            .chain(&mut self.intro)
            .chain(&mut self.batches)
            .chain(entries)
            .chain(digest.flat_map(|digest| {
                let names = digest
                    .counts
                    .iter_mut()
                    .flat_map(|counted| &mut counted.items);
                digest
                    .lines
                    .iter_mut()
                    .chain(names.map(|item| &mut item.name))
            }))
    }
}

fn cut(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = clip(text, limit),
        Value::Array(items) => items.iter_mut().for_each(|item| cut(item, limit)),
        Value::Object(fields) => fields.values_mut().for_each(|field| cut(field, limit)),
        _ => {}
    }
}
