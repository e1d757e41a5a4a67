//! The store's folder: its lock, its format number, its size, the space on its disk.
//!
//! In: a path. Out: a folder that this store alone may write. Must never happen: two stores in one
//! folder, or rows of a newer format touched by this version.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, set_aside};

/// The format this version writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 2;

pub(crate) const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const DATABASE_FILE: &str = "db";
/// Folders below ours: a database's, and sled's in it.
const DEPTH_LIMIT: u32 = 2;

/// A locked folder; dropping it unlocks it.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder if it is not there, locks it, and finishes what a killed process had begun
    /// to set aside. Its format is not looked at yet.
    pub(crate) fn lock(dir: &Path) -> Result<Self, Error> {
        let denied = |source| unwritable(dir, source);
        std::fs::create_dir_all(dir).map_err(denied)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(denied)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    dir: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(denied(source)),
        }
        let folder = Self {
            dir: dir.to_owned(),
            lock,
        };
        set_aside::finish(&folder)?;
        Ok(folder)
    }

    /// Locks the folder and checks its format.
    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let folder = Self::lock(dir)?;
        folder.check_format()?;
        Ok(folder)
    }

    /// The format of what is in the folder. Refuses a newer one, and gives an empty folder ours.
    pub(crate) fn check_format(&self) -> Result<u32, Error> {
        match self.format()? {
            Some(found) if found > FORMAT => Err(Error::NewerFormat {
                dir: self.dir.clone(),
                found,
                known: FORMAT,
            }),
            Some(found) => Ok(found),
            None => {
                let denied = |source| self.unwritable(source);
                let names = self.names().map_err(denied)?;
                if names.iter().any(|name| is_database(name)) {
                    return Err(self.corrupt("there is a database but no format file"));
                }
                self.write_format().map_err(denied)?;
                Ok(FORMAT)
            }
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is in the folder.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.dir)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt {
            dir: self.dir.clone(),
            what: what.into(),
        }
    }

    pub(crate) fn unwritable(&self, source: io::Error) -> Error {
        unwritable(&self.dir, source)
    }

    /// The number in the format file; `None` when there is no such file.
    fn format(&self) -> Result<Option<u32>, Error> {
        let text = match std::fs::read_to_string(self.dir.join(FORMAT_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.corrupt("its format file holds no text"));
            }
            Err(error) => return Err(self.unwritable(error)),
        };
        match text.trim().parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(self.corrupt("its format file holds no number")),
        }
    }

    /// The format file appears whole or not at all, and before the database does.
    pub(crate) fn write_format(&self) -> io::Result<()> {
        self.write_file(FORMAT_FILE, format!("{FORMAT}\n").as_bytes())?;
        self.sync_ancestors()
    }

    /// Makes the folder's own name durable, and those of the folders above it, which may be as new:
    /// without them nobody would find it after a power cut.
    fn sync_ancestors(&self) -> io::Result<()> {
        let dir = std::path::absolute(&self.dir)?;
        for (n_above, above) in dir.ancestors().enumerate().skip(1) {
            match sync_dir(above) {
                Err(error) if n_above == 1 => return Err(error),
                // What may not be read, or cannot be synced, was there before us.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Writes a small file of the folder durably: it is there whole, or as it was before.
    pub(crate) fn write_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = self.dir.join(format!("{name}.new"));
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(new, self.dir.join(name))?;
        self.sync()
    }

    /// Makes names in the folder durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    /// Length of all files in the folder, in bytes.
    pub(crate) fn files_bytes(&self) -> io::Result<u64> {
        files_bytes(&self.dir, DEPTH_LIMIT)
    }

    /// Space on the folder's disk that this user may fill, in bytes.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Said out loud, since a child process that is just being started may still hold a copy
        // of the handle. Closing the file is what counts otherwise.
        drop(self.lock.unlock());
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The error of a folder that cannot be written, with what its owner can do.
pub(crate) fn unwritable(dir: &Path, source: io::Error) -> Error {
    let hint = match source.kind() {
        io::ErrorKind::PermissionDenied => owner_hint(dir).unwrap_or_default(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it for writing, or set another data_dir".to_owned()
        }
        _ => String::new(),
    };
    Error::Unwritable {
        dir: dir.to_owned(),
        source: Arc::new(source),
        hint,
    }
}

/// Names what of the way to `dir`, or in it, belongs to somebody else.
fn owner_hint(dir: &Path) -> Option<String> {
    let me = rustix::process::geteuid().as_raw();
    let there = dir.ancestors().find(|path| path.exists())?;
    let inside = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = std::iter::once(there.to_owned()).chain(inside.map(|entry| entry.path()));
    for path in paths {
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.uid() != me {
            return Some(format!(
                "; {} belongs to uid {} (mode {:o}), this process is uid {me}: run `chown -R {me} {}`, or set \
                 another data_dir",
                path.display(),
                metadata.uid(),
                metadata.mode() & 0o7777,
                there.display(),
            ));
        }
    }
    let mode = std::fs::metadata(there).ok()?.mode() & 0o7777;
    Some(format!(
        "; {} has mode {mode:o}: run `chmod u+rwx {}`",
        there.display(),
        there.display()
    ))
}

/// sled's file in format 1, our folders after it.
fn is_database(name: &str) -> bool {
    name == DATABASE_FILE || name.starts_with("rows-") || name == "current"
}

/// What goes away in between, as a compaction removes it, counts nothing.
fn files_bytes(dir: &Path, depth: u32) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in or_gone(std::fs::read_dir(dir))?.into_iter().flatten() {
        let Some(entry) = or_gone(entry)? else {
            continue;
        };
        let Some(metadata) = or_gone(entry.metadata())? else {
            continue;
        };
        bytes += if metadata.is_dir() && depth > 0 {
            files_bytes(&entry.path(), depth - 1)?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn or_gone<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(matches!(
            Folder::open(dir.path()),
            Err(Error::Locked { .. })
        ));
        drop(folder);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn a_database_without_a_format_and_an_unreadable_format_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATABASE_FILE), b"rows").unwrap();
        assert!(matches!(
            Folder::open(dir.path()),
            Err(Error::Corrupt { .. })
        ));
        std::fs::write(dir.path().join(FORMAT_FILE), b"one").unwrap();
        assert!(matches!(
            Folder::open(dir.path()),
            Err(Error::Corrupt { .. })
        ));
    }

    #[test]
    fn a_format_that_was_half_written_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("format.new"), b"").unwrap();
        drop(Folder::open(dir.path()).unwrap());
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap(),
            "2\n"
        );
    }

    #[test]
    fn nested_files_count_and_free_space_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("blobs")).unwrap();
        std::fs::write(dir.path().join("blobs/1"), [0; 100]).unwrap();
        assert_eq!(
            folder.files_bytes().unwrap(),
            102,
            "the format file has 2 bytes"
        );
        assert!(folder.free_bytes().unwrap() > 0);
    }
}
