//! Rules that the file adds, and what alerts of a rule carry.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Checker;
use super::label::{self, RULES};
use crate::config::{Marks, OwnRule, Severity};
use crate::problem::suggestion;
use crate::raw::{self, SEVERITIES};

/// Labels, or annotations, as they stand in the file.
pub(super) type RawMarks = Option<BTreeMap<String, Spanned<String>>>;

/// Rules that one file adds: each is asked about each event.
const RULES_LIMIT: usize = 100;

/// A name stands in many rows.
const NAME_BYTES: usize = 32;

const MARKS_LIMIT: usize = 32;
const MARK_NAME_BYTES: usize = 64;
const MARK_BYTES: usize = 1_024;

impl Checker<'_> {
    pub(super) fn own_rules(&mut self, raw: Vec<Spanned<raw::OwnRule>>) -> Vec<OwnRule> {
        let mut rules: Vec<OwnRule> = Vec::new();
        for raw in raw {
            let (at, raw) = (raw.referenced, raw.value);
            if rules.len() == RULES_LIMIT {
                self.error(at, format!("more than {RULES_LIMIT} rules"));
                break;
            }
            let Some(name) = self.required("name", raw.name, at) else {
                continue;
            };
            if let Some(what) = unfit(&name.value, &rules) {
                self.error(name.referenced, what);
            }
            let texts = raw.matchers.unwrap_or_default();
            if texts.is_empty() {
                let message = "the key `match` is missing here, or empty: every task would match";
                self.error(at, message);
            }
            let mut matchers = Vec::new();
            for text in texts {
                match label::of_task(&text.value) {
                    Ok(matcher) => matchers.push(matcher),
                    Err(message) => self.error(text.referenced, message),
                }
            }
            let mut marks = self.marks(raw.severity, raw.labels, raw.annotations);
            marks.severity.get_or_insert(Severity::Warning);
            rules.push(OwnRule {
                name: name.value,
                matchers,
                held_for: self.positive("for", raw.held_for),
                marks,
            });
        }
        rules
    }

    pub(super) fn marks(
        &mut self,
        severity: raw::Text,
        labels: RawMarks,
        annotations: RawMarks,
    ) -> Marks {
        Marks {
            severity: severity.and_then(|severity| self.severity(&severity)),
            labels: self.texts("label", labels),
            annotations: self.texts("annotation", annotations),
        }
    }

    fn severity(&mut self, raw: &Spanned<String>) -> Option<Severity> {
        match raw.value.as_str() {
            "critical" => Some(Severity::Critical),
            "error" => Some(Severity::Error),
            "warning" => Some(Severity::Warning),
            "info" => Some(Severity::Info),
            other => {
                let hint = suggestion(other, &SEVERITIES);
                self.error(raw.referenced, format!("unknown severity `{other}`{hint}"));
                None
            }
        }
    }

    fn texts(&mut self, what: &str, raw: RawMarks) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (name, value) in raw.unwrap_or_default() {
            let mut bytes = name.bytes();
            let begins = bytes
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            let fits = begins && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !fits || name.len() > MARK_NAME_BYTES {
                let message = format!(
                    "{what} `{name}`: expected letters, digits and `_`, at most {MARK_NAME_BYTES}"
                );
                self.error(value.referenced, message);
            } else if value.value.len() > MARK_BYTES {
                let message = format!("{what} `{name}`: more than {MARK_BYTES} bytes");
                self.error(value.referenced, message);
            } else if texts.len() == MARKS_LIMIT {
                self.error(value.referenced, format!("more than {MARKS_LIMIT} {what}s"));
                break;
            } else {
                texts.insert(name, value.value);
            }
        }
        texts
    }
}

/// Why a rule cannot be named so.
fn unfit(name: &str, before: &[OwnRule]) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.len() > NAME_BYTES || !name.bytes().all(fits) {
        let expected = "expected small letters, digits, `_` and `-`";
        return Some(format!("`{name}`: {expected}, at most {NAME_BYTES}"));
    }
    if RULES.contains(&name) {
        return Some(format!(
            "`{name}` is a built-in rule: say it as `rules.{name}`"
        ));
    }
    let twice = before.iter().any(|rule| rule.name == name);
    twice.then(|| format!("a rule named `{name}` stands here twice"))
}

/// What routes can match: the names of all rules, and the labels that they give.
pub(super) fn names(raw: Option<&raw::Rules>) -> (Vec<String>, BTreeSet<String>) {
    let mut rules: Vec<String> = RULES.map(str::to_owned).to_vec();
    let mut labels = BTreeSet::new();
    let Some(raw) = raw else {
        return (rules, labels);
    };
    let switches = [
        &raw.failed,
        &raw.issue,
        &raw.vanished,
        &raw.unknown_status,
        &raw.canceled,
    ];
    let timed = [&raw.stuck, &raw.blind, &raw.slow];
    let own = || raw.own.iter().flatten();
    let given = switches
        .into_iter()
        .flatten()
        .map(|rule| &rule.labels)
        .chain(timed.into_iter().flatten().map(|rule| &rule.labels))
        .chain(raw.silent.iter().map(|rule| &rule.value.labels))
        .chain(own().map(|rule| &rule.value.labels));
    labels.extend(given.flatten().flat_map(BTreeMap::keys).cloned());
    rules.extend(own().filter_map(|rule| Some(rule.value.name.as_ref()?.value.clone())));
    (rules, labels)
}
