//! One reader of one stream. It waits on the durable end without a timer, reads on the blocking
//! pool, and keeps its file and its place between calls, so that reading on is linear.
//!
//! What must never happen: a record lost because a caller dropped the future. So a read that was
//! begun stays with the reader, and what it brought is given by the next call.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::EmbeddedLog;
use super::frame;
use super::segment::{self, Frames, Step};
use super::stream_log::{PARTITION, Segment, StreamLog, cannot_read, corrupt};
use crate::{BoxFuture, Error, Next, Position, Read, StartAt, Subscriber};

/// A batch ends with the record that reaches this.
const BATCH_BYTES: usize = 1024 * 1024;

/// A reader.
#[derive(Debug)]
pub(crate) struct EmbeddedSubscriber {
    /// Keeps the log open as long as someone reads it.
    owner: Arc<EmbeddedLog>,
    log: Arc<StreamLog>,
    end: watch::Receiver<u64>,
    reader: u64,
    /// The next offset to read from the disk; what is in `ready` lies before it.
    next: u64,
    /// Read and not given yet.
    ready: VecDeque<Read>,
    cursor: Option<Cursor>,
    reading: Option<JoinHandle<Finished>>,
}

/// What a read on the blocking pool gives back: the place, and what it brought.
type Finished = (Option<Cursor>, Result<Vec<Read>, Error>);

/// A place in an open segment.
#[derive(Debug)]
struct Cursor {
    first: u64,
    offset: u64,
    frames: Frames,
}

impl EmbeddedSubscriber {
    pub(super) fn new(
        owner: Arc<EmbeddedLog>,
        log: Arc<StreamLog>,
        end: watch::Receiver<u64>,
        from: &StartAt,
    ) -> Result<EmbeddedSubscriber, Error> {
        let (reader, next) = log.register(from)?;
        let ready = VecDeque::new();
        Ok(EmbeddedSubscriber {
            owner,
            log,
            end,
            reader,
            next,
            ready,
            cursor: None,
            reading: None,
        })
    }

    /// Every `await` here leaves `self` as it was, or in a state from which the next call goes on.
    async fn read_on(&mut self, max: usize) -> Result<Vec<Read>, Error> {
        let max = max.max(1);
        loop {
            self.owner.alive()?;
            if !self.ready.is_empty() {
                let n = max.min(self.ready.len());
                return Ok(self.ready.drain(..n).collect());
            }
            let reading = if let Some(reading) = &mut self.reading {
                reading
            } else {
                let next = self.next;
                let waited = self.end.wait_for(|end| *end > next).await;
                drop(waited.map_err(|_| Error::Closed)?);
                let (log, mut cursor) = (self.log.clone(), self.cursor.take());
                self.reading.insert(spawn_blocking(move || {
                    let reads = read_batch(&log, &mut cursor, next, max);
                    (cursor, reads)
                }))
            };
            let finished = reading.await;
            self.reading = None;
            let (cursor, reads) = finished.map_err(|error| Error::Unavailable {
                what: format!("cannot read {}: {error}", self.log.dir.display()),
            })?;
            self.cursor = cursor;
            let reads = reads?;
            if let Some(last) = reads.last() {
                self.next = last.position.offset + 1;
            }
            self.ready.extend(reads);
        }
    }
}

impl Subscriber for EmbeddedSubscriber {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Read>, Error>> {
        Box::pin(self.read_on(max))
    }

    fn acknowledge(&mut self, next: &Next) -> BoxFuture<'_, Result<(), Error>> {
        let result = self.owner.alive().map(|()| {
            if let Some(offset) = next.get(PARTITION) {
                self.log.acknowledge(self.reader, offset);
            }
        });
        Box::pin(std::future::ready(result))
    }

    fn ends(&self) -> BoxFuture<'_, Result<Next, Error>> {
        let ends = self.owner.alive().map(|()| {
            let (_, end) = self.log.bounds();
            Next::from_iter([(PARTITION, end)])
        });
        Box::pin(std::future::ready(ends))
    }
}

