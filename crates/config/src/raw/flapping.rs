//! When a condition flaps, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{DURATION, Text};

/// A condition that begins and ends over and over: chat and mail say so once, and list what happens meanwhile in a
/// message now and then. A generic webhook is told each all the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flapping {
    /// So many beginnings and ends; 3 to 100, or 0: never. Default 6.
    #[schemars(with = "Option<u32>")]
    pub(crate) changes: Option<Spanned<u32>>,
    /// Within this time; at most `24h`. Default `1h`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) within: Text,
    /// Between two messages about what flaps. Default `30m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) every: Text,
}
