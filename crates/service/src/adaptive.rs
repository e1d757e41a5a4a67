//! How many requests may go out to a server that says when it is too many. Pure.
//!
//! In: the time, and what the server said. Out: go, or how long to wait. Must never happen: a request
//! inside a pause that the server asked for, or a burst after one.

use std::time::Duration;

use tokio::time::Instant;

use crate::Bucket;

/// From nothing to the full rate, without a throttle.
const RECOVERY: Duration = Duration::from_mins(5);

/// The rate does not fall below this part of the full one.
const FLOOR: f64 = 1.0 / 20.0;

/// What comes this soon after a throttled answer was sent before that answer was read: it is the same
/// event, not a second one.
const ONE_EVENT: Duration = Duration::from_secs(1);

/// A pause is no longer than this, whatever is asked for.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// A token bucket whose rate halves when the server throttles and comes back slowly.
#[derive(Clone, Debug)]
pub struct AdaptiveBucket {
    bucket: Bucket,
    full: f64,
    /// At `recovers_from`; it grows from there.
    rate: f64,
    recovers_from: Instant,
    /// The end of the last pause that was asked for.
    resumes_at: Instant,
    /// A throttle before this is part of the last one.
    settled_at: Instant,
}

impl AdaptiveBucket {
    /// A full bucket at its full rate. `burst` is at least 1.
    pub fn new(per_second: f64, burst: u32, now: Instant) -> Self {
        Self {
            bucket: Bucket::new(per_second, burst, now),
            full: per_second,
            rate: per_second,
            recovers_from: now,
            resumes_at: now,
            settled_at: now,
        }
    }

