//! Examples of who is told what: whether what they name exists. Whether they hold is tried by `check`.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use super::route::Known;
use crate::config::Test;
use crate::problem::{Level, suggestion};
use crate::raw::{self, SEVERITIES};

/// Examples of one file.
const TESTS_LIMIT: usize = 1_000;

impl Checker<'_> {
    pub(super) fn tests(
        &mut self,
        raw: Option<Vec<Spanned<raw::Test>>>,
        known: &Known<'_>,
    ) -> Vec<Test> {
        let mut tests = Vec::new();
        for raw in raw.unwrap_or_default() {
            let at = raw.referenced;
            if tests.len() == TESTS_LIMIT {
                self.error(at, format!("more than {TESTS_LIMIT} tests"));
                break;
            }
            tests.extend(self.test(raw.value, at, known));
        }
        tests
    }

    fn test(&mut self, raw: raw::Test, at: Location, known: &Known<'_>) -> Option<Test> {
        let name = self.required("name", raw.name, at);
        let input = match (raw.task, raw.event) {
            (Some(task), None) => Some(task.value),
            (None, Some(event)) if event.value.get("specversion").is_some() => Some(event.value),
            (None, Some(event)) => {
                let message = "`event`: it has no `specversion`; a sync task is a `task`";
                self.error(event.referenced, message);
                None
            }
            _ => {
                self.error(at, "expected exactly one of `task` and `event` here");
                None
            }
        };
        let after = self.duration("after", raw.after, Duration::ZERO);
        let Some(expect) = raw.expect else {
            self.error(at, "the key `expect` is missing here");
            return None;
        };
        let (expect_at, expect) = (expect.referenced, expect.value);
        if expect.receivers.is_none() && expect.rule.is_none() && expect.severity.is_none() {
            let message = "it expects nothing: name `receivers`, `rule` or `severity`";
            self.error(expect_at, message);
        }
        let receivers = expect.receivers.map(|names| {
            let mut told: Vec<String> = Vec::new();
            for name in names.value {
                told.extend(self.named_receiver(name, known));
            }
            told.sort();
            told.dedup();
            told
        });
        let rules: Vec<&str> = known.rules().collect();
        let place = self.source.problem(Level::Error, at, String::new()).place();
        Some(Test {
            name: name?.value,
            place,
            input: input?,
            after,
            receivers,
            rule: self.one_of("rule", expect.rule, &rules),
            severity: self.one_of("severity", expect.severity, &SEVERITIES),
        })
    }

    fn one_of(&mut self, what: &str, word: raw::Text, known: &[&str]) -> Option<String> {
        let word = word?;
        if !known.contains(&word.value.as_str()) {
            let hint = suggestion(&word.value, known);
            self.error(
                word.referenced,
                format!("unknown {what} `{}`{hint}", word.value),
            );
        }
        Some(word.value)
    }
}
