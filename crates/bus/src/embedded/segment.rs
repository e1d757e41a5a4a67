//! One segment file: its name, the writing of the newest one, and the reading of any. What must
//! never happen: an append answered before its bytes are on the disk, or bytes of a failed append
//! left between good ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::frame::{self, HEAD_BYTES, Parsed};

const SUFFIX: &str = ".segment";

/// How much is read from the disk at a time, at least.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where the segment that begins with record `first` lies.
pub(super) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{SUFFIX}"))
}

/// The first offsets of the segments in `dir`, sorted. Other files are none of ours and stay.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(digits) = digits
            && digits.len() == 20
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(first) = digits.parse()
        {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Makes the entries of `dir` durable: a file that was made or unlinked stays so.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    file: File,
    durable_bytes: u64,
    /// A write failed: bytes of it may stand behind `durable_bytes` and have to go first.
    torn: bool,
    #[cfg(test)]
    fault: super::Fault,
}

impl ActiveSegment {
    /// Makes an empty segment and its directory entry durable. A file of that name can only be a
    /// leftover of an attempt that failed, for no record of it was ever durable.
    pub(super) fn create(dir: &Path, first: u64) -> io::Result<ActiveSegment> {
        let path = path_of(dir, first);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.sync_all()?;
        sync_dir(dir)?;
        Ok(ActiveSegment::of(file, 0))
    }

    /// Opens the newest segment and cuts it to its first `whole_bytes`.
    pub(super) fn reopen(path: &Path, whole_bytes: u64) -> io::Result<ActiveSegment> {
        let file = OpenOptions::new().write(true).open(path)?;
        let mut segment = ActiveSegment::of(file, whole_bytes);
        segment.torn = segment.file.metadata()?.len() != whole_bytes;
        segment.mend()?;
        // A crash between write and sync can leave whole frames that are not on the disk yet. They
        // are about to be shown to readers, so they have to be.
        segment.file.sync_all()?;
        Ok(segment)
    }

    fn of(file: File, durable_bytes: u64) -> ActiveSegment {
        ActiveSegment {
            file,
            durable_bytes,
            torn: false,
            #[cfg(test)]
            fault: super::Fault::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_fault(mut self, fault: super::Fault) -> ActiveSegment {
        self.fault = fault;
        self
    }

    #[cfg(test)]
    pub(super) fn fault(&self) -> super::Fault {
        self.fault.clone()
    }

    pub(super) fn durable_bytes(&self) -> u64 {
        self.durable_bytes
    }

    /// Writes `frames` behind what is there; durable when this returns. After an error nothing of
    /// them counts.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.torn = true;
        self.file.seek(SeekFrom::Start(self.durable_bytes))?;
        #[cfg(test)]
        self.fault.strike(&mut self.file, frames)?;
        self.file.write_all(frames)?;
        self.file.sync_data()?;
        self.torn = false;
        self.durable_bytes += frames.len() as u64;
        Ok(())
    }

    /// Cuts what a failed append left behind.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.durable_bytes)?;
            self.file.sync_all()?;
            self.torn = false;
        }
        Ok(())
    }
}

/// What stands at the place a [`Frames`] has reached.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// The body of a frame that begins at `byte`.
    Frame {
        /// Where the frame begins in the file.
        byte: u64,
        /// Its body.
        body: &'a [u8],
    },
    /// Exactly the limit: no more frames.
    End,
    /// No whole frame, though there are bytes before the limit.
    Broken {
        /// Why.
        what: &'static str,
    },
}

/// Reads the frames of a segment one after the other. Keeps its file, its place and at most one
/// chunk or one record between calls.
#[derive(Debug)]
pub(super) struct Frames {
    file: File,
    /// Where in the file the next frame begins.
    byte: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    at: usize,
}

impl Frames {
    pub(super) fn open(path: &Path) -> io::Result<Frames> {
        Ok(Frames {
            file: File::open(path)?,
            byte: 0,
            buffer: Vec::new(),
            at: 0,
        })
    }

    /// Where in the file the next frame begins.
    pub(super) fn byte(&self) -> u64 {
        self.byte
    }

    /// The next frame of those that end at or before byte `limit`. Nothing behind it is looked at:
    /// there the writer may be writing.
    pub(super) fn step(&mut self, limit: u64) -> io::Result<Step<'_>> {
        let size = loop {
            let needed = match frame::parse(&self.buffer[self.at..]) {
                Parsed::Whole(size) => break size,
                Parsed::Bad(what) => return Ok(Step::Broken { what }),
                Parsed::Short(needed) => needed,
            };
            if self.byte == limit {
                return Ok(Step::End);
            }
            if self.byte + needed as u64 > limit {
                return Ok(Step::Broken {
                    what: "the segment ends inside a record",
                });
            }
            if !self.fill(needed, limit)? {
                return Ok(Step::Broken {
                    what: "the file is shorter than it was",
                });
            }
        };
        let (byte, at) = (self.byte, self.at);
        self.byte += size as u64;
        self.at += size;
        Ok(Step::Frame {
            byte,
            body: &self.buffer[at + HEAD_BYTES..at + size],
        })
    }

    /// Reads on until the buffer holds `needed` bytes from the next frame on; false at the file's end.
    fn fill(&mut self, needed: usize, limit: u64) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        if needed <= CHUNK_BYTES {
            self.buffer.shrink_to(CHUNK_BYTES);
        }
        let have = self.buffer.len();
        let wanted = (needed.max(CHUNK_BYTES) as u64).min(limit - self.byte);
        let missing = wanted.saturating_sub(have as u64);
        self.buffer
            .reserve_exact(usize::try_from(missing).unwrap_or(CHUNK_BYTES));
        (&mut self.file)
            .take(missing)
            .read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() >= needed)
    }
}
