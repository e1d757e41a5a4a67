//! One condition on a label. Pure.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A compiled pattern is smaller than this, so that a file of them stays small.
const PATTERN_BYTES: usize = 256 * 1024;

/// `label=value`, `label!=value`, `label=~pattern`, `label!~pattern`.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// A label's name.
    pub label: String,
    /// How it is compared.
    pub op: MatchOp,
    /// A text, or a regular expression that is to match the whole of it.
    pub value: String,
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.op, &self.value) == (&other.label, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equals => "=",
            MatchOp::NotEquals => "!=",
            MatchOp::Matches => "=~",
            MatchOp::NotMatches => "!~",
        };
        write!(f, "{}{op}{}", self.label, self.value)
    }
}

impl Matcher {
    /// The error says what is wrong with the regular expression, on one line.
    pub fn try_new(
        label: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, String> {
        let (label, value) = (label.into(), value.into());
        let pattern = match op {
            MatchOp::Equals | MatchOp::NotEquals => None,
            MatchOp::Matches | MatchOp::NotMatches => Some(anchored(&value)?),
        };
        Ok(Self {
            label,
            op,
            value,
            pattern,
        })
    }

    /// Whether it holds for a label that says `found`; an absent one says nothing: an empty text.
    pub fn holds(&self, found: &str) -> bool {
        let matches = || {
            let pattern = self.pattern.as_ref();
            pattern.is_some_and(|pattern| pattern.is_match(found))
        };
        match self.op {
            MatchOp::Equals => found == self.value,
            MatchOp::NotEquals => found != self.value,
            MatchOp::Matches => matches(),
            MatchOp::NotMatches => !matches(),
        }
    }
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// The same text.
    Equals,
    /// Another text.
    NotEquals,
    /// The whole text matches the pattern.
    Matches,
    /// It does not.
    NotMatches,
}

/// The whole text is to match, as with Alertmanager.
fn anchored(pattern: &str) -> Result<Regex, String> {
    // On its own first: `a)(b` would close the group that anchors it.
    let build = |text: &str| {
        RegexBuilder::new(text)
            .dot_matches_new_line(true)
            .size_limit(PATTERN_BYTES)
            .build()
    };
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|error| {
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default().trim();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            format!("`{pattern}` is no regular expression: {what}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_the_whole_text() {
        for (pattern, text, expected) in [
            ("team-.*", "team-a", true),
            ("team-.*", "my-team-a", false),
            (".*-prod", "eu-prod", true),
            (".*-prod", "eu-prod-2", false),
            ("a|b", "a", true),
            ("a|b", "ab", false),
            ("v1[.](8|9)", "v1.9", true),
            ("(?i)ERROR", "error", true),
            (".*", "two\nlines", true),
            ("", "", true),
            ("", "x", false),
            (".*", "", true),
            (".+", "", false),
            ("x", "x", true),
            ("x", "xy", false),
        ] {
            let of = |op| Matcher::try_new("l", op, pattern).unwrap().holds(text);
            assert_eq!(of(MatchOp::Matches), expected, "{pattern} {text}");
            assert_eq!(of(MatchOp::NotMatches), !expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one_is_refused_on_one_line() {
        for (wrong, what) in [
            ("a)(b", "unopened group"),
            ("[a", "unclosed character class"),
            ("*", "repetition operator missing expression"),
            (r"\w{1000}{1000}", "size limit"),
        ] {
            let error = Matcher::try_new("l", MatchOp::Matches, wrong).unwrap_err();
            assert!(error.contains(what) && !error.contains('\n'), "{error}");
        }
    }
}
