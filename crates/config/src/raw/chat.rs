//! Chats: the shape of `dingtalk`, `feishu`, `wecom` and `slack`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{ClientCertificate, DURATION, Text};
use crate::secret::RawSecret;

/// What a rate looks like; `check/chat.rs` reads it.
const RATE: &str = "^[1-9][0-9]*/(s|m|h)$";

type Secret = Option<Spanned<RawSecret>>;
type Texts = Option<Vec<Spanned<String>>>;

/// A DingTalk custom group robot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dingtalk {
    /// The robot's webhook, `https://oapi.dingtalk.com/robot/send?access_token=…`: a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Secret,
    /// Of the robot's security setting "signing", `SEC…`. Default: not signed.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) secret: Secret,
    /// Of the robot's security setting "keywords": is put into each message that lacks it.
    #[schemars(with = "Option<String>")]
    pub(crate) keyword: Text,
    /// Who is mentioned when something begins; not in a replay.
    pub(crate) at: Option<DingtalkAt>,
    /// Messages in a time, all of which hold. Default `[18/m]`; the vendor takes 20 and then blocks for 10 minutes.
    #[schemars(with = "Option<Vec<String>>", inner(pattern(RATE)))]
    pub(crate) rate: Texts,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Secret,
}

/// Who is mentioned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DingtalkAt {
    /// By mobile numbers.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) mobiles: Texts,
    /// By user ids.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) users: Texts,
    /// Everybody in the group. Default `false`.
    pub(crate) all: Option<bool>,
}

/// A Feishu or Lark custom bot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feishu {
    /// The bot's webhook, `https://open.feishu.cn/open-apis/bot/v2/hook/…` or of `open.larksuite.com`: a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Secret,
    /// Of the bot's security setting "signature". Default: not signed.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) secret: Secret,
    /// Of the bot's security setting "keywords": is put into each message that lacks it.
    #[schemars(with = "Option<String>")]
    pub(crate) keyword: Text,
    /// Who is mentioned when something begins; not in a replay.
    pub(crate) at: Option<UsersAt>,
    /// Messages in a time, all of which hold. Default `[100/m, 5/s]`, the vendor's limits.
    #[schemars(with = "Option<Vec<String>>", inner(pattern(RATE)))]
    pub(crate) rate: Texts,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Secret,
}

/// A WeCom group robot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wecom {
    /// The robot's webhook, `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`: a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Secret,
    /// Who is mentioned when something begins; not in a replay.
    pub(crate) at: Option<WecomAt>,
    /// Messages in a time, all of which hold. Default `[18/m]`; the vendor takes 20.
    #[schemars(with = "Option<Vec<String>>", inner(pattern(RATE)))]
    pub(crate) rate: Texts,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Secret,
}

/// Who is mentioned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WecomAt {
    /// By user ids, in the message itself.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) users: Texts,
    /// By mobile numbers: by a short second message, which the vendor counts too.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) mobiles: Texts,
    /// Everybody in the group, likewise. Default `false`.
    pub(crate) all: Option<bool>,
}

/// A Slack incoming webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slack {
    /// The webhook, `https://hooks.slack.com/services/…`: a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Secret,
    /// Who is mentioned when something begins; not in a replay.
    pub(crate) at: Option<UsersAt>,
    /// Messages in a time, all of which hold. Default `[1/s]`, the vendor's limit.
    #[schemars(with = "Option<Vec<String>>", inner(pattern(RATE)))]
    pub(crate) rate: Texts,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Secret,
}

/// Who is mentioned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersAt {
    /// By ids of members.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) users: Texts,
    /// Everybody. Default `false`.
    pub(crate) all: Option<bool>,
}
