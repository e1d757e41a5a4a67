//! The file's shape. Every leaf keeps its place; unknown keys are refused by serde.
//!
//! Enums are structs with one `Option` a kind, checked for exactly one: serde's own ways (untagged,
//! flatten, tags) lose line and column.

mod chat;
mod credentials;
mod flapping;
mod inhibit;
mod kafka;
mod retention;
mod route;
mod rules;
mod templates;
mod test;
mod watchdog;
mod webhook;
mod window;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

pub(crate) use self::chat::{Dingtalk, Feishu, Slack, UsersAt, Wecom};
pub(crate) use self::credentials::{
    AccessKey, AssumeRole, Credentials, CredentialsUri, Oidc, Profile,
};
pub(crate) use self::flapping::Flapping;
pub(crate) use self::inhibit::Inhibit;
pub(crate) use self::kafka::{
    Kafka, KafkaLogin, KafkaOauthBearer, KafkaProperties, KafkaSasl, KafkaTls,
};
pub(crate) use self::retention::Retention;
pub(crate) use self::route::Route;
pub(crate) use self::rules::{OwnRule, Rules, SEVERITIES, Silent, Switch, Timed};
pub(crate) use self::templates::{Console, Templates};
pub(crate) use self::test::Test;
pub(crate) use self::watchdog::{Heartbeat, Watchdog};
pub(crate) use self::webhook::{Basic, ClientCertificate, Headers, Webhook};
pub(crate) use self::window::Window;
use crate::secret::RawSecret;

/// What a duration looks like; `duration.rs` reads it.
pub(crate) const DURATION: &str = "^([0-9]+(ms|s|m|h|d))+$";

/// What a size looks like; `size.rs` reads it.
pub(crate) const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

pub(crate) type Text = Option<Spanned<String>>;

/// A key whose feature is not in this version.
pub(crate) type Later = Option<Spanned<IgnoredAny>>;

/// syncbell.yaml
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where stores and the event log lie; relative to the working directory. Default
    /// `./syncbell-data`, under systemd `$STATE_DIRECTORY`.
    #[schemars(with = "Option<String>")]
    pub(crate) data_dir: Text,
    /// The ACR Enterprise Edition instances to watch.
    #[schemars(with = "Vec<Instance>")]
    pub(crate) instances: Option<Spanned<Vec<Spanned<Instance>>>>,
    /// The event log.
    #[schemars(with = "Option<Bus>")]
    pub(crate) bus: Option<Spanned<Bus>>,
    /// Who can be told.
    #[schemars(with = "Vec<Receiver>")]
    pub(crate) receivers: Option<Spanned<Vec<Spanned<Receiver>>>>,
    /// Who is told what.
    #[schemars(with = "Route")]
    pub(crate) route: Option<Spanned<Route>>,
    /// Times of the week, month and year that routes name.
    #[schemars(with = "Option<Vec<Window>>")]
    pub(crate) windows: Option<Vec<Spanned<Window>>>,
    /// What is told.
    pub(crate) rules: Option<Rules>,
    /// Examples of who is told what; `syncbell check` tries them.
    #[schemars(with = "Option<Vec<Test>>")]
    pub(crate) tests: Option<Vec<Spanned<Test>>>,
    /// What hides what. An instance that is `blind` hides its `stuck`s whatever stands here.
    #[schemars(with = "Option<Vec<Inhibit>>")]
    pub(crate) inhibit: Option<Vec<Spanned<Inhibit>>>,
    /// When a condition that begins and ends over and over is told less often.
    pub(crate) flapping: Option<Flapping>,
    /// What messages for people are written in: `en` or `zh`. Default `en`.
    #[schemars(with = "Option<String>", extend("enum" = ["en", "zh"]))]
    pub(crate) language: Text,
    /// Own templates in place of built-in ones.
    #[schemars(with = "Option<Templates>")]
    pub(crate) templates: Option<Spanned<Templates>>,
    /// Links to the registry's console in messages for people.
    pub(crate) console: Option<Console>,
    /// Where requests to receivers and the heartbeat may go: `default`, everywhere but to link-local addresses and
    /// metadata services; `strict`, to the public internet only.
    #[schemars(with = "Option<String>", extend("enum" = ["default", "strict"]))]
    pub(crate) egress: Text,
    /// Networks (`10.1.0.0/16`) or addresses to which requests may go all the same.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) allow_networks: Option<Vec<Spanned<String>>>,
    /// A ping for a dead man's switch outside, while everything is seen.
    #[schemars(with = "Option<Heartbeat>")]
    pub(crate) heartbeat: Option<Spanned<Heartbeat>>,
    /// When Syncbell tells that it cannot tell.
    pub(crate) watchdog: Option<Watchdog>,
    /// What happens at first sight of an instance.
    pub(crate) baseline: Option<Baseline>,
    /// How long the notifier keeps what is over.
    pub(crate) retention: Option<Retention>,
    /// The disk that `data_dir` lies on.
    pub(crate) disk: Option<Disk>,
    /// Health, metrics, and the API that the command line asks.
    pub(crate) admin: Option<Admin>,
}

