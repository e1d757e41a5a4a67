//! One stream of the log as writer and readers share it: which segments there are, how far they are
//! durable, and which readers still need what. What must never happen: a reader shown a record that
//! is not durable, or a hole.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::frame;
use super::retention::{self, Limits, Sealed};
use super::rot::{self, Verdict};
use super::segment::{self, ActiveSegment, Frames, Step};
use crate::{Error, StartAt, Stream};

/// The partition of the embedded log.
pub(super) const PARTITION: u32 = 0;

/// One segment, up to what is durable of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first record; also its name.
    pub(super) first: u64,
    /// One past its last durable record.
    pub(super) end: u64,
    pub(super) bytes: u64,
    /// When the next one was begun; `None` while it is the active one.
    sealed_at: Option<Timestamp>,
}

/// A stream, shared.
#[derive(Debug)]
pub(super) struct StreamLog {
    pub(super) stream: Stream,
    pub(super) dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Never empty; the last one is active.
    segments: VecDeque<Segment>,
    /// Per reader: everything before this is no longer needed by it.
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
}

/// What opening a stream gives: the shared part, the file to write to, and the two ends of the
/// channel on which the durable end is told.
pub(super) struct Opened {
    pub(super) log: StreamLog,
    pub(super) active: ActiveSegment,
    pub(super) end: watch::Sender<u64>,
}

