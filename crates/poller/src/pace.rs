//! How often to ask: `poll_every`, slower while the server throttles or answers late. Pure.
//!
//! In: how turns went. Out: the interval to the next. Must never happen: an interval below
//! `poll_every`, or one that keeps growing.

use std::time::Duration;

/// The interval grows up to this many times `poll_every`.
const SLOWEST: u32 = 8;

/// An interval need not be shorter than this to be worth slowing down to.
const SLOWEST_AT_LEAST: Duration = Duration::from_mins(1);

/// The pace of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    poll_every: Duration,
    interval: Duration,
}

impl Pace {
    pub(crate) fn new(poll_every: Duration) -> Self {
        Self {
            poll_every,
            interval: poll_every,
        }
    }

    /// The time from the start of one turn to that of the next.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// A turn was complete: faster again, by a tenth; but not faster than turns are.
    pub(crate) fn went_well(&mut self, took: Duration) {
        let faster = self.interval.mul_f64(0.9).max(self.poll_every);
        // Half of the time is for the others that share the budget.
        self.interval = faster.max((took * 2).min(self.slowest()));
    }

    /// The server said that we ask too much.
    pub(crate) fn was_throttled(&mut self) {
        self.interval = (self.interval * 2).min(self.slowest());
    }

    fn slowest(&self) -> Duration {
        let slowest = self.poll_every * SLOWEST;
        slowest.clamp(self.poll_every, SLOWEST_AT_LEAST.max(self.poll_every * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn throttling_slows_down_to_a_bound_and_calm_turns_speed_up_again() {
        let mut pace = Pace::new(15 * SECOND);
        pace.was_throttled();
        assert_eq!(pace.interval(), 30 * SECOND);
        for _ in 0..10 {
            pace.was_throttled();
        }
        assert_eq!(pace.interval(), 60 * SECOND);
        let mut turns = 0;
        while pace.interval() > 15 * SECOND {
            pace.went_well(SECOND);
            turns += 1;
        }
        assert!((10..20).contains(&turns), "{turns}");
        pace.went_well(SECOND);
        assert_eq!(pace.interval(), 15 * SECOND);
    }

    #[test]
    fn turns_that_take_long_come_seldom() {
        let mut pace = Pace::new(SECOND);
        pace.went_well(3 * SECOND);
        assert_eq!(pace.interval(), 6 * SECOND);
        pace.went_well(1_000 * SECOND);
        assert_eq!(pace.interval(), 8 * SECOND);
        let mut slow = Pace::new(300 * SECOND);
        slow.was_throttled();
        assert_eq!(slow.interval(), 600 * SECOND);
    }
}
