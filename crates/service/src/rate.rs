//! How many requests may go out: a token bucket that can also be told to stop for a while. Pure.

use std::time::Duration;

use tokio::time::Instant;

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
        let per_second = per_second.max(1.0 / 3_600.0);
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
        if let Some(until) = self.paused_until {
            if now < until {
                return Err(until - now);
            }
            self.paused_until = None;
        }
        let passed = now.saturating_duration_since(self.refilled_at);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.refilled_at = now.max(self.refilled_at);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.per_second;
        Err(Duration::from_secs_f64(wait).max(Duration::from_millis(1)))
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
