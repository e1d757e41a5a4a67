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

#[cfg(test)]
mod tests {
    use super::*;

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
