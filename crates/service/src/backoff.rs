//! How long to wait before trying again. Pure: chance is an argument.

use std::time::Duration;

/// Doubling from `base` to `max`, with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// None if `base` is zero or above `max`.
    pub fn try_new(base: Duration, max: Duration) -> Option<Self> {
        (!base.is_zero() && base <= max).then_some(Self { base, max })
    }

    /// The most that is waited before try number `attempt` + 1 (the first try is attempt 0's cause).
    pub fn ceiling(&self, attempt: u32) -> Duration {
        self.base
            .saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX))
            .min(self.max)
    }

    /// Full jitter: evenly between nothing and the ceiling. `random` is in 0..1.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        self.ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// `interval` give or take a tenth. `random` is in 0..1.
pub fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_to_its_bound() {
        let backoff = Backoff::try_new(Duration::from_secs(1), Duration::from_mins(5)).unwrap();
        let ceilings: Vec<u64> = (0..11).map(|n| backoff.ceiling(n).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_mins(5));
        assert_eq!(
            Backoff::try_new(Duration::ZERO, Duration::from_secs(1)),
            None
        );
        assert_eq!(
            Backoff::try_new(Duration::from_secs(2), Duration::from_secs(1)),
            None
        );
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(
            base in 1u64..10_000, more in 0u64..1_000_000, attempt: u32, random in 0.0f64..1.0
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(base + more));
            let backoff = Backoff::try_new(base, max).unwrap();
            prop_assert!(backoff.delay(attempt, random) <= max);
            let poll = jittered(max, random);
            prop_assert!(poll >= max.mul_f64(0.899) && poll <= max.mul_f64(1.101));
        }
    }
}
