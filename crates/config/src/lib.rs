#![doc = include_str!("../README.md")]

mod raw;
mod check;
mod config;
mod matcher;
mod window;
mod secret;
mod duration;
mod size;
mod mask;
mod problem;
mod schema;
mod show;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_saphyr::MergeKeyPolicy;

pub use check::{RESERVED_KAFKA_PROPERTIES, parse_matcher};
pub use config::{
    AccessKey, Admin, AssumeRole, At, Authorities, Authorization, Baseline, BodyTemplate, Bus,
    Chat, ChatKind, ClientCertificate, Config, Console, Credentials, CredentialsFrom, Discovery,
    Disk, Egress, Email, Filters, Flapping, Heartbeat, Http, Inhibit, Instance, Kafka, KafkaLogin,
    KafkaSasl, KafkaTls, Language, Marks, Network, Oidc, OwnRule, Rate, Receiver, ReceiverKind,
    Retention, Route, RuleSwitches, Severity, Silent, SilentSubject, SilentWatch, Smtp, SmtpTls,
    TEMPLATE_NAMES, TemplateFile, Templates, Test, Watchdog, WayOut, Webhook,
};
pub use duration::parse as parse_duration;
pub use ipnet::IpNet;
pub use matcher::{MatchOp, Matcher};
pub use problem::{Level, Problem, Problems};
pub use schema::schema;
pub use secret::{LiveSecret, Secret, http_url, read_secret, signing_key};
pub use show::Shown;
pub use window::{Hours, TimeRange, Window};

/// The largest file that is read, in bytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whose part of the file must work here. The file is one for all services, but they may run on several
/// machines: a variable or file that only another service needs may be missing, which is a warning.
/// What is wrong in the file itself is an error for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: both services in one process, and `check`.
    All,
    /// `instances` and the bus. `receivers` and `route` are checked and then left empty.
    Poller,
    /// `receivers`, `route` and the bus. The credentials of `instances` are checked and then left out,
    /// so is how their requests leave the machine.
    Notifier,
    /// `receivers`, `route`, `rules` and the bus, without any secret: for questions about what would be told.
    /// Of `instances` the credentials are left out.
    Rules,
    /// The bus: for questions about what the services keep. `receivers` and `route` are left empty, and
    /// of `instances` the same is left out.
    Bus,
}

impl Part {
    /// Whether the vendor is asked.
    fn asks(self) -> bool {
        match self {
            Self::All | Self::Poller => true,
            Self::Notifier | Self::Rules | Self::Bus => false,
        }
    }

    /// Whether somebody is told.
    fn tells(self) -> bool {
        match self {
            Self::All | Self::Notifier => true,
            Self::Poller | Self::Rules | Self::Bus => false,
        }
    }

    fn keeps_receivers(self) -> bool {
        self.tells() || self == Self::Rules
    }
}

/// Reads and checks the file at `path`. The error holds every problem that could be found at once; show
/// it and exit 78.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    load_part(path, Part::All, env)
}

/// [`load`] for one service.
pub fn load_part(path: &Path, part: Part, env: Env<'_>) -> Result<Config, Problems> {
    let name = path.display().to_string();
    let text = secret::read_at_most(path, FILE_LIMIT_BYTES)
        .map_err(|error| Problems::of_file(&name, format!("cannot be read: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    parse_part(&text, &name, folder, part, env)
}

/// Checks `text`. `file_name` is for messages; relative paths in it start at `folder`.
pub fn parse(text: &str, file_name: &str, folder: &Path, env: Env<'_>) -> Result<Config, Problems> {
    parse_part(text, file_name, folder, Part::All, env)
}

fn parse_part(
    text: &str,
    file_name: &str,
    folder: &Path,
    part: Part,
    env: Env<'_>,
) -> Result<Config, Problems> {
    if text.trim().is_empty() {
        let what = "is empty: it needs at least `instances`, `receivers` and `route`";
        return Err(Problems::of_file(file_name, what));
    }
    // One way to write a thing: what YAML merges is not what stands at the place that is shown.
    let options = serde_saphyr::options! { merge_keys: MergeKeyPolicy::Error, with_snippet: false };
    let raw = serde_saphyr::from_str_with_options::<raw::Config>(text, options)
        .map_err(|error| problem::of_yaml(&error, text, file_name))?;
    let source = problem::Source::new(file_name, text);
    check::check(raw, source, folder, part, env)
}
