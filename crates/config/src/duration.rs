//! Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`.

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

#[cfg(test)]
mod tests {
    use super::*;

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
