//! Values of any size in rows.
//!
//! A value that is worth it is packed (`packed.rs`). The store takes values up to 64 KiB. A larger one is split, and not
//! packed: the row itself then holds the number of its pieces and the CRC-32C of the whole; the pieces stand behind it
//! under its key, a 0xFF byte (never part of UTF-8) and a number.
//!
//! A commit is applied at once, but between two look-ups of one reader commits of others fall. Who alone
//! changes a row reads it with [`read`]; everybody else (lists, the API, the relay's readers) with [`seen`] and
//! [`find`], which notice that a row went or changed while its pieces were read.

use serde::Serialize;
use serde::de::DeserializeOwned;
use syncbell_store::{Batch, Error, Reader};

use super::{Key, packed};

const PIECE_BYTES: usize = 48 * 1024;
const WHOLE: u8 = 0;
const SPLIT: u8 = 1;
const PACKED: u8 = 2;
const PIECE_MARK: u8 = 0xFF;

/// How often a row that changes while it is read is read again.
const READINGS: u32 = 10;

/// The JSON of a row's value.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("ledger rows have string keys and plain fields")
}

/// Puts `bytes` under `key`, in pieces if they are large. What stood there had `before` pieces ([`n_pieces`]): those of
/// a longer value do not stay behind.
pub(crate) fn put(batch: &mut Batch, key: &[u8], bytes: &[u8], before: usize) {
    let now = if bytes.len() <= PIECE_BYTES {
        0
    } else {
        bytes.len().div_ceil(PIECE_BYTES)
    };
    if now == 0 {
        let packed = packed::pack(bytes);
        let (mark, value) = packed
            .as_deref()
            .map_or((WHOLE, bytes), |few| (PACKED, few));
        batch.put(key, [&[mark], value].concat());
    } else {
        let mut row = vec![SPLIT];
        row.extend(u32::try_from(now).unwrap_or(u32::MAX).to_be_bytes());
        row.extend(crc32c::crc32c(bytes).to_be_bytes());
        batch.put(key, row);
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            batch.put(piece_key(key, number), piece);
        }
    }
    for number in now..before {
        batch.delete(piece_key(key, number));
    }
}

/// Deletes the row under `key` with its pieces ([`n_pieces`]).
pub(crate) fn delete(batch: &mut Batch, key: &[u8], n_pieces: usize) {
    batch.delete(key);
    for number in 0..n_pieces {
        batch.delete(piece_key(key, number));
    }
}

/// The JSON under `key`, of which `row` is the first piece, for who alone changes that row.
pub(crate) fn read<T: DeserializeOwned>(
    reader: &Reader,
    key: &[u8],
    row: &[u8],
) -> Result<T, Error> {
    parsed(key, &bytes(reader, key, row)?)
}

/// The bytes under `key`, of which `row` is the first piece, for who alone changes that row.
pub(crate) fn bytes(reader: &Reader, key: &[u8], row: &[u8]) -> Result<Vec<u8>, Error> {
    seen_bytes(reader, key, row)?.ok_or_else(|| unreadable(key, "it went while it was read"))
}

/// The JSON that stands under `key`; none if nothing does.
pub(crate) fn find<T: DeserializeOwned>(reader: &Reader, key: &[u8]) -> Result<Option<T>, Error> {
    match reader.get(key)? {
        Some(row) => seen(reader, key, &row),
        None => Ok(None),
    }
}

/// The JSON under `key`, of which a scan saw `row`; none if it went since.
pub(crate) fn seen<T: DeserializeOwned>(
    reader: &Reader,
    key: &[u8],
    row: &[u8],
) -> Result<Option<T>, Error> {
    let bytes = seen_bytes(reader, key, row)?;
    bytes.map(|bytes| parsed(key, &bytes)).transpose()
}

/// The bytes under `key`, of which a scan saw `row`, or newer ones; none if they went since.
pub(crate) fn seen_bytes(
    reader: &Reader,
    key: &[u8],
    row: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let mut newer: Option<Vec<u8>> = None;
    for _ in 0..READINGS {
        let row = newer.as_deref().unwrap_or(row);
        let bytes = match row.split_first() {
            Some((&WHOLE, bytes)) => return Ok(Some(bytes.to_vec())),
            Some((&PACKED, bytes)) => {
                let whole = packed::unpack(bytes, PIECE_BYTES);
                let whole = whole.ok_or_else(|| unreadable(key, "what is packed is damaged"))?;
                return Ok(Some(whole));
            }
            Some((&SPLIT, _)) => joined(reader, key, row)?,
            _ => return Err(unreadable(key, "it is empty or of a newer version")),
        };
        if bytes.is_some() {
            return Ok(bytes);
        }
        newer = reader.get(key)?;
        if newer.is_none() {
            return Ok(None);
        }
    }
    Err(unreadable(
        key,
        "pieces of it are missing, or not of one value",
    ))
}

/// The pieces that `row` tells of; none if they are not, or no longer, those.
fn joined(reader: &Reader, key: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    for number in 0..n_pieces(row) {
        match reader.get(&piece_key(key, number))? {
            Some(piece) => bytes.extend(piece),
            None => return Ok(None),
        }
    }
    let is_whole = row.ends_with(&crc32c::crc32c(&bytes).to_be_bytes());
    Ok(is_whole.then_some(bytes))
}