/// One instance to watch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    /// `cri-…`
    #[schemars(with = "String")]
    pub(crate) id: Text,
    /// A region id such as `cn-shanghai`.
    #[schemars(with = "String")]
    pub(crate) region: Text,
    /// Who asks. Default: the vendor's chain.
    #[schemars(with = "Option<Credentials>")]
    pub(crate) credentials: Option<Spanned<Credentials>>,
    /// Which of the vendor's endpoints is asked: `https://cr.{region}.aliyuncs.com`, or inside of a VPC
    /// `https://cr-vpc.{region}.aliyuncs.com`. Default `public`.
    #[schemars(with = "Option<String>", extend("enum" = ["public", "vpc"]))]
    pub(crate) network: Text,
    /// Another URL, without path, for gateways and tests. Default: the one of `network`.
    #[schemars(with = "Option<String>")]
    pub(crate) endpoint: Text,
    /// An http:// or https:// proxy. Default: that of `HTTPS_PROXY` and its like. With a password in it:
    /// `{env: NAME}` or `{file: PATH}`.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Option<Spanned<RawSecret>>,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// How often to ask; at least `1s`. Default `15s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) poll_every: Text,
    /// How often the whole list is read; at least `poll_every`. Default `30m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) sweep_every: Text,
    /// Only these tasks.
    pub(crate) filters: Option<Filters>,
    /// Instead of `id` and `region`: watch what is found by asking for it.
    #[schemars(with = "Option<Discover>")]
    pub(crate) discover: Option<Spanned<Discover>>,
}

/// Which instances to look for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discover {
    /// Region ids such as `cn-shanghai`.
    #[schemars(with = "Vec<String>")]
    pub(crate) regions: Option<Vec<Spanned<String>>>,
    /// All must hold: `label=value`, `!=`, `=~`, `!~` on `id`, `name`, `status`, `specification`,
    /// `resource_group_id` or `tag.KEY`; a pattern is a regular expression for the whole text. Default: all
    /// that run.
    #[schemars(with = "Option<Vec<String>>")]
    #[serde(rename = "match")]
    pub(crate) matchers: Option<Vec<Spanned<String>>>,
    /// How often to look. Default `10m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) every: Text,
}

/// Asked of the vendor with each page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filters {
    /// Only of this namespace.
    pub(crate) namespace: Option<String>,
    /// Only of this repository.
    pub(crate) repo: Option<String>,
    /// Only with this tag.
    pub(crate) tag: Option<String>,
    /// Only of this batch (`SyncRecordId` of the call, `SyncBatchTaskId` of the tasks).
    pub(crate) batch_id: Option<String>,
}

/// Exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bus {
    /// Files under `data_dir`; nothing to install.
    pub(crate) embedded: Option<Empty>,
    /// Topics of an Apache Kafka cluster: then `poller` and `notifier` may be two processes.
    #[schemars(with = "Option<Kafka>")]
    pub(crate) kafka: Option<Spanned<Kafka>>,
}

