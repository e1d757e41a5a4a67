//! Texts from outside made fit for a line, and times made fit for people. Pure.

use jiff::{SignedDuration, Timestamp};

/// `text` as one line of at most `limit` characters: whatever could end a line, hide text or turn its
/// direction becomes a blank, and blanks are joined.
pub(crate) fn line(text: &str, limit: usize) -> String {
    // Bounded before the work, too: a vendor's text may be megabytes.
    let seen: String = text.chars().take(limit.saturating_mul(4)).collect();
    let plain = seen.replace(breaks_or_hides, " ");
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    clip(&joined, limit)
}

/// The first `limit` characters of `text`, the last of them `…` if something was cut.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(limit.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// `text` with blanks behind it, up to `width` columns. Letters of Chinese, Japanese and Korean take two.
pub(super) fn padded(text: &str, width: usize) -> String {
    let taken: usize = text
        .chars()
        .map(|c| if c < '\u{1100}' { 1 } else { 2 })
        .sum();
    format!("{text}{}", " ".repeat(width.saturating_sub(taken)))
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error, limit: usize) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries print their cause themselves.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    line(&text, limit)
}

fn breaks_or_hides(c: char) -> bool {
    let hides = matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    c.is_control() || hides
}

/// `2026-01-02 03:04:05 UTC`
pub(super) fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `just now`, `12 minutes ago`
pub(super) fn ago(since: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(since);
    if passed < SignedDuration::from_secs(5) {
        // Also where the server's clock is ahead of ours.
        "just now".to_owned()
    } else {
        format!("{} ago", spoken(passed))
    }
}

/// `45 seconds`, `12 minutes`, `3 hours 5 minutes`, `2 days 4 hours`
pub(crate) fn spoken(passed: SignedDuration) -> String {
    let seconds = passed.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => counted(seconds, "second"),
        60..3_600 => counted(minutes, "minute"),
        3_600..172_800 => two((hours, "hour"), (minutes % 60, "minute")),
        _ => two((days, "day"), (hours % 24, "hour")),
    }
}

/// `1 alert`, `2 alerts`
pub(super) fn counted(n: i64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

fn two(large: (i64, &str), small: (i64, &str)) -> String {
    let text = counted(large.0, large.1);
    if small.0 == 0 {
        text
    } else {
        format!("{text} {}", counted(small.0, small.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_is_made_of() {
        let cases = [
            ("plain", "plain"),
            ("a\r\nBcc: x@example.com", "a Bcc: x@example.com"),
            ("a\0b\tc\u{85}d\u{2028}e", "a b c d e"),
            ("\u{202E}gpj.exe", "gpj.exe"),
            ("  a   b  ", "a b"),
            ("磁盘告警", "磁盘告警"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text, 40), expected, "{text:?}");
        }
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("磁盘告警", 3), "磁盘…");
        assert_eq!(line("abcd", 4), "abcd");
    }

    #[test]
    fn times_are_said_in_words() {
        let cases = [
            (-5, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (3_599, "59 minutes"),
            (3_600, "1 hour"),
            (11_100, "3 hours 5 minutes"),
            (172_799, "47 hours 59 minutes"),
            (172_800, "2 days"),
            (190_000, "2 days 4 hours"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(spoken(SignedDuration::from_secs(seconds)), expected);
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ago(at(1_000), at(940)), "just now");
        assert_eq!(ago(at(1_000), at(1_720)), "12 minutes ago");
    }
}
