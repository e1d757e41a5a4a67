//! How many messages a target takes in a time. Pure.
//!
//! Exact over any span of that length, not on average: a vendor that counts so blocks whoever sends one too many.

use std::collections::VecDeque;
use std::time::Duration;

use syncbell_config::Rate;
use tokio::time::Instant;

/// What was sent of late, against what may be. By default there is no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    rates: Vec<Rate>,
    /// The latest ones, as many as the largest rate counts.
    sent_at: VecDeque<Instant>,
}

impl Budget {
    /// Nothing was sent yet.
    pub(crate) fn new(rates: &[Rate]) -> Self {
        Self {
            rates: rates.to_vec(),
            sent_at: VecDeque::new(),
        }
    }

    /// How long until one more may go; zero: now.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let of = |rate: &Rate| {
            let first = self.sent_at.len().checked_sub(count(*rate))?;
            Some((self.sent_at[first] + rate.per).saturating_duration_since(now))
        };
        let waits = self.rates.iter().filter_map(of);
        waits.max().unwrap_or_default()
    }

    /// One goes.
    pub(crate) fn note(&mut self, now: Instant) {
        let most = self.rates.iter().map(|rate| count(*rate)).max();
        self.sent_at.push_back(now);
        while self.sent_at.len() > most.unwrap_or_default() {
            self.sent_at.pop_front();
        }
    }
}

fn count(rate: Rate) -> usize {
    usize::try_from(rate.count).unwrap_or(usize::MAX)
}

/// Messages a minute that all `rates` allow for long; at least one.
pub(crate) fn a_minute(rates: &[Rate]) -> usize {
    let of = |rate: &Rate| {
        let minute_ms = Duration::from_mins(1).as_millis() * u128::from(rate.count);
        usize::try_from(minute_ms / rate.per.as_millis().max(1)).unwrap_or(usize::MAX)
    };
    rates.iter().map(of).min().unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    fn rate(count: u32, per: Duration) -> Rate {
        Rate { count, per }
    }

    #[test]
    fn without_rates_there_is_no_limit() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for _ in 0..100 {
            assert!(budget.wait(now).is_zero());
            budget.note(now);
        }
        assert!(budget.sent_at.is_empty());
    }

    #[test]
    fn the_one_too_many_waits_until_the_first_is_out_of_the_span() {
        let now = Instant::now();
        let mut budget = Budget::new(&[rate(18, MINUTE)]);
        for n in 0..18 {
            assert!(budget.wait(now + SECOND * n).is_zero(), "{n}");
            budget.note(now + SECOND * n);
        }
        assert_eq!(budget.wait(now + SECOND * 20), SECOND * 40);
        assert!(budget.wait(now + MINUTE).is_zero());
        budget.note(now + MINUTE);
        assert_eq!(budget.wait(now + MINUTE), SECOND);
    }

    #[test]
    fn several_rates_all_hold() {
        let now = Instant::now();
        let mut budget = Budget::new(&[rate(100, MINUTE), rate(5, SECOND)]);
        for _ in 0..5 {
            budget.note(now);
        }
        assert_eq!(budget.wait(now), SECOND);
        for n in 1..20 {
            for _ in 0..5 {
                budget.note(now + SECOND * n);
            }
        }
        assert_eq!(budget.wait(now + SECOND * 20), SECOND * 40);
        assert_eq!(a_minute(&[rate(100, MINUTE), rate(5, SECOND)]), 100);
        assert_eq!(a_minute(&[rate(1, SECOND)]), 60);
        assert_eq!(a_minute(&[rate(5, Duration::from_hours(1))]), 1);
    }

    proptest! {
        #[test]
        fn no_span_ever_holds_more_than_the_rate(
            count in 1_u32..8,
            waits in proptest::collection::vec(0_u64..2_000, 1..80),
        ) {
            let (mut at, mut sent) = (Instant::now(), Vec::new());
            let mut budget = Budget::new(&[rate(count, MINUTE)]);
            for wait in waits {
                at += Duration::from_millis(wait);
                at += budget.wait(at);
                prop_assert!(budget.wait(at).is_zero());
                budget.note(at);
                sent.push(at);
            }
            for (n, first) in sent.iter().enumerate() {
                let within = sent[n..].iter().filter(|one| **one - *first < MINUTE).count();
                prop_assert!(within <= count as usize);
            }
        }
    }
}
