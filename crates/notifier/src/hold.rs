//! Whether what would be told is held back: by a silence, or by what is wrong beside it (inhibition). Pure.
//!
//! In: an entry, the silences, the open sources that hide it, now. Out: what holds it, or nothing: it is told.
//!
//! The rules, which are Alertmanager's where it has one:
//! - Only what fires is held. A silence holds from `starts_at` on, and before `ends_at`, all that its matchers hold for.
//! - A pair of inhibition holds what matches `target` while something is open that matches `source` and says the
//!   same in every label of `equal`; a label that both lack is equal. Whether the source itself was told, or is held,
//!   does not matter. Nothing hides itself: not its own incident, and what matches both sides of a pair is not
//!   hidden by what does too.
//! - Other than there, an entry is held when it is decided: what was decided before a silence began, and waits in a
//!   group, is told. And what is held is not lost: when nothing holds it any more it is told, if it is open still
//!   (Alertmanager does so at the group's next interval).
//! - The end of what was never told is not told; the end of what was told is told at once, silenced or not: it is
//!   no noise, and who was paged must hear that it is over (Alertmanager tells it after the silence, or never).

mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_config::{Inhibit, MatchOp, Matcher, parse_matcher};
use syncbell_event::digest_id;

use crate::delivery::Entry;
use crate::label::Label;

pub use record::HeldLine;
pub(crate) use record::HoldRecord;

/// Silences whose matchers are kept in memory; twice as many as there may be.
const COMPILED_LIMIT: usize = 2_000;

/// Conditions on labels; all must hold.
#[derive(Clone, Debug)]
pub(crate) struct Matchers(Vec<(Option<Label>, Matcher)>);

impl Matchers {
    pub(crate) fn new(matchers: &[Matcher]) -> Self {
        let with_label = |matcher: &Matcher| (Label::named(&matcher.label), matcher.clone());
        Self(matchers.iter().map(with_label).collect())
    }

    /// From their texts; the error names the first that is none.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let parse = |text: &String| parse_matcher(text).map_err(|what| format!("{text:?}: {what}"));
        let matchers: Result<Vec<Matcher>, String> = texts.iter().map(parse).collect();
        Ok(Self::new(&matchers?))
    }

    pub(crate) fn hold(&self, entry: &Entry) -> bool {
        self.0.iter().all(|(label, matcher)| {
            // What nobody knows any more says nothing.
            let found = label.as_ref().map(|label| label.of(entry));
            matcher.holds(&found.unwrap_or_default())
        })
    }

    /// Whether they hold for what says nothing: then they may hold for everything.
    pub(crate) fn hold_for_nothing(&self) -> bool {
        self.0.iter().all(|(_, matcher)| matcher.holds(""))
    }
}

/// A silence, as far as holding goes.
#[derive(Clone, Debug)]
pub(crate) struct Mute {
    pub(crate) id: String,
    pub(crate) starts_at: Timestamp,
    /// Not itself a moment of the silence.
    pub(crate) ends_at: Timestamp,
    pub(crate) matchers: Arc<Matchers>,
}

/// Matchers of silences that were read before: a pattern takes its time. Those of a silence never change.
#[derive(Debug, Default)]
pub(crate) struct Compiled(Mutex<BTreeMap<String, Arc<Matchers>>>);

impl Compiled {
    /// Those of the silence `id`; none if they cannot be read.
    pub(crate) fn matchers(&self, id: &str, texts: &[String]) -> Option<Arc<Matchers>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(matchers) = known.get(id) {
            return Some(matchers.clone());
        }
        let matchers = Arc::new(Matchers::parse(texts).ok()?);
        if known.len() >= COMPILED_LIMIT {
            known.clear();
        }
        known.insert(id.to_owned(), matchers.clone());
        Some(matchers)
    }
}

impl Mute {
    fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

/// What holds an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holder {
    /// The silence of this id.
    Silence(String),
    /// The open incident of this id.
    Incident(String),
}

impl Holder {
    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Silence(id) => format!("silence {id}"),
            Self::Incident(id) => format!("inhibited by incident {id}"),
        }
    }
}

