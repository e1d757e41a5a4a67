//! One record as bytes in a segment, and back. Pure.
//!
//! ```text
//! frame = body length u32 | CRC-32C of the body u32 | body              all little-endian
//! body  = version u8 (1) | appended at i64, ms since 1970 | key length u32, key
//!       | headers u32, each: name length u32, name (UTF-8), value length u32, value
//!       | value length u32, value
//! ```
//!
//! What must never happen: a run of zeros, which a power cut can leave behind, read as a frame. The
//! CRC-32C of nothing is 0, so a body shorter than the smallest one is refused by its length.

use crate::record::{MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES, Record};

/// What stands before a body.
pub(super) const HEAD_BYTES: usize = 8;

const VERSION: u8 = 1;

/// What the bytes at a place are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole frame of this many bytes, the head included.
    Whole(usize),
    /// Perhaps a frame: this many bytes are needed to say.
    Short(usize),
    /// No frame, and why.
    Bad(&'static str),
}

/// What a body says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) appended_at_ms: i64,
    pub(super) record: Record,
}

/// Appends the frame of `record` to `out`. The record's size was checked before.
pub(super) fn encode(record: &Record, appended_at_ms: i64, out: &mut Vec<u8>) {
    let head = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.push(VERSION);
    out.extend_from_slice(&appended_at_ms.to_le_bytes());
    put(out, &record.key);
    out.extend_from_slice(&length(record.headers.len()).to_le_bytes());
    for (name, value) in &record.headers {
        put(out, name.as_bytes());
        put(out, value);
    }
    put(out, &record.value);
    let body = head + HEAD_BYTES;
    let size = length(out.len() - body);
    let checksum = crc32c::crc32c(&out[body..]);
    out[head..head + 4].copy_from_slice(&size.to_le_bytes());
    out[head + 4..body].copy_from_slice(&checksum.to_le_bytes());
}

/// Looks at the first bytes of `bytes` without decoding the body.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Parsed::Short(HEAD_BYTES);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let size = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if !(RECORD_OVERHEAD_BYTES..=MAX_RECORD_BYTES).contains(&size) {
        return Parsed::Bad("the length is no length of a record");
    }
    let Some(body) = rest.get(..size) else {
        return Parsed::Short(HEAD_BYTES + size);
    };
    if crc32c::crc32c(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Parsed::Bad("the checksum does not match");
    }
    Parsed::Whole(HEAD_BYTES + size)
}

/// Decodes a body whose checksum was right. An error means another program, or a newer one, wrote it.
pub(super) fn decode(body: &[u8]) -> Result<Body, &'static str> {
    let mut rest = body;
    let [version] = take::<1>(&mut rest)?;
    if version != VERSION {
        return Err("the record has a format version that this program does not know");
    }
    let appended_at_ms = i64::from_le_bytes(take(&mut rest)?);
    let key = get(&mut rest)?.to_vec();
    let n_headers = u32::from_le_bytes(take(&mut rest)?) as usize;
    // The count is not trusted with an allocation: a body is at most 1 MB, but a count is 4 G.
    let mut headers = Vec::with_capacity(n_headers.min(16));
    for _ in 0..n_headers {
        let name = std::str::from_utf8(get(&mut rest)?)
            .map_err(|_| "the name of a header is not UTF-8")?
            .to_owned();
        headers.push((name, get(&mut rest)?.to_vec()));
    }
    let value = get(&mut rest)?.to_vec();
    if !rest.is_empty() {
        return Err("bytes follow the value");
    }
    Ok(Body {
        appended_at_ms,
        record: Record {
            key,
            value,
            headers,
        },
    })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a record is at most 1,000,000 bytes, checked before the append")
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or("the record ends too early")?;
    *rest = tail;
    Ok(*head)
}

fn get<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let size = u32::from_le_bytes(take(rest)?) as usize;
    let (bytes, tail) = rest
        .split_at_checked(size)
        .ok_or("the record ends too early")?;
    *rest = tail;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let headers = proptest::collection::vec((".{0,8}", bytes()), 0..4);
        (bytes(), bytes(), headers).prop_map(|(key, value, headers)| Record {
            key,
            value,
            headers,
        })
    }

    proptest! {
        #[test]
        fn every_record_comes_back_as_it_was(record in any_record(), at in any::<i64>()) {
            let mut bytes = Vec::new();
            encode(&record, at, &mut bytes);
            prop_assert_eq!(bytes.len(), HEAD_BYTES + record.size_bytes());
            prop_assert_eq!(parse(&bytes), Parsed::Whole(bytes.len()));
            let body = decode(&bytes[HEAD_BYTES..]).unwrap();
            prop_assert_eq!(body, Body { appended_at_ms: at, record });
        }

        #[test]
        fn a_frame_cut_short_or_with_a_bit_flipped_is_never_whole(
            record in any_record(), cut in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut bytes = Vec::new();
            encode(&record, 1, &mut bytes);
            let at = cut.index(bytes.len());
            prop_assert!(!matches!(parse(&bytes[..at]), Parsed::Whole(_)));
            bytes[at] ^= 1 << bit;
            prop_assert!(!matches!(parse(&bytes), Parsed::Whole(_)));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(body) = decode(&bytes) {
                prop_assert_eq!(body.record.size_bytes(), bytes.len());
            }
        }
    }

    #[test]
    fn a_run_of_zeros_is_no_frame() {
        assert_eq!(
            parse(&[0; 64]),
            Parsed::Bad("the length is no length of a record")
        );
    }

    #[test]
    fn a_record_of_a_newer_format_is_refused_by_name() {
        let mut bytes = Vec::new();
        encode(&Record::new("k", "v"), 1, &mut bytes);
        bytes[HEAD_BYTES] = 2;
        let error = decode(&bytes[HEAD_BYTES..]).unwrap_err();
        assert!(error.contains("format version"), "{error}");
    }
}
