//! Logs: to stderr, as text on a terminal and as JSON otherwise. `RUST_LOG` decides what is logged.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Targets that are never logged below info, whatever `RUST_LOG` says: they are noisy, or log what is secret (lettre
/// logs every SMTP line at debug, AUTH included).
const CAPPED: [&str; 4] = ["lettre", "hyper", "h2", "sled"];

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text if stderr is a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For log stores: one object a line.
    Json,
}

/// Starts logging. Called once, first; a second call changes nothing.
pub fn init(format: Format, default_filter: &str) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| default_filter.to_owned());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new(default_filter));
    let json = match format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let capped = filter_fn(|line| {
        let crate_of = line.target().split("::").next().unwrap_or_default();
        *line.level() <= Level::INFO || !CAPPED.contains(&crate_of)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    let started = if json {
        let lines = lines.json().flatten_event(true).with_span_list(false);
        registry
            .with(lines.with_filter(capped).with_filter(filter))
            .try_init()
    } else {
        let lines = lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal());
        registry
            .with(lines.with_filter(capped).with_filter(filter))
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
