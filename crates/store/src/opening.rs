//! Opening sled's database, as far as it can be opened.
//!
//! In: a locked folder. Out: a tree that was read to its end, or an error that says whether the files
//! are damaged. sled keeps a snapshot of where its pages are beside its log; one that a killed process
//! had not finished is no reason to give the rows up.
//! Must never happen: a panic of sled that reaches the caller; a file of the database deleted that the
//! rows need.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::panic_text;
use crate::folder::Folder;
use crate::rows::is_full;
use crate::{Error, layout};

/// How often and how long to wait for the last of sled's own threads to let go of a database that
/// this process just closed. Another process cannot hold it: we hold the folder's lock.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// What sled's snapshots are called, and one that a killed process had not finished.
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";
/// Opens the tree and counts its rows, reading all of it.
pub(crate) fn open_and_read(folder: &Folder, cache_bytes: u64) -> Result<(sled::Db, u64), Error> {
    let io_error = |error: io::Error| open_error(folder, error.into());
    // sled would take an unfinished snapshot for the newest one.
    for path in snapshots(folder.dir()).map_err(io_error)? {
        if path.to_string_lossy().ends_with(UNFINISHED_SUFFIX) {
            std::fs::remove_file(path).map_err(io_error)?;
        }
    }
    open_once(folder, cache_bytes)
}

fn open_once(folder: &Folder, cache_bytes: u64) -> Result<(sled::Db, u64), Error> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let tree = open_tree(folder, cache_bytes)?;
        let mut n_rows = 0;
        for key in tree.scan_prefix(layout::ROWS).keys() {
            key?;
            n_rows += 1;
        }
        Ok((tree, n_rows))
    }));
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(open_error(folder, error)),
        Err(panic) => Err(folder.corrupt(panic_text(panic.as_ref()))),
    }
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

fn open_tree(folder: &Folder, cache_bytes: u64) -> sled::Result<sled::Db> {
    let config = sled::Config::new()
        .path(folder.dir())
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
pub(crate) fn sync_names(folder: &Folder) -> Result<File, Error> {
    try_sync_names(folder).map_err(|error| open_error(folder, error.into()))
}

fn try_sync_names(folder: &Folder) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .open(folder.database_file())?;
    file.sync_all()?;
    File::open(folder.dir().join("conf"))?.sync_all()?;
    folder.sync()?;
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
        error => Error::Corrupt {
            dir,
            what: error.to_string(),
        },
    }
}
