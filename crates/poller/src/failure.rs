//! Why a turn did not come to its end, and when to try again.
//!
//! In: errors of the upstream, the list, the store. Out: a class for metrics and events, a delay.

use std::time::Duration;

use syncbell_service::Backoff;
use syncbell_service::backoff::jittered;

use crate::Error;
use crate::sweep::Why;
use crate::upstream::{asked_to_wait, is_throttled};

const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// Failures back off to the interval, but at least to this.
const BACKOFF_AT_LEAST: Duration = Duration::from_secs(15);

/// A denial needs a person: it is probed ever more slowly, to this.
const DENIED_BACKOFF: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(5));

/// Why a turn did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The process stops.
    Shutdown,
    /// The store is broken.
    Broken(Error),
    /// To be tried again.
    Failed(Failure),
}

/// Why a turn was not complete.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The upstream did not answer as it should.
    Upstream(syncbell_acr::Error),
    /// The list was answered, but it cannot be said what it holds.
    Unstable(Why),
    /// The store takes no rows for now.
    StoreFull(syncbell_store::Error),
}

impl Failure {
    /// Its class: a metric's label, and the reason that is told.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Upstream(error) => error.class(),
            Self::StoreFull(_) => "disk_full",
            Self::Unstable(_) => "unstable",
        }
    }

    /// For people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Upstream(error) => error.to_string(),
            Self::StoreFull(error) => error.to_string(),
            Self::Unstable(why) => why.as_str().to_owned(),
        }
    }

    pub(crate) fn is_throttled(&self) -> bool {
        matches!(self, Self::Upstream(error) if is_throttled(error))
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) if error.retry() == syncbell_store::Retry::Later => {
                Self::Failed(Failure::StoreFull(error))
            }
            error => Self::Broken(error),
        }
    }
}

impl From<syncbell_acr::Error> for Stopped {
    fn from(error: syncbell_acr::Error) -> Self {
        Self::Failed(Failure::Upstream(error))
    }
}

/// What a failure means for the time of the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Nothing is wrong, the list was only busy: look again in the rhythm of polls.
    Busy,
    /// The server says when; to the millisecond.
    AskedToWait(Duration),
    /// It needs a person who changes a permission.
    Denied,
    /// All else.
    Down,
}

impl Cause {
    fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Unstable(_) => Self::Busy,
            Failure::Upstream(syncbell_acr::Error::Denied { .. }) => Self::Denied,
            Failure::Upstream(error) => asked_to_wait(error).map_or(Self::Down, Self::AskedToWait),
            Failure::StoreFull(_) => Self::Down,
        }
    }
}

/// Pure: how long to wait after the failed turn number `attempt` (from 0) in a row. `random` is in 0..1.
pub(crate) fn retry_delay(
    failure: &Failure,
    poll_every: Duration,
    attempt: u32,
    random: f64,
) -> Duration {
    delay(Cause::of(failure), poll_every, attempt, random)
}

fn delay(cause: Cause, poll_every: Duration, attempt: u32, random: f64) -> Duration {
    let backoff = |base, max| {
        Backoff::try_new(base, max).expect("the base is not zero and below the maximum")
    };
    match cause {
        Cause::Busy => jittered(poll_every, random),
        Cause::AskedToWait(delay) => delay,
        // Never soon: half of it is sure.
        Cause::Denied => backoff(DENIED_BACKOFF.0, DENIED_BACKOFF.1)
            .ceiling(attempt)
            .mul_f64(0.5 + random / 2.0),
        Cause::Down => {
            backoff(BACKOFF_BASE, poll_every.max(BACKOFF_AT_LEAST)).delay(attempt, random)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_poll_is_tried_again_as_its_cause_demands() {
        let seconds = Duration::from_secs;
        let longest = |cause, poll_every, attempt| delay(cause, poll_every, attempt, 1.0);
        assert_eq!(longest(Cause::Down, seconds(1), 0), seconds(1));
        assert_eq!(longest(Cause::Down, seconds(1), 10), seconds(15));
        assert_eq!(longest(Cause::Down, seconds(60), 10), seconds(60));
        assert_eq!(longest(Cause::Denied, seconds(1), 0), seconds(15));
        assert_eq!(
            longest(Cause::Denied, seconds(1), 10),
            Duration::from_mins(5)
        );
        assert!(delay(Cause::Denied, seconds(1), 0, 0.0) > seconds(7));
        assert_eq!(longest(Cause::Busy, seconds(10), 99), seconds(11));
    }

    #[test]
    fn a_delay_that_the_server_names_is_kept_to_the_millisecond() {
        let cause = Cause::AskedToWait(Duration::from_millis(1_234));
        for attempt in [0, 50] {
            let waited = delay(cause, Duration::from_secs(15), attempt, 0.3);
            assert_eq!(waited, Duration::from_millis(1_234));
        }
    }
}