    /// Takes one token, or says how long to wait before asking again.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.ready(now)?;
        self.bucket.take(now)
    }

    /// Takes one token if one is there.
    pub fn try_take(&mut self, now: Instant) -> bool {
        self.take(now).is_ok()
    }

    /// Whether there is a token to take, or how long to wait before asking again.
    pub fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(left) = self.pause_left(now) {
            return Err(left);
        }
        // The rate only grows until then, so a wait told by it is long enough.
        self.bucket.set_rate(self.rate(now), now);
        self.bucket.ready(now)
    }

    /// What is left of a pause.
    pub fn pause_left(&self, now: Instant) -> Option<Duration> {
        let left = self.resumes_at.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// The server throttled a request. With `delay`, nothing goes out for that long, then one token is
    /// there. The rate halves once for all answers to requests that were under way together.
    pub fn throttled(&mut self, now: Instant, delay: Option<Duration>) {
        if now >= self.settled_at {
            self.rate = (self.rate(now) / 2.0).max(self.full * FLOOR);
            self.recovers_from = now;
        }
        if let Some(delay) = delay {
            self.resumes_at = self.resumes_at.max(now + delay.min(LONGEST_PAUSE));
            self.bucket.rest_until(self.resumes_at);
        } else if self.pause_left(now).is_none() {
            self.bucket.spend_burst(now);
        }
        self.recovers_from = self.recovers_from.max(self.resumes_at);
        self.settled_at = self.settled_at.max(self.resumes_at).max(now + ONE_EVENT);
        self.bucket.set_rate(self.rate, now);
    }

    /// Requests a second that may go out now; in a pause, those after it.
    pub fn rate(&self, now: Instant) -> f64 {
        let calm = now.saturating_duration_since(self.recovers_from);
        let regained = self.full * calm.as_secs_f64() / RECOVERY.as_secs_f64();
        (self.rate + regained).min(self.full)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: f64 = 10.0;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn is(rate: f64, expected: f64) {
        assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
    }

    #[test]
    fn it_halves_once_a_pause_and_not_below_the_floor() {
        let mut now = Instant::now();
        let mut bucket = AdaptiveBucket::new(FULL, 10, now);
        for _ in 0..5 {
            bucket.throttled(now, Some(ms(3_000)));
        }
        is(bucket.rate(now), 5.0);
        now += ms(2_999);
        assert_eq!(bucket.take(now), Err(ms(1)));
        now += ms(1);
        assert!(bucket.try_take(now));
        assert!(!bucket.try_take(now), "one token after a pause");
        for _ in 0..20 {
            bucket.throttled(now, Some(ms(3_000)));
            now += ms(3_000);
        }
        is(bucket.rate(now), 0.5);
    }

    #[test]
    fn answers_that_were_under_way_together_count_once_without_a_delay_too() {
        let now = Instant::now();
        let mut bucket = AdaptiveBucket::new(FULL, 10, now);
        bucket.throttled(now, None);
        bucket.throttled(now + ms(500), Some(ms(10)));
        bucket.throttled(now + ms(900), None);
        is(bucket.rate(now + ms(900)), 5.0 + 10.0 * 0.39 / 300.0);
    }

    #[test]
    fn it_comes_back_within_five_minutes_of_calm() {
        let mut now = Instant::now();
        let mut bucket = AdaptiveBucket::new(FULL, 10, now);
        bucket.throttled(now, Some(ms(60_000)));
        now += ms(60_000);
        is(bucket.rate(now), 5.0);
        is(bucket.rate(now + ms(75_000)), 7.5);
        is(bucket.rate(now + ms(300_000)), FULL);
    }

    #[test]
    fn a_throttle_without_a_delay_leaves_no_burst() {
        let now = Instant::now();
        let mut bucket = AdaptiveBucket::new(FULL, 10, now);
        bucket.throttled(now, None);
        assert!(bucket.try_take(now));
        assert!(!bucket.try_take(now));
    }

    #[test]
    fn a_shorter_delay_does_not_shorten_a_pause() {
        let now = Instant::now();
        let mut bucket = AdaptiveBucket::new(FULL, 10, now);
        bucket.throttled(now, Some(ms(2_000)));
        bucket.throttled(now + ms(100), Some(ms(100)));
        bucket.throttled(now + ms(200), None);
        assert_eq!(bucket.pause_left(now + ms(200)), Some(ms(1_800)));
        assert_eq!(bucket.take(now + ms(1_500)), Err(ms(500)));
        assert!(bucket.try_take(now + ms(2_000)));
    }

    proptest! {
        #[test]
        fn never_inside_a_pause_never_more_than_the_rate_and_between_floor_and_full(
            burst in 1u32..20,
            steps in prop::collection::vec(
                (0u64..3_000, prop::option::weighted(0.2, prop::option::of(0u64..5_000))), 1..200)
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = AdaptiveBucket::new(FULL, burst, now);
            let (mut allowed, mut taken, mut paused_until) = (f64::from(burst), 0u32, start);
            for (step_ms, throttled) in steps {
                let before = bucket.rate(now);
                now += ms(step_ms);
                // What may have come meanwhile: the rate never was higher than at one of the two ends.
                let meanwhile = before.max(bucket.rate(now));
                allowed += meanwhile * ms(step_ms).as_secs_f64();
                if let Some(delay) = throttled {
                    bucket.throttled(now, delay.map(ms));
                    // The one request that the server itself said may come then.
                    allowed += f64::from(u8::from(delay.is_some()));
                    paused_until = paused_until.max(now + ms(delay.unwrap_or(0)));
                    let rate = bucket.rate(now);
                    prop_assert!((FULL * FLOOR - 1e-9..=FULL).contains(&rate));
                }
                while bucket.try_take(now) {
                    prop_assert!(now >= paused_until);
                    taken += 1;
                }
                prop_assert!(f64::from(taken) <= allowed + 1e-6, "{taken} of {allowed}");
            }
            now = now.max(paused_until) + RECOVERY;
            prop_assert!((bucket.rate(now) - FULL).abs() < 1e-9, "recovery is bounded");
        }

        #[test]
        fn no_burst_after_a_pause(delay in 1u64..120_000, n_throttled in 1usize..5) {
            let mut now = Instant::now();
            let mut bucket = AdaptiveBucket::new(FULL, 10, now);
            for _ in 0..n_throttled {
                bucket.throttled(now, Some(ms(delay)));
            }
            now += ms(delay);
            prop_assert!(bucket.try_take(now));
            prop_assert!(!bucket.try_take(now + ms(99)));
        }

        #[test]
        fn whoever_waits_as_told_gets_a_token(
            burst in 1u32..5, delays in prop::collection::vec(prop::option::of(0u64..2_000), 0..10)
        ) {
            let mut now = Instant::now();
            let mut bucket = AdaptiveBucket::new(FULL, burst, now);
            for delay in delays {
                bucket.throttled(now, delay.map(ms));
                for _ in 0..10 {
                    if let Err(wait) = bucket.take(now) {
                        now += wait;
                        prop_assert!(bucket.take(now).is_ok());
                    }
                }
            }
        }
    }
}
