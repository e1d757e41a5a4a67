//! What was acknowledged, told by a file beside the database.
//!
//! sled takes a damaged piece of its log for the end of the log: it opens without what came after it,
//! or without anything, and says nothing. So each batch carries its number as a row, and after it is on
//! the disk the number is written here. A database that is behind its witness has lost what was
//! acknowledged. In: numbers. Out: the last one that reached the disk. It is not synced with each
//! batch: after a power cut it may be older, never newer. Must never happen: a number here whose batch
//! was not on the disk before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const WITNESS_FILE: &str = "acknowledged";
/// The number, and its CRC-32C.
const LENGTH_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
}

impl Witness {
    /// The witness of the database in `dir`, and the last number it saw: 0 where it has none that can
    /// be read.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, u64)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(WITNESS_FILE))?;
        let mut bytes = [0; LENGTH_BYTES];
        let seen = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(0),
            Err(error) => return Err(error),
        };
        if seen.is_none() {
            tracing::warn!(database = %dir.display(), "its witness cannot be read: losses would not show");
        }
        Ok((Self { file }, seen.unwrap_or(0)))
    }

    /// The batch `number` is on the disk. An error leaves an older number, which is true as well.
    pub(crate) fn saw(&self, number: u64) {
        if let Err(error) = self.file.write_all_at(&encode(number), 0) {
            tracing::debug!(%error, "the store's witness was not written");
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn encode(number: u64) -> [u8; LENGTH_BYTES] {
    let mut bytes = [0; LENGTH_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&crc32c::crc32c(&number.to_be_bytes()).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; LENGTH_BYTES]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes[..8].try_into().ok()?);
    (encode(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_read_back_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (witness, seen) = Witness::open(dir.path()).unwrap();
        assert_eq!(seen, 0);
        witness.saw(7);
        witness.saw(1 << 40);
        assert_eq!(Witness::open(dir.path()).unwrap().1, 1 << 40);
        witness.file.write_all_at(&[9], 3).unwrap();
        assert_eq!(Witness::open(dir.path()).unwrap().1, 0);
    }
}
