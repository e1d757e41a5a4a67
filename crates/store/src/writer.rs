//! The one thread that writes.
//!
//! In: requests, over a bounded channel. Out: an answer to each. It takes all commits that wait
//! into one group: one batch, one flush, one fsync, then all are answered. Must never happen: an
//! `Ok` before the rows are on the disk; a later request overtaking an earlier one; two threads
//! that write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::compaction::Compactor;

use crate::batch::Operation;
use crate::disk::panic_text;
use crate::rows::{Failure, FailureKind, Rows};
use crate::{Batch, Error, Row, Size};

/// How many requests may wait; callers wait for a place after that.
pub(crate) const QUEUE_LIMIT: usize = 1024;
/// A group ends with the request that reaches one of these.
const GROUP_LIMIT_ROWS: usize = 4096;
const GROUP_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// What part of a group's time the next one may wait for as many callers, and how long at most.
const LINGER_PART: u32 = 4;
const LINGER_LIMIT: Duration = Duration::from_micros(300);
/// How long what is known of the disk's free space is good for.
const DISK_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon it is noticed that the last reader is done.
const READERS_LOOK_EVERY: Duration = Duration::from_millis(1);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(crate) enum Request {
    Commit {
        batch: Batch,
        reply: Reply<()>,
    },
    Scan {
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
        reply: Reply<Vec<Row>>,
    },
    Size {
        reply: Reply<Size>,
    },
    /// Opens the store again if a full disk has closed it.
    Open {
        reply: Reply<()>,
    },
    /// A reader met a full disk in these rows: nothing can be read or written there any more.
    Failed {
        rows: Weak<dyn Rows>,
        reply: Reply<()>,
    },
    ForgetSetAside {
        reply: Reply<()>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// Where readers find the rows.
pub(crate) enum Slot {
    Open(Arc<dyn Rows>),
    /// Not open now; why.
    Down(Error),
    Closed,
}

/// Readers take the rows out of it and keep them while they read.
pub(crate) type SharedSlot = Arc<RwLock<Slot>>;

/// What the writer needs of the world; the tests put another one there.
pub(crate) trait Place: Send {
    fn open(&mut self) -> Result<Arc<dyn Rows>, Error>;
    fn free_bytes(&self) -> std::io::Result<u64>;
    fn dir(&self) -> &Path;
    fn forget_set_aside(&mut self) -> Result<(), Error>;

    /// An empty database beside the one that counts.
    fn begin_copy(&mut self) -> Result<Arc<dyn Rows>, Error>;
    /// From now on the copy counts, also after a kill.
    fn adopt_copy(&mut self) -> Adoption;
    /// Removes the copy, if there is one; it must be closed.
    fn drop_copy(&mut self);
}

/// Which database counts after a swap.
pub(crate) enum Adoption {
    /// The copy.
    Done {
        /// Where what it replaces lies.
        old: PathBuf,
    },
    /// The old one; the copy is removed.
    Refused(std::io::Error),
    /// Either: nothing may be written until the folder is opened again.
    Unknown(std::io::Error),
}

/// How a writer behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Below this much free space commits are refused.
    pub(crate) min_free_bytes: u64,
    /// Smaller files are never compacted.
    pub(crate) compact_from_bytes: u64,
}

/// What the next group may expect.
#[derive(Default)]
struct LastGroup {
    n_callers: usize,
    took: Duration,
}

impl LastGroup {
    /// How long to wait for as many callers.
    fn linger(&self) -> Duration {
        (self.took / LINGER_PART).min(LINGER_LIMIT)
    }
}

pub(crate) struct Writer {
    place: Box<dyn Place>,
    slot: SharedSlot,
    min_free_bytes: u64,
    /// When the disk was last looked at (or the store tried to open again), and what that said.
    looked: Option<(Instant, Result<(), Error>)>,
    compactor: Compactor,
    last_group: LastGroup,
}

impl Writer {
    pub(crate) fn new(place: Box<dyn Place>, slot: SharedSlot, limits: Limits) -> Self {
        Self {
            place,
            slot,
            min_free_bytes: limits.min_free_bytes,
            looked: None,
            compactor: Compactor::new(limits.compact_from_bytes),
            last_group: LastGroup::default(),
        }
    }

    /// Serves until it is told to close or until all handles are gone.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = None;
        while let Some(first) = self.wait(&mut requests) {
            let mut next = Some(first);
            while let Some(request) = next.take() {
                match request {
                    Request::Commit { batch, reply } => {
                        next = self.commit_group(batch, reply, &mut requests);
                    }
                    Request::Scan {
                        prefix,
                        after,
                        limit,
                        reply,
                    } => {
                        let scan = |rows: &dyn Rows| rows.scan(&prefix, after.as_deref(), limit);
                        answer(reply, self.ask(scan));
                    }
                    Request::Size { reply } => answer(reply, self.size()),
                    Request::Open { reply } => answer(reply, self.rows().map(drop)),
                    Request::Failed { rows, reply } => answer(reply, self.failed(&rows)),
                    Request::ForgetSetAside { reply } => {
                        answer(reply, self.place.forget_set_aside());
                    }
                    Request::Close { reply } => closing = Some(reply),
                }
            }
            if closing.is_some() {
                break;
            }
        }
        self.stop_compaction();
        self.replace(Slot::Closed);
        self.compactor.join();
        // Unlocks the folder, so that whoever is told "closed" can open it.
        drop(self.place);
        if let Some(reply) = closing {
            answer(reply, Ok(()));
        }
    }

    /// The next request; while there is none a copy goes on.
    fn wait(&mut self, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        while self.compactor.is_running() {
            match requests.try_recv() {
                Ok(request) => return Some(request),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.compact_step(),
            }
        }
        requests.blocking_recv()
    }

    /// Commits `first` and all that waits behind it. Gives back the first request that is not a
    /// commit, which is served after the group, as it came.
    fn commit_group(
        &mut self,
        first: Batch,
        reply: Reply<()>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Request> {
        let mut group = first;
        let mut group_bytes = group.size_bytes();
        let mut replies = vec![reply];
        let mut next = None;
        let began = Instant::now();
        while group.len() < GROUP_LIMIT_ROWS
            && group_bytes < GROUP_LIMIT_BYTES
            && replies.len() < QUEUE_LIMIT
        {
            match requests.try_recv() {
                Ok(Request::Commit { batch, reply }) => {
                    group_bytes += batch.size_bytes();
                    group.append(batch);
                    replies.push(reply);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                // Who was answered last may be about to ask again: a group of one costs as much.
                Err(TryRecvError::Empty)
                    if replies.len() < self.last_group.n_callers
                        && began.elapsed() < self.last_group.linger() =>
                {
                    std::thread::yield_now();
                }
                Err(_) => break,
            }
        }
        let began = Instant::now();
        let committed = self.commit(group.operations());
        self.last_group = LastGroup {
            n_callers: replies.len(),
            took: began.elapsed(),
        };
        let done = committed.is_ok();
        for reply in replies {
            answer(reply, committed.clone());
        }
        if done {
            self.compact_after(group.operations());
        }
        next
    }

    fn size(&mut self) -> Result<Size, Error> {
        let rows = self.ask(|rows| rows.size())?;
        let takes_rows = self.check_disk().is_ok();
        Ok(Size {
            files_bytes: rows.files_bytes,
            live_bytes: rows.live_bytes,
            rows: rows.rows,
            compactions: self.compactor.n_done(),
            free_bytes: self.place.free_bytes().ok(),
            takes_rows,
        })
    }

    fn ask<T>(&mut self, work: impl FnOnce(&dyn Rows) -> Result<T, Failure>) -> Result<T, Error> {
        let rows = self.rows()?;
        caught(|| work(rows.as_ref())).map_err(|failure| failure.told(rows.dir()))
    }

    /// Closes `rows`, unless others stand there by now.
    fn failed(&mut self, rows: &Weak<dyn Rows>) -> Result<(), Error> {
        let stands = self.open_rows()?;
        if !std::ptr::addr_eq(rows.as_ptr(), Arc::as_ptr(&stands)) {
            return Ok(());
        }
        drop(stands);
        self.stop_compaction();
        Err(self.go_down(Failure {
            kind: FailureKind::Full,
            what: "a reader met a full disk".to_owned(),
        }))
    }

    fn commit(&mut self, operations: &[Operation]) -> Result<(), Error> {
        let rows = self.rows()?;
        if operations.is_empty() {
            return Ok(());
        }
        self.check_disk()?;
        let Err(failure) = caught(|| rows.apply(operations)) else {
            return Ok(());
        };
        self.stop_compaction();
        // sled's handle is dead after an error, even when its cause is gone. What the group left
        // behind does not matter: it is written again whole, and nothing came after it.
        drop(rows);
        let rows = self.reopen(&failure)?;
        if let Err(failure) = caught(|| rows.apply(operations)) {
            drop(rows);
            return Err(self.go_down(failure));
        }
        Ok(())
    }

    /// The rows, opened again if the disk was full and a second has passed.
    fn rows(&mut self) -> Result<Arc<dyn Rows>, Error> {
        let error = match self.open_rows() {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        if !matches!(error, Error::DiskFull { .. }) || self.looked_lately().is_some() {
            return Err(error);
        }
        self.check_disk()?;
        self.open_again()
    }

    fn open_rows(&self) -> Result<Arc<dyn Rows>, Error> {
        self.slot
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rows()
    }

    /// Refuses while the disk has less free space than the store keeps free.
    fn check_disk(&mut self) -> Result<(), Error> {
        if self.min_free_bytes == 0 {
            return Ok(());
        }
        if let Some(known) = self.looked_lately() {
            return known;
        }
        let was_full = matches!(self.looked, Some((_, Err(_))));
        let room = match self.place.free_bytes() {
            Ok(free_bytes) if free_bytes < self.min_free_bytes => Err(Error::DiskFull {
                free_bytes,
                min_bytes: self.min_free_bytes,
            }),
            Ok(_) => Ok(()),
            // Not knowing is no reason to stop: a full disk shows in the write.
            Err(error) => {
                tracing::warn!(%error, "cannot tell the free space of the store's disk");
                Ok(())
            }
        };
        match &room {
            Err(error) if !was_full => tracing::error!(%error, "store refuses commits"),
            Ok(()) if was_full => tracing::info!("store takes commits again"),
            _ => {}
        }
        self.looked = Some((Instant::now(), room.clone()));
        room
    }

    fn looked_lately(&self) -> Option<Result<(), Error>> {
        let (at, room) = self.looked.as_ref()?;
        (at.elapsed() < DISK_LOOK_EVERY).then(|| room.clone())
    }

    /// Closes what failed and opens it once more.
    fn reopen(&mut self, failure: &Failure) -> Result<Arc<dyn Rows>, Error> {
        tracing::warn!(error = %failure.what, "store failed; opening it again");
        if failure.is_full() {
            return Err(self.go_down(failure.clone()));
        }
        self.replace(Slot::Down(failure.clone().told(self.place.dir())));
        self.open_again()
    }

    fn open_again(&mut self) -> Result<Arc<dyn Rows>, Error> {
        match self.place.open() {
            Ok(rows) => {
                tracing::info!("store is open again");
                self.replace(Slot::Open(Arc::clone(&rows)));
                Ok(rows)
            }
            Err(error) => {
                let (kind, what) = match &error {
                    Error::Unwritable { source, .. } if crate::rows::is_full(source) => {
                        (FailureKind::Full, error.to_string())
                    }
                    Error::DiskFull { .. } => (FailureKind::Full, error.to_string()),
                    Error::Corrupt { what, .. } => (FailureKind::Damaged, what.clone()),
                    _ => (FailureKind::Broken, error.to_string()),
                };
                let what = format!("cannot open it again: {what}");
                Err(self.go_down(Failure { kind, what }))
            }
        }
    }

    /// Drops the rows and remembers why: a full disk passes, anything else stays.
    fn go_down(&mut self, failure: Failure) -> Error {
        let failure_is_known = failure.is_full() && matches!(self.looked, Some((_, Err(_))));
        let error = if failure.is_full() {
            let free_bytes = self.place.free_bytes().unwrap_or(0);
            Error::DiskFull {
                free_bytes,
                min_bytes: self.min_free_bytes,
            }
        } else {
            failure.told(self.place.dir())
        };
        // A disk that is still full is told once.
        if !failure_is_known {
            tracing::error!(%error, "store is down");
        }
        self.looked = Some((Instant::now(), Err(error.clone())));
        self.replace(Slot::Down(error.clone()));
        error
    }

    /// Puts `slot` there, then waits for who reads what was there and drops it.
    fn replace(&mut self, slot: Slot) {
        if let Some(old) = self.take_rows(slot) {
            wait_for_readers(&old);
            drop_rows(old);
        }
    }

    /// Puts `slot` there, and gives the rows that were there.
    fn take_rows(&mut self, slot: Slot) -> Option<Arc<dyn Rows>> {
        let mut shared = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *shared, slot) {
            Slot::Open(rows) => Some(rows),
            Slot::Down(_) | Slot::Closed => None,
        }
    }
}

impl Slot {
    /// The rows, for as long as the caller keeps them; it must drop them soon.
    pub(crate) fn rows(&self) -> Result<Arc<dyn Rows>, Error> {
        match self {
            Self::Open(rows) => Ok(Arc::clone(rows)),
            Self::Down(error) => Err(error.clone()),
            Self::Closed => Err(Error::Closed),
        }
    }
}

/// Waits until nobody else holds `rows`, which must be out of the slot: sled can only be opened again,
/// or removed, when its last handle is gone.
fn wait_for_readers(rows: &Arc<dyn Rows>) {
    while Arc::strong_count(rows) > 1 {
        #[expect(
            clippy::disallowed_methods,
            reason = "the store's own threads, never one of the runtime"
        )]
        std::thread::sleep(READERS_LOOK_EVERY);
    }
}

/// sled may panic in its drop when the disk failed.
fn drop_rows(rows: Arc<dyn Rows>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(rows))) {
        tracing::warn!(
            error = panic_text(panic.as_ref()),
            "store did not close cleanly"
        );
    }
}

/// A panic of the backend is one more way to fail.
fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Failure::broken(panic_text(panic.as_ref()))))
}

/// A caller that no longer waits is no error: its commit stands.
fn answer<T>(reply: Reply<T>, result: Result<T, Error>) {
    drop(reply.send(result));
}

mod compaction;
#[cfg(test)]
mod tests;
