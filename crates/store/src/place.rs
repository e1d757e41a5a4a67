//! The store's folder as the place of its databases (format 2).
//!
//! `current` names the folder of the database that counts, `rows-<n>`; any other `rows-<n>` is half a
//! copy, or what a copy has replaced, and is removed at open. In format 1 sled's files lay in the store's
//! folder itself; they are copied at open and removed when the copy is durable. Must never happen: a
//! moment at which a kill leaves neither database whole, or which of the two counts in doubt.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::copying::{Copying, Progress};
use crate::disk::SledRows;
use crate::folder::{FORMAT, Folder};
use crate::rows::{Failure, Rows, is_full};
use crate::writer::{Adoption, Place};
use crate::{Error, set_aside};

const CURRENT_FILE: &str = "current";
const ROWS_PREFIX: &str = "rows-";
/// sled's, and ours, of a database in format 1.
const FORMAT_1_NAMES: [&str; 4] = ["db", "conf", "blobs", "acknowledged"];
const FORMAT_1_PREFIX: &str = "snap.";
/// What a database takes beside its rows.
const DATABASE_BYTES: u64 = 16 * 1024 * 1024;

/// A folder on the disk as the writer's place.
pub(crate) struct FolderPlace {
    folder: Arc<Folder>,
    cache_bytes: u64,
    /// The number of the database that counts.
    current: u32,
    /// False until the `current` file says so too.
    pointed: bool,
    /// The number of the copy that is being made.
    copy: Option<u32>,
}

impl FolderPlace {
    /// Brings a locked folder into our format and removes what was left half done.
    pub(crate) fn prepare(folder: &Arc<Folder>, cache_bytes: u64) -> Result<Self, Error> {
        let mut place = Self {
            folder: Arc::clone(folder),
            cache_bytes,
            current: 1,
            pointed: false,
            copy: None,
        };
        if folder.check_format()? < FORMAT {
            place.migrate()?;
        }
        let found = place.numbers()?;
        if let Some(number) = place.pointer()? {
            place.current = number;
            place.pointed = true;
            if !place.dir(number).join("db").exists() {
                return Err(folder.corrupt(format!("its database {ROWS_PREFIX}{number} is gone")));
            }
        } else if let [number] = found[..] {
            // The first one, whose maker was killed before it could point at it.
            place.current = number;
        } else if !found.is_empty() {
            return Err(folder.corrupt("it has several databases, and nothing says which counts"));
        }
        place.remove_all_but_current(&found);
        Ok(place)
    }

    fn dir(&self, number: u32) -> PathBuf {
        self.folder.dir().join(format!("{ROWS_PREFIX}{number}"))
    }

    /// What `current` says; `None` where there is no such file.
    fn pointer(&self) -> Result<Option<u32>, Error> {
        match std::fs::read(self.folder.dir().join(CURRENT_FILE)) {
            Ok(bytes) => {
                let number = std::str::from_utf8(&bytes).ok().and_then(number_in);
                let number =
                    number.ok_or_else(|| self.folder.corrupt("`current` names no database"));
                number.map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.folder.unwritable(error)),
        }
    }

    fn point(&self, number: u32) -> io::Result<()> {
        let content = format!("{ROWS_PREFIX}{number}\n");
        self.folder.write_file(CURRENT_FILE, content.as_bytes())
    }

    /// The databases in the folder, whole or not.
    fn numbers(&self) -> Result<Vec<u32>, Error> {
        let names = self.folder.names();
        let names = names.map_err(|source| self.folder.unwritable(source))?;
        Ok(names.iter().filter_map(|name| number_in(name)).collect())
    }

    /// What stays for now is removed at the next open.
    fn remove_all_but_current(&self, found: &[u32]) {
        for number in found.iter().filter(|number| **number != self.current) {
            tracing::info!(store = %self.folder.dir().display(), number, "removing half a copy");
            remove(&self.dir(*number));
        }
        if self.folder.dir().join("db").exists() {
            self.remove_format_1();
        }
    }

