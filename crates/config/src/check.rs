//! Raw → checked: every problem is collected, every default filled in.

mod chat;
mod credentials;
mod discovery;
mod files;
mod flapping;
mod inhibit;
mod instances;
mod kafka;
mod receiver;
mod retention;
mod route;
mod label;
mod own_rule;
mod rules;
mod templates;
mod test;
mod watchdog;
mod webhook;
mod window;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use url::Url;

use crate::config::{Admin, Baseline, Config, Credentials, Disk, Egress, Language, WayOut};
use crate::problem::{Level, Problem, Problems, Source};
use crate::raw::{self, Later, Text};
use crate::secret::http_url;
use crate::{Env, Part, duration, size};
pub use kafka::RESERVED_KAFKA_PROPERTIES;
pub use label::any_matcher as parse_matcher;
#[cfg(test)]
pub(crate) use label::{LABELS, RULES};
use route::Known;

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
        egress: Egress::default(),
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
    checker.is_needed_here = part.asks();
    (config.instances, config.discoveries) = checker.instances(raw.instances);
    checker.is_needed_here = true;
    if !part.asks() {
        let like = config.discoveries.iter_mut().map(|found| &mut found.like);
        for instance in config.instances.iter_mut().chain(like) {
            instance.credentials = Credentials::default();
            instance.way_out = WayOut::default();
        }
    }
    config.bus = checker.bus(raw.bus);
    let (rules, labels) = own_rule::names(raw.rules.as_ref());
    config.rules = checker.rules(raw.rules, &config.instances);
    let names = receiver::names(raw.receivers.as_ref());
    let language = checker.language(raw.language, Language::default());
    checker.egress = checker.egress(raw.egress.as_ref(), raw.allow_networks);
    checker.is_needed_here = part.tells();
    let receivers = checker.receivers(raw.receivers, language);
    config.templates = checker.templates(raw.templates);
    config.heartbeat = checker.heartbeat(raw.heartbeat);
    checker.is_needed_here = true;
    config.console = checker.console(raw.console);
    config.watchdog = checker.watchdog(raw.watchdog);
    let windows = checker.windows(raw.windows);
    let known = Known::of(&names, &windows, label::Given { rules, labels });
    let route = checker.route(raw.route, &known);
    config.tests = checker.tests(raw.tests, &known);
    config.rules.inhibit = checker.inhibit(raw.inhibit, &known.given);
    if part.keeps_receivers() {
        (config.receivers, config.route) = (receivers, route);
    }
    config.rules.flapping = checker.flapping(raw.flapping);
    config.baseline = Baseline {
        alert: raw
            .baseline
            .and_then(|baseline| baseline.alert)
            .unwrap_or(false),
    };
    config.retention = checker.retention(raw.retention);
    let min_free = raw.disk.and_then(|disk| disk.min_free);
    if let Some(min_free_bytes) = checker.size("min_free", min_free) {
        config.disk = Disk { min_free_bytes };
    }
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
    /// Where requests to receivers may go.
    egress: Egress,
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

    /// A size in bytes.
    fn size(&mut self, key: &str, value: Text) -> Option<u64> {
        let value = value?;
        let parsed = size::parse(&value.value);
        if parsed.is_none() {
            let message = format!("`{key}`: expected {}", size::EXPECTED);
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
        match http_url(&value.value) {
            Ok(url) => Some(url),
            Err(message) => {
                self.error(at, format!("`{key}`: {message}"));
                None
            }
        }
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
