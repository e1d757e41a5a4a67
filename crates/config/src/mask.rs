//! What may be shown of a configuration file: its text with everything masked that could be a secret.
//!
//! In comes the file's text, out goes the same text, character for character, with stars in the place
//! of secrets; so lines and columns stay true. The YAML itself is walked (a secret may be quoted, folded
//! over lines, or stand behind an alias); where it ends in a syntax error, the rest is read by lines.
//! What must never happen: that a secret passes. Too many stars are no harm.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Parser};

/// Key names that hold secrets, in parts; also those of other versions and of slips.
const SECRET_PARTS: [&str; 8] = [
    "secret",
    "passw",
    "passphrase",
    "token",
    "credential",
    "key",
    "bearer",
    "authorization",
];

/// The kinds of `credentials`: each with its keys, and those of them whose values may be shown.
const CREDENTIALS: [(&str, &[&str], &[&str]); 7] = [
    ("default", &[], &[]),
    ("access_key", &["id", "secret", "security_token"], &[]),
    ("profile", &["name", "file"], &["name", "file"]),
    (
        "oidc",
        &["role_arn", "provider_arn", "token_file", "session_name"],
        &["role_arn", "provider_arn", "session_name"],
    ),
    ("ecs_role", &["name"], &["name"]),
    ("uri", &["url"], &[]),
    (
        "assume_role",
        &["arn", "session_name", "external_id", "policy", "duration"],
        &["arn", "session_name", "duration"],
    ),
];

/// The kinds of receivers whose URL is the credential, with their keys whose values may be shown.
const CHATS: [&str; 4] = ["dingtalk", "feishu", "wecom", "slack"];
const SHOWN_OF_CHATS: [&str; 6] = [
    "keyword",
    "at",
    "rate",
    "timeout",
    "ca_file",
    "client_certificate",
];

/// `text` without its byte order mark and with stars for secrets.
pub(crate) fn mask(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut walk = Walk::default();
    let mut read_to = 0;
    let mut broken = false;
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else {
            broken = true;
            break;
        };
        let range = span.byte_range().unwrap_or(read_to..read_to);
        walk.event(&event, range.clone(), text);
        read_to = read_to.max(range.end);
    }
    if broken {
        let rest = read_to.min(text.len());
        if walk.in_secret() {
            walk.masked.push(rest..text.len());
        }
        by_lines(text, rest, &mut walk.masked);
    }
    user_info(text, &mut walk.masked);
    for url in std::mem::take(&mut walk.urls) {
        behind_host(text, url, &mut walk.masked);
    }
    starred(text, walk.masked)
}

/// True if `name` can be shown as the name of an environment variable. People put the secret itself
/// there by mistake; such a text has small letters or signs.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.chars().all(fits)
}

/// True if the value of `key` may be a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part))
        || strsim::damerau_levenshtein(&key, "secret") <= 2
        || strsim::damerau_levenshtein(&key, "password") <= 2
}

/// A proxy may be written with a password in it.
fn is_proxy(key: &str) -> bool {
    strsim::damerau_levenshtein(&key.to_ascii_lowercase(), "proxy") <= 1
}

/// The path of a receiver's URL is often the credential.
fn is_url(key: &str) -> bool {
    strsim::damerau_levenshtein(&key.to_ascii_lowercase(), "url") <= 1
}

/// Whose values are hidden, and names are not.
fn is_headers(key: &str) -> bool {
    strsim::damerau_levenshtein(&key.to_ascii_lowercase(), "headers") <= 1
}

/// What a mapping or list is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Nothing that is hidden.
    Plain,
    /// A secret: all of it is hidden.
    Secret,
    /// `credentials`: its kinds are known, anything else is hidden.
    Credentials,
    /// One kind of them, by its place in [`CREDENTIALS`].
    Kind(usize),
    /// A robot in a chat: its URL is a secret, and so is what is not known.
    Chat,
    /// `headers`: any name, each with a value that is hidden.
    Headers,
}

impl Within {
    /// Whether a key that stands here may be shown.
    fn shows_key(self, key: &str) -> bool {
        match self {
            Self::Plain | Self::Chat | Self::Headers => true,
            Self::Secret => matches!(key, "env" | "file"),
            Self::Credentials => kind(key).is_some(),
            Self::Kind(kind) => CREDENTIALS[kind].1.contains(&key),
        }
    }

