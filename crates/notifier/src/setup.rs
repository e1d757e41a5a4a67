//! The configuration, as far as deciding goes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use syncbell_config::{Instance, Receiver, Route, RuleSwitches};

use crate::decide::{Quiet, Rules};
use crate::delivery::Target;
use crate::hold::{Compiled, Pairs};
use crate::route::{self, Routes};

/// Of an instance that is known from events alone: the default `poll_every`.
const POLL_EVERY: SignedDuration = SignedDuration::from_secs(15);
/// The default of `rules.blind.after`.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// Who is told, by which rules, and what is watched.
pub(crate) struct Setup {
    pub(crate) routes: Routes,
    pub(crate) rules: Rules,
    /// Everything that can be delivered to, whether a route leads there or not.
    targets: BTreeSet<Target>,
    /// What hides what.
    pub(crate) pairs: Pairs,
    /// Of silences, which come and go.
    pub(crate) compiled: Compiled,
    /// The configured instances, and how often each is polled.
    instances: BTreeMap<String, SignedDuration>,
    /// What is to run, by instance.
    quiet: BTreeMap<String, Vec<Quiet>>,
}

impl Setup {
    /// From the checked configuration.
    pub(crate) fn new(
        route: &Route,
        receivers: &[Receiver],
        rules: &RuleSwitches,
        instances: &[Instance],
    ) -> Self {
        let mut quiet: BTreeMap<String, Vec<Quiet>> = BTreeMap::new();
        for watch in rules.silent.iter().flat_map(|silent| &silent.watched) {
            let of_instance = quiet.entry(watch.instance.clone()).or_default();
            of_instance.push(Quiet::from(&watch.subject));
        }
        let instances = instances.iter().map(|instance| {
            let poll_every = SignedDuration::try_from(instance.poll_every);
            (instance.id.clone(), poll_every.unwrap_or(POLL_EVERY))
        });
        Self {
            routes: Routes::new(route, receivers).flapping(rules.flapping),
            rules: Rules::of(rules),
            targets: receivers.iter().flat_map(route::targets).collect(),
            pairs: Pairs::new(&rules.inhibit),
            compiled: Compiled::default(),
            instances: instances.collect(),
            quiet,
        }
    }

    /// Whether the configuration has it.
    pub(crate) fn has(&self, target: &Target) -> bool {
        self.targets.contains(target)
    }

    /// Whether the configuration has a receiver of this name.
    pub(crate) fn has_receiver(&self, name: &str) -> bool {
        self.targets_of(name).next().is_some()
    }

    /// All targets of a receiver; none: it is not in the configuration.
    pub(crate) fn targets_of(&self, receiver: &str) -> impl Iterator<Item = &Target> {
        let all = self.targets.iter();
        all.filter(move |target| target.receiver == receiver)
    }

    /// The configured instances.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(String::as_str)
    }

    /// Whether the configuration names it.
    pub(crate) fn names(&self, instance: &str) -> bool {
        self.instances.contains_key(instance)
    }

    /// What is to run on it.
    pub(crate) fn quiet(&self, instance: &str) -> &[Quiet] {
        self.quiet.get(instance).map_or(&[], Vec::as_slice)
    }

    /// How long past the time by which it was to be heard of it is overdue; none: `blind` is off.
    pub(crate) fn grace(&self, instance: &str) -> Option<SignedDuration> {
        self.rules.blind.map(|_| self.patience(instance))
    }

    /// The same, also where `blind` is off.
    pub(crate) fn patience(&self, instance: &str) -> SignedDuration {
        let poll_every = self.instances.get(instance).copied().unwrap_or(POLL_EVERY);
        let twice = poll_every.checked_mul(2).unwrap_or(SignedDuration::MAX);
        self.rules.blind.unwrap_or(PATIENCE).max(twice)
    }
}