fn parsed<T: DeserializeOwned>(key: &[u8], json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| unreadable(key, &error.to_string()))
}

/// What stands under `key` is not what this program puts there.
pub(crate) fn unreadable(key: &[u8], what: &str) -> Error {
    Error::Failed {
        what: format!("row {} cannot be read: {what}", key.escape_ascii()),
    }
}

/// Whether `key` is a piece of a larger value, to be left out of scans.
pub(crate) fn is_piece(key: &[u8]) -> bool {
    key.contains(&PIECE_MARK)
}

/// The key of the row of which `key` is, or is a piece.
pub(crate) fn without_piece(key: &[u8]) -> &[u8] {
    key.split(|byte| *byte == PIECE_MARK)
        .next()
        .unwrap_or_default()
}

/// In how many pieces the value stands of which `row` tells; 0: it is whole.
pub(crate) fn n_pieces(row: &[u8]) -> usize {
    match row {
        [SPLIT, a, b, c, d, _, _, _, _] => {
            usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
}

fn piece_key(key: &[u8], number: usize) -> Key {
    let mut piece = key.to_vec();
    piece.push(PIECE_MARK);
    piece.extend(format!("{number:06}").into_bytes());
    piece
}

#[cfg(test)]
mod tests {
    use syncbell_store::Store;

    use super::*;

    /// Puts `value` under `key` over `before`, and gives the row that stands there then.
    async fn stands(store: &Store, key: &[u8], value: &str, before: Option<&[u8]>) -> Vec<u8> {
        let mut batch = Batch::new();
        put(&mut batch, key, &json(&value), before.map_or(0, n_pieces));
        store.commit(batch).await.unwrap();
        store.get(key.to_vec()).await.unwrap().unwrap()
    }

    async fn looked_at(store: &Store, key: &[u8], row: &[u8]) -> Option<String> {
        let (key, row) = (key.to_vec(), row.to_vec());
        let read = store.read(move |reader| seen(reader, &key, &row)).await;
        read.unwrap()
    }

    #[tokio::test]
    async fn values_of_any_size_come_back_and_leave_nothing_behind() {
        let store = Store::memory();
        let key = b"i/x".to_vec();
        let mut row: Option<Vec<u8>> = None;
        for length in [10, 200_000, 49_000, 100_000, 3] {
            let value = "x".repeat(length);
            let first = stands(&store, &key, &value, row.as_deref()).await;
            row = Some(first.clone());
            let key = key.clone();
            let back: String = store.read(move |r| read(r, &key, &first)).await.unwrap();
            assert_eq!(back, value);
        }
        let all = store.scan(b"i/".to_vec(), None, 100).await.unwrap();
        assert_eq!(all.len(), 1, "pieces of longer values stayed behind");
        let mut batch = Batch::new();
        delete(&mut batch, &key, n_pieces(&row.unwrap()));
        store.commit(batch).await.unwrap();
        assert!(store.scan(b"".to_vec(), None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_row_that_went_or_changed_since_it_was_seen_is_none_or_the_newer_one() {
        let store = Store::memory();
        let key = b"l/1".to_vec();
        let [one, other] = ["a", "b"].map(|letter| letter.repeat(150_000));
        let row = stands(&store, &key, &one, None).await;
        // As many pieces of another value, fewer, and none.
        for newer in [other.as_str(), &"c".repeat(60_000), "d"] {
            let before = store.get(key.clone()).await.unwrap();
            stands(&store, &key, newer, before.as_deref()).await;
            assert_eq!(
                looked_at(&store, &key, &row).await.as_deref(),
                Some(newer),
                "{} bytes",
                newer.len()
            );
        }
        let mut batch = Batch::new();
        let before = store.get(key.clone()).await.unwrap().unwrap();
        delete(&mut batch, &key, n_pieces(&before));
        store.commit(batch).await.unwrap();
        assert_eq!(looked_at(&store, &key, &row).await, None);
    }

    #[tokio::test]
    async fn a_packed_row_that_is_damaged_or_of_a_newer_version_is_refused_by_name() {
        let store = Store::memory();
        let key = b"l/1".to_vec();
        let row = stands(&store, &key, &"a".repeat(1_000), None).await;
        assert_eq!(row.first(), Some(&PACKED));
        assert!(row.len() < 100, "{} bytes", row.len());
        let mut newer = row.clone();
        newer[0] = PACKED + 1;
        for (row, why) in [
            (&row[..row.len() / 2], "damaged"),
            (&newer, "newer version"),
        ] {
            let (key, row) = (key.clone(), row.to_vec());
            let read = store.read(move |reader| bytes(reader, &key, &row)).await;
            let said = read.unwrap_err().to_string();
            assert!(said.contains("l/1") && said.contains(why), "{said}");
        }
    }

    #[tokio::test]
    async fn a_row_whose_pieces_are_damaged_is_refused_by_name() {
        let store = Store::memory();
        let key = b"l/1".to_vec();
        let row = stands(&store, &key, &"a".repeat(150_000), None).await;
        let mut batch = Batch::new();
        batch.put(piece_key(&key, 1), "other bytes");
        store.commit(batch).await.unwrap();
        let read = store.read(move |reader| bytes(reader, &key, &row)).await;
        let said = read.unwrap_err().to_string();
        assert!(
            said.contains("l/1") && said.contains("not of one value"),
            "{said}"
        );
    }
}