    /// What `value` of `key`, which stands here, is part of; `value` is none for mappings and lists.
    fn of(self, key: &str, value: Option<&str>, is_mapping: bool) -> Self {
        let is_named_only = match key {
            "env" => value.is_some_and(is_variable_name),
            "file" => true,
            _ => false,
        };
        match self {
            Self::Plain if key == "credentials" && is_mapping => Self::Credentials,
            Self::Plain if CHATS.contains(&key) && is_mapping => Self::Chat,
            Self::Chat if SHOWN_OF_CHATS.contains(&key) => Self::Plain,
            Self::Plain if is_headers(key) && is_mapping => Self::Headers,
            Self::Plain if (is_url(key) || is_headers(key)) && value.is_none() => Self::Secret,
            Self::Plain if is_proxy(key) => match value {
                Some(url) if !url.contains('@') => Self::Plain,
                _ => Self::Secret,
            },
            Self::Credentials => match kind(key) {
                Some(kind) if is_mapping => Self::Kind(kind),
                _ => Self::Secret,
            },
            Self::Kind(kind) if value.is_some() && CREDENTIALS[kind].2.contains(&key) => {
                Self::Plain
            }
            Self::Kind(_) | Self::Chat | Self::Headers => Self::Secret,
            Self::Secret if !is_named_only => Self::Secret,
            Self::Plain | Self::Secret if is_secret_key(key) => Self::Secret,
            Self::Plain | Self::Secret => Self::Plain,
        }
    }
}

fn kind(key: &str) -> Option<usize> {
    CREDENTIALS.iter().position(|kind| kind.0 == key)
}

/// An open mapping or list.
struct Open {
    is_mapping: bool,
    /// The key whose value comes next.
    key: Option<String>,
    within: Within,
    start: usize,
    anchor: usize,
}

/// Follows the events of a file.
#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Range<usize>>,
    masked: Vec<Range<usize>>,
    /// URLs of which the host may be seen.
    urls: Vec<Range<usize>>,
}

impl Walk {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>, text: &str) {
        match event {
            Event::Scalar(value, _, anchor, _) => {
                self.anchors.insert(*anchor, range.clone());
                self.node(Some(value), false, range);
            }
            Event::Alias(anchor) => {
                // The alias shows nothing, what it stands for does.
                let defined = self.anchors.get(anchor).cloned().unwrap_or(range);
                let text = text.get(defined.clone()).unwrap_or("");
                self.node(Some(text), false, defined);
            }
            Event::MappingStart(_, anchor, _) | Event::SequenceStart(_, anchor, _) => {
                let is_mapping = matches!(event, Event::MappingStart(..));
                let within = self.node(None, is_mapping, range.clone());
                self.open.push(Open {
                    is_mapping,
                    key: None,
                    within,
                    start: range.start,
                    anchor: *anchor,
                });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                if let Some(ended) = self.open.pop() {
                    self.anchors.insert(ended.anchor, ended.start..range.end);
                }
            }
            _ => {}
        }
    }

    /// A key or a value begins; `value` is none for mappings and lists. Tells what it is part of.
    fn node(&mut self, value: Option<&str>, is_mapping: bool, range: Range<usize>) -> Within {
        let Some(open) = self.open.last_mut() else {
            return Within::Plain;
        };
        if open.is_mapping && open.key.is_none() {
            let key = value.unwrap_or_default();
            if !open.within.shows_key(key) {
                self.masked.push(range);
            }
            open.key = Some(key.to_owned());
            return Within::Plain;
        }
        let key = open.key.take().unwrap_or_default();
        let within = open.within.of(&key, value, is_mapping);
        if within == Within::Secret && value.is_some() {
            self.masked.push(range);
        } else if is_url(&key) && value.is_some() {
            self.urls.push(range);
        }
        within
    }

    /// True if what comes next would belong to a secret.
    fn in_secret(&self) -> bool {
        let pending = |open: &Open| open.key.as_deref().is_some_and(hides_lines);
        let hidden = |open: &Open| open.within != Within::Plain || pending(open);
        self.open.iter().any(hidden)
    }
}

/// Whether all that follows `key` is hidden where there is no structure left.
fn hides_lines(key: &str) -> bool {
    is_secret_key(key) || is_proxy(key) || is_url(key) || is_headers(key)
}