/// Nothing to set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

/// A name and exactly one kind.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiver {
    /// Unique; routes name it.
    #[schemars(with = "String")]
    pub(crate) name: Text,
    /// What messages are written in: `en` or `zh`. Default: `language` of the whole file.
    #[schemars(with = "Option<String>", extend("enum" = ["en", "zh"]))]
    pub(crate) language: Text,
    /// A generic webhook: Standard Webhooks signature, CloudEvents body.
    #[schemars(with = "Option<Webhook>")]
    pub(crate) webhook: Option<Spanned<Webhook>>,
    /// Mail: one delivery an address.
    #[schemars(with = "Option<Email>")]
    pub(crate) email: Option<Spanned<Email>>,
    /// A DingTalk custom group robot.
    #[schemars(with = "Option<Dingtalk>")]
    pub(crate) dingtalk: Option<Spanned<Dingtalk>>,
    /// A Feishu or Lark custom bot.
    #[schemars(with = "Option<Feishu>")]
    pub(crate) feishu: Option<Spanned<Feishu>>,
    /// A WeCom group robot.
    #[schemars(with = "Option<Wecom>")]
    pub(crate) wecom: Option<Spanned<Wecom>>,
    /// A Slack incoming webhook.
    #[schemars(with = "Option<Slack>")]
    pub(crate) slack: Option<Spanned<Slack>>,
    #[schemars(skip)]
    pub(crate) teams: Later,
    #[schemars(skip)]
    pub(crate) pagerduty: Later,
    #[schemars(skip)]
    pub(crate) opsgenie: Later,
    #[schemars(skip)]
    pub(crate) discord: Later,
    #[schemars(skip)]
    pub(crate) telegram: Later,
}

/// Mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Email {
    /// The sender's address.
    #[schemars(with = "String")]
    pub(crate) from: Text,
    /// The addresses.
    #[schemars(with = "Vec<String>")]
    pub(crate) to: Option<Spanned<Vec<Spanned<String>>>>,
    /// The mail server.
    #[schemars(with = "Smtp")]
    pub(crate) smtp: Option<Spanned<Smtp>>,
}

/// A mail server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smtp {
    /// Its name; certificates are checked against it.
    #[schemars(with = "String")]
    pub(crate) host: Text,
    /// Default 465 with `implicit`, 587 with `starttls`, 25 with `none`.
    #[schemars(with = "Option<u16>", range(min = 1))]
    pub(crate) port: Option<Spanned<u16>>,
    /// How the connection is protected. Default `starttls`; `none` sends no password, except to
    /// this machine.
    #[schemars(with = "Option<String>", extend("enum" = ["implicit", "starttls", "none"]))]
    pub(crate) tls: Text,
    /// For AUTH, together with `password`.
    #[schemars(with = "Option<String>")]
    pub(crate) username: Text,
    /// For AUTH, together with `username`.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) password: Option<Spanned<RawSecret>>,
    /// Certificates to trust instead of the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Over one whole mail. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// The name to say in EHLO. Default: the domain of `from`.
    #[schemars(with = "Option<String>")]
    pub(crate) hello: Text,
}

/// First sight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// Tell the failures that stand there already. Default `false`.
    pub(crate) alert: Option<bool>,
}

/// Space.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disk {
    /// Below this much free space nothing more is taken in, by the stores and the embedded event log, until
    /// there is room again. `0B`: only a full disk stops it. Default `256MiB`.
    #[schemars(with = "Option<String>", extend("pattern" = SIZE))]
    pub(crate) min_free: Text,
}

/// Addresses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Of `run` and `poller`. Default `127.0.0.1:9464`.
    #[schemars(with = "Option<String>")]
    pub(crate) listen: Text,
    /// Of `notifier`. Default `127.0.0.1:9465`.
    #[schemars(with = "Option<String>")]
    pub(crate) notifier_listen: Text,
}
