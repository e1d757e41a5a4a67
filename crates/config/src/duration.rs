//! Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`.

use std::fmt::Write as _;
use std::time::Duration;

/// What a duration looks like, for messages.
pub(crate) const EXPECTED: &str = "a duration such as `30s`, `5m`, `2h` or `1h30m`";

/// Reads a duration as people write it (`500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`); none if `text` is not one.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let part_ms = match &rest[..unit] {
            "ms" => number,
            "s" => number.checked_mul(1_000)?,
            "m" => number.checked_mul(60_000)?,
            "h" => number.checked_mul(3_600_000)?,
            "d" => number.checked_mul(86_400_000)?,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(part_ms))?;
        rest = &rest[unit..];
    }
    // A century is longer than anybody waits; larger values would overflow clocks further on.
    (total <= Duration::from_hours(24 * 36_500)).then_some(total)
}

/// As [`parse`] reads it, in the largest units.
pub(crate) fn written(time: Duration) -> String {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut text = String::new();
    for (unit, unit_ms) in units {
        let count = left / unit_ms;
        left %= unit_ms;
        if count > 0 {
            write!(text, "{count}{unit}").expect("a text takes all");
        }
    }
    if text.is_empty() {
        "0s".clone_into(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (text, ms) in [
            ("0s", 0),
            ("1ms", 1),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d1h1m1s1ms", 90_061_001),
        ] {
            let time = Duration::from_millis(ms);
            assert_eq!(written(time), text);
            assert_eq!(parse(text), Some(time));
        }
    }

    #[test]
    fn what_people_write() {
        let ms = |text| parse(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("30s"), Some(30_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("7d"), Some(604_800_000));
        for wrong in [
            "",
            "30",
            "s",
            "5 m",
            "-5s",
            "1.5h",
            "5x",
            "99999999999999999999s",
            "99999999d",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }
}
