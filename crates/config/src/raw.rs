//! The file's shape. Every leaf keeps its place; unknown keys are refused by serde.
//!
//! Enums are structs with one `Option` a kind, checked for exactly one: serde's own ways (untagged,
//! flatten, tags) lose line and column.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use crate::secret::RawSecret;

pub(crate) type Text = Option<Spanned<String>>;

/// A key whose feature is not in this version.
pub(crate) type Later = Option<Spanned<IgnoredAny>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: Text,
    pub(crate) instances: Option<Spanned<Vec<Spanned<Instance>>>>,
    pub(crate) bus: Option<Spanned<Bus>>,
    pub(crate) receivers: Option<Spanned<Vec<Spanned<Receiver>>>>,
    pub(crate) route: Option<Spanned<Route>>,
    pub(crate) rules: Option<Rules>,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) admin: Option<Admin>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub(crate) id: Text,
    pub(crate) region: Text,
    pub(crate) endpoint: Text,
    pub(crate) poll_every: Text,
    pub(crate) sweep_every: Text,
    pub(crate) filters: Option<Filters>,
    pub(crate) discover: Later,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filters {
    pub(crate) namespace: Option<String>,
    pub(crate) repo: Option<String>,
    pub(crate) tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bus {
    pub(crate) embedded: Option<Empty>,
    pub(crate) kafka: Later,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiver {
    pub(crate) name: Text,
    pub(crate) webhook: Option<Spanned<Webhook>>,
    pub(crate) email: Option<Spanned<Email>>,
    pub(crate) slack: Later,
    pub(crate) teams: Later,
    pub(crate) dingtalk: Later,
    pub(crate) feishu: Later,
    pub(crate) wecom: Later,
    pub(crate) pagerduty: Later,
    pub(crate) opsgenie: Later,
    pub(crate) discord: Later,
    pub(crate) telegram: Later,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    pub(crate) url: Text,
    pub(crate) secret: Option<Spanned<RawSecret>>,
    pub(crate) timeout: Text,
    pub(crate) ca_file: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Email {
    pub(crate) from: Text,
    pub(crate) to: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) smtp: Option<Spanned<Smtp>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smtp {
    pub(crate) host: Text,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Text,
    pub(crate) username: Text,
    pub(crate) password: Option<Spanned<RawSecret>>,
    pub(crate) ca_file: Text,
    pub(crate) timeout: Text,
    pub(crate) hello: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) receivers: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(rename = "match")]
    pub(crate) matchers: Option<Vec<Spanned<String>>>,
    pub(crate) group_by: Option<Vec<Spanned<String>>>,
    pub(crate) group_wait: Text,
    pub(crate) group_interval: Text,
    pub(crate) repeat_interval: Text,
    pub(crate) fallback: Later,
    pub(crate) routes: Later,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) failed: Option<Switch>,
    pub(crate) issue: Option<Switch>,
    pub(crate) canceled: Option<Switch>,
    pub(crate) expire_after: Text,
    pub(crate) stuck: Later,
    pub(crate) vanished: Later,
    pub(crate) unknown_status: Later,
    pub(crate) blind: Later,
    pub(crate) slow: Later,
    pub(crate) silent: Later,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    pub(crate) enabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    pub(crate) alert: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: Text,
    pub(crate) notifier_listen: Text,
}
