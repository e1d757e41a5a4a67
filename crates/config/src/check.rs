//! Raw → checked: every problem is collected, every default filled in.

mod discovery;
mod files;
mod kafka;
mod receiver;
mod route;
mod rules;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use url::Url;

use crate::config::{Admin, Baseline, Config, Discovery, Filters, Instance};
use crate::problem::{Level, Problem, Problems, Source};
use crate::raw::{self, Later, Text};
use crate::{Env, Part, duration};
pub use kafka::RESERVED_KAFKA_PROPERTIES;
#[cfg(test)]
pub(crate) use route::{LABELS, RULES};

/// Requests a second that one account may make in one region.
const BUDGET_PER_SECOND: f64 = 10.0;

/// Checks `raw`, which was read from `source`.
pub(crate) fn check(
    raw: raw::Config,
    source: Source,
    folder: &Path,
    part: Part,
    env: Env<'_>,
) -> Result<Config, Problems> {
    let mut checker = Checker {
        source,
        folder,
        env,
        is_needed_here: true,
        problems: Vec::new(),
    };
    // systemd joins several folders by colons.
    let state_directory = env("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next().map(str::to_owned))
        .filter(|path| !path.is_empty());
    let data_dir = raw
        .data_dir
        .map(|path| path.value)
        .or(state_directory)
        .unwrap_or_else(|| "./syncbell-data".to_owned());
    let mut config = Config::new(data_dir);
    (config.instances, config.discoveries) = checker.instances(raw.instances);
    config.bus = checker.bus(raw.bus);
    let names = receiver::names(raw.receivers.as_ref());
    checker.is_needed_here = part.needs_receivers();
    let receivers = checker.receivers(raw.receivers);
    checker.is_needed_here = true;
    let route = checker.route(raw.route, &names);
    if part.needs_receivers() {
        (config.receivers, config.route) = (receivers, route);
    }
    config.rules = checker.rules(raw.rules, &config.instances);
    config.baseline = Baseline {
        alert: raw
            .baseline
            .and_then(|baseline| baseline.alert)
            .unwrap_or(false),
    };
    config.admin = checker.admin(raw.admin);
    if checker
        .problems
        .iter()
        .any(|problem| problem.level == Level::Error)
    {
        return Err(Problems(checker.problems));
    }
    config.warnings = checker.problems;
    Ok(config)
}

/// Collects problems while it converts.
pub(crate) struct Checker<'a> {
    source: Source,
    folder: &'a Path,
    env: Env<'a>,
    /// Whether what is looked at is for the service that reads the file.
    is_needed_here: bool,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn error(&mut self, at: Location, message: impl Into<String>) {
        self.add(Level::Error, at, message.into());
    }

    fn warn(&mut self, at: Location, message: impl Into<String>) {
        self.add(Level::Warning, at, message.into());
    }

    /// What the file names and this machine does not have, or has in another form.
    fn lack(&mut self, at: Location, message: String) {
        if self.is_needed_here {
            self.error(at, message);
        } else {
            self.warn(at, format!("{message} (not needed by this service)"));
        }
    }

    fn add(&mut self, level: Level, at: Location, message: String) {
        self.problems.push(self.source.problem(level, at, message));
    }

    /// A key whose feature is not there yet.
    fn later(&mut self, key: &str, value: &Later) {
        if let Some(value) = value {
            let message = format!("`{key}` is not available in this version");
            self.problems
                .push(self.source.problem_at_key(key, value.referenced, message));
        }
    }

    /// A text that must be there and not be empty; `owner` is where its absence is shown.
    fn required(&mut self, key: &str, value: Text, owner: Location) -> Option<Spanned<String>> {
        match value {
            Some(value) if !value.value.trim().is_empty() => Some(value),
            Some(value) => {
                self.error(value.referenced, format!("`{key}` is empty"));
                None
            }
            None => {
                self.error(owner, format!("the key `{key}` is missing here"));
                None
            }
        }
    }

    fn duration(&mut self, key: &str, value: Text, default: Duration) -> Duration {
        self.optional_duration(key, value).unwrap_or(default)
    }

    fn optional_duration(&mut self, key: &str, value: Text) -> Option<Duration> {
        let value = value?;
        let parsed = duration::parse(&value.value);
        if parsed.is_none() {
            let message = format!("`{key}`: expected {}", duration::EXPECTED);
            self.error(value.referenced, message);
        }
        parsed
    }

    /// A duration that is not zero.
    fn positive(&mut self, key: &str, value: Text) -> Option<Duration> {
        let at = value.as_ref().map(|value| value.referenced)?;
        let parsed = self.optional_duration(key, value)?;
        if parsed.is_zero() {
            self.error(at, format!("`{key}`: expected more than `0s`"));
        }
        Some(parsed)
    }

    /// An http or https URL without credentials in it.
    fn url(&mut self, key: &str, value: &Spanned<String>) -> Option<Url> {
        let at = value.referenced;
        match Url::parse(value.value.trim()) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() => {
                self.error(at, format!("`{key}`: expected an http:// or https:// URL"));
                None
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                self.error(
                    at,
                    format!("`{key}`: a URL must not hold a user name or password"),
                );
                None
            }
            Ok(url) => Some(url),
            Err(error) => {
                self.error(
                    at,
                    format!("`{key}`: expected an http:// or https:// URL: {error}"),
                );
                None
            }
        }
    }

    fn instances(
        &mut self,
        raw: Option<Spanned<Vec<Spanned<raw::Instance>>>>,
    ) -> (Vec<Instance>, Vec<Discovery>) {
        let (mut instances, mut discoveries) = (Vec::<Instance>::new(), Vec::new());
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `instances` is missing: nothing to watch",
            );
            return (instances, discoveries);
        };
        if raw.value.is_empty() {
            self.error(raw.referenced, "`instances` is empty: nothing to watch");
        }
        let at = raw.referenced;
        let mut ids = HashSet::new();
        for raw in raw.value {
            if let Some(id) = &raw.value.id
                && !ids.insert(id.value.clone())
            {
                self.error(
                    id.referenced,
                    format!("the instance {} stands here twice", id.value),
                );
            }
            self.entry(raw, &mut instances, &mut discoveries);
        }
        let mut asked: BTreeMap<&str, f64> = BTreeMap::new();
        for instance in &instances {
            // A shorter interval has been refused above.
            let seconds = instance.poll_every.as_secs_f64().max(1.0);
            *asked.entry(&instance.region).or_default() += 1.0 / seconds;
        }
        for (region, per_second) in asked {
            if per_second > BUDGET_PER_SECOND {
                let message = format!(
                    "the instances of {region} ask more often than 10 times a second: \
                     they will be slowed down to that"
                );
                self.warn(at, message);
            }
        }
        (instances, discoveries)
    }

    /// An instance, or a discovery of instances.
    fn entry(
        &mut self,
        raw: Spanned<raw::Instance>,
        instances: &mut Vec<Instance>,
        discoveries: &mut Vec<Discovery>,
    ) {
        let at = raw.referenced;
        let mut raw = raw.value;
        let Some(discover) = raw.discover.take() else {
            let id = self.required("id", raw.id.take(), at);
            let region = self.required("region", raw.region.take(), at);
            if let (Some(id), Some(region)) = (id, region) {
                instances.extend(self.instance(id.value, &region, &raw, at));
            }
            return;
        };
        for (key, value) in [("id", &raw.id), ("region", &raw.region)] {
            if let Some(value) = value {
                let message = format!("`{key}` has no place beside `discover`");
                self.error(value.referenced, message);
            }
        }
        let found = self.discoveries(discover, |checker, id, region| {
            checker.instance(id, &region, &raw, at)
        });
        discoveries.extend(found);
    }

    /// `raw` without its id and region.
    fn instance(
        &mut self,
        id: String,
        region: &Spanned<String>,
        raw: &raw::Instance,
        at: Location,
    ) -> Option<Instance> {
        let instance = self
            .region(region)
            .and_then(|region| Instance::try_new(id, region));
        let mut instance = instance?;
        if let Some(endpoint) = &raw.endpoint
            && let Some(url) = self.url("endpoint", endpoint)
        {
            if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
                self.error(
                    endpoint.referenced,
                    "`endpoint`: expected a URL without path and query",
                );
            }
            instance.endpoint = url;
        }
        let poll_at = raw.poll_every.as_ref().map_or(at, |text| text.referenced);
        let poll_every = raw.poll_every.clone();
        instance.poll_every = self.duration("poll_every", poll_every, instance.poll_every);
        if instance.poll_every < Duration::from_secs(1) {
            self.error(poll_at, "`poll_every`: expected at least `1s`");
        }
        if let Some(sweep_every) = &raw.sweep_every {
            let sweep_at = sweep_every.referenced;
            instance.sweep_every = self.duration(
                "sweep_every",
                Some(sweep_every.clone()),
                instance.sweep_every,
            );
            if instance.sweep_every < instance.poll_every {
                self.error(sweep_at, "`sweep_every`: expected at least `poll_every`");
            }
        } else {
            instance.sweep_every = instance.sweep_every.max(instance.poll_every);
        }
        if let Some(raw) = &raw.filters {
            let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            instance.filters = Filters {
                namespace: filled(&raw.namespace),
                repo: filled(&raw.repo),
                tag: filled(&raw.tag),
                batch_id: filled(&raw.batch_id),
            };
        }
        Some(instance)
    }

    fn admin(&mut self, raw: Option<raw::Admin>) -> Admin {
        let mut admin = Admin::default();
        let Some(raw) = raw else { return admin };
        admin.listen = self.address("listen", raw.listen, admin.listen);
        admin.notifier_listen = self.address(
            "notifier_listen",
            raw.notifier_listen,
            admin.notifier_listen,
        );
        admin
    }

    fn address(&mut self, key: &str, value: Text, default: SocketAddr) -> SocketAddr {
        let Some(value) = value else { return default };
        if let Ok(address) = value.value.parse::<SocketAddr>() {
            if !address.ip().is_loopback() {
                let message = format!(
                    "`{key}` is open to other machines: health and metrics can be read \
                         there (the API answers only to this machine)"
                );
                self.warn(value.referenced, message);
            }
            address
        } else {
            let message = format!("`{key}`: expected an address such as `127.0.0.1:9464`");
            self.error(value.referenced, message);
            default
        }
    }
}

/// `cn-shanghai`: lower case words and digits joined by single hyphens; it becomes part of a host name.
fn is_region(region: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    region.len() <= 63
        && region
            .split('-')
            .all(|word| !word.is_empty() && word.chars().all(fits))
}
