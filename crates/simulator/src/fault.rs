//! What the service can be told to do wrong, and for how long.
//!
//! In: a [`Fault`] and its [`Extent`]. Out: the faults that one call meets. Must never happen: a
//! fault that outlives its extent.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// One way in which the service misbehaves. In JSON: `"no_privilege"`, `{"slow": {"delay_ms": 500}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// HTTP 400 `Throttling.User`, with `x-acs-retry-after` in milliseconds if given.
    Throttled {
        /// How long to wait.
        retry_after_ms: Option<u64>,
    },
    /// HTTP 429 with the standard `Retry-After` in seconds.
    TooManyRequests {
        /// How long to wait.
        retry_after_s: u64,
    },
    /// HTTP 403 `NoPrivilege` with `AccessDeniedDetail`.
    NoPrivilege,
    /// HTTP 500 `SystemError`.
    SystemError,
    /// HTTP 503 `ServiceUnavailable`.
    Unavailable,
    /// HTTP 502 with an HTML page.
    BadGateway,
    /// A right answer of which only the first half comes.
    Truncated {
        /// `true`: the content-length is that of the half. `false`: it is that of the whole, and
        /// the connection breaks off.
        honest: bool,
    },
    /// HTTP 403 `NoPrivilege` with its keys in lower camel case.
    LowerCamelError,
    /// HTTP 503 `ServiceUnavailable` in XML.
    XmlError,
    /// HTTP 200 with `IsSuccess: false`.
    NotSuccessful {
        /// The `Code` of it.
        code: String,
    },
    /// Page 1 has one row more, without a `SyncTaskId`.
    TaskWithoutId,
    /// What is not set is null instead of absent.
    NullFields,
    /// Fields, triggers and (of open tasks) statuses that nobody knows.
    UnknownValues,
    /// The answer takes this long.
    Slow {
        /// How long.
        delay_ms: u64,
    },
    /// The connection is closed without an answer.
    Closed,
    /// The server's clock is wrong: what it signs off, its Date header and the times of tasks.
    ClockSkew {
        /// Positive: the server is ahead.
        minutes: i64,
    },
    /// Every page is page 1.
    PageNoIgnored {
        /// `true`: the answer claims to be the page that was asked for. `false`: it says 1.
        echo_asked: bool,
    },
}

impl Fault {
    /// Of each of these a call meets the oldest one only.
    fn kind(&self) -> Kind {
        match self {
            Self::Throttled { .. }
            | Self::TooManyRequests { .. }
            | Self::NoPrivilege
            | Self::SystemError
            | Self::Unavailable
            | Self::BadGateway
            | Self::LowerCamelError
            | Self::XmlError
            | Self::NotSuccessful { .. }
            | Self::Closed => Kind::Instead,
            Self::Truncated { .. } => Kind::Body,
            Self::TaskWithoutId => Kind::Extra,
            Self::NullFields => Kind::Nulls,
            Self::UnknownValues => Kind::Unknown,
            Self::Slow { .. } => Kind::Delay,
            Self::ClockSkew { .. } => Kind::Clock,
            Self::PageNoIgnored { .. } => Kind::Page,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instead,
    Body,
    Extra,
    Nulls,
    Unknown,
    Delay,
    Clock,
    Page,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// For this many calls.
    Calls(u32),
    /// For this long.
    For(Duration),
    /// Until [`World::clear_faults`](crate::World::clear_faults).
    Always,
}

#[derive(Clone, Debug)]
struct Active {
    fault: Fault,
    calls_left: Option<u32>,
    until: Option<Instant>,
}

/// The faults that are switched on, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<Active>);

/// More than this are refused: a control client in a loop must not fill the memory.
const MAX_FAULTS: usize = 1000;

impl Faults {
    /// False when there are too many already.
    pub(crate) fn add(&mut self, fault: Fault, extent: Extent, now: Instant) -> bool {
        self.purge(now);
        if self.0.len() >= MAX_FAULTS {
            return false;
        }
        let (calls_left, until) = match extent {
            Extent::Calls(0) => return true,
            Extent::Calls(n) => (Some(n), None),
            Extent::For(time) => (None, now.checked_add(time)),
            Extent::Always => (None, None),
        };
        self.0.push(Active {
            fault,
            calls_left,
            until,
        });
        true
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(|active| &active.fault)
    }

    /// By how much the clock is wrong now; asking counts as no call.
    pub(crate) fn skew(&self, now: Instant) -> SignedDuration {
        let minutes = self
            .0
            .iter()
            .filter(|active| !active.is_over(now))
            .find_map(|active| {
                if let Fault::ClockSkew { minutes } = active.fault {
                    Some(minutes)
                } else {
                    None
                }
            });
        let seconds = minutes.unwrap_or(0).saturating_mul(60);
        SignedDuration::from_secs(seconds)
    }

    /// What one call meets, and one call less of each.
    pub(crate) fn meet(&mut self, now: Instant) -> Vec<Fault> {
        self.purge(now);
        let mut met: Vec<Fault> = Vec::new();
        for active in &mut self.0 {
            if met.iter().any(|fault| fault.kind() == active.fault.kind()) {
                continue;
            }
            if let Some(left) = &mut active.calls_left {
                *left = left.saturating_sub(1);
            }
            met.push(active.fault.clone());
        }
        // A clock stays wrong until the call is answered: that last call's skew is read from `met`.
        self.purge(now);
        met
    }

    fn purge(&mut self, now: Instant) {
        self.0.retain(|active| !active.is_over(now));
    }
}

impl Active {
    fn is_over(&self, now: Instant) -> bool {
        self.calls_left == Some(0) || self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends_with_its_last_call() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.add(Fault::SystemError, Extent::Calls(2), now);
        faults.add(Fault::BadGateway, Extent::Calls(1), now);
        assert_eq!(faults.meet(now), [Fault::SystemError]);
        assert_eq!(faults.meet(now), [Fault::SystemError]);
        assert_eq!(faults.meet(now), [Fault::BadGateway]);
        assert_eq!(faults.meet(now), []);
    }

    #[test]
    fn a_timed_fault_ends_with_its_time() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.add(
            Fault::ClockSkew { minutes: -20 },
            Extent::For(Duration::from_secs(5)),
            now,
        );
        assert_eq!(faults.skew(now), SignedDuration::from_mins(-20));
        assert_eq!(faults.meet(now).len(), 1);
        let later = now + Duration::from_secs(5);
        assert_eq!(faults.skew(later), SignedDuration::ZERO);
        assert_eq!(faults.meet(later), []);
    }

    #[test]
    fn faults_of_different_kinds_meet_in_one_call() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.add(Fault::Slow { delay_ms: 1 }, Extent::Always, now);
        faults.add(Fault::NullFields, Extent::Always, now);
        faults.add(Fault::Truncated { honest: true }, Extent::Calls(1), now);
        assert_eq!(faults.meet(now).len(), 3);
        assert_eq!(faults.meet(now).len(), 2);
        faults.clear();
        assert_eq!(faults.meet(now), []);
    }
}
