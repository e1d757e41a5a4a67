//! The handle that the rooms hold.
//!
//! In: batches, keys, ranges. Out: the writer's answers. Must never happen: blocking work on a
//! runtime thread (but for the last handle's drop, see there).

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::folder::Folder;
use crate::memory::MemoryRows;
use crate::place::FolderPlace;
use crate::rows::{Failure, Rows};
use crate::writer::{Limits, Place, QUEUE_LIMIT, Reply, Request, SharedSlot, Slot, Writer};
use crate::{
    Batch, Error, KEY_LIMIT_BYTES, Options, Reader, Row, SetAside, Size, VALUE_LIMIT_BYTES,
    set_aside,
};

/// A handle on one store; clones are cheap and share it.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Disk(Arc<Disk>),
    /// Served in the caller's own task: no thread that a paused clock would run away from.
    Memory(SharedSlot),
}

/// The writer's thread, and the rows it shares with readers.
struct Disk {
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    slot: SharedSlot,
    thread: Mutex<Option<JoinHandle<()>>>,
    set_aside: Mutex<Option<SetAside>>,
}

impl Store {
    /// Opens the store in the folder `dir`; creates both if they are not there. Blocks (it reads
    /// all rows once): call it on a blocking thread.
    pub fn open(dir: &Path, options: Options) -> Result<Store, Error> {
        Self::open_in(&Arc::new(Folder::lock(dir)?), options)
    }

    /// As [`open`](Self::open), but where that says [`Error::Corrupt`] the damaged content is set aside
    /// by name, beside the folder, and the store starts empty; the folder stays locked all the while.
    /// Nothing is ever set aside for another error. Blocks.
    ///
    /// Gives what [`set_aside`](Self::set_aside) gives: also what was set aside by an earlier process
    /// whose owner did not get as far as [`forget_set_aside`](Self::forget_set_aside).
    pub fn open_or_start_over(
        dir: &Path,
        options: Options,
    ) -> Result<(Store, Option<SetAside>), Error> {
        let folder = Arc::new(Folder::lock(dir)?);
        let store = match Self::open_in(&folder, options) {
            Err(Error::Corrupt { what, .. }) => {
                set_aside::set_aside(&folder, &what, Timestamp::now())?;
                let store = Self::open_in(&folder, options)?;
                if let Some(SetAside { dir: to, .. }) = store.set_aside() {
                    let (dir, to) = (dir.display(), to.display());
                    tracing::error!(store = %dir, set_aside = %to, what, "store is damaged: it starts empty");
                }
                store
            }
            opened => opened?,
        };
        let set_aside = store.set_aside();
        Ok((store, set_aside))
    }

    fn open_in(folder: &Arc<Folder>, options: Options) -> Result<Store, Error> {
        let pending = set_aside::pending(folder)?;
        let mut place = FolderPlace::prepare(folder, options.cache_bytes)?;
        let rows = place.open()?;
        let slot = Arc::new(RwLock::new(Slot::Open(rows)));
        let limits = Limits {
            min_free_bytes: options.min_free_bytes,
            compact_from_bytes: options.compact_from_bytes,
        };
        let writer = Writer::new(Box::new(place), Arc::clone(&slot), limits);
        Self::start(writer, slot, pending)
    }

    /// A store in memory, with the same meaning; its rows end with its last handle.
    pub fn memory() -> Store {
        let rows: Arc<dyn Rows> = Arc::new(MemoryRows::default());
        Self {
            backend: Backend::Memory(Arc::new(RwLock::new(Slot::Open(rows)))),
        }
    }

