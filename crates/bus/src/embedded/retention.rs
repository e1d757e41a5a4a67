//! Which sealed segments may be unlinked. Pure: sizes, ages and readers in, a count out. What must
//! never happen: a record gone that a reader of the stream still has to read.

use std::time::Duration;

use jiff::Timestamp;

/// A segment that is no longer written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    /// One past its last record.
    pub(super) end: u64,
    pub(super) bytes: u64,
    /// When its last record was appended, or a little later.
    pub(super) at: Timestamp,
}

/// What a stream may keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) age: Duration,
    pub(super) bytes: u64,
}

/// Up to where records may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Nobody has to have read them.
    Irrelevant,
    /// Only what lies before this offset has been read by all readers.
    Before(u64),
}

/// How many of the oldest `sealed` segments may be unlinked: too old, or too much together with
/// the `active_bytes` of the segment being written, and wholly read. Stops at the first that has to stay: a
/// log has no holes.
pub(super) fn expired(
    sealed: impl IntoIterator<Item = Sealed, IntoIter: Clone>,
    active_bytes: u64,
    read: Read,
    limits: Limits,
    now: Timestamp,
) -> usize {
    let sealed = sealed.into_iter();
    let mut kept_bytes = active_bytes + sealed.clone().map(|segment| segment.bytes).sum::<u64>();
    sealed
        .take_while(|segment| {
            let read = match read {
                Read::Irrelevant => true,
                Read::Before(offset) => segment.end <= offset,
            };
            // A clock that was set back makes a negative age, which counts as none.
            let age = Duration::try_from(now.duration_since(segment.at)).unwrap_or_default();
            let goes = read && (kept_bytes > limits.bytes || age > limits.age);
            if goes {
                kept_bytes -= segment.bytes;
            }
            goes
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_000_000, 0);
    const LIMITS: Limits = Limits {
        age: Duration::from_secs(100),
        bytes: 1000,
    };

    /// Segments of ten records: (bytes, age in seconds).
    fn sealed(segments: &[(u64, i64)]) -> Vec<Sealed> {
        let segment = |(i, &(bytes, age)): (usize, &(u64, i64))| Sealed {
            end: (i as u64 + 1) * 10,
            bytes,
            at: Timestamp::constant(NOW.as_second() - age, 0),
        };
        segments.iter().enumerate().map(segment).collect()
    }

    #[test]
    fn young_and_small_segments_stay() {
        let segments = sealed(&[(500, 100), (400, 50)]);
        assert_eq!(expired(segments, 100, Read::Irrelevant, LIMITS, NOW), 0);
    }

    #[test]
    fn old_segments_go_up_to_the_first_young_one() {
        let segments = sealed(&[(1, 300), (1, 101), (1, 100), (1, 400)]);
        assert_eq!(expired(segments, 1, Read::Irrelevant, LIMITS, NOW), 2);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let segments = sealed(&[(400, 3), (400, 2), (400, 1)]);
        assert_eq!(
            expired(segments.clone(), 201, Read::Irrelevant, LIMITS, NOW),
            2
        );
        assert_eq!(expired(segments, 200, Read::Irrelevant, LIMITS, NOW), 1);
    }

    #[test]
    fn nothing_goes_that_a_reader_has_not_read() {
        let segments = sealed(&[(900, 900), (900, 900), (900, 900)]);
        for (read, gone) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3), (99, 3)] {
            let read = Read::Before(read);
            assert_eq!(
                expired(segments.clone(), 1, read, LIMITS, NOW),
                gone,
                "{read:?}"
            );
        }
    }

    #[test]
    fn a_clock_set_back_makes_nothing_old() {
        let segments = sealed(&[(1, -5000)]);
        assert_eq!(expired(segments, 1, Read::Irrelevant, LIMITS, NOW), 0);
    }
}
