//! How many requests may go out: a token bucket that can also be told to stop for a while. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// One an hour.
const SLOWEST_PER_SECOND: f64 = 1.0 / 3_600.0;

/// A token that lacks less than rounding makes.
const WHOLE: f64 = 1.0 - 1e-7;

/// A token bucket. Callers that are refused wait and ask again.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    refilled_at: Instant,
    paused_until: Option<Instant>,
}

impl Bucket {
    /// A full bucket. `per_second` is at least one an hour, `burst` at least 1.
    pub fn new(per_second: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        let per_second = per_second.max(SLOWEST_PER_SECOND);
        Self {
            per_second,
            burst,
            tokens: burst,
            refilled_at: now,
            paused_until: None,
        }
    }

    /// Takes one token, or says how long to wait before asking again.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.ready(now)?;
        self.tokens -= 1.0;
        Ok(())
    }

    /// Whether there is a token to [`take`](Self::take), or how long to wait before asking again.
    pub fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.paused_until {
            if now < until {
                return Err(until - now);
            }
            self.paused_until = None;
        }
        self.refill(now);
        if self.tokens >= WHOLE {
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.per_second;
        Err(Duration::from_secs_f64(wait).max(Duration::from_millis(1)))
    }

    /// From `now` on at another rate, at least one an hour.
    pub fn set_rate(&mut self, per_second: f64, now: Instant) {
        self.refill(now);
        self.per_second = per_second.max(SLOWEST_PER_SECOND);
    }

    /// Nothing goes out before `until`, and then one token is there, not more. A shorter pause does not
    /// shorten a longer one.
    pub fn rest_until(&mut self, until: Instant) {
        self.pause_until(until);
        self.tokens = 1.0;
        self.refilled_at = self.refilled_at.max(until);
    }

    /// At most one token is left.
    pub fn spend_burst(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = self.tokens.min(1.0);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled_at);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.refilled_at = now.max(self.refilled_at);
    }

    /// Nothing goes out before `until`. A shorter pause does not shorten a longer one.
    pub fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |known| known.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_and_none_in_a_pause(
            burst in 1u32..20,
            steps in prop::collection::vec((0u64..500, prop::option::weighted(0.1, 0u64..2_000)), 1..200)
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Bucket::new(10.0, burst, now);
            let (mut taken, mut paused_until) = (0u32, start);
            for (step_ms, pause_ms) in steps {
                now += Duration::from_millis(step_ms);
                if let Some(pause_ms) = pause_ms {
                    let until = now + Duration::from_millis(pause_ms);
                    bucket.pause_until(until);
                    paused_until = paused_until.max(until);
                }
                while let Ok(()) = bucket.take(now) {
                    prop_assert!(now >= paused_until);
                    taken += 1;
                }
                let most = f64::from(burst) + 10.0 * (now - start).as_secs_f64() + 1e-6;
                prop_assert!(f64::from(taken) <= most);
            }
        }

        #[test]
        fn whoever_waits_as_told_gets_a_token(burst in 1u32..5) {
            let mut now = Instant::now();
            let mut bucket = Bucket::new(10.0, burst, now);
            for _ in 0..50 {
                if let Err(wait) = bucket.take(now) {
                    now += wait;
                    prop_assert!(bucket.take(now).is_ok());
                }
            }
        }
    }
}