    pub(crate) fn start(
        writer: Writer,
        slot: SharedSlot,
        set_aside: Option<SetAside>,
    ) -> Result<Store, Error> {
        let (requests, receiver) = mpsc::channel(QUEUE_LIMIT);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| Error::Failed {
                what: format!("cannot start a thread: {error}"),
            })?;
        let requests = Some(requests);
        let thread = Mutex::new(Some(thread));
        Ok(Self {
            backend: Backend::Disk(Arc::new(Disk {
                requests,
                slot,
                thread,
                set_aside: Mutex::new(set_aside),
            })),
        })
    }

    /// Writes all of `batch` or nothing; durable when it returns `Ok`. Commits take effect in the
    /// order in which they were asked for; those that wait at the same time share one fsync.
    ///
    /// When the future is dropped before it is ready, the batch is written whole or not at all. After
    /// [`Error::Failed`] the same: whether it is there shows when the store is opened again.
    pub async fn commit(&self, batch: Batch) -> Result<(), Error> {
        check_limits(&batch)?;
        match &self.backend {
            Backend::Disk(disk) => disk.ask(|reply| Request::Commit { batch, reply }).await,
            Backend::Memory(slot) => {
                let committed = with_rows(slot, |rows| told(rows.apply(batch.operations())));
                // On the disk others run while one waits: here too.
                tokio::task::yield_now().await;
                committed
            }
        }
    }

    /// Runs `read` on the blocking pool, on the rows of one database: a compaction does not show in it.
    /// Keep it short: closing and recovering wait for it.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.backend {
            Backend::Disk(disk) => {
                disk.wake().await?;
                let slot = Arc::clone(&disk.slot);
                let reading = tokio::task::spawn_blocking(move || read_rows(&slot, read));
                match reading.await {
                    Ok((Err(Error::DiskFull { .. }), rows)) => disk.read_failed(rows).await,
                    Ok((result, _)) => result,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime is shutting down.
                        Err(_) => Err(Error::Closed),
                    },
                }
            }
            Backend::Memory(slot) => read_rows(slot, read).0,
        }
    }

    /// The value of `key`.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
        let key = key.into();
        self.read(move |reader| reader.get(&key)).await
    }

    /// At most `limit` rows whose keys start with `prefix`, in key order, strictly after `after`:
    /// durable rows, as one commit left them, with every commit in it that was called before.
    /// Commits wait while it runs.
    pub async fn scan(
        &self,
        prefix: impl Into<Vec<u8>>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let prefix = prefix.into();
        match &self.backend {
            Backend::Disk(disk) => {
                disk.ask(|reply| Request::Scan {
                    prefix,
                    after,
                    limit,
                    reply,
                })
                .await
            }
            Backend::Memory(slot) => with_rows(slot, |rows| {
                told(rows.scan(&prefix, after.as_deref(), limit))
            }),
        }
    }

    /// How large the store is.
    pub async fn size(&self) -> Result<Size, Error> {
        match &self.backend {
            Backend::Disk(disk) => disk.ask(|reply| Request::Size { reply }).await,
            Backend::Memory(slot) => with_rows(slot, |rows| told(memory_size(rows.as_ref()))),
        }
    }

    /// The damaged store that was set aside at this or an earlier start, until
    /// [`forget_set_aside`](Self::forget_set_aside): its owner has to rebuild what was in it.
    pub fn set_aside(&self) -> Option<SetAside> {
        let Backend::Disk(disk) = &self.backend else {
            return None;
        };
        let pending = disk.set_aside.lock();
        pending.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The owner has rebuilt: from now on, also after a restart, nothing is set aside. The damaged
    /// folder stays.
    pub async fn forget_set_aside(&self) -> Result<(), Error> {
        let Backend::Disk(disk) = &self.backend else {
            return Ok(());
        };
        disk.ask(|reply| Request::ForgetSetAside { reply }).await?;
        let mut pending = disk
            .set_aside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *pending = None;
        Ok(())
    }

    /// Serves what was asked before, then closes the store for all handles and releases its
    /// folder. Every later call, also this one, gives [`Error::Closed`].
    pub async fn close(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::Disk(disk) => disk.ask(|reply| Request::Close { reply }).await,
            Backend::Memory(slot) => {
                let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
                match std::mem::replace(&mut *slot, Slot::Closed) {
                    Slot::Closed => Err(Error::Closed),
                    Slot::Open(_) | Slot::Down(_) => Ok(()),
                }
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.backend {
            Backend::Disk(_) => "Store(disk)",
            Backend::Memory(_) => "Store(memory)",
        })
    }
}

