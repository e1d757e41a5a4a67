//! Opening sled's database, as far as it can be opened.
//!
//! In: a folder that this store alone has. Out: a tree that was read to its end, or an error that says whether the files
//! are damaged. sled keeps a snapshot of where its pages are beside its log, and everything in it can
//! be read from the log again: a snapshot that cannot be read is no reason to give the rows up.
//! Must never happen: a panic of sled that reaches the caller; a file of the database deleted that the
//! rows need.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{Written, panic_text};
use crate::folder::{Folder, sync_dir};
use crate::reading::{Unread, read};
use crate::rows::is_full;
use crate::{Error, layout};

/// How often and how long to wait for the last of sled's own threads to let go of a database that
/// this process just closed. Another process cannot hold it: we hold the folder's lock.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// How sled says that its threads ended; it has no error kind for that.
const BROKEN_THREADS: &str = "IO thread unexpectedly panicked";

/// What sled's snapshots are called, and one that a killed process had not finished.
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";
/// What they are called while the database is opened without them.
const KEPT_PREFIX: &str = "kept.";

/// A tree, and what was found in it.
pub(crate) struct Opened {
    pub(crate) tree: sled::Db,
    pub(crate) written: Written,
}

/// Opens the tree in `dir` and reads all of it. Its last batch must be at least the one that was
/// `seen`. Where the files look damaged it is tried once more without sled's snapshots.
pub(crate) fn open_and_read(
    folder: &Folder,
    dir: &Path,
    cache_bytes: u64,
    seen: u64,
) -> Result<Opened, Error> {
    let io_error = |error: io::Error| open_error(folder, error.into());
    // sled would take an unfinished snapshot for the newest one.
    for path in snapshots(dir).map_err(io_error)? {
        if path.to_string_lossy().ends_with(UNFINISHED_SUFFIX) {
            std::fs::remove_file(path).map_err(io_error)?;
        }
    }
    let first = open_once(folder, dir, cache_bytes, seen);
    let Err(Error::Corrupt { what, .. }) = &first else {
        return first;
    };
    let snapshots = snapshots(dir).map_err(io_error)?;
    if snapshots.is_empty() {
        return first;
    }
    tracing::warn!(store = %dir.display(), what, "opening the store without its snapshot");
    for path in &snapshots {
        std::fs::rename(path, kept(path)).map_err(io_error)?;
    }
    let second = open_once(folder, dir, cache_bytes, seen);
    for path in &snapshots {
        if second.is_ok() {
            std::fs::remove_file(kept(path)).map_err(io_error)?;
        } else {
            std::fs::rename(kept(path), path).map_err(io_error)?;
        }
    }
    // What was found first is the damage; a second look may only have met what the first left behind.
    second.or(first)
}

fn open_once(folder: &Folder, dir: &Path, cache_bytes: u64, seen: u64) -> Result<Opened, Error> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let tree = open_tree(dir, cache_bytes)?;
        let written = read(&tree)?;
        Ok((tree, written))
    }));
    let (tree, written) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(Unread::Sled(error))) => return Err(open_error(folder, error)),
        Ok(Err(Unread::Row(failure))) => return Err(folder.corrupt(failure.what)),
        Err(panic) => return Err(folder.corrupt(panic_text(panic.as_ref()))),
    };
    if written.number < seen {
        let lost = seen - written.number;
        return Err(folder.corrupt(format!(
            "{lost} of {seen} acknowledged batches are missing at its end"
        )));
    }
    Ok(Opened { tree, written })
}

fn snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(SNAPSHOT_PREFIX)
        {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn kept(snapshot: &Path) -> PathBuf {
    let name = snapshot.file_name().unwrap_or_default().to_string_lossy();
    snapshot.with_file_name(format!("{KEPT_PREFIX}{name}"))
}

fn open_tree(dir: &Path, cache_bytes: u64) -> sled::Result<sled::Db> {
    let config = sled::Config::new()
        .path(dir)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(cache_bytes)
        .segment_size(layout::SEGMENT_BYTES)
        // Every commit flushes. Measured with churn: the background thread (the only one that
        // moves pages out of nearly empty segments) did not make the files smaller.
        .flush_every_ms(None);
    let mut tries = 0;
    loop {
        match config.open() {
            Err(error) if is_sled_lock(&error) && tries < REOPEN_TRIES => {
                tries += 1;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "open is called on blocking threads"
                )]
                std::thread::sleep(REOPEN_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Makes the database's own files and their names durable, and gives a handle to sync it by.
pub(crate) fn sync_names(folder: &Folder, dir: &Path) -> Result<File, Error> {
    try_sync_names(dir).map_err(|error| open_error(folder, error.into()))
}

fn try_sync_names(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).open(dir.join("db"))?;
    file.sync_all()?;
    File::open(dir.join("conf"))?.sync_all()?;
    sync_dir(dir)?;
    if let Some(parent) = dir.parent() {
        sync_dir(parent)?;
    }
    Ok(file)
}

/// sled has no error kind of its own for its lock.
fn is_sled_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().contains("could not acquire lock"))
}

fn open_error(folder: &Folder, error: sled::Error) -> Error {
    use io::ErrorKind::{
        InvalidData, InvalidInput, PermissionDenied, ReadOnlyFilesystem, UnexpectedEof,
    };

    let dir = folder.dir().to_owned();
    if is_sled_lock(&error) {
        return Error::Locked { dir };
    }
    match error {
        sled::Error::Io(source)
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem)
                || is_full(&source) =>
        {
            folder.unwritable(source)
        }
        // Damage must show in what was read; an input or output error may pass.
        sled::Error::Io(source)
            if !matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
        {
            Error::Failed {
                what: format!("cannot open {}: {source}", dir.display()),
            }
        }
        // After one of its threads panicked over another database, sled opens none in this process.
        sled::Error::ReportableBug(what) if what.contains(BROKEN_THREADS) => Error::Failed {
            what: format!("cannot open {} in this process: {what}", dir.display()),
        },
        error => Error::Corrupt {
            dir,
            what: error.to_string(),
        },
    }
}
