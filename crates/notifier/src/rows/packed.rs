//! The bytes of a row, in fewer: JSON of a ledger is mostly names of fields and what stood in the row before it. Pure.
//!
//! LZ4 with a dictionary of such text. What sled writes for a row is several times the row, so that this is most of what
//! an event costs on the disk, and less work for sled than it is here.
//!
//! In: bytes. Out: fewer, or none if it is not worth it; and back. Must never happen: other bytes than there were.

/// What rows look like. Rows that are packed with it need every byte of it: it is never changed. Another one gets a
/// mark of its own (`rows/pieces.rs`).
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");

/// Shorter values stay as they are.
const FROM_BYTES: usize = 64;

/// Of the length that stands before the packed bytes.
const LENGTH_BYTES: usize = 4;

/// `bytes` packed; none if that is not clearly less.
pub(super) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < FROM_BYTES {
        return None;
    }
    let block = lz4_flex::block::compress_with_dict(bytes, DICTIONARY);
    if block.len() + LENGTH_BYTES > bytes.len() - bytes.len() / 8 {
        return None;
    }
    let length = u32::try_from(bytes.len()).ok()?;
    Some([length.to_be_bytes().as_slice(), &block].concat())
}

/// What [`pack`] packed, which are at most `limit` bytes; none if it is something else.
pub(super) fn unpack(packed: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (length, block) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > limit {
        return None;
    }
    let mut bytes = vec![0; length];
    let unpacked = lz4_flex::block::decompress_into_with_dict(block, &mut bytes, DICTIONARY);
    (unpacked.ok()? == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;

    use super::*;
    use crate::render::samples;
    use crate::rows;

    const LIMIT: usize = 48 * 1024;
    const DIGEST: u32 = 3_227_258_076;

    #[test]
    fn rows_of_a_ledger_take_less_than_half() {
        let (mut all_bytes, mut packed_bytes) = (0, 0);
        let all = samples::all().into_iter();
        // Larger ones are split.
        let rows = all.map(|(_, delivery)| rows::json(&delivery));
        for json in rows.filter(|json| json.len() <= LIMIT) {
            let packed = pack(&json).expect("it is worth it");
            assert!(unpack(&packed, LIMIT).as_ref() == Some(&json));
            (all_bytes, packed_bytes) = (all_bytes + json.len(), packed_bytes + packed.len());
        }
        assert!(
            packed_bytes * 2 < all_bytes,
            "{packed_bytes} of {all_bytes}"
        );
    }

    #[test]
    fn the_dictionary_is_the_one_that_rows_were_packed_with() {
        assert_eq!(crc32c::crc32c(DICTIONARY), DIGEST);
        let packed = BASE64.decode("AAAAUQ/AAjhgIjoiMSJ9").unwrap();
        let row =
            r#"{"instance":"cri-kmsiwlxxdcva0001","since":"2026-06-01T00:00:00Z","event_id":"1"}"#;
        assert_eq!(unpack(&packed, LIMIT), Some(row.into()));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            text in "[a-f0-9\"{}:,]{0,40}", times in 0..60_usize,
        ) {
            for bytes in [bytes, text.repeat(times).into_bytes()] {
                if let Some(packed) = pack(&bytes) {
                    prop_assert!(packed.len() < bytes.len());
                    prop_assert_eq!(unpack(&packed, LIMIT), Some(bytes.clone()));
                    prop_assert_eq!(unpack(&packed, bytes.len() - 1), None);
                    for cut in 0..packed.len() {
                        prop_assert_ne!(unpack(&packed[..cut], LIMIT), Some(bytes.clone()));
                    }
                }
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let length = [0, 0, 1, 0];
            unpack(&bytes, LIMIT);
            unpack(&[length.as_slice(), &bytes].concat(), LIMIT);
        }
    }
}
