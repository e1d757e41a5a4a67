//! Says that we see: `watch.swept`, the heartbeat of the whole path. Pure.
//!
//! In: that a turn was complete, or was not. Out: whether to say so now, and what. Must never happen:
//! a heartbeat before the changes of its turn are in the outbox, or after a turn that proves nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_event::Swept;

use crate::index::Counts;
use crate::instance::Report;

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

/// The heartbeat of a complete turn.
///
/// The next one comes with the first complete turn that ends a minute or more after this one. So it
/// is due, at the latest, after the minute (or the interval, where that is longer), one more
/// interval, and the time that two turns take. `interval` is the longest, jitter included.
pub(crate) fn swept(report: Report, counts: Counts, interval: Duration) -> Swept {
    let due_in = EVERY.max(interval) + interval + report.took * 2;
    let next_by = report.seen_until.checked_add(due_in);
    Swept {
        seen_until: report.seen_until,
        tasks: counts.tasks,
        open: counts.open,
        sweep: report.sweep,
        next_by: next_by.unwrap_or(Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests {
    use syncbell_event::SweepKind;

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
        let report = |took| Report {
            sweep: SweepKind::Head,
            pages: 1,
            seen_until: at(100),
            told: 0,
            took,
        };
        let quick = swept(report(Duration::ZERO), counts, Duration::from_secs(15));
        assert_eq!(quick.next_by, at(175));
        let slow = swept(
            report(Duration::from_secs(10)),
            counts,
            Duration::from_mins(5),
        );
        assert_eq!(slow.next_by, at(100 + 600 + 20));
        assert_eq!((slow.seen_until, slow.tasks, slow.open), (at(100), 3, 1));
    }
}
