//! The account's own rate limit: so many calls a second, and `Throttling.User` with the delay beyond.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::action::Action;

/// How many calls the account may make. The service publishes no number; its quota is per account and
/// operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Calls in any one second; at least 1.
    pub per_second: u32,
    /// `true`: each operation has a quota of its own.
    #[serde(default)]
    pub per_operation: bool,
}

const WINDOW: Duration = Duration::from_secs(1);

/// Counts calls that were let in.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) quota: Quota,
    /// Oldest first; never longer than the quota.
    let_in: HashMap<Option<Action>, VecDeque<Instant>>,
}

impl Meter {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quota,
            let_in: HashMap::new(),
        }
    }

    /// `Some`: not now, but when this time is over.
    pub(crate) fn wait(&mut self, action: Action, now: Instant) -> Option<Duration> {
        let key = self.quota.per_operation.then_some(action);
        let let_in = self.let_in.entry(key).or_default();
        while let_in
            .front()
            .is_some_and(|at| now.duration_since(*at) >= WINDOW)
        {
            let_in.pop_front();
        }
        let most = usize::try_from(self.quota.per_second.max(1)).unwrap_or(usize::MAX);
        if let_in.len() < most {
            let_in.push_back(now);
            return None;
        }
        let oldest = let_in.front()?;
        Some(WINDOW.saturating_sub(now.duration_since(*oldest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut meter = Meter::new(Quota {
            per_second: 2,
            per_operation: true,
        });
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(meter.wait(Action::ListInstance, at(0)), None);
        assert_eq!(meter.wait(Action::ListInstance, at(300)), None);
        let wait = meter.wait(Action::ListInstance, at(400));
        assert_eq!(wait, Some(Duration::from_millis(600)));
        assert_eq!(meter.wait(Action::GetRepoSyncTask, at(400)), None);
        assert_eq!(meter.wait(Action::ListInstance, at(1000)), None);
        let wait = meter.wait(Action::ListInstance, at(1001));
        assert_eq!(wait, Some(Duration::from_millis(299)));
    }
}
