//! How long what is over is kept: the shape of `retention`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DURATION, Text};

/// How long the notifier keeps what is over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// Closed incidents. Default `30d`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) incidents: Text,
    /// Deliveries that are over, with their attempts; at least `24h`. Default `30d`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) deliveries: Text,
    /// Dead letters, in the embedded log, and that they were replayed; at least `24h`. On Kafka the topic's
    /// own retention counts as well. Default `7d`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) dead_letters: Text,
    /// Tasks that ended well and what is known of their routes, some 60 bytes each; at least `7d`, and never
    /// while the event log still holds what was read of them. Default `90d`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) tasks: Text,
}
