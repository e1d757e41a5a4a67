//! Raw → checked: every problem is collected, every default filled in.

mod receiver;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use url::Url;

use crate::config::{
    Admin, Baseline, Bus, Config, Filters, Instance, MatchOp, Matcher, Route, RuleSwitches,
};
use crate::problem::{Level, Problem, Problems, suggestion};
use crate::raw::{self, Later, Text};
use crate::{Env, duration};

/// Requests a second that one account may make in one region.
const BUDGET_PER_SECOND: f64 = 10.0;

/// Labels that entries have; kept in step with the notifier by a test there.
const LABELS: [&str; 17] = [
    "instance",
    "rule",
    "severity",
    "status",
    "reason",
    "incident",
    "sync_rule_id",
    "from.region_id",
    "from.instance_id",
    "from.namespace",
    "from.repo",
    "from.tag",
    "to.region_id",
    "to.instance_id",
    "to.namespace",
    "to.repo",
    "to.tag",
];

/// Checks `raw`, which was read from `text`.
pub(crate) fn check(
    raw: raw::Config,
    text: &str,
    file: &str,
    folder: &Path,
    env: Env<'_>,
) -> Result<Config, Problems> {
    let mut checker = Checker {
        text,
        file,
        folder,
        env,
        problems: Vec::new(),
    };
    let state_directory = env("STATE_DIRECTORY").filter(|path| !path.is_empty());
    let data_dir = raw
        .data_dir
        .map(|path| path.value)
        .or(state_directory)
        .unwrap_or_else(|| "./syncbell-data".to_owned());
    let mut config = Config::new(data_dir);
    config.instances = checker.instances(raw.instances);
    checker.bus(raw.bus);
    config.bus = Bus::Embedded;
    let names = receiver::names(raw.receivers.as_ref());
    config.receivers = checker.receivers(raw.receivers);
    config.route = checker.route(raw.route, &names);
    config.rules = checker.rules(raw.rules);
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
    text: &'a str,
    file: &'a str,
    folder: &'a Path,
    env: Env<'a>,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn error(&mut self, at: Location, message: impl Into<String>) {
        self.add(Level::Error, at, message.into());
    }

    fn warn(&mut self, at: Location, message: impl Into<String>) {
        self.add(Level::Warning, at, message.into());
    }

    fn add(&mut self, level: Level, at: Location, message: String) {
        self.problems
            .push(Problem::at(level, at, self.file, self.text, message));
    }

    /// A key whose feature is not there yet.
    fn later(&mut self, key: &str, value: &Later) {
        if let Some(value) = value {
            let at = value.referenced;
            self.error(at, format!("`{key}` is not available in this version"));
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

    fn instances(&mut self, raw: Option<Spanned<Vec<Spanned<raw::Instance>>>>) -> Vec<Instance> {
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `instances` is missing: nothing to watch",
            );
            return Vec::new();
        };
        if raw.value.is_empty() {
            self.error(raw.referenced, "`instances` is empty: nothing to watch");
        }
        let at = raw.referenced;
        let mut instances: Vec<Instance> = Vec::new();
        for raw in raw.value {
            let place = raw.referenced;
            let Some(instance) = self.instance(raw) else {
                continue;
            };
            if instances.iter().any(|known| known.id == instance.id) {
                self.error(
                    place,
                    format!("the instance {} stands here twice", instance.id),
                );
            }
            instances.push(instance);
        }
        let mut regions: Vec<&str> = instances.iter().map(|i| i.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        let crowded: Vec<String> = regions
            .into_iter()
            .filter(|region| {
                let asked = instances.iter().filter(|i| i.region == *region);
                asked.map(|i| 1.0 / i.poll_every.as_secs_f64()).sum::<f64>() > BUDGET_PER_SECOND
            })
            .map(str::to_owned)
            .collect();
        for region in crowded {
            let message = format!(
                "the instances of {region} ask more often than 10 times a second: \
                 they will be slowed down to that"
            );
            self.warn(at, message);
        }
        instances
    }

    fn instance(&mut self, raw: Spanned<raw::Instance>) -> Option<Instance> {
        let at = raw.referenced;
        let raw = raw.value;
        if raw.discover.is_some() {
            self.later("discover", &raw.discover);
            return None;
        }
        let id = self.required("id", raw.id, at);
        let region = self.required("region", raw.region, at)?;
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let instance = Instance::try_new(id?.value, region.value.clone())
            .filter(|_| region.value.chars().all(shape));
        let Some(mut instance) = instance else {
            self.error(
                region.referenced,
                "`region`: expected a region id such as `cn-shanghai`",
            );
            return None;
        };
        if let Some(endpoint) = &raw.endpoint
            && let Some(url) = self.url("endpoint", endpoint)
        {
            if url.path() != "/" || url.query().is_some() {
                self.error(
                    endpoint.referenced,
                    "`endpoint`: expected a URL without path and query",
                );
            }
            instance.endpoint = url;
        }
        let poll_at = raw.poll_every.as_ref().map_or(at, |text| text.referenced);
        instance.poll_every = self.duration("poll_every", raw.poll_every, instance.poll_every);
        if instance.poll_every < Duration::from_secs(1) {
            self.error(poll_at, "`poll_every`: expected at least `1s`");
        }
        let sweep_at = raw.sweep_every.as_ref().map(|text| text.referenced);
        instance.sweep_every = self.duration("sweep_every", raw.sweep_every, instance.sweep_every);
        if let Some(sweep_at) = sweep_at
            && instance.sweep_every < instance.poll_every
        {
            self.error(sweep_at, "`sweep_every`: expected at least `poll_every`");
        }
        if let Some(raw) = raw.filters {
            let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
            instance.filters = Filters {
                namespace: filled(raw.namespace),
                repo: filled(raw.repo),
                tag: filled(raw.tag),
            };
        }
        Some(instance)
    }

    fn bus(&mut self, raw: Option<Spanned<raw::Bus>>) {
        let Some(raw) = raw else { return };
        self.later("kafka", &raw.value.kafka);
        if raw.value.embedded.is_none() && raw.value.kafka.is_none() {
            self.error(raw.referenced, "`bus`: expected `{embedded: {}}`");
        }
    }

    fn route(&mut self, raw: Option<Spanned<raw::Route>>, names: &[String]) -> Route {
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `route` is missing: nobody would be told",
            );
            return Route::default();
        };
        let at = raw.referenced;
        let raw = raw.value;
        self.later("fallback", &raw.fallback);
        self.later("routes", &raw.routes);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut route = Route::default();
        match raw.receivers {
            Some(named) if !named.value.is_empty() => {
                for name in named.value {
                    if !names.contains(&name.value.as_str()) {
                        let hint = suggestion(&name.value, &names);
                        let message = format!("no receiver is named `{}`{hint}", name.value);
                        self.error(name.referenced, message);
                    } else if !route.receivers.contains(&name.value) {
                        route.receivers.push(name.value);
                    }
                }
            }
            Some(named) => self.error(named.referenced, "`receivers` is empty: nobody is told"),
            None => self.error(
                at,
                "the key `receivers` is missing here: nobody would be told",
            ),
        }
        for text in raw.matchers.unwrap_or_default() {
            match matcher(&text.value) {
                Ok(matcher) => route.matchers.push(matcher),
                Err(message) => self.error(text.referenced, message),
            }
        }
        if let Some(labels) = raw.group_by {
            let only = labels.len() == 1;
            for label in &labels {
                let each = label.value == "..." && only;
                if !each && !LABELS.contains(&label.value.as_str()) {
                    let hint = suggestion(&label.value, &LABELS);
                    self.error(
                        label.referenced,
                        format!("unknown label `{}`{hint}", label.value),
                    );
                }
            }
            route.group_by = Some(labels.into_iter().map(|label| label.value).collect());
        }
        route.group_wait = self.optional_duration("group_wait", raw.group_wait);
        route.group_interval = self.optional_duration("group_interval", raw.group_interval);
        route.repeat_interval = self.optional_duration("repeat_interval", raw.repeat_interval);
        route
    }

    fn rules(&mut self, raw: Option<raw::Rules>) -> RuleSwitches {
        let mut rules = RuleSwitches::default();
        let Some(raw) = raw else { return rules };
        for (key, value) in [
            ("stuck", &raw.stuck),
            ("vanished", &raw.vanished),
            ("unknown_status", &raw.unknown_status),
            ("blind", &raw.blind),
            ("slow", &raw.slow),
            ("silent", &raw.silent),
        ] {
            self.later(key, value);
        }
        let on = |switch: Option<raw::Switch>, default| switch.map_or(default, |s| s.enabled);
        rules.failed = on(raw.failed, rules.failed);
        rules.issue = on(raw.issue, rules.issue);
        rules.canceled = on(raw.canceled, rules.canceled);
        rules.expire_after = self.duration("expire_after", raw.expire_after, rules.expire_after);
        rules
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

fn matcher(text: &str) -> Result<Matcher, String> {
    let at = text
        .find(['=', '!'])
        .ok_or("expected `label=value`, `!=`, `=~` or `!~`")?;
    let (label, rest) = text.split_at(at);
    let ops = [
        ("=~", MatchOp::Matches),
        ("!~", MatchOp::NotMatches),
        ("!=", MatchOp::NotEquals),
        ("=", MatchOp::Equals),
    ];
    let found = ops
        .into_iter()
        .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)));
    let Some((op, value)) = found else {
        return Err("expected `label=value`, `!=`, `=~` or `!~`".to_owned());
    };
    let label = label.trim();
    if !LABELS.contains(&label) {
        return Err(format!(
            "unknown label `{label}`{}",
            suggestion(label, &LABELS)
        ));
    }
    Ok(Matcher {
        label: label.to_owned(),
        op,
        value: value.trim().to_owned(),
    })
}

/// The labels that `match` and `group_by` know.
#[cfg(test)]
pub(crate) fn labels() -> &'static [&'static str] {
    &LABELS
}
