//! Chats, checked.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::Secret;

/// A robot in a group chat, with what all of them have.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Where to post; whoever knows it may post.
    pub url: Secret<Url>,
    /// Over everything, the answer's body included.
    pub timeout: Duration,
    /// Certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// At most so many messages; all hold. At least one.
    pub rates: Vec<Rate>,
    /// Who is mentioned when something begins.
    pub at: At,
    /// Must stand in each message.
    pub keyword: Option<String>,
    /// Whose.
    pub kind: ChatKind,
}

/// The provider, with what only it has.
#[derive(Clone, Debug)]
pub enum ChatKind {
    /// A DingTalk custom group robot.
    Dingtalk {
        /// Signs each request; none: not signed.
        secret: Option<Secret<String>>,
    },
    /// A Feishu or Lark custom bot.
    Feishu {
        /// Signs each request; none: not signed.
        secret: Option<Secret<String>>,
    },
    /// A `WeCom` group robot.
    Wecom,
    /// A Slack incoming webhook.
    Slack,
}

/// At most so many in any span of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub count: u32,
    /// Not zero.
    pub per: Duration,
}

/// Who is mentioned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// By mobile numbers.
    pub mobiles: Vec<String>,
    /// By user ids.
    pub users: Vec<String>,
    /// Everybody.
    pub all: bool,
}
