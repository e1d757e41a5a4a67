//! What was asked when, and how it was answered: for tests that look at a client's manners.
//!
//! Must never happen: memory without a bound. The oldest calls are forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

/// The oldest are dropped beyond this.
const MAX_CALLS: usize = 50_000;

/// One call of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// When it had come in full, by the real clock.
    pub at: Timestamp,
    /// The same in microseconds since the world began, by a clock that does not jump.
    pub at_us: u64,
    /// When its answer was ready, likewise; absent while it is not, or if there was none.
    pub answered_us: Option<u64>,
    /// What it named as its operation.
    pub action: String,
    /// Its `InstanceId`.
    pub instance_id: Option<String>,
    /// Its `PageNo`, as it was asked for.
    pub page_no: Option<u64>,
    /// The HTTP status; absent while there is none.
    pub status: Option<u16>,
    /// It was refused as one too many, or with a word on when to come again.
    pub throttled: bool,
    /// How long the answer told the client to wait, in milliseconds.
    pub wait_ms: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct CallLog {
    start: Instant,
    calls: VecDeque<CallRecord>,
    /// The number of the first of `calls`.
    first: u64,
}

impl Default for CallLog {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            calls: VecDeque::new(),
            first: 0,
        }
    }
}

/// How a call was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) throttled: bool,
    pub(crate) wait_ms: Option<u64>,
}

impl CallLog {
    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Gives the call's number.
    pub(crate) fn begin(
        &mut self,
        action: Option<String>,
        instance_id: Option<String>,
        page_no: Option<u64>,
    ) -> u64 {
        if self.calls.len() >= MAX_CALLS {
            self.calls.pop_front();
            self.first += 1;
        }
        self.calls.push_back(CallRecord {
            at: Timestamp::now(),
            at_us: self.now_us(),
            answered_us: None,
            action: action.unwrap_or_default(),
            instance_id,
            page_no,
            status: None,
            throttled: false,
            wait_ms: None,
        });
        self.first + self.calls.len() as u64 - 1
    }

    pub(crate) fn end(&mut self, number: u64, answered: Answered) {
        let now_us = self.now_us();
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        // A call that was forgotten already has no place any more.
        if let Some(call) = place.and_then(|place| self.calls.get_mut(place)) {
            call.answered_us = Some(now_us);
            call.status = Some(answered.status);
            call.throttled = answered.throttled;
            call.wait_ms = answered.wait_ms;
        }
    }

    pub(crate) fn all(&self) -> Vec<CallRecord> {
        self.calls.iter().cloned().collect()
    }

    pub(crate) fn last(&self) -> Option<CallRecord> {
        self.calls.back().cloned()
    }

    pub(crate) fn forget(&mut self) {
        self.first += self.calls.len() as u64;
        self.calls.clear();
    }
}

/// The calls that came while another one's answer had told their client to wait, `slack` aside.
pub fn inside_pauses(calls: &[CallRecord], slack: Duration) -> Vec<CallRecord> {
    let slack_us = u64::try_from(slack.as_micros()).unwrap_or(u64::MAX);
    let pauses: Vec<(u64, u64)> = calls
        .iter()
        .filter_map(|call| {
            let from_us = call.answered_us?.saturating_add(slack_us);
            let wait_us = call.wait_ms?.saturating_mul(1000);
            Some((from_us, call.answered_us?.saturating_add(wait_us)))
        })
        .collect();
    let inside = |call: &&CallRecord| {
        let mut pauses = pauses.iter();
        pauses.any(|(from, until)| (*from..*until).contains(&call.at_us))
    };
    calls.iter().filter(inside).cloned().collect()
}

/// The most calls that came within any one second.
pub fn busiest_second(calls: &[CallRecord]) -> usize {
    let mut times: Vec<u64> = calls.iter().map(|call| call.at_us).collect();
    times.sort_unstable();
    let (mut first, mut most) = (0, 0);
    for (last, at_us) in times.iter().enumerate() {
        while at_us - times[first] >= 1_000_000 {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at_ms: u64, wait_ms: Option<u64>) -> CallRecord {
        CallRecord {
            at: Timestamp::UNIX_EPOCH,
            at_us: at_ms * 1000,
            answered_us: Some(at_ms * 1000 + 500),
            action: String::new(),
            instance_id: None,
            page_no: None,
            status: Some(400),
            throttled: wait_ms.is_some(),
            wait_ms,
        }
    }

    #[test]
    fn a_call_inside_a_pause_is_found() {
        let calls = [
            call(0, Some(100)),
            call(2, None),
            call(50, None),
            call(101, None),
        ];
        let found = inside_pauses(&calls, Duration::from_millis(5));
        assert_eq!(found, [calls[2].clone()]);
        assert_eq!(inside_pauses(&calls, Duration::ZERO).len(), 2);
    }

    #[test]
    fn a_second_is_any_second() {
        let calls = [0, 400, 900, 999, 1399, 5000].map(|at| call(at, None));
        assert_eq!(busiest_second(&calls), 4);
        assert_eq!(busiest_second(&[]), 0);
    }

    #[test]
    fn the_log_is_bounded() {
        let mut log = CallLog::default();
        let numbers: Vec<u64> = (0..MAX_CALLS + 5)
            .map(|_| log.begin(None, None, None))
            .collect();
        let answered = Answered {
            status: 200,
            throttled: false,
            wait_ms: None,
        };
        log.end(numbers[0], answered);
        log.end(numbers[MAX_CALLS + 4], answered);
        assert_eq!(log.all().len(), MAX_CALLS);
        assert_eq!(log.all().last().unwrap().status, Some(200));
        log.forget();
        log.end(numbers[MAX_CALLS], answered);
        assert_eq!(log.all(), []);
    }
}
