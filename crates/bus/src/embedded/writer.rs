//! The one thread that writes. Appends come in from all tasks over a bounded channel; all that wait
//! make one group: one write and one fdatasync a stream, then the durable end moves, then all are
//! answered. The longer the disk takes, the larger the next group: that is what makes it fast.
//!
//! What must never happen: an answer before the fdatasync, or an end that readers see before it.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::retention::Limits;
use super::segment::{self, ActiveSegment};
use super::space::Space;
use super::stream_log::StreamLog;
use super::{EmbeddedOptions, frame};
use crate::{Error, Record, Stream};

/// How many appends can wait; then the callers wait.
pub(super) const MAX_WAITING: usize = 256;

/// How much one group writes, about: the append that reaches it is the last of its group.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A group buffer is kept for the next group up to this size.
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

/// The retention is looked at no more and no less often than this.
const RETAIN_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_hours(24));

pub(super) type Answer = oneshot::Sender<Result<(), Error>>;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Append these, whose sizes were checked.
    Append {
        stream: Stream,
        records: Vec<Record>,
        answer: Answer,
    },
    /// Say whether an append could be taken.
    Ready { answer: Answer },
    /// Finish, release the lock, answer.
    Close { answer: Answer },
}

/// The thread's own side of the log.
pub(super) struct Writer {
    pub(super) commands: mpsc::Receiver<Command>,
    /// One a stream, by index.
    pub(super) lanes: Vec<Lane>,
    pub(super) options: EmbeddedOptions,
    pub(super) space: Space,
    /// Locked as long as it is open.
    pub(super) lock: File,
}

/// One stream as it is written.
pub(super) struct Lane {
    log: Arc<StreamLog>,
    active: ActiveSegment,
    end: watch::Sender<u64>,
    buffer: Vec<u8>,
    /// How many records the buffer holds.
    n: u64,
    waiting: Vec<Answer>,
}

impl Writer {
    /// Works until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self, runtime: &Runtime) {
        let retain_every = self
            .options
            .retention_every
            .clamp(RETAIN_EVERY.0, RETAIN_EVERY.1);
        let mut retain_at = Instant::now() + retain_every;
        let closing = loop {
            let command =
                runtime.block_on(async { timeout_at(retain_at, self.commands.recv()).await });
            let rolled = match command {
                Err(_elapsed) => false,
                Ok(None) => break None,
                Ok(Some(command)) => {
                    let closing = self.gather(command);
                    let rolled = self.commit();
                    if closing.is_some() {
                        break closing;
                    }
                    rolled
                }
            };
            if rolled || Instant::now() >= retain_at {
                self.retain();
                retain_at = Instant::now() + retain_every;
            }
        };
        // Whoever still waits in the channel is told by its answer being dropped. The lock goes
        // before the answer, so that the log can be opened again at once.
        let Writer {
            commands,
            lanes,
            lock,
            ..
        } = self;
        drop((commands, lanes, lock));
        if let Some(answer) = closing {
            reply(answer, Ok(()));
        }
    }

    /// Takes `first` and all that waits behind it, up to a full group. Stops at a close.
    fn gather(&mut self, first: Command) -> Option<Answer> {
        let now_ms = Timestamp::now().as_millisecond();
        let mut command = first;
        let mut group_bytes = 0;
        for _ in 0..MAX_WAITING {
            match command {
                Command::Append {
                    stream,
                    records,
                    answer,
                } => {
                    group_bytes += self.lanes[stream.index()].take(&records, answer, now_ms);
                }
                Command::Ready { answer } => reply(answer, self.ready()),
                Command::Close { answer } => return Some(answer),
            }
            if group_bytes >= GROUP_BYTES {
                break;
            }
            let Ok(next) = self.commands.try_recv() else {
                break;
            };
            command = next;
        }
        None
    }

    /// Writes what was gathered; true when a segment was begun.
    fn commit(&mut self) -> bool {
        let segment_bytes = self.options.segment_bytes;
        let mut rolled = false;
        if self.lanes.iter().all(|lane| lane.waiting.is_empty()) {
            return rolled;
        }
        if let Err(error) = self.space.check() {
            self.lanes.iter_mut().for_each(|lane| lane.refuse(&error));
            return rolled;
        }
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| !lane.waiting.is_empty())
        {
            rolled |= lane.commit(segment_bytes);
        }
        rolled
    }

    fn ready(&mut self) -> Result<(), Error> {
        self.space.check()?;
        for lane in &mut self.lanes {
            lane.active.mend().map_err(|source| lane.failed(&source))?;
        }
        Ok(())
    }

    fn retain(&mut self) {
        for lane in &self.lanes {
            let age = match lane.log.stream {
                Stream::DeadLetters => self.options.dead_letters_age,
                Stream::Changes | Stream::Requests => self.options.retention_age,
            };
            let bytes = self.options.retention_bytes;
            lane.retain(Limits { age, bytes });
        }
    }
}

