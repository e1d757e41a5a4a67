//! Giving space back while the store runs.
//!
//! sled keeps what its files once needed. When they are much larger than what lives in them, the live
//! rows are copied into a new database, a slice between two groups of commits, and the new one takes the
//! old one's place. In: the sizes, the groups. Out: the rows in a small database. A copy that fails
//! changes nothing: commits go on in the old one. Must never happen: a commit that waits for more than a
//! slice or the swap; intake that is refused for the space a copy takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::{Adoption, Writer, caught, drop_rows, wait_for_readers};
use crate::batch::Operation;
use crate::copying::{Copying, Progress};
use crate::place::{copy_bytes, remove};
use crate::rows::{Failure, Rows, RowsSize};

/// So many times the live bytes may the files have.
const FILES_PER_LIVE: u64 = 3;
/// So many times what they had after the last time, in quarters: some rows need more.
const QUARTER_FILES_PER_LAST: u64 = 5;
/// Slices after one group of commits, at most: commits wait that long where they make the files grow fast.
const SLICES_A_GROUP: usize = 256;
/// So many bytes may all files grow by for each that is copied, in halves: two or so are the copy's own, the rest what is
/// committed meanwhile. They have some six times the live bytes at most when the copy is done.
const HALF_GROWN_PER_COPIED: u64 = 5;
/// How long after a copy that failed none is begun.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_mins(10);

/// When to compact, and what was done.
pub(super) struct Compactor {
    /// Smaller files are left alone.
    from_bytes: u64,
    /// Committed since the sizes were last looked at.
    unlooked_bytes: u64,
    /// What the files had after the last time.
    after_last_bytes: u64,
    failed_at: Option<Instant>,
    n_done: u64,
    running: Option<Running>,
    /// Waits for the last reader of the old rows, then removes them.
    retiring: Option<JoinHandle<()>>,
}

struct Running {
    copying: Copying,
    began: Instant,
    longest_pause: Duration,
    before_bytes: u64,
}

impl Compactor {
    pub(super) fn new(from_bytes: u64) -> Self {
        Self {
            from_bytes,
            // Looks at the first commit.
            unlooked_bytes: u64::MAX,
            after_last_bytes: 0,
            failed_at: None,
            n_done: 0,
            running: None,
            retiring: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn n_done(&self) -> u64 {
        self.n_done
    }

    /// Waits for what is being removed.
    pub(super) fn join(&mut self) {
        if let Some(retiring) = self.retiring.take()
            && retiring.join().is_err()
        {
            tracing::error!("removing the old rows panicked");
        }
    }

    /// Whether it is time to look at the sizes again.
    fn is_due(&mut self, committed_bytes: usize) -> bool {
        self.unlooked_bytes = self.unlooked_bytes.saturating_add(committed_bytes as u64);
        if self.unlooked_bytes < self.from_bytes / 4 {
            return false;
        }
        self.unlooked_bytes = 0;
        let paused = self
            .failed_at
            .is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE);
        let retiring = self.retiring.as_ref().is_some_and(|one| !one.is_finished());
        !paused && !retiring
    }

    fn is_worth(&self, size: RowsSize) -> bool {
        size.files_bytes > self.from_bytes
            && size.files_bytes > size.live_bytes.saturating_mul(FILES_PER_LIVE)
            && size.files_bytes > self.after_last_bytes.saturating_mul(QUARTER_FILES_PER_LAST) / 4
    }
}

impl Writer {
    /// After a group of commits: goes on with the copy, or begins one where it is worth it.
    pub(super) fn compact_after(&mut self, operations: &[Operation]) {
        if let Some(running) = &mut self.compactor.running {
            match caught(|| running.copying.mirror(operations)) {
                Ok(()) => self.compact_on(),
                Err(failure) => self.give_up_compaction(&failure),
            }
            return;
        }
        let committed_bytes = operations.iter().map(Operation::size_bytes).sum();
        if self.compactor.is_due(committed_bytes)
            && let Err(failure) = self.begin_compaction()
        {
            self.give_up_compaction(&failure);
        }
    }

    /// Copies a slice, and more while the files grow faster than is copied. One slice a group is enough for few small
    /// commits; but large ones to rows all over the place make sled write thirty times their bytes, to both databases,
    /// and the files would be many times as large before the copy is done. What the copy itself takes must not count
    /// as growth: each commit would wait for all the slices that there may be, half a second and more.
    fn compact_on(&mut self) {
        for _ in 0..SLICES_A_GROUP {
            self.compact_step();
            let Some(running) = &self.compactor.running else {
                return;
            };
            let size = self.rows_now().and_then(|rows| rows.size());
            let grown_bytes = size.map_or(0, |size| {
                size.files_bytes.saturating_sub(running.before_bytes)
            });
            if HALF_GROWN_PER_COPIED * running.copying.copied_bytes() / 2 >= grown_bytes {
                return;
            }
        }
    }