    /// Copies a database of format 1 into our format.
    fn migrate(&self) -> Result<(), Error> {
        tracing::info!(store = %self.folder.dir().display(), "bringing the store into format {FORMAT}");
        for number in self.numbers()? {
            remove(&self.dir(number));
        }
        let old = SledRows::open(&self.folder, self.folder.dir(), self.cache_bytes)?;
        let live_bytes = old
            .size()
            .map_err(|failure| failure.told(old.dir()))?
            .live_bytes;
        let needed_bytes = copy_bytes(live_bytes);
        let denied = |source| self.folder.unwritable(source);
        let free_bytes = self.folder.free_bytes().map_err(denied)?;
        if free_bytes < needed_bytes {
            return Err(Error::DiskFull {
                free_bytes,
                min_bytes: needed_bytes,
            });
        }
        let copied = self.copy_all(&old);
        drop(old);
        if let Err(failure) = copied {
            remove(&self.dir(1));
            return Err(if failure.is_full() {
                Error::DiskFull {
                    free_bytes: self.folder.free_bytes().unwrap_or(0),
                    min_bytes: needed_bytes,
                }
            } else {
                failure.told(self.folder.dir())
            });
        }
        self.point(1).map_err(denied)?;
        self.folder.write_format().map_err(denied)?;
        self.remove_format_1();
        Ok(())
    }

    fn copy_all(&self, old: &SledRows) -> Result<(), Failure> {
        let new = SledRows::open(&self.folder, &self.dir(1), self.cache_bytes);
        let new = new.map_err(|error| match &error {
            Error::Unwritable { source, .. } if is_full(source) => {
                Failure::io("cannot copy the store", source)
            }
            _ => Failure::broken(error.to_string()),
        })?;
        let mut copying = Copying::new(Arc::new(new));
        while copying.step(old)? == Progress::Going {}
        Ok(())
    }

    fn remove_format_1(&self) {
        for name in self.folder.names().unwrap_or_default() {
            if FORMAT_1_NAMES.contains(&name.as_str()) || name.starts_with(FORMAT_1_PREFIX) {
                remove(&self.folder.dir().join(name));
            }
        }
    }
}

impl Place for FolderPlace {
    fn open(&mut self) -> Result<Arc<dyn Rows>, Error> {
        let dir = self.dir(self.current);
        let rows = SledRows::open(&self.folder, &dir, self.cache_bytes)?;
        if !self.pointed {
            let pointed = self.point(self.current);
            pointed.map_err(|source| self.folder.unwritable(source))?;
            self.pointed = true;
        }
        Ok(Arc::new(rows))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }

    fn dir(&self) -> &Path {
        self.folder.dir()
    }

    fn forget_set_aside(&mut self) -> Result<(), Error> {
        set_aside::forget(&self.folder)
    }

    fn begin_copy(&mut self) -> Result<Arc<dyn Rows>, Error> {
        let number = self.current.wrapping_add(1).max(1);
        self.copy = Some(number);
        let dir = self.dir(number);
        remove(&dir);
        Ok(Arc::new(SledRows::open(
            &self.folder,
            &dir,
            self.cache_bytes,
        )?))
    }

    fn adopt_copy(&mut self) -> Adoption {
        let Some(number) = self.copy.take() else {
            return Adoption::Refused(io::Error::other("there is no copy"));
        };
        let old = self.current;
        match self.point(number) {
            Ok(()) => {
                self.current = number;
                Adoption::Done { old: self.dir(old) }
            }
            // The new name may be there, not durable: what counts must be said again.
            Err(error) => match self.point(old) {
                Ok(()) => {
                    remove(&self.dir(number));
                    Adoption::Refused(error)
                }
                Err(_) => Adoption::Unknown(error),
            },
        }
    }

    fn drop_copy(&mut self) {
        if let Some(number) = self.copy.take() {
            remove(&self.dir(number));
        }
    }
}

/// Free space that a copy of so many live bytes needs, at most.
pub(crate) fn copy_bytes(live_bytes: u64) -> u64 {
    live_bytes.saturating_mul(2).saturating_add(DATABASE_BYTES)
}

/// `rows-<n>`, with or without the end of a line.
fn number_in(name: &str) -> Option<u32> {
    name.trim_end().strip_prefix(ROWS_PREFIX)?.parse().ok()
}

/// Removes a file or a folder that does not count; what cannot be removed now is tried at the next open.
pub(crate) fn remove(path: &Path) {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "could not remove what is left over");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
