//! Whether the log's disk has room. Looked at no more than once a second; told when it changes.
//!
//! A full disk alone would stop the log as well. This stops it while there is still room for what else
//! lies on the disk, and for the log's own readers to go on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The disk's room.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    min_free_bytes: u64,
    looked: Option<(Instant, Result<(), Error>)>,
}

impl Space {
    pub(super) fn new(dir: &Path, min_free_bytes: u64) -> Space {
        Space {
            dir: dir.to_owned(),
            min_free_bytes,
            looked: None,
        }
    }

    /// An error while there is too little.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.min_free_bytes == 0 {
            return Ok(());
        }
        if let Some((at, known)) = &self.looked
            && at.elapsed() < LOOK_EVERY
        {
            return known.clone();
        }
        let was_full = matches!(self.looked, Some((_, Err(_))));
        let room = self.look();
        match &room {
            Err(error) if !was_full => tracing::error!(%error, "the log takes no records"),
            Ok(()) if was_full => tracing::info!("the log takes records again"),
            _ => {}
        }
        self.looked = Some((Instant::now(), room.clone()));
        room
    }

    fn look(&self) -> Result<(), Error> {
        let disk = match rustix::fs::statvfs(&self.dir) {
            Ok(disk) => disk,
            // Not knowing is no reason to stop: a full disk shows in the write.
            Err(error) => {
                tracing::warn!(%error, "cannot tell the free space of the log's disk");
                return Ok(());
            }
        };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free_bytes < self.min_free_bytes {
            let (dir, min) = (self.dir.display(), self.min_free_bytes);
            let what =
                format!("the disk of {dir} has {free_bytes} bytes free, and {min} are kept free");
            return Err(Error::Unavailable { what });
        }
        Ok(())
    }
}
