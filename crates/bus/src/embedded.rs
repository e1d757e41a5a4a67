//! The log in segment files, for poller and notifier in one process. In: records and positions;
//! out: records, durable before anyone sees them. One thread writes ([`writer`]), any number of
//! tasks read ([`reader`]), and [`stream_log`] is what they share.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

mod frame;
mod segment;
mod rot;
mod retention;
mod space;
mod stream_log;
mod writer;
mod reader;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod retain_tests;
#[cfg(test)]
mod rot_tests;
#[cfg(test)]
mod model;

use self::space::Space;
use self::stream_log::{Opened, PARTITION, StreamLog};
use self::writer::{Answer, Command, Lane, Writer};
use crate::{
    Bounds, BoxFuture, Error, MAX_RECORD_BYTES, Next, Position, Publisher, Read, Record, StartAt,
    Stream,
};

#[cfg(test)]
pub(crate) use self::fault::Fault;
pub(crate) use self::reader::EmbeddedSubscriber;

const LOCK_FILE: &str = "lock";

/// How the embedded log keeps its files. [`Default`] is what an installation uses.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// A segment of this many bytes is full. Default 16 MiB. Only whole segments are unlinked.
    pub segment_bytes: u64,
    /// How long a record is kept at least while there is room. Default 7 days.
    pub retention_age: Duration,
    /// The same of dead letters: nobody must have read them, and people come back to them. Default 7 days.
    pub dead_letters_age: Duration,
    /// How much a stream keeps, in bytes; more only while it is unread. Default 256 MiB.
    pub retention_bytes: u64,
    /// How often the retention is looked at besides each new segment. Default 60 s.
    pub retention_every: Duration,
    /// Below this much free space on its disk, in bytes, the log takes no record; 0: only a full disk stops
    /// it. Default 256 MiB.
    pub min_free_bytes: u64,
    #[cfg(test)]
    pub(crate) fault: Fault,
}

impl Default for EmbeddedOptions {
    fn default() -> EmbeddedOptions {
        EmbeddedOptions {
            segment_bytes: 16 * 1024 * 1024,
            retention_age: Duration::from_hours(7 * 24),
            dead_letters_age: Duration::from_hours(7 * 24),
            retention_bytes: 256 * 1024 * 1024,
            retention_every: Duration::from_mins(1),
            min_free_bytes: 256 * 1024 * 1024,
            #[cfg(test)]
            fault: Fault::default(),
        }
    }
}

/// The open log.
#[derive(Debug)]
pub(crate) struct EmbeddedLog {
    /// `None` only while it is being dropped.
    commands: Option<mpsc::Sender<Command>>,
    /// One a stream, by index, with where its durable end is told.
    streams: Vec<(Arc<StreamLog>, watch::Receiver<u64>)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    pub(crate) fn open(dir: &Path, options: EmbeddedOptions) -> Result<EmbeddedLog, Error> {
        let failed = |source: std::io::Error| {
            Error::io(
                format_args!("cannot open the log in {}", dir.display()),
                &source,
            )
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        let mut streams = Vec::new();
        let mut lanes = Vec::new();
        for stream in Stream::ALL {
            let Opened { log, active, end } = StreamLog::open(dir, stream, Timestamp::now())?;
            #[cfg(test)]
            let active = active.with_fault(options.fault.clone());
            let log = Arc::new(log);
            streams.push((log.clone(), end.subscribe()));
            lanes.push(Lane::new(log, active, end));
        }
        // The folders of the streams, and this one where it is new.
        segment::sync_dir(dir).map_err(failed)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            segment::sync_dir(parent).map_err(failed)?;
        }
        let (sender, commands) = mpsc::channel(writer::MAX_WAITING);
        let space = Space::new(dir, options.min_free_bytes);
        let writer = Writer {
            commands,
            lanes,
            options,
            space,
            lock,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(&runtime))
            .map_err(failed)?;
        Ok(EmbeddedLog {
            commands: Some(sender),
            streams,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn stream(&self, stream: Stream) -> &(Arc<StreamLog>, watch::Receiver<u64>) {
        &self.streams[stream.index()]
    }

    /// `Closed` once the writer has stopped.
    fn alive(&self) -> Result<(), Error> {
        match &self.commands {
            Some(commands) if !commands.is_closed() => Ok(()),
            _ => Err(Error::Closed),
        }
    }

    async fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Error::Closed)?;
        commands
            .send(command(answer))
            .await
            .map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    pub(crate) fn subscribe(
        self: &Arc<Self>,
        stream: Stream,
        from: &StartAt,
    ) -> Result<EmbeddedSubscriber, Error> {
        self.alive()?;
        let (log, end) = self.stream(stream).clone();
        EmbeddedSubscriber::new(self.clone(), log, end, from)
    }

    pub(crate) async fn read_at(
        &self,
        stream: Stream,
        position: Position,
    ) -> Result<Option<Read>, Error> {
        self.alive()?;
        if position.partition != PARTITION {
            return Ok(None);
        }
        let log = self.stream(stream).0.clone();
        let read = tokio::task::spawn_blocking(move || reader::read_one(&log, position.offset));
        read.await.map_err(|error| Error::Unavailable {
            what: format!("cannot read {stream} at {}: {error}", position.offset),
        })?
    }

    pub(crate) fn bounds(&self, stream: Stream) -> Result<Bounds, Error> {
        self.alive()?;
        let (start, end) = self.stream(stream).0.bounds();
        let next = |offset| Next::from_iter([(PARTITION, offset)]);
        Ok(Bounds {
            start: next(start),
            end: next(end),
        })
    }

    pub(crate) fn size_bytes(&self) -> Result<u64, Error> {
        self.alive()?;
        Ok(self.streams.iter().map(|(log, _)| log.size_bytes()).sum())
    }

    pub(crate) async fn close(&self) {
        if let Err(error) = self.ask(|answer| Command::Close { answer }).await
            && error != Error::Closed
        {
            tracing::warn!(%error, "the log did not close in order");
        }
    }
}

impl Publisher for EmbeddedLog {
    fn append(&self, stream: Stream, records: Vec<Record>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.alive()?;
            let sizes = records.iter().map(Record::size_bytes);
            if let Some(size_bytes) = sizes.max().filter(|size| *size > MAX_RECORD_BYTES) {
                let limit_bytes = MAX_RECORD_BYTES;
                return Err(Error::TooLarge {
                    stream,
                    size_bytes,
                    limit_bytes,
                });
            }
            if records.is_empty() {
                return Ok(());
            }
            self.ask(|answer| Command::Append {
                stream,
                records,
                answer,
            })
            .await
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.ask(|answer| Command::Ready { answer }))
    }
}

impl Drop for EmbeddedLog {
    /// Waits for the group being written, so that the lock is free when this is gone.
    fn drop(&mut self) {
        self.commands = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the log has panicked");
        }
    }
}

/// Takes the folder for this process, until the file is closed.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK_FILE);
    let failed =
        |source: &std::io::Error| Error::io(format_args!("cannot lock {}", path.display()), source);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| failed(&source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(&source)),
    }
}
