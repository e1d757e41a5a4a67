//! Says that we see: `watch.swept`, the heartbeat of the whole path. Pure.
//!
//! In: that a turn was complete, or was not. Out: whether to say so now, and what. Must never happen:
//! a heartbeat before the changes of its turn are in the outbox, or after a turn that proves nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{SweepKind, Swept};

use crate::state::Counts;

/// At most one heartbeat in this time, for each instance.
const EVERY: Duration = Duration::from_mins(1);

/// When the last heartbeat of one instance was.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// By our clock; `None` at start and after a turn that was not complete: the next complete one
    /// says so at once.
    last_at: Option<Timestamp>,
}

impl Watch {
    /// Whether a complete turn that ends `now` is to be told.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let every = SignedDuration::try_from(EVERY).unwrap_or(SignedDuration::MAX);
        self.last_at
            .is_none_or(|last| now.duration_since(last).abs() >= every)
    }

    /// It was put into the outbox.
    pub(crate) fn told(&mut self, now: Timestamp) {
        self.last_at = Some(now);
    }

    /// A turn was not complete.
    pub(crate) fn failed(&mut self) {
        self.last_at = None;
    }
}

/// The heartbeat of a turn that `took` so long. `seen_until` is the server's time of its first answer.
///
/// The next one comes with the first complete turn that ends a minute or more after this one. So it
/// is due, at the latest, after the minute (or the interval, where that is longer), one more
/// interval, and the time that two turns take. `poll_every` is the longest interval, jitter included.
pub(crate) fn swept(
    seen_until: Timestamp,
    counts: Counts,
    poll_every: Duration,
    took: Duration,
) -> Swept {
    let due_in = EVERY.max(poll_every) + poll_every + took * 2;
    let next_by = seen_until.checked_add(due_in).unwrap_or(Timestamp::MAX);
    Swept {
        seen_until,
        tasks: counts.tasks,
        open: counts.open,
        sweep: SweepKind::Full,
        next_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_turn_tells_then_one_a_minute_and_at_once_after_an_outage() {
        let mut watch = Watch::default();
        assert!(watch.is_due(at(0)));
        watch.told(at(0));
        assert!(!watch.is_due(at(59)));
        assert!(watch.is_due(at(60)));
        watch.told(at(60));
        watch.failed();
        assert!(watch.is_due(at(61)));
        watch.told(at(61));
        assert!(
            watch.is_due(at(-600)),
            "a clock set back does not silence it"
        );
    }

    #[test]
    fn the_next_one_is_due_after_a_minute_and_an_interval() {
        let counts = Counts { tasks: 3, open: 1 };
        let quick = swept(at(100), counts, Duration::from_secs(15), Duration::ZERO);
        assert_eq!(quick.next_by, at(175));
        let slow = swept(
            at(100),
            counts,
            Duration::from_mins(5),
            Duration::from_secs(10),
        );
        assert_eq!(slow.next_by, at(100 + 600 + 20));
        assert_eq!((slow.seen_until, slow.tasks, slow.open), (at(100), 3, 1));
    }
}