impl Drop for EmbeddedSubscriber {
    fn drop(&mut self) {
        self.log.unregister(self.reader);
    }
}

/// The record at `offset`, where there is one. Blocking.
pub(super) fn read_one(log: &StreamLog, offset: u64) -> Result<Option<Read>, Error> {
    match read_batch(log, &mut None, offset, 1) {
        Ok(reads) => Ok(reads.into_iter().next()),
        Err(Error::OutOfRange { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads from `next` on, at most `max` records or [`BATCH_BYTES`], over segment ends. Empty at the
/// end of the log. Blocking. What was read before an error is given first; the error comes again.
fn read_batch(
    log: &StreamLog,
    cursor: &mut Option<Cursor>,
    next: u64,
    max: usize,
) -> Result<Vec<Read>, Error> {
    let mut batch = Batch {
        reads: Vec::new(),
        bytes: 0,
        max,
    };
    let mut next = next;
    while !batch.is_full() {
        match read_segment(log, cursor, next, &mut batch) {
            Ok(Some(reached)) => next = reached,
            Ok(None) => break,
            Err(error) => {
                *cursor = None;
                if batch.reads.is_empty() {
                    return Err(error);
                }
                break;
            }
        }
    }
    Ok(batch.reads)
}

struct Batch {
    reads: Vec<Read>,
    bytes: usize,
    max: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.reads.len() >= self.max || self.bytes >= BATCH_BYTES
    }
}

/// Reads on in the segment that holds `next`, and says the offset it came to; `None` at the end of
/// the log.
fn read_segment(
    log: &StreamLog,
    cursor: &mut Option<Cursor>,
    next: u64,
    batch: &mut Batch,
) -> Result<Option<u64>, Error> {
    let Some(segment) = log.segment_of(next)? else {
        return Ok(None);
    };
    let path = segment::path_of(&log.dir, segment.first);
    let cursor = match cursor {
        Some(cursor) if cursor.first == segment.first && cursor.offset == next => cursor,
        _ => {
            let frames = match Frames::open(&path) {
                Ok(frames) => frames,
                Err(source) => {
                    if source.kind() == ErrorKind::NotFound {
                        // Unlinked since it was looked up: then this says so.
                        log.segment_of(next)?;
                    }
                    return Err(cannot_read(&path, &source));
                }
            };
            cursor.insert(Cursor {
                first: segment.first,
                offset: segment.first,
                frames,
            })
        }
    };
    while cursor.offset < segment.end && !batch.is_full() {
        let failed = |source: std::io::Error| cannot_read(&path, &source);
        match cursor.frames.step(segment.bytes).map_err(failed)? {
            Step::Frame { byte, body } => {
                if cursor.offset >= next {
                    let decoded = frame::decode(body).map_err(|what| corrupt(&path, byte, what))?;
                    batch.bytes += body.len();
                    let position = Position {
                        partition: PARTITION,
                        offset: cursor.offset,
                    };
                    batch.reads.push(Read {
                        position,
                        record: decoded.record,
                        appended_at_ms: Some(decoded.appended_at_ms),
                    });
                }
                cursor.offset += 1;
            }
            Step::End => return Err(corrupt(&path, segment.bytes, &missing(segment, cursor))),
            Step::Broken { what } => return Err(corrupt(&path, cursor.frames.byte(), what)),
        }
        if cursor.offset == segment.end && cursor.frames.byte() < segment.bytes {
            // Then its records are perhaps not the ones the name of the next segment counts. Said
            // before the last is given, for nobody comes back to this segment afterwards.
            batch
                .reads
                .pop_if(|last| last.position.offset + 1 == segment.end);
            let what = "more follows than the name of the next segment says";
            return Err(corrupt(&path, cursor.frames.byte(), what));
        }
    }
    Ok(Some(cursor.offset))
}

fn missing(segment: Segment, cursor: &Cursor) -> String {
    format!(
        "the segment ends before record {} of {}",
        cursor.offset, segment.end
    )
}