/// Where there is no structure left: what follows a secret's key, to the end of its lines.
fn by_lines(text: &str, from: usize, masked: &mut Vec<Range<usize>>) {
    let mut begin = text[..from].rfind('\n').map_or(0, |at| at + 1);
    // The indentation of the secret's key whose lines are being masked.
    let mut within: Option<usize> = None;
    for line in text[begin..].split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if within.is_some_and(|key| indent > key) {
            masked.push(begin..begin + line.len());
        } else {
            within = None;
            let mut past = 0;
            for part in line.split_inclusive(':') {
                past += part.len();
                let key = part
                    .trim_end_matches(':')
                    .trim_end_matches(['"', '\'', ' ']);
                let word = key.rsplit([' ', '{', ',', '"', '\'']).next().unwrap_or(key);
                if part.ends_with(':') && hides_lines(word) {
                    masked.push(begin + past..begin + line.len());
                    within = Some(indent);
                    break;
                }
            }
        }
        begin += line.len();
    }
}

/// The user and password in `scheme://user:password@host`.
fn user_info(text: &str, masked: &mut Vec<Range<usize>>) {
    for (at, sign) in text.match_indices("://") {
        let begin = at + sign.len();
        let end = text[begin..].find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let token = &text[begin..end.map_or(text.len(), |end| begin + end)];
        if let Some(user) = token.rfind('@') {
            masked.push(begin..begin + user);
        }
    }
}

/// What stands behind the host of the URL in `range`.
fn behind_host(text: &str, range: Range<usize>, masked: &mut Vec<Range<usize>>) {
    let written = text.get(range.clone()).unwrap_or_default().trim_end();
    let quote = written.chars().next().filter(|c| matches!(c, '"' | '\''));
    // The closing quote is of the file, and not of the URL.
    let url = quote
        .filter(|_| written.len() > 1)
        .and_then(|quote| written.strip_suffix(quote))
        .unwrap_or(written);
    let host = url.find("://").map_or(0, |at| at + "://".len());
    if let Some(path) = url[host..].find(['/', '?', '#', '\\']) {
        masked.push(range.start + host + path + 1..range.start + url.len());
    }
}

