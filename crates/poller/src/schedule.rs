//! What an instance's loop does next: a head poll, a page of a full sweep, or nothing. Pure.
//!
//! In: how turns ended, the time. Out: the next step. Must never happen: a full sweep that keeps head
//! polls from their time; one that is never begun.

use std::time::Duration;

use syncbell_service::backoff::jittered;
use tokio::time::Instant;

/// Sweeps in a row that came to no end before that is a failure of its own.
const SWEEPS_FAILED: u32 = 3;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read the newest pages.
    Head,
    /// Ask for the next page of the full sweep; of a new one, if none is under way. Something else
    /// has its time at `until`, if there is a budget only later.
    SweepPage { until: Option<Instant> },
    /// Nothing before then.
    Wait { until: Instant },
}

/// The times of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    poll_every: Duration,
    sweep_every: Duration,
    head_at: Instant,
    sweep_at: Instant,
    /// A failed page of a sweep is not asked for again before then.
    sweep_waits_until: Instant,
    /// The last head poll failed.
    head_fails: bool,
    /// The list was seen to be newest first, or was not yet seen to be otherwise.
    newest_first: bool,
    /// Something was read: there is a head to compare with.
    has_read: bool,
    /// The last complete sweep, or the start.
    swept_at: Instant,
    n_sweeps_failed: u32,
}

impl Schedule {
    /// A full sweep first, at once.
    pub(crate) fn new(poll_every: Duration, sweep_every: Duration, now: Instant) -> Self {
        Self {
            poll_every,
            sweep_every,
            head_at: now + poll_every,
            sweep_at: now,
            sweep_waits_until: now,
            head_fails: false,
            newest_first: true,
            has_read: false,
            swept_at: now,
            n_sweeps_failed: 0,
        }
    }

    pub(crate) fn next(&self, now: Instant, is_sweeping: bool) -> Next {
        let sweeps = is_sweeping || now >= self.sweep_at;
        if !self.has_heads() {
            let at = if is_sweeping { now } else { self.sweep_at };
            let at = at.max(self.sweep_waits_until);
            return if now >= at {
                Next::SweepPage { until: None }
            } else {
                Next::Wait { until: at }
            };
        }
        // A due sweep takes the place of the head poll of its time; a long one gives way to it.
        if now >= self.head_at && (is_sweeping || !sweeps || self.head_fails) {
            return Next::Head;
        }
        if self.head_fails {
            return Next::Wait {
                until: self.head_at,
            };
        }
        if sweeps && now >= self.sweep_waits_until {
            let until = is_sweeping.then_some(self.head_at);
            return Next::SweepPage { until };
        }
        let sweep_at = if is_sweeping { now } else { self.sweep_at };
        let sweep_at = sweep_at.max(self.sweep_waits_until);
        Next::Wait {
            until: self.head_at.min(sweep_at),
        }
    }

    /// Head polls make sense.
    pub(crate) fn has_heads(&self) -> bool {
        self.newest_first && self.has_read
    }

    /// A new sweep begins: it stands for the head poll of this time.
    pub(crate) fn sweep_begins(&mut self, now: Instant, interval: Duration) {
        self.head_at = now + interval;
    }

    /// The first page of a sweep was read.
    pub(crate) fn read_first_page(&mut self) {
        self.has_read = true;
    }

    /// A complete turn ended `now`; the next begins `interval` after its start.
    pub(crate) fn polled(&mut self, now: Instant, took: Duration, interval: Duration) {
        self.head_fails = false;
        let started = now.checked_sub(took).unwrap_or(now);
        self.head_at = (started + interval).max(now.min(self.head_at));
        if !self.has_heads() {
            self.sweep_at = self.sweep_at.min(self.head_at);
        }
    }

    /// A full sweep was complete. `random` is in 0..1.
    pub(crate) fn swept(&mut self, now: Instant, random: f64) {
        self.swept_at = now;
        self.n_sweeps_failed = 0;
        self.sweep_at = now + jittered(self.sweep_every, random);
        self.sweep_waits_until = now;
    }

    /// How the rows of the list stood in a complete sweep.
    pub(crate) fn set_newest_first(&mut self, newest_first: bool) {
        self.newest_first = newest_first;
    }

    /// A head poll failed: the next not before `retry_at`.
    pub(crate) fn poll_failed(&mut self, retry_at: Instant) {
        self.head_fails = true;
        self.head_at = retry_at;
    }

    /// A page of a sweep failed: it is asked for again, not before `retry_at`.
    pub(crate) fn sweep_waits(&mut self, retry_at: Instant) {
        self.sweep_waits_until = retry_at;
    }

    /// A sweep came to no end.
    pub(crate) fn sweep_failed(&mut self, now: Instant, delay: Duration) {
        self.n_sweeps_failed = self.n_sweeps_failed.saturating_add(1);
        self.sweep_at = now + delay;
        if self.has_heads() {
            // Ever more slowly, but never more seldom than a good one would be. Without head polls there is
            // no other sight.
            let delay = delay * 2_u32.saturating_pow(self.n_sweeps_failed.min(10) - 1);
            self.sweep_at = now + delay.min(self.sweep_every);
        }
        self.sweep_waits_until = now;
    }

    /// Everything has to be read again, soon.
    pub(crate) fn sweep_soon(&mut self, now: Instant) {
        self.sweep_at = self.sweep_at.min(now);
    }

    /// Sweep after sweep came to no end, for longer than two should take.
    pub(crate) fn sweeps_are_overdue(&self, now: Instant) -> bool {
        self.n_sweeps_failed >= SWEEPS_FAILED && now - self.swept_at > self.sweep_every * 2
    }

    /// Whether turns failed for so long, since `began`, that head polls may have missed something.
    pub(crate) fn was_out(&self, began: Instant, now: Instant) -> bool {
        now - began > self.poll_every * 2
    }
}

#[cfg(test)]
mod tests;