impl StreamLog {
    /// Opens or makes the stream's folder in `dir`, and reads all of it through: damage is found now, where a
    /// new log can begin, and not by a reader, who could only stop each time. Only the newest segment can
    /// have been cut off by a crash.
    pub(super) fn open(dir: &Path, stream: Stream, now: Timestamp) -> Result<Opened, Error> {
        let dir = dir.join(stream.as_str());
        let failed = |source: std::io::Error| {
            Error::io(
                format_args!("cannot open the log in {}", dir.display()),
                &source,
            )
        };
        rot::resume(&dir).map_err(failed)?;
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let firsts = segment::list(&dir).map_err(failed)?;
        let (segments, active) = if firsts.is_empty() {
            let active = ActiveSegment::create(&dir, 0).map_err(failed)?;
            let segment = Segment {
                first: 0,
                end: 0,
                bytes: 0,
                sealed_at: None,
            };
            (VecDeque::from([segment]), active)
        } else {
            recover(&dir, &firsts, now)?
        };
        let last = segments.back().map_or(0, |segment| segment.end);
        let state = State {
            segments,
            readers: BTreeMap::new(),
            next_reader: 0,
        };
        let log = StreamLog {
            stream,
            dir,
            state: Mutex::new(state),
        };
        Ok(Opened {
            log,
            active,
            end: watch::Sender::new(last),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this, and each change is whole by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest offset held, and one past the newest durable one.
    pub(super) fn bounds(&self) -> (u64, u64) {
        self.lock().bounds()
    }

    /// What the segments take on the disk, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.lock()
            .segments
            .iter()
            .map(|segment| segment.bytes)
            .sum()
    }

    /// The segment with the record at `offset`; `None` at the end of the log.
    pub(super) fn segment_of(&self, offset: u64) -> Result<Option<Segment>, Error> {
        let state = self.lock();
        let (start, end) = state.bounds();
        if offset < start || offset > end {
            return Err(self.out_of_range(offset, (start, end)));
        }
        if offset == end {
            return Ok(None);
        }
        let after = state
            .segments
            .partition_point(|segment| segment.first <= offset);
        Ok(after
            .checked_sub(1)
            .and_then(|i| state.segments.get(i))
            .copied())
    }

    /// Registers a reader and says its number and the offset it starts at. From now on nothing from
    /// there on is unlinked (where readers count).
    pub(super) fn register(&self, from: &StartAt) -> Result<(u64, u64), Error> {
        let mut state = self.lock();
        let (start, end) = state.bounds();
        let next = match from {
            StartAt::Start => start,
            StartAt::At(next) => {
                // A position of another backend: this log has never had such a partition.
                if let Some((partition, wanted)) = next.iter().find(|(p, _)| *p != PARTITION) {
                    let stream = self.stream;
                    return Err(Error::OutOfRange {
                        stream,
                        partition,
                        wanted,
                        start: 0,
                        end: 0,
                    });
                }
                next.get(PARTITION).unwrap_or(start)
            }
        };
        if next < start || next > end {
            return Err(self.out_of_range(next, (start, end)));
        }
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(reader, next);
        Ok((reader, next))
    }

    pub(super) fn unregister(&self, reader: u64) {
        self.lock().readers.remove(&reader);
    }

    /// This reader needs nothing before `offset` any more. Never steps back.
    pub(super) fn acknowledge(&self, reader: u64, offset: u64) {
        if let Some(needed) = self.lock().readers.get_mut(&reader) {
            *needed = offset.max(*needed);
        }
    }

    /// `n` records more are durable, and the active segment has `bytes`. Says the new end.
    pub(super) fn grow(&self, n: u64, bytes: u64) -> u64 {
        let mut state = self.lock();
        let Some(active) = state.segments.back_mut() else {
            return 0;
        };
        active.end += n;
        active.bytes = bytes;
        active.end
    }

    /// A new active segment was begun at the end of the log.
    pub(super) fn rolled(&self, now: Timestamp) {
        let mut state = self.lock();
        let Some(active) = state.segments.back_mut() else {
            return;
        };
        active.sealed_at = Some(now);
        let first = active.end;
        state.segments.push_back(Segment {
            first,
            end: first,
            bytes: 0,
            sealed_at: None,
        });
    }

    /// Takes the segments that may go off the list, oldest first. From now on no reader finds them;
    /// the caller unlinks their files.
    pub(super) fn expire(&self, limits: Limits, now: Timestamp) -> Vec<Segment> {
        let mut state = self.lock();
        let read = match self.stream {
            Stream::DeadLetters => retention::Read::Irrelevant,
            // Without a reader nobody knows what was read.
            Stream::Changes | Stream::Requests => {
                retention::Read::Before(state.readers.values().copied().min().unwrap_or(0))
            }
        };
        let sealed = state.segments.iter().filter_map(|segment| {
            Some(Sealed {
                end: segment.end,
                bytes: segment.bytes,
                at: segment.sealed_at?,
            })
        });
        let active_bytes = state.segments.back().map_or(0, |active| active.bytes);
        let gone = retention::expired(sealed, active_bytes, read, limits, now);
        state.segments.drain(..gone).collect()
    }

    fn out_of_range(&self, wanted: u64, (start, end): (u64, u64)) -> Error {
        Error::OutOfRange {
            stream: self.stream,
            partition: PARTITION,
            wanted,
            start,
            end,
        }
    }
}

impl State {
    fn bounds(&self) -> (u64, u64) {
        let start = self.segments.front().map_or(0, |segment| segment.first);
        let end = self.segments.back().map_or(0, |segment| segment.end);
        (start, end)
    }
}

/// Finds out what the segments of a folder hold, and cuts the newest to its whole records. Where one of
/// them is damaged, all are set aside.
fn recover(
    dir: &Path,
    firsts: &[u64],
    now: Timestamp,
) -> Result<(VecDeque<Segment>, ActiveSegment), Error> {
    let newest_first = firsts.last().copied().unwrap_or(0);
    let newest_path = segment::path_of(dir, newest_first);
    let newest = newest(&newest_path)?;
    let end_of_all = newest_first + newest.n();
    let mut segments = VecDeque::with_capacity(firsts.len());
    for pair in firsts.windows(2) {
        let [first, end] = *pair else { continue };
        let path = segment::path_of(dir, first);
        let bytes = match sealed(&path, end - first)? {
            Ok(bytes) => bytes,
            Err(Damage { byte, what }) => {
                return start_over(dir, &path, end_of_all, byte, what, now);
            }
        };
        // It was sealed when the next one got its first record, about.
        let sealed_at = first_appended_at(&segment::path_of(dir, end)).unwrap_or(now);
        segments.push_back(Segment {
            first,
            end,
            bytes,
            sealed_at: Some(sealed_at),
        });
    }
    let bytes = match newest {
        Newest::Whole { bytes, .. } => bytes,
        Newest::Rotten { byte, what, .. } => {
            return start_over(dir, &newest_path, end_of_all, byte, what, now);
        }
    };
    let active = ActiveSegment::reopen(&newest_path, bytes)
        .map_err(|source| cannot_read(&newest_path, &source))?;
    segments.push_back(Segment {
        first: newest_first,
        end: end_of_all,
        bytes,
        sealed_at: None,
    });
    Ok((segments, active))
}

/// What the newest segment is.
enum Newest {
    /// It begins with `n` whole records, which take `bytes`. The rest, if any, is a tail that a crash has torn.
    Whole { n: u64, bytes: u64 },
    /// Of its `n` records, at least the one at `byte` cannot be read.
    Rotten {
        n: u64,
        byte: u64,
        what: &'static str,
    },
}

impl Newest {
    /// Its records.
    fn n(&self) -> u64 {
        match self {
            Self::Whole { n, .. } | Self::Rotten { n, .. } => *n,
        }
    }
}

/// Where and how a segment is damaged.
struct Damage {
    byte: u64,
    what: &'static str,
}

/// Reads an older segment through, which has `n` records: gives its length in bytes. A record of a newer
/// program is no damage, but an error.
fn sealed(path: &Path, n: u64) -> Result<Result<u64, Damage>, Error> {
    let failed = |source: std::io::Error| cannot_read(path, &source);
    let file_bytes = std::fs::metadata(path).map_err(failed)?.len();
    let mut frames = Frames::open(path).map_err(failed)?;
    let mut n_found = 0;
    let what = loop {
        match frames.step(file_bytes).map_err(failed)? {
            Step::Frame { byte, body } => {
                frame::decode(body).map_err(|what| corrupt(path, byte, what))?;
                n_found += 1;
            }
            Step::End if n_found == n => return Ok(Ok(file_bytes)),
            Step::End => break "it has not as many records as its name and the next one's say",
            Step::Broken { what } => break what,
        }
    };
    let byte = frames.byte();
    Ok(Err(Damage { byte, what }))
}

/// Begins a new log behind the damaged one, which is set aside with its older segments: who has not read it
/// to its end finds that the log starts after where it stands, tells, and asks for what it missed.
fn start_over(
    dir: &Path,
    path: &Path,
    end: u64,
    byte: u64,
    what: &str,
    now: Timestamp,
) -> Result<(VecDeque<Segment>, ActiveSegment), Error> {
    let failed = |source: std::io::Error| cannot_read(path, &source);
    let aside = rot::set_aside(dir, end, now).map_err(failed)?;
    tracing::error!(
        file = %path.display(), byte, reason = what, set_aside = %aside.display(), next = end,
        "the event log is damaged: it is set aside, and a new one begins",
    );
    let active = ActiveSegment::reopen(&segment::path_of(dir, end), 0).map_err(failed)?;
    let segment = Segment {
        first: end,
        end,
        bytes: 0,
        sealed_at: None,
    };
    Ok((VecDeque::from([segment]), active))
}

/// Reads the newest segment through. Says what it leaves out of a torn one.
fn newest(path: &Path) -> Result<Newest, Error> {
    let failed = |source: std::io::Error| cannot_read(path, &source);
    let file_bytes = std::fs::metadata(path).map_err(failed)?.len();
    let mut frames = Frames::open(path).map_err(failed)?;
    let mut n = 0;
    loop {
        match frames.step(file_bytes).map_err(failed)? {
            // A checksum that is right around a body that is not: no crash does that, so nothing is
            // cut.
            Step::Frame { byte, body } => {
                frame::decode(body).map_err(|what| corrupt(path, byte, what))?;
                n += 1;
            }
            Step::End => {
                return Ok(Newest::Whole {
                    n,
                    bytes: file_bytes,
                });
            }
            Step::Broken { what } => {
                let kept_bytes = frames.byte();
                if let Verdict::Rot { n_behind } = rot::look(path, kept_bytes).map_err(failed)? {
                    return Ok(Newest::Rotten {
                        n: n + 1 + n_behind,
                        byte: kept_bytes,
                        what,
                    });
                }
                tracing::warn!(
                    file = %path.display(), kept_bytes, cut_bytes = file_bytes - kept_bytes,
                    records = n, reason = what, "the torn tail of the log is cut",
                );
                return Ok(Newest::Whole {
                    n,
                    bytes: kept_bytes,
                });
            }
        }
    }
}

/// When the first record of a segment was appended, where that can be told.
fn first_appended_at(path: &Path) -> Option<Timestamp> {
    let bytes = std::fs::metadata(path).ok()?.len();
    let mut frames = Frames::open(path).ok()?;
    let Step::Frame { body, .. } = frames.step(bytes).ok()? else {
        return None;
    };
    Timestamp::from_millisecond(frame::decode(body).ok()?.appended_at_ms).ok()
}

pub(super) fn corrupt(path: &Path, byte: u64, what: &str) -> Error {
    Error::Corrupt {
        file: path.to_owned(),
        byte,
        what: what.to_owned(),
    }
}

pub(super) fn cannot_read(path: &Path, source: &std::io::Error) -> Error {
    Error::io(format_args!("cannot read {}", path.display()), source)
}