/// An open incident that is the source of a pair of which the entry is a target, with equal labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) incident: String,
    /// The source matches the target's side of the pair too, and so does the entry match the source's.
    pub(crate) both_sides: bool,
}

/// What holds `entry` now: the silence that ends last, else the first source.
pub(crate) fn holder(
    entry: &Entry,
    silences: &[Mute],
    sources: &[Source],
    now: Timestamp,
) -> Option<Holder> {
    if !entry.fires() {
        return None;
    }
    let silences = silences.iter();
    let silence = silences
        .filter(|silence| silence.is_active(now) && silence.matchers.hold(entry))
        .max_by_key(|silence| (silence.ends_at, &silence.id));
    if let Some(silence) = silence {
        return Some(Holder::Silence(silence.id.clone()));
    }
    let hides = |source: &&Source| !source.both_sides && source.incident != entry.item.incident;
    let source = sources.iter().find(hides)?;
    Some(Holder::Incident(source.incident.clone()))
}

/// Where the sources of a pair are kept that say the same in its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// Stands for the pair and the values of its labels.
    pub(crate) digest: String,
    /// Whether the entry is on the other side of the pair as well.
    pub(crate) both_sides: bool,
}

/// What hides what.
#[derive(Clone, Debug)]
pub(crate) struct Pairs(Vec<Pair>);

#[derive(Clone, Debug)]
struct Pair {
    digest: String,
    source: Matchers,
    target: Matchers,
    equal: Vec<Label>,
}

impl Pairs {
    /// What is built in, and what is configured.
    pub(crate) fn new(configured: &[Inhibit]) -> Self {
        let rule = |rule: &str| {
            let matcher = Matcher::try_new("rule", MatchOp::Equals, rule);
            matcher.expect("it is no pattern")
        };
        let built_in = Inhibit {
            source: vec![rule("blind")],
            target: vec![rule("stuck")],
            equal: vec!["instance".to_owned()],
        };
        let pairs = std::iter::once(&built_in).chain(configured);
        Self(pairs.map(Pair::new).collect())
    }

    /// Stands for all of them: another configuration has another one.
    pub(crate) fn digest(&self) -> String {
        digest_id(self.0.iter().map(|pair| Some(pair.digest.as_str())))
    }

    /// Where `entry` is a source.
    pub(crate) fn sources(&self, entry: &Entry) -> Vec<Meeting> {
        let meets = |pair: &Pair| pair.meeting(&pair.source, &pair.target, entry);
        self.0.iter().filter_map(meets).collect()
    }

    /// Where `entry` is a target.
    pub(crate) fn targets(&self, entry: &Entry) -> Vec<Meeting> {
        let meets = |pair: &Pair| pair.meeting(&pair.target, &pair.source, entry);
        self.0.iter().filter_map(meets).collect()
    }
}

impl Pair {
    fn new(pair: &Inhibit) -> Self {
        let mut parts: Vec<Option<String>> = Vec::new();
        for side in [&pair.source, &pair.target] {
            for matcher in side {
                parts.push(Some(matcher.label.clone()));
                parts.push(Some(format!("{:?}", matcher.op)));
                parts.push(Some(matcher.value.clone()));
            }
            parts.push(None);
        }
        parts.extend(pair.equal.iter().cloned().map(Some));
        let labels = pair.equal.iter();
        Self {
            digest: digest_id(parts.iter().map(Option::as_deref)),
            source: Matchers::new(&pair.source),
            target: Matchers::new(&pair.target),
            equal: labels.filter_map(|name| Label::named(name)).collect(),
        }
    }

    fn meeting(&self, side: &Matchers, other: &Matchers, entry: &Entry) -> Option<Meeting> {
        if !entry.fires() || !side.hold(entry) {
            return None;
        }
        let values: Vec<String> = self.equal.iter().map(|label| label.of(entry)).collect();
        let parts = std::iter::once(self.digest.as_str()).chain(values.iter().map(String::as_str));
        Some(Meeting {
            digest: digest_id(parts.map(Some)),
            both_sides: other.hold(entry),
        })
    }
}

#[cfg(test)]
mod tests;