/// Stars in place of what is not blank in `ranges`.
fn starred(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| range.start);
    let mut ranges = ranges.into_iter().peekable();
    let mut reach = 0;
    text.char_indices()
        .map(|(at, c)| {
            while let Some(range) = ranges.next_if(|range| range.start <= at) {
                reach = reach.max(range.end);
            }
            if at < reach && !c.is_whitespace() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_a_secret_shows_it() {
        let ways = [
            "secret: LEAK",
            "secret : LEAK",
            "\"secret\": LEAK",
            "'password': 'LEAK'",
            "secret: \"LEAK, LEAK} LEAK\"",
            "secret:\n  LEAK\nnext: 1",
            "secret: |\n  LEAK\n  LEAK\nnext: 1",
            "secret: >-\n  LEAK\n  LEAK\nnext: 1",
            "secret: \"LEAK\n  LEAK\"",
            "? secret\n: LEAK",
            "secret: {LEAK}",
            "secret: {value: LEAK}",
            "secret: {env: whsec_LEAK}",
            "secret: [LEAK, [LEAK]]",
            "secrt: LEAK",
            "passwd: LEAK",
            "slack: {token: LEAK}",
            "data_dir: &x LEAK\nsecret: *x",
            "data_dir: &x {a: LEAK}\nsecret: *x",
            "url: https://user:LEAK@example.com/",
            "url: 'https://user:LE/AK@example.com/'",
            "secret: \"LEAK LEAK\nmore: LEAK\n",
            "a: [\nsecret: LEAK\n",
            "a: }\nsmtp: { username: x, password: LEAK }\n",
            "a: }\nsecret: |\n  LEAK\n  LEAK\n",
            "\u{feff}secret: LEAK",
            "credentials: LEAK",
            "credentials: {LEAK}",
            "credentials: [LEAK]",
            "credentials: {uri: LEAK}",
            "credentials: {uri: {url: 'http://h/LEAK'}}",
            "credentials: {accesskey: {id: LEAK}}",
            "credentials: {access_key: LEAK}",
            "credentials: {access_key: {id: LEAK, secret: LEAK, security_token: LEAK}}",
            "credentials: {access_key: {secrt: LEAK, name: LEAK}}",
            "credentials: {access_key: {secret: {value: LEAK}}}",
            "credentials: {profile: {name: [LEAK]}}",
            "credentials: {assume_role: {external_id: LEAK, policy: LEAK}}",
            "data_dir: &x {access_key: {name: LEAK}}\ncredentials: *x",
            "credentials:\n  access_key:\n    id: \"LEAK\n  LEAK\n",
            "proxy: 'http://us er:LEAK LEAK@h'",
            "proxy: user:LEAK@h:8080",
            "proxy: |\n  http://user:LEAK\n  LEAK@h",
            "prxoy: user:LEAK@h:8080",
            "proxy: [user:LEAK@h]",
            "a: }\nproxy: user:LEAK@h:8080\n",
            "slack: {url: 'https://hooks.slack.com/services/LEAK'}",
            "wecom: {ulr: 'https://h/?key=LEAK'}",
            "dingtalk:\n  url: >-\n    https://h/?access_token=LEAK\n  rate: [18/m]\n",
            "feishu: {url: &x LEAK, keyword: *x}",
            "slack: {url: [LEAK]}",
            "slack: {url: {env: 'https://h/LEAK'}}",
            "a: }\nslack: {url: 'https://h/LEAK'}\n",
            "slack:\n  url: \"https://h/LEAK\n",
        ];
        no_leak(&ways);
    }

    fn no_leak(ways: &[&str]) {
        for way in ways {
            let shown = mask(way);
            assert!(
                !shown.contains("LEAK") && !shown.contains("AK@"),
                "{way}\n{shown}"
            );
            let lines = |text: &str| text.lines().count();
            assert_eq!(lines(&shown), lines(way), "{way}");
        }
    }

    #[test]
    fn no_way_of_writing_a_receiver_s_url_or_headers_shows_more_than_its_host() {
        no_leak(&[
            "url: https://h.example.com/LEAK/LEAK",
            "url: 'https://h.example.com?LEAK'",
            "url: h.example.com/LEAK",
            "url: \"https://h/LEAK\\\"LEAK\" # x",
            "url: 'https://h/LEAK''LEAK'",
            "url: 'https://h/LEAK",
            "url: \"https://h/LEAK\n  LEAK\"  ",
            "ulr: https://h/LEAK",
            "url: >-\n  https://h/LEAK\n  LEAK\n",
            "url: {env: 'https://h/LEAK'}",
            "url: [https://h/LEAK]",
            "data_dir: &x https://h/LEAK\nurl: *x",
            "a: }\nwebhook: {url: 'https://h/LEAK'}\n",
            "bearer: LEAK",
            "bearer: {env: LEAK leak}",
            "headers: {X-Team: LEAK, Authorization: [LEAK], B: {value: LEAK}}",
            "headers: [LEAK]",
            "header:\n  A: LEAK\n",
            "a: }\nheaders:\n  A: LEAK\n",
        ]);
    }

    #[test]
    fn what_is_no_secret_stays_and_columns_are_kept() {
        let text = "secret: { env: OPS_SECRET }\nurl: https://h.example.com/\n\
                    password: { file: /run/x }\nto: [a@example.com]\n";
        assert_eq!(mask(text), text);
        let text = "credentials:\n  oidc: { role_arn: r, provider_arn: p, session_name: s }\n  \
                    assume_role: { arn: a, duration: 1h }\nproxy: http://h:8080\n\
                    b: { credentials: { profile: { name: n, file: f }, access_key: { \
                    secret: { env: KEY }, id: { file: x } } } }\nproxy: { env: PROXY }\n";
        assert_eq!(mask(text), text);
        let text = "slack: { url: { env: SLACK_URL }, rate: [1/s], at: { users: [U1], all: true } }\n\
                    dingtalk: { url: { file: x }, secret: { env: S }, keyword: sync, timeout: 5s }\n";
        assert_eq!(mask(text), text);
        assert_eq!(mask("{secret: é, to: b}"), "{secret: *, to: b}");
        let text = "url: { file: /run/url }\nheaders: { A: { env: A_B }, C: x }\n";
        assert_eq!(mask(text), text.replace(" x ", " * "));
        assert_eq!(
            mask("url: 'https://h:1/a b' # x"),
            "url: 'https://h:1/* *' # x"
        );
    }
}
