//! What hides what, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// While an alert that matches `source` is open, those that match `target` are held back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inhibit {
    /// What hides: all must hold, as in `route.match`.
    #[schemars(with = "Vec<String>")]
    pub(crate) source: Option<Spanned<Vec<Spanned<String>>>>,
    /// What is hidden: all must hold.
    #[schemars(with = "Vec<String>")]
    pub(crate) target: Option<Spanned<Vec<Spanned<String>>>>,
    /// Labels in which both say the same. Default: none.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) equal: Option<Vec<Spanned<String>>>,
}
