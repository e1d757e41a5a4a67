//! Chats, checked.

use std::time::Duration;

use super::Http;
use crate::secret::LiveSecret;

/// A robot in a group chat, with what all of them have.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Where to post, see [`http_url`](crate::http_url); whoever knows it may post.
    pub url: LiveSecret,
    /// How to get there.
    pub http: Http,
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
        secret: Option<LiveSecret>,
    },
    /// A Feishu or Lark custom bot.
    Feishu {
        /// Signs each request; none: not signed.
        secret: Option<LiveSecret>,
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