    fn begin_compaction(&mut self) -> Result<(), Failure> {
        let size = self.rows_now()?.size()?;
        if !self.compactor.is_worth(size) {
            return Ok(());
        }
        let needed_bytes = copy_bytes(size.live_bytes).saturating_add(self.min_free_bytes);
        match self.place.free_bytes() {
            Ok(free_bytes) if free_bytes < needed_bytes => {
                return Err(Failure::broken(format!(
                    "{free_bytes} bytes are free, it needs {needed_bytes}"
                )));
            }
            _ => {}
        }
        let began = Instant::now();
        let copy = catch_unwind(AssertUnwindSafe(|| self.place.begin_copy()))
            .unwrap_or_else(|_| Err(crate::Error::Closed))
            .map_err(|error| Failure::broken(error.to_string()))?;
        self.compactor.running = Some(Running {
            copying: Copying::new(copy),
            began,
            longest_pause: began.elapsed(),
            before_bytes: size.files_bytes,
        });
        Ok(())
    }

    /// Copies a slice; after the last one the copy takes the place of the rows.
    pub(super) fn compact_step(&mut self) {
        let began = Instant::now();
        if let Err(failure) = self.try_compact_step(began) {
            self.give_up_compaction(&failure);
        }
        if let Some(running) = &mut self.compactor.running {
            running.longest_pause = running.longest_pause.max(began.elapsed());
        }
    }

    fn try_compact_step(&mut self, began: Instant) -> Result<(), Failure> {
        let rows = self.rows_now()?;
        if self.check_disk().is_err() {
            return Err(Failure::broken("the disk is too full for a copy"));
        }
        let Some(running) = &mut self.compactor.running else {
            return Ok(());
        };
        if caught(|| running.copying.step(rows.as_ref()))? == Progress::Going {
            return Ok(());
        }
        drop(rows);
        match self.place.adopt_copy() {
            Adoption::Done { old } => self.swap(old, began),
            Adoption::Refused(error) => return Err(Failure::io("cannot swap", &error)),
            Adoption::Unknown(error) => {
                self.compactor.running = None;
                self.go_down(Failure::io("which database counts is not known", &error));
            }
        }
        Ok(())
    }

    /// Shows the copy. Who reads the old rows goes on until it is done.
    fn swap(&mut self, old_dir: std::path::PathBuf, began: Instant) {
        let Some(running) = self.compactor.running.take() else {
            return;
        };
        let copy = running.copying.into_copy();
        let old = self.take_rows(super::Slot::Open(Arc::clone(&copy)));
        self.compactor.join();
        let retire = move || {
            if let Some(old) = old {
                wait_for_readers(&old);
                drop_rows(old);
            }
            remove(&old_dir);
        };
        let thread = std::thread::Builder::new().name("store-retire".to_owned());
        match thread.spawn(retire) {
            Ok(thread) => self.compactor.retiring = Some(thread),
            Err(error) => tracing::warn!(%error, "the old rows are removed at the next start"),
        }
        self.compactor.n_done += 1;
        let live = copy.size();
        let after_bytes = live.as_ref().map_or(0, |size| {
            size.files_bytes.saturating_sub(running.before_bytes)
        });
        self.compactor.after_last_bytes = after_bytes;
        tracing::info!(
            took = ?running.began.elapsed(),
            longest_pause = ?running.longest_pause.max(began.elapsed()),
            before_bytes = running.before_bytes,
            after_bytes,
            "store is compacted"
        );
    }

    /// Drops the copy, if there is one, and waits before the next.
    pub(super) fn give_up_compaction(&mut self, failure: &Failure) {
        tracing::warn!(error = %failure.what, "store is not compacted");
        self.compactor.failed_at = Some(Instant::now());
        if let Some(running) = self.compactor.running.take() {
            drop_rows(running.copying.into_copy());
        }
        self.place.drop_copy();
    }

    /// Drops the copy without a word: the rows are closing, or failed.
    pub(super) fn stop_compaction(&mut self) {
        if let Some(running) = self.compactor.running.take() {
            drop_rows(running.copying.into_copy());
            self.place.drop_copy();
        }
    }

    fn rows_now(&self) -> Result<Arc<dyn Rows>, Failure> {
        self.open_rows()
            .map_err(|error| Failure::broken(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_large_for_their_rows_and_have_grown_are_worth_it() {
        let mut compactor = Compactor::new(16);
        let size = |files_bytes, live_bytes| RowsSize {
            files_bytes,
            live_bytes,
            rows: 1,
        };
        assert!(!compactor.is_worth(size(16, 0)), "small");
        assert!(compactor.is_worth(size(17, 5)));
        assert!(!compactor.is_worth(size(17, 6)), "full of rows");
        compactor.after_last_bytes = 100;
        assert!(!compactor.is_worth(size(125, 5)), "as after the last time");
        assert!(compactor.is_worth(size(126, 5)));
    }

    #[test]
    fn sizes_are_looked_at_by_what_was_committed() {
        let mut compactor = Compactor::new(400);
        assert!(compactor.is_due(1), "the first time at once");
        assert!(!compactor.is_due(99));
        assert!(compactor.is_due(1));
        compactor.failed_at = Some(Instant::now());
        assert!(!compactor.is_due(1000), "it failed just now");
    }
}