impl Lane {
    pub(super) fn new(log: Arc<StreamLog>, active: ActiveSegment, end: watch::Sender<u64>) -> Lane {
        Lane {
            log,
            active,
            end,
            buffer: Vec::new(),
            n: 0,
            waiting: Vec::new(),
        }
    }

    fn take(&mut self, records: &[Record], answer: Answer, now_ms: i64) -> usize {
        let before = self.buffer.len();
        for record in records {
            frame::encode(record, now_ms, &mut self.buffer);
        }
        self.n += records.len() as u64;
        self.waiting.push(answer);
        self.buffer.len() - before
    }

    /// Makes the gathered records durable, shows them to the readers and answers. True when a
    /// segment was begun.
    fn commit(&mut self, segment_bytes: u64) -> bool {
        let rolled = self.roll(segment_bytes);
        let result = match &rolled {
            Ok(_) => self
                .active
                .append(&self.buffer)
                .map_err(|source| self.failed(&source)),
            Err(error) => Err(error.clone()),
        };
        match &result {
            Ok(()) => {
                let end = self.log.grow(self.n, self.active.durable_bytes());
                self.end.send_replace(end);
            }
            Err(error) => {
                // Cut at once where possible: the space comes back, and a crash finds no torn tail.
                let mended = self.active.mend().is_ok();
                let stream = self.log.stream.as_str();
                tracing::error!(stream, records = self.n, mended, %error, "an append failed");
            }
        }
        self.answer(&result);
        rolled.unwrap_or(false)
    }

    /// Writes nothing of what was gathered.
    fn refuse(&mut self, error: &Error) {
        self.answer(&Err(error.clone()));
    }

    fn answer(&mut self, result: &Result<(), Error>) {
        for answer in self.waiting.drain(..) {
            reply(answer, result.clone());
        }
        self.n = 0;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
    }

    /// Begins a new segment when the active one is full. Between groups only, so that a group is
    /// one write: a segment can be larger than its limit by one group.
    fn roll(&mut self, segment_bytes: u64) -> Result<bool, Error> {
        if self.active.durable_bytes() < segment_bytes {
            return Ok(false);
        }
        // What a failed append left has to go while this is still the segment being written.
        self.active.mend().map_err(|source| self.failed(&source))?;
        let (_, end) = self.log.bounds();
        let active =
            ActiveSegment::create(&self.log.dir, end).map_err(|source| self.failed(&source))?;
        #[cfg(test)]
        let active = active.with_fault(self.active.fault());
        self.active = active;
        self.log.rolled(Timestamp::now());
        Ok(true)
    }

    /// Unlinks what the retention lets go, oldest first. Stops at the first failure, so that what is
    /// found at the next open has no hole.
    fn retain(&self, limits: Limits) {
        for gone in self.log.expire(limits, Timestamp::now()) {
            let path = segment::path_of(&self.log.dir, gone.first);
            let unlinked =
                std::fs::remove_file(&path).and_then(|()| segment::sync_dir(&self.log.dir));
            if let Err(error) = unlinked {
                tracing::warn!(file = %path.display(), %error, "cannot unlink an old segment");
                return;
            }
            tracing::info!(
                file = %path.display(), records = gone.end - gone.first, bytes = gone.bytes,
                "an old segment is unlinked",
            );
        }
    }

    fn failed(&self, source: &std::io::Error) -> Error {
        Error::io(
            format_args!("cannot write to {}", self.log.dir.display()),
            source,
        )
    }
}

/// A caller that no longer waits is no failure.
fn reply(answer: Answer, result: Result<(), Error>) {
    drop(answer.send(result));
}
