//! What messages look like: the shape of `templates` and `console`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Own templates in place of built-in ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Templates {
    /// A folder with files named as the built-in ones: `email.subject`, `email.title`, `email.txt`, `email.html`, and
    /// `title` and `text` of `dingtalk`, `feishu`, `wecom` and `slack`, such as `slack.text`; with a language in the
    /// name, `email.zh.txt`, for that one alone. What is not there stays built-in. Relative to this file's folder.
    #[schemars(with = "String")]
    pub(crate) dir: Text,
}

/// Links to the registry's console in messages for people.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    /// The page of an instance, with `{region}` and `{instance}`; empty: no link. Default
    /// `https://cr.console.aliyun.com/{region}/instance/{instance}/dashboard`.
    #[schemars(with = "Option<String>")]
    pub(crate) instance: Text,
    /// The page of a repository, with `{region}`, `{instance}`, `{namespace}`, `{repo}` and `{tag}`; empty: no link.
    /// Default `https://cr.console.aliyun.com/{region}/instance/{instance}/repositories`.
    #[schemars(with = "Option<String>")]
    pub(crate) repository: Text,
}
