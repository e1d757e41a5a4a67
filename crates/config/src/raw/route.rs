//! Who is told what: the shape of `route`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{DURATION, Text};

/// A tree: the first of `routes` that matches takes it, else this one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Names of receivers. Default: those of the route around it.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) receivers: Option<Spanned<Vec<Spanned<String>>>>,
    /// All must hold: `label=value`, `!=`, `=~`, `!~`; a pattern is a regular expression for the whole text,
    /// and a label that is absent says nothing: an empty text. Default: everything matches.
    #[schemars(with = "Option<Vec<String>>")]
    #[serde(rename = "match")]
    pub(crate) matchers: Option<Vec<Spanned<String>>>,
    /// What matches goes on to the routes behind this one too. Default `false`.
    #[schemars(with = "Option<bool>")]
    #[serde(rename = "continue")]
    pub(crate) continues: Option<Spanned<bool>>,
    /// Labels; `["..."]` tells each by itself. Default: as the route around it, at the top webhooks
    /// `["..."]`, mail `[instance, rule]`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) group_by: Option<Vec<Spanned<String>>>,
    /// How long the first of a quiet group waits. Default: as the route around it, at the top `0s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) group_wait: Text,
    /// How long those after it wait. Default: as the route around it, at the top `1m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) group_interval: Text,
    /// When what stays open is told again. Default: as the route around it, at the top `24h`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) repeat_interval: Text,
    /// Names of `windows` in which nothing is told: it waits until they are over. Default: as the route
    /// around it.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) mute: Option<Vec<Spanned<String>>>,
    /// Names of `windows` outside of which nothing is told. Default: as the route around it.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) active: Option<Vec<Spanned<String>>>,
    /// The receiver that is told what another one refused for good, or did not take for a day. Default: as
    /// the route around it, at the top none.
    #[schemars(with = "Option<String>")]
    pub(crate) fallback: Text,
    /// Routes within this one, tried in order.
    #[schemars(with = "Option<Vec<Route>>")]
    pub(crate) routes: Option<Vec<Spanned<Route>>>,
}
