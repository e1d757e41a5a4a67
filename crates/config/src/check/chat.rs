//! Chats: the robot's URL, which is a secret, its rate, and whom it mentions.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use super::webhook::RawHttp;
use crate::config::{At, Chat, ChatKind, Rate, ReceiverKind};
use crate::raw::{self, Text};
use crate::secret::{LiveSecret, RawSecret};

/// More than a person reads; vendors take fewer.
const RATE_LIMIT: u32 = 10_000;
const KEYWORD_LIMIT_CHARS: usize = 64;
/// People that one message can mention.
const AT_LIMIT: usize = 50;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The keys of a chat that all of them have.
struct Common {
    url: Option<Spanned<RawSecret>>,
    rate: Option<Vec<Spanned<String>>>,
    http: RawHttp,
}

/// They stand in each chat's own keys, as in those of a webhook: `flatten` would lose the place of an error.
macro_rules! common {
    ($raw:ident) => {
        Common {
            url: $raw.url,
            rate: $raw.rate,
            http: RawHttp {
                timeout: $raw.timeout,
                ca_file: $raw.ca_file,
                client_certificate: $raw.client_certificate,
                proxy: $raw.proxy,
            },
        }
    };
}

type Texts = Option<Vec<Spanned<String>>>;

impl Checker<'_> {
    pub(super) fn dingtalk(&mut self, raw: Spanned<raw::Dingtalk>) -> Option<ReceiverKind> {
        let (at, raw) = (raw.referenced, raw.value);
        let secret = self.signing(raw.secret);
        let keyword = self.keyword(raw.keyword);
        let mentioned = raw.at.map(|at| At {
            mobiles: self.mentioned("mobiles", at.mobiles, is_mobile),
            users: self.mentioned("users", at.users, is_id),
            all: at.all.unwrap_or(false),
        });
        let common = common!(raw);
        // The vendor takes 20, and blocks for 10 minutes whoever sends more.
        let chat = self.chat(common, at, &[(18, MINUTE)], ChatKind::Dingtalk { secret })?;
        Some(ReceiverKind::Chat(Box::new(Chat {
            at: mentioned.unwrap_or_default(),
            keyword,
            ..chat
        })))
    }

    pub(super) fn feishu(&mut self, raw: Spanned<raw::Feishu>) -> Option<ReceiverKind> {
        let (at, raw) = (raw.referenced, raw.value);
        let secret = self.signing(raw.secret);
        let keyword = self.keyword(raw.keyword);
        let mentioned = raw.at.map(|at| self.users_at(at));
        let common = common!(raw);
        let rates = [(100, MINUTE), (5, SECOND)];
        let chat = self.chat(common, at, &rates, ChatKind::Feishu { secret })?;
        Some(ReceiverKind::Chat(Box::new(Chat {
            at: mentioned.unwrap_or_default(),
            keyword,
            ..chat
        })))
    }

    pub(super) fn wecom(&mut self, raw: Spanned<raw::Wecom>) -> Option<ReceiverKind> {
        let (at, raw) = (raw.referenced, raw.value);
        let mentioned = raw.at.map(|at| At {
            mobiles: self.mentioned("mobiles", at.mobiles, is_mobile),
            users: self.mentioned("users", at.users, is_id),
            all: at.all.unwrap_or(false),
        });
        let common = common!(raw);
        let chat = self.chat(common, at, &[(18, MINUTE)], ChatKind::Wecom)?;
        Some(ReceiverKind::Chat(Box::new(Chat {
            at: mentioned.unwrap_or_default(),
            ..chat
        })))
    }

    pub(super) fn slack(&mut self, raw: Spanned<raw::Slack>) -> Option<ReceiverKind> {
        let (at, raw) = (raw.referenced, raw.value);
        let mentioned = raw.at.map(|at| self.users_at(at));
        let common = common!(raw);
        let chat = self.chat(common, at, &[(1, SECOND)], ChatKind::Slack)?;
        Some(ReceiverKind::Chat(Box::new(Chat {
            at: mentioned.unwrap_or_default(),
            ..chat
        })))
    }

    fn chat(
        &mut self,
        raw: Common,
        at: Location,
        rates: &[(u32, Duration)],
        kind: ChatKind,
    ) -> Option<Chat> {
        if let Some(url) = &raw.url
            && matches!(url.value, RawSecret::Literal(_))
        {
            let message =
                "`url` is a secret and stands in the file: prefer `{env: NAME}` or `{file: PATH}`";
            self.warn(url.referenced, message);
        }
        let url = self.receiver_url(raw.url, at);
        // For questions about what would be told, another stands for one that is not to be had.
        let other = || (!self.is_needed_here).then(|| LiveSecret::fixed("http://url.invalid/"));
        let url = url.or_else(other);
        let default = rates.iter().map(|(count, per)| Rate {
            count: *count,
            per: *per,
        });
        let default: Vec<Rate> = default.collect();
        let rates = match raw.rate {
            None => default,
            Some(rates) => {
                if rates.is_empty() {
                    self.error(at, "`rate` is empty: expected such as `[18/m]`");
                }
                rates
                    .into_iter()
                    .filter_map(|rate| self.rate(&rate))
                    .collect()
            }
        };
        let http = self.http(raw.http);
        Some(Chat {
            url: url?,
            http,
            rates,
            at: At::default(),
            keyword: None,
            kind,
        })
    }

    fn rate(&mut self, raw: &Spanned<String>) -> Option<Rate> {
        let parsed = raw.value.split_once('/').and_then(|(count, unit)| {
            let count: u32 = count.parse().ok()?;
            let per = match unit {
                "s" => SECOND,
                "m" => MINUTE,
                "h" => Duration::from_hours(1),
                _ => return None,
            };
            (1..=RATE_LIMIT)
                .contains(&count)
                .then_some(Rate { count, per })
        });
        if parsed.is_none() {
            let message = "`rate`: expected messages in a time, such as `18/m` or `1/s`";
            self.error(raw.referenced, message);
        }
        parsed
    }

    fn keyword(&mut self, raw: Text) -> Option<String> {
        let raw = raw?;
        let keyword = raw.value.trim().to_owned();
        let odd = keyword.chars().any(char::is_control);
        if keyword.is_empty() || odd || keyword.chars().count() > KEYWORD_LIMIT_CHARS {
            let message = "`keyword`: expected one of the robot's keywords, at most 64 characters";
            self.error(raw.referenced, message);
            return None;
        }
        Some(keyword)
    }

    fn signing(&mut self, raw: Option<Spanned<RawSecret>>) -> Option<LiveSecret> {
        let raw = raw?;
        self.live("secret", &raw.value, raw.referenced)
    }

    fn users_at(&mut self, raw: raw::UsersAt) -> At {
        At {
            mobiles: Vec::new(),
            users: self.mentioned("users", raw.users, is_id),
            all: raw.all.unwrap_or(false),
        }
    }

    /// Whoever is mentioned stands in markup as they are: only what cannot be more than a name.
    fn mentioned(&mut self, key: &str, raw: Texts, fits: fn(&str) -> bool) -> Vec<String> {
        let mut mentioned = Vec::new();
        for (number, one) in raw.unwrap_or_default().into_iter().enumerate() {
            if number == AT_LIMIT {
                let message = format!("`{key}`: more than {AT_LIMIT}");
                self.error(one.referenced, message);
            } else if fits(&one.value) {
                mentioned.push(one.value);
            } else {
                let message = match key {
                    "mobiles" => "`mobiles`: expected a mobile number of digits, in quotes",
                    _ => "`users`: expected an id of letters, digits, `_`, `-`, `.` and `@`",
                };
                self.error(one.referenced, message);
            }
        }
        mentioned
    }
}

fn is_mobile(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (5..=20).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit() || c == '-')
}

fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}
