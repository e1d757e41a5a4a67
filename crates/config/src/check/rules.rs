//! The rules: which are on, their limits, and what `silent` watches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use super::own_rule::RawMarks;
use crate::config::{Instance, Marks, RuleSwitches, Silent, SilentSubject, SilentWatch};
use crate::problem::suggestion;
use crate::raw;

type MarksByName = BTreeMap<&'static str, Marks>;

const A_DAY: Duration = Duration::from_hours(24);

impl Checker<'_> {
    /// `instances`: those of the file that are right.
    pub(super) fn rules(
        &mut self,
        raw: Option<raw::Rules>,
        instances: &[Instance],
    ) -> RuleSwitches {
        let mut rules = RuleSwitches::default();
        let Some(raw) = raw else { return rules };
        let mut marks = BTreeMap::new();
        rules.failed = self.switch("failed", raw.failed, rules.failed, &mut marks);
        rules.issue = self.switch("issue", raw.issue, rules.issue, &mut marks);
        rules.vanished = self.switch("vanished", raw.vanished, rules.vanished, &mut marks);
        rules.unknown_status = self.switch(
            "unknown_status",
            raw.unknown_status,
            rules.unknown_status,
            &mut marks,
        );
        rules.canceled = self.switch("canceled", raw.canceled, rules.canceled, &mut marks);
        let (on, after) = (rules.stuck, rules.stuck_after);
        (rules.stuck, rules.stuck_after) = self.timed("stuck", raw.stuck, on, after, &mut marks);
        let (on, after) = (rules.blind, rules.blind_after);
        (rules.blind, rules.blind_after) = self.timed("blind", raw.blind, on, after, &mut marks);
        let (on, after) = (rules.slow, rules.slow_after);
        (rules.slow, rules.slow_after) = self.timed("slow", raw.slow, on, after, &mut marks);
        if let Some(mut silent) = raw.silent {
            let (labels, annotations) =
                (silent.value.labels.take(), silent.value.annotations.take());
            self.mark(
                "silent",
                silent.value.severity.take(),
                labels,
                annotations,
                &mut marks,
            );
            rules.silent = self.silent(silent, instances);
        }
        rules.marks = marks;
        rules.own = self.own_rules(raw.own.unwrap_or_default());
        rules.expire_after = self
            .positive("expire_after", raw.expire_after)
            .unwrap_or(rules.expire_after);
        rules
    }

    fn switch(
        &mut self,
        name: &'static str,
        raw: Option<raw::Switch>,
        enabled: bool,
        marks: &mut MarksByName,
    ) -> bool {
        let Some(raw) = raw else { return enabled };
        self.mark(name, raw.severity, raw.labels, raw.annotations, marks);
        raw.enabled.unwrap_or(enabled)
    }

    fn timed(
        &mut self,
        name: &'static str,
        raw: Option<raw::Timed>,
        enabled: bool,
        after: Duration,
        marks: &mut MarksByName,
    ) -> (bool, Duration) {
        let Some(raw) = raw else {
            return (enabled, after);
        };
        self.mark(name, raw.severity, raw.labels, raw.annotations, marks);
        let after = self.positive("after", raw.after).unwrap_or(after);
        (raw.enabled.unwrap_or(enabled), after)
    }

    fn mark(
        &mut self,
        name: &'static str,
        severity: raw::Text,
        labels: RawMarks,
        annotations: RawMarks,
        marks: &mut MarksByName,
    ) {
        let of_rule = self.marks(severity, labels, annotations);
        if of_rule != Marks::default() {
            marks.insert(name, of_rule);
        }
    }

    fn silent(&mut self, raw: Spanned<raw::Silent>, instances: &[Instance]) -> Option<Silent> {
        let (at, raw) = (raw.referenced, raw.value);
        let within = self.positive("within", raw.within).unwrap_or(A_DAY);
        let names_any = [&raw.sync_rules, &raw.repos]
            .into_iter()
            .flatten()
            .any(|list| !list.is_empty());
        let mut watched = BTreeSet::new();
        for text in raw.sync_rules.unwrap_or_default() {
            self.watch(&text, 1, instances, &mut watched);
        }
        for text in raw.repos.unwrap_or_default() {
            self.watch(&text, 2, instances, &mut watched);
        }
        if !raw.enabled.unwrap_or(false) {
            return None;
        }
        if !names_any {
            let message = "`silent` is on and watches nothing: name `sync_rules` or `repos`";
            self.error(at, message);
        }
        Some(Silent {
            within,
            watched: watched.into_iter().collect(),
        })
    }

    /// `text` is `parts` names joined by `/`, with an instance before them or without.
    fn watch(
        &mut self,
        text: &Spanned<String>,
        parts: usize,
        instances: &[Instance],
        watched: &mut BTreeSet<SilentWatch>,
    ) {
        let at = text.referenced;
        let names: Vec<&str> = text.value.split('/').collect();
        let expected = if parts == 1 {
            "expected `SYNC_RULE_ID` or `INSTANCE/SYNC_RULE_ID`"
        } else {
            "expected `NAMESPACE/REPO` or `INSTANCE/NAMESPACE/REPO`"
        };
        let (instance, names) = match names.as_slice() {
            names if names.iter().any(|name| name.trim().is_empty()) => {
                self.error(at, expected);
                return;
            }
            names if names.len() == parts => (self.only(instances, at, expected), names),
            [instance, names @ ..] if names.len() == parts => {
                (self.named(instance, instances, at), names)
            }
            _ => {
                self.error(at, expected);
                return;
            }
        };
        let subject = match names {
            [namespace, repo] => SilentSubject::Repo {
                namespace: (*namespace).to_owned(),
                repo: (*repo).to_owned(),
            },
            names => SilentSubject::SyncRule(names.concat()),
        };
        if let Some(instance) = instance
            && !watched.insert(SilentWatch { instance, subject })
        {
            self.error(at, format!("`{}` stands here twice", text.value));
        }
    }

    /// The one instance, if there is no other that could be meant. None of the file's being right is a
    /// problem that is told already.
    fn only(&mut self, instances: &[Instance], at: Location, expected: &str) -> Option<String> {
        match instances {
            [] => None,
            [one] => Some(one.id.clone()),
            several => {
                let message = format!(
                    "it may be of any of {} instances: {expected}",
                    several.len()
                );
                self.error(at, message);
                None
            }
        }
    }

    fn named(&mut self, id: &str, instances: &[Instance], at: Location) -> Option<String> {
        if instances.iter().any(|instance| instance.id == id) {
            return Some(id.to_owned());
        }
        let known: Vec<&str> = instances
            .iter()
            .map(|instance| instance.id.as_str())
            .collect();
        if !known.is_empty() {
            let message = format!("no instance has the id `{id}`{}", suggestion(id, &known));
            self.error(at, message);
        }
        None
    }
}
