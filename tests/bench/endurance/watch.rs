//! The most that disk and memory came to at any time: a look at each line does not see it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};

use crate::mib;
use crate::process::memory_mib;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most of one thing, and when it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    pub(crate) mib: f64,
    pub(crate) at_s: f64,
    pub(crate) compacting: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks {
    pub(crate) memory: Peak,
    pub(crate) disk: Peak,
}

/// Looks until it is dropped.
pub(crate) struct Watch(Arc<Mutex<Peaks>>);

impl Peak {
    fn see(&mut self, mib: f64, at_s: f64, compacting: &'static str) {
        if mib > self.mib {
            *self = Self {
                mib,
                at_s,
                compacting,
            };
        }
    }

    pub(crate) fn most(self, other: Self) -> Self {
        if other.mib > self.mib { other } else { self }
    }
}

impl Watch {
    pub(crate) fn begin(folder: PathBuf, began: Instant) -> Self {
        let watch = Self(Arc::default());
        let peaks = Arc::downgrade(&watch.0);
        // Its own thread: the runtime's are busy.
        std::thread::spawn(move || {
            while let Some(peaks) = peaks.upgrade() {
                let at_s = began.elapsed().as_secs_f64();
                let (compacting, memory) = (compacting(&folder), memory_since());
                let disk = mib(size_of(&folder));
                let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
                peaks.memory.see(memory, at_s, compacting);
                peaks.disk.see(disk, at_s, compacting);
                drop(peaks);
                std::thread::park_timeout(LOOK_EVERY);
            }
        });
        watch
    }

    /// The most since the last call.
    pub(crate) fn take(&self) -> Peaks {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The most that the process had since the last call, as the kernel counts it (proc(5), `clear_refs`).
fn memory_since() -> f64 {
    let most = memory_mib("VmHWM");
    // Where that may not be written the most so far is given: no less, only not when.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    most
}

/// Whose store has two folders of rows.
fn compacting(folder: &Path) -> &'static str {
    let is = |name: &str| {
        let entries = std::fs::read_dir(folder.join(name)).into_iter().flatten();
        let names = entries.flatten().map(|entry| entry.file_name());
        let rows = names.filter(|name| name.to_string_lossy().starts_with("rows-"));
        rows.count() > 1
    };
    match (is("poller"), is("notifier")) {
        (false, false) => "-",
        (true, false) => "poller",
        (false, true) => "notifier",
        (true, true) => "both",
    }
}

/// What the files under `folder` take.
pub(crate) fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
