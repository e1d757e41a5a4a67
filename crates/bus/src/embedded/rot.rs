//! Tells a torn tail from rot, where the newest segment does not read to its end.
//!
//! A crash tears only what was being written: the last group, which nobody was told is durable. It is cut.
//! Rot is anywhere: cutting there would drop records that were acknowledged. Whole frames behind the bad
//! place are the sign of it, unless they can be of the torn group too: pages of one write reach the disk in
//! any order, and one that did not reads as zeros, for a segment only grows.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::frame::{self, HEAD_BYTES, Parsed};
use super::segment::{self, ActiveSegment};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// What the bytes from a bad place to the end of a segment are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What a crash leaves: nothing of it was acknowledged.
    Torn,
    /// Damage, with so many whole records behind it.
    Rot { n_behind: u64 },
}

/// Looks at the segment at `path` from `byte` on, where no whole frame begins.
pub(super) fn look(path: &Path, byte: u64) -> io::Result<Verdict> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(byte))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(judge(&tail, byte))
}

/// `tail` begins at `byte` of its segment.
fn judge(tail: &[u8], byte: u64) -> Verdict {
    let Some(first) = next_frame(tail, 0) else {
        return Verdict::Torn;
    };
    let mut n_behind = 0;
    let mut groups = Vec::new();
    let mut at = Some(first);
    while let Some(start) = at {
        let Parsed::Whole(size) = frame::parse(&tail[start..]) else {
            break;
        };
        n_behind += 1;
        if let Ok(body) = frame::decode(&tail[start + HEAD_BYTES..start + size])
            && groups.last() != Some(&body.appended_at_ms)
        {
            groups.push(body.appended_at_ms);
        }
        at = next_frame(tail, start + size);
    }
    // Only the last group can be torn, and all of a group was appended at one time.
    if groups.len() < 2 && has_empty_sector(&tail[..first], byte) {
        return Verdict::Torn;
    }
    Verdict::Rot { n_behind }
}

/// Where the next whole frame begins, from `from` on.
fn next_frame(tail: &[u8], from: usize) -> Option<usize> {
    (from..tail.len()).find(|&at| match frame::parse(&tail[at..]) {
        Parsed::Whole(size) => frame::decode(&tail[at + HEAD_BYTES..at + size]).is_ok(),
        Parsed::Short(_) | Parsed::Bad(_) => false,
    })
}

/// Whether a sector, or its rest behind `byte`, is all zeros. The one in which `gap` ends was written.
fn has_empty_sector(gap: &[u8], byte: u64) -> bool {
    let to_next = usize::try_from(SECTOR_BYTES - byte % SECTOR_BYTES).unwrap_or(gap.len());
    let (rest, sectors) = gap.split_at(to_next.min(gap.len()));
    let is_empty = |part: &[u8]| part.len() >= HEAD_BYTES && part.iter().all(|byte| *byte == 0);
    let whole = usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX);
    (rest.len() == to_next && is_empty(rest)) || sectors.chunks_exact(whole).any(is_empty)
}

/// Puts the folder of a stream aside, and an empty one in its place that begins at `end`: whoever has not
/// read all of the old one finds that this one starts after where it stands. Gives the old one's new name.
pub(super) fn set_aside(dir: &Path, end: u64, now: Timestamp) -> io::Result<PathBuf> {
    let new = beside(dir, "new");
    fs::create_dir_all(&new)?;
    ActiveSegment::create(&new, end)?;
    let aside = beside(dir, &format!("damaged-{}", now.as_millisecond()));
    fs::rename(dir, &aside)?;
    fs::rename(&new, dir)?;
    if let Some(above) = dir.parent() {
        segment::sync_dir(above)?;
    }
    Ok(aside)
}

/// Ends a [`set_aside`] that a crash cut in two.
pub(super) fn resume(dir: &Path) -> io::Result<()> {
    let new = beside(dir, "new");
    match (dir.exists(), new.exists()) {
        (false, true) => fs::rename(new, dir),
        (true, true) => fs::remove_dir_all(new),
        (_, false) => Ok(()),
    }
}

fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    fn frames(groups: &[(i64, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (appended_at_ms, n) in groups {
            for _ in 0..*n {
                let record = Record::new("key", vec![b'v'; 300]);
                frame::encode(&record, *appended_at_ms, &mut bytes);
            }
        }
        bytes
    }

    #[test]
    fn nothing_whole_behind_is_a_torn_tail() {
        let bytes = frames(&[(1, 1)]);
        assert_eq!(judge(&bytes[..bytes.len() - 1], 0), Verdict::Torn);
        assert_eq!(judge(&[0; 3_000], 77), Verdict::Torn);
    }

    #[test]
    fn a_flipped_bit_before_whole_records_is_rot_wherever_it_is() {
        let bytes = frames(&[(1, 1), (2, 3)]);
        let size = frames(&[(1, 1)]).len();
        for at in 0..size {
            let mut rotten = bytes.clone();
            rotten[at] ^= 0x20;
            assert_eq!(judge(&rotten, 0), Verdict::Rot { n_behind: 3 }, "{at}");
        }
    }

    #[test]
    fn a_page_that_never_came_is_torn_unless_a_later_group_is_whole() {
        let mut bytes = frames(&[(1, 20)]);
        bytes[1_024..2_048].fill(0);
        let size = frames(&[(1, 1)]).len();
        let bad = 1_024 / size * size;
        assert_eq!(judge(&bytes[bad..], bad as u64), Verdict::Torn);
        let later = frames(&[(2, 1), (3, 1)]);
        bytes.extend(later);
        assert!(matches!(
            judge(&bytes[bad..], bad as u64),
            Verdict::Rot { .. }
        ));
    }
}
