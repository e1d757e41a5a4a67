//! What hides what.

use serde_saphyr::{Location, Spanned};

use super::Checker;
use super::label::{exists, matcher};
use crate::Matcher;
use crate::config::Inhibit;
use crate::raw;

/// Pairs in a file; each is looked at with each alert.
const PAIRS_LIMIT: usize = 100;

impl Checker<'_> {
    pub(super) fn inhibit(&mut self, raw: Option<Vec<Spanned<raw::Inhibit>>>) -> Vec<Inhibit> {
        let raw = raw.unwrap_or_default();
        if let Some(beyond) = raw.get(PAIRS_LIMIT) {
            let message = format!("`inhibit`: at most {PAIRS_LIMIT} pairs");
            self.error(beyond.referenced, message);
        }
        raw.into_iter().map(|pair| self.pair(pair)).collect()
    }

    fn pair(&mut self, raw: Spanned<raw::Inhibit>) -> Inhibit {
        let (at, raw) = (raw.referenced, raw.value);
        Inhibit {
            source: self.side("source", raw.source, at),
            target: self.side("target", raw.target, at),
            equal: self.equal(raw.equal.unwrap_or_default()),
        }
    }

    /// Matchers that are there: without any, one side would be everything.
    fn side(
        &mut self,
        key: &str,
        raw: Option<Spanned<Vec<Spanned<String>>>>,
        owner: Location,
    ) -> Vec<Matcher> {
        let Some(raw) = raw else {
            self.error(owner, format!("the key `{key}` is missing here"));
            return Vec::new();
        };
        if raw.value.is_empty() {
            self.error(
                raw.referenced,
                format!("`{key}` is empty: it would be everything"),
            );
        }
        let mut matchers = Vec::new();
        for text in raw.value {
            match matcher(&text.value) {
                Ok(matcher) => matchers.push(matcher),
                Err(message) => self.error(text.referenced, message),
            }
        }
        matchers
    }

    fn equal(&mut self, raw: Vec<Spanned<String>>) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        for label in raw {
            if let Err(message) = exists(&label.value) {
                self.error(label.referenced, message);
            } else if !labels.contains(&label.value) {
                labels.push(label.value);
            }
        }
        labels
    }
}
