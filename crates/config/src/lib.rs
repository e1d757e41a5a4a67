#![doc = include_str!("../README.md")]

mod raw;
mod check;
mod config;
mod secret;
mod duration;
mod mask;
mod problem;
mod schema;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_saphyr::MergeKeyPolicy;

pub use check::RESERVED_KAFKA_PROPERTIES;
pub use config::{
    Admin, Baseline, Bus, Config, Email, Filters, Instance, Kafka, KafkaLogin, KafkaSasl, KafkaTls,
    MatchOp, Matcher, Receiver, ReceiverKind, Route, RuleSwitches, Smtp, SmtpTls, Webhook,
};
pub use problem::{Level, Problem, Problems};
pub use schema::schema;
pub use secret::Secret;

/// The largest file that is read, in bytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads and checks the file at `path`. The error holds every problem that could be found at once; show
/// it and exit 78.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    let name = path.display().to_string();
    let text = secret::read_at_most(path, FILE_LIMIT_BYTES)
        .map_err(|error| Problems::of_file(&name, format!("cannot be read: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    parse(&text, &name, folder, env)
}

/// Checks `text`. `file_name` is for messages; relative paths in it start at `folder`.
pub fn parse(text: &str, file_name: &str, folder: &Path, env: Env<'_>) -> Result<Config, Problems> {
    if text.trim().is_empty() {
        let what = "is empty: it needs at least `instances`, `receivers` and `route`";
        return Err(Problems::of_file(file_name, what));
    }
    // One way to write a thing: what YAML merges is not what stands at the place that is shown.
    let options = serde_saphyr::options! { merge_keys: MergeKeyPolicy::Error, with_snippet: false };
    let raw = serde_saphyr::from_str_with_options::<raw::Config>(text, options)
        .map_err(|error| problem::of_yaml(&error, text, file_name))?;
    check::check(raw, text, file_name, folder, env)
}
