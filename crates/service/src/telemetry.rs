//! Logs: to stderr, as text on a terminal and as JSON otherwise. `RUST_LOG` decides what is logged.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Targets that are never logged below these levels: they are noisy, or log what is secret (lettre
/// logs every SMTP line at debug, AUTH included).
const CAPS: [&str; 4] = ["lettre=info", "hyper=info", "h2=info", "sled=warn"];

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
    let mut filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new(default_filter));
    for cap in CAPS {
        if let Ok(directive) = cap.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let json = match format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if json {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .finish()
            .try_init()
    } else {
        builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
