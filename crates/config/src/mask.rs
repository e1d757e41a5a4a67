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
const SECRET_PARTS: [&str; 6] = [
    "secret",
    "passw",
    "passphrase",
    "token",
    "credential",
    "key",
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

/// An open mapping or list.
struct Open {
    is_mapping: bool,
    /// The key whose value comes next.
    key: Option<String>,
    /// All of it belongs to a secret.
    secret: bool,
    start: usize,
    anchor: usize,
}

/// Follows the events of a file.
#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Range<usize>>,
    masked: Vec<Range<usize>>,
}

impl Walk {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>, text: &str) {
        match event {
            Event::Scalar(value, _, anchor, _) => {
                self.anchors.insert(*anchor, range.clone());
                self.node(Some(value), range);
            }
            Event::Alias(anchor) => {
                // The alias shows nothing, what it stands for does.
                let defined = self.anchors.get(anchor).cloned().unwrap_or(range);
                self.node(Some(text.get(defined.clone()).unwrap_or("")), defined);
            }
            Event::MappingStart(_, anchor, _) | Event::SequenceStart(_, anchor, _) => {
                let secret = self.node(None, range.clone());
                self.open.push(Open {
                    is_mapping: matches!(event, Event::MappingStart(..)),
                    key: None,
                    secret,
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

    /// A key or a value begins; `value` is none for mappings and lists. Tells if it belongs to a secret.
    fn node(&mut self, value: Option<&str>, range: Range<usize>) -> bool {
        let Some(open) = self.open.last_mut() else {
            return false;
        };
        if open.is_mapping && open.key.is_none() {
            let key = value.unwrap_or_default();
            if open.secret && !matches!(key, "env" | "file") {
                self.masked.push(range);
            }
            open.key = Some(key.to_owned());
            return false;
        }
        let key = open.key.take().unwrap_or_default();
        let named_only = match key.as_str() {
            "env" => value.is_some_and(is_variable_name),
            "file" => true,
            _ => false,
        };
        let secret = (open.secret && !named_only) || is_secret_key(&key);
        if secret && value.is_some() {
            self.masked.push(range);
        }
        secret
    }

    /// True if what comes next would belong to a secret.
    fn in_secret(&self) -> bool {
        let pending = |open: &Open| open.key.as_deref().is_some_and(is_secret_key);
        self.open.iter().any(|open| open.secret || pending(open))
    }
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
                if part.ends_with(':') && is_secret_key(word) {
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
        ];
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
    fn what_is_no_secret_stays_and_columns_are_kept() {
        let text = "secret: { env: OPS_SECRET }\nurl: https://h.example.com/x\n\
                    password: { file: /run/x }\nto: [a@example.com]\n";
        assert_eq!(mask(text), text);
        assert_eq!(mask("{secret: é, to: b}"), "{secret: *, to: b}");
    }
}
