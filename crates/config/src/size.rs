//! Sizes as people write them: `0B`, `64KiB`, `256MiB`, `2GiB`.

/// What a size looks like, for messages.
pub(crate) const EXPECTED: &str = "a size such as `256MiB`, `2GiB` or `0B`";

/// Reads a size in bytes; none if `text` is not one.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match &text[digits..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// As [`parse`] reads it, in the largest unit that keeps it whole.
pub(crate) fn written(size_bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let mut whole = units
        .iter()
        .filter(|(_, unit)| size_bytes > 0 && size_bytes.is_multiple_of(*unit));
    whole.next().map_or_else(
        || format!("{size_bytes}B"),
        |(name, unit)| format!("{}{name}", size_bytes / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in ["0B", "1B", "64KiB", "256MiB", "2GiB", "1025B"] {
            assert_eq!(written(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn what_people_write() {
        assert_eq!(parse("0B"), Some(0));
        assert_eq!(parse("64KiB"), Some(65_536));
        assert_eq!(parse("256MiB"), Some(268_435_456));
        assert_eq!(parse(" 2GiB "), Some(2_147_483_648));
        for wrong in [
            "",
            "256",
            "MiB",
            "1.5GiB",
            "256MB",
            "-1B",
            "1 GiB",
            "99999999999GiB",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
