//! Times that routes name: the shape of `windows`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Each list narrows the window; one that is left out does not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// Unique; routes name it.
    #[schemars(with = "String")]
    pub(crate) name: Text,
    /// An IANA name such as `Asia/Shanghai`. Default `UTC`.
    #[schemars(with = "Option<String>")]
    pub(crate) time_zone: Text,
    /// `monday` to `sunday`, or `monday-friday`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) days_of_week: Option<Vec<Spanned<String>>>,
    /// `1` to `31`, or `1-7`; `-1` is the last day of the month.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) days_of_month: Option<Vec<Spanned<String>>>,
    /// `january` to `december`, `1` to `12`, or `march-may`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) months: Option<Vec<Spanned<String>>>,
    /// `09:00-17:30`; one that ends before it begins goes on past midnight and belongs to the day on which
    /// it began. `24:00` is the end of the day.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) times: Option<Vec<Spanned<String>>>,
}
