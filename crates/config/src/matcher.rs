//! One condition on a label. Pure.

/// `label=value`, `label!=value`, `label=~pattern`, `label!~pattern`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// A label's name.
    pub label: String,
    /// How it is compared.
    pub op: MatchOp,
    /// A text, or a pattern in which `.*` stands for anything.
    pub value: String,
}

impl Matcher {
    /// Whether it holds for a label that says `found`; an absent one says nothing: an empty text.
    pub fn holds(&self, found: &str) -> bool {
        match self.op {
            MatchOp::Equals => found == self.value,
            MatchOp::NotEquals => found != self.value,
            MatchOp::Matches => matches(&self.value, found),
            MatchOp::NotMatches => !matches(&self.value, found),
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

/// Whether the whole of `text` matches `pattern`, in which `.*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split(".*");
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
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
            ("a.*b.*c", "a1b2c", true),
            ("a.*b.*c", "ac", false),
            ("a.*a", "a", false),
            ("", "", true),
            (".*", "", true),
            ("x", "x", true),
            ("x", "xy", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