impl Disk {
    /// A store that a full disk has closed is opened by its writer only, and who reads first would
    /// never reach it.
    async fn wake(&self) -> Result<(), Error> {
        let is_full = match self.slot.try_read() {
            Ok(slot) => matches!(*slot, Slot::Down(Error::DiskFull { .. })),
            // Somebody is about to change it.
            Err(_) => false,
        };
        if is_full {
            self.ask(|reply| Request::Open { reply }).await?;
        }
        Ok(())
    }

    /// A handle of sled that met a full disk is dead, also for who reads, and also when there is space again.
    /// Gives what the caller is told: wait, and read again.
    async fn read_failed<T>(&self, rows: Option<Weak<dyn Rows>>) -> Result<T, Error> {
        if let Some(rows) = rows {
            self.ask(|reply| Request::Failed { rows, reply }).await?;
        }
        Err(Error::DiskFull {
            free_bytes: 0,
            min_bytes: 0,
        })
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let requests = self.requests.as_ref().ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        requests
            .send(request(reply))
            .await
            .map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Disk {
    /// The last handle is gone: the writer ends and releases the folder. This waits for it (no
    /// longer than for one group), so that the folder can be opened again, unless a `read` still
    /// runs: it may be what drops the handle, and the writer waits for it.
    fn drop(&mut self) {
        self.requests = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The writer and this handle; every running `read` holds one more.
        let n_without_reads = 2;
        if let Some(thread) = thread
            && (thread.is_finished() || Arc::strong_count(&self.slot) <= n_without_reads)
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn check_limits(batch: &Batch) -> Result<(), Error> {
    for operation in batch.operations() {
        let value_bytes = operation.value.as_ref().map_or(0, Vec::len);
        for (size_bytes, limit) in [
            (operation.key.len(), KEY_LIMIT_BYTES),
            (value_bytes, VALUE_LIMIT_BYTES),
        ] {
            if size_bytes > limit {
                let shown = &operation.key[..operation.key.len().min(KEY_LIMIT_BYTES)];
                let key = shown.escape_ascii().to_string();
                return Err(Error::TooLarge {
                    key,
                    size_bytes,
                    limit,
                });
            }
        }
    }
    Ok(())
}

/// A failure of the rows in memory.
fn told<T>(done: Result<T, Failure>) -> Result<T, Error> {
    done.map_err(|failure| failure.told(Path::new("")))
}

fn with_rows<T>(
    slot: &RwLock<Slot>,
    work: impl FnOnce(&Arc<dyn Rows>) -> Result<T, Error>,
) -> Result<T, Error> {
    let rows = slot.read().unwrap_or_else(PoisonError::into_inner).rows()?;
    work(&rows)
}

/// What was read, and of which rows, which the reader keeps from beginning to end.
fn read_rows<T>(
    slot: &RwLock<Slot>,
    read: impl FnOnce(&Reader) -> Result<T, Error>,
) -> (Result<T, Error>, Option<Weak<dyn Rows>>) {
    let stands = slot.read().unwrap_or_else(PoisonError::into_inner).rows();
    match stands {
        Ok(rows) => {
            let of = Arc::downgrade(&rows);
            (read(&Reader { rows }), Some(of))
        }
        Err(error) => (Err(error), None),
    }
}

/// The size of rows in memory.
fn memory_size(rows: &dyn Rows) -> Result<Size, Failure> {
    let size = rows.size()?;
    Ok(Size {
        files_bytes: size.files_bytes,
        live_bytes: size.live_bytes,
        rows: size.rows,
        compactions: 0,
        free_bytes: None,
        takes_rows: true,
    })
}
