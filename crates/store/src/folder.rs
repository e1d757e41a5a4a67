//! The store's folder: its lock, its format number, its size, the space on its disk.
//!
//! In: a path. Out: a folder that this store alone may write. Must never happen: two stores in one
//! folder, or rows of a newer format touched by this version.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// The format this version writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const NEW_FORMAT_FILE: &str = "format.new";
const DATABASE_FILE: &str = "db";

/// A locked folder; dropping it unlocks it.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder if it is not there, locks it, checks its format.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let unwritable = |source| Error::Unwritable {
            dir: dir.to_owned(),
            source: Arc::new(source),
        };
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    dir: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let folder = Self {
            dir: dir.to_owned(),
            lock,
        };
        match folder.format()? {
            Some(found) if found > FORMAT => Err(Error::NewerFormat {
                dir: folder.dir.clone(),
                found,
                known: FORMAT,
            }),
            Some(_) => Ok(folder),
            None if folder.dir.join(DATABASE_FILE).exists() => {
                Err(folder.corrupt("there is a database but no format file"))
            }
            None => {
                folder.write_format().map_err(unwritable)?;
                Ok(folder)
            }
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn database_file(&self) -> PathBuf {
        self.dir.join(DATABASE_FILE)
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt {
            dir: self.dir.clone(),
            what: what.into(),
        }
    }

    /// The number in the format file; `None` when there is no such file.
    fn format(&self) -> Result<Option<u32>, Error> {
        let text = match std::fs::read_to_string(self.dir.join(FORMAT_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.corrupt("its format file holds no text"));
            }
            Err(error) => {
                return Err(Error::Unwritable {
                    dir: self.dir.clone(),
                    source: Arc::new(error),
                });
            }
        };
        match text.trim().parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(self.corrupt("its format file holds no number")),
        }
    }

    /// The format file appears whole or not at all, and before the database does.
    fn write_format(&self) -> io::Result<()> {
        let new = self.dir.join(NEW_FORMAT_FILE);
        let mut file = File::create(&new)?;
        writeln!(file, "{FORMAT}")?;
        file.sync_all()?;
        std::fs::rename(new, self.dir.join(FORMAT_FILE))?;
        self.sync()?;
        self.sync_ancestors()
    }

    /// Makes the folder's own name durable, and those of the folders above it, which may be as new:
    /// without them nobody would find it after a power cut.
    fn sync_ancestors(&self) -> io::Result<()> {
        let dir = std::path::absolute(&self.dir)?;
        for (n_above, above) in dir.ancestors().enumerate().skip(1) {
            match File::open(above).and_then(|above| above.sync_all()) {
                Err(error) if n_above == 1 => return Err(error),
                // What may not be read, or cannot be synced, was there before us.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Makes names in the folder durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// Length of all files in the folder and one level below, in bytes.
    pub(crate) fn files_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                for nested in std::fs::read_dir(entry.path())? {
                    bytes += length_bytes(&nested?)?;
                }
            } else {
                bytes += length_bytes(&entry)?;
            }
        }
        Ok(bytes)
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

/// A file that went away in between counts nothing.
fn length_bytes(entry: &std::fs::DirEntry) -> io::Result<u64> {
    match entry.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
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
        std::fs::write(dir.path().join(NEW_FORMAT_FILE), b"").unwrap();
        drop(Folder::open(dir.path()).unwrap());
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap(),
            "1\n"
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
