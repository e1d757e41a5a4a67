//! Setting a damaged store aside, without ever deleting of it.
//!
//! In: a locked folder whose content is damaged. Out: the content in `<name>.corrupt-<time>` beside it,
//! an empty folder, and a marker in it until the owner has rebuilt. The folder itself stays where it
//! is, so that its lock is held from before the damage was read until after the new store is open.
//! Must never happen: content of the new store among the old (nothing new is written before all that
//! is old has moved), a marker that a kill loses.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::folder::{Folder, LOCK_FILE, sync_dir};

const MARKER_FILE: &str = "set-aside.json";
/// How many stores may be set aside in the same second.
const LIMIT_A_SECOND: u32 = 1000;

/// What was set aside, until its owner has rebuilt the store and forgets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where the damaged store is now: a folder that can be opened like any store, once repaired.
    pub dir: PathBuf,
    /// What was found to be damaged.
    pub why: String,
    /// When it was set aside.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    /// Name of the folder beside this one.
    name: String,
    why: String,
    at: Timestamp,
    /// True until everything that was there has moved.
    moving: bool,
}

/// Moves all that is in `folder` away, and leaves the marker.
pub(crate) fn set_aside(folder: &Folder, why: &str, now: Timestamp) -> Result<(), Error> {
    let failed = |source: io::Error| move_error(folder, source);
    let marker = Marker {
        name: free_name(folder, now).map_err(failed)?,
        why: why.to_owned(),
        at: now,
        moving: true,
    };
    write(folder, &marker).map_err(failed)?;
    move_all(folder, marker).map_err(failed)
}

/// Goes on where a killed process stopped.
pub(crate) fn finish(folder: &Folder) -> Result<(), Error> {
    // One that holds no marker is damage, which the check after this one tells.
    match read(folder) {
        Ok(Some(marker)) if marker.moving => {
            move_all(folder, marker).map_err(|source| move_error(folder, source))
        }
        _ => Ok(()),
    }
}

/// What is set aside and not forgotten.
pub(crate) fn pending(folder: &Folder) -> Result<Option<SetAside>, Error> {
    let Some(marker) = read(folder)? else {
        return Ok(None);
    };
    let dir = beside(folder, &marker.name).map_err(|source| move_error(folder, source))?;
    Ok(Some(SetAside {
        dir,
        why: marker.why,
        at: marker.at,
    }))
}

/// Removes the marker durably; one that is not there is no error.
pub(crate) fn forget(folder: &Folder) -> Result<(), Error> {
    let removed = match std::fs::remove_file(folder.dir().join(MARKER_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => folder.sync(),
    };
    removed.map_err(|source| folder.unwritable(source))
}

fn read(folder: &Folder) -> Result<Option<Marker>, Error> {
    let bytes = match std::fs::read(folder.dir().join(MARKER_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(folder.unwritable(error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(marker) => Ok(Some(marker)),
        Err(error) => Err(folder.corrupt(format!("{MARKER_FILE} cannot be read: {error}"))),
    }
}

fn write(folder: &Folder, marker: &Marker) -> io::Result<()> {
    let json = serde_json::to_vec(marker).map_err(io::Error::other)?;
    folder.write_file(MARKER_FILE, &json)
}

/// Everything but the lock and the marker, then the marker says that it is done. What moved before is
/// not there any more, so this can be done again from any point.
fn move_all(folder: &Folder, mut marker: Marker) -> io::Result<()> {
    let target = beside(folder, &marker.name)?;
    std::fs::create_dir_all(&target)?;
    for entry in std::fs::read_dir(folder.dir())? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != MARKER_FILE {
            std::fs::rename(folder.dir().join(&name), target.join(&name))?;
        }
    }
    sync_dir(&target)?;
    folder.sync()?;
    if let Some(parent) = target.parent() {
        sync_dir(parent)?;
    }
    marker.moving = false;
    write(folder, &marker)
}

/// `<name>.corrupt-<time>`, numbered where that is taken. Only the holder of the folder's lock makes
/// such names.
fn free_name(folder: &Folder, now: Timestamp) -> io::Result<String> {
    let real = folder.dir().canonicalize()?;
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{name}.corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let numbered = (2..=LIMIT_A_SECOND).map(|number| format!("{name}-{number}"));
    for name in std::iter::once(name.clone()).chain(numbered) {
        if !beside(folder, &name)?.exists() {
            return Ok(name);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{name} and all its numbers are taken"),
    ))
}

/// A name beside the folder itself, wherever a link to it stands.
fn beside(folder: &Folder, name: &str) -> io::Result<PathBuf> {
    let real = folder.dir().canonicalize()?;
    Ok(real.parent().unwrap_or(Path::new("/")).join(name))
}

fn move_error(folder: &Folder, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let parent = folder.dir().parent().unwrap_or(folder.dir());
            crate::folder::unwritable(parent, source)
        }
        _ => Error::Failed {
            what: format!(
                "cannot set the damaged store {} aside: {source}",
                folder.dir().display()
            ),
        },
    }
}

#[cfg(test)]
mod tests;
