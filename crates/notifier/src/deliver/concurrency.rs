//! How many attempts of a lane may be under way at a time. Pure.
//!
//! One number does not fit all: with 16 at a time a receiver that answers in 100 ms takes 160 alerts a second, and
//! one that is slow because it has too much to do gets slower with each more. As in TCP Vegas the limit grows while
//! answers take about as long as the fastest did, shrinks when they take longer, and halves when an attempt fails.

use std::time::Duration;

/// Where it begins, and where a receiver that answers at once stays.
const FIRST: u32 = 16;
/// A failure halves it down to this.
const LEAST: u32 = 2;

/// The limit of one lane.
pub(super) struct Concurrency {
    limit: u32,
    most: u32,
    /// What the fastest answers take; it forgets slowly.
    fastest: Option<Duration>,
}

impl Concurrency {
    /// At most `most` attempts at a time, whatever the receiver bears.
    pub(super) fn up_to(most: u32) -> Self {
        Self {
            limit: FIRST.min(most),
            most,
            fastest: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// An attempt was taken after `latency`, while `under_way` of them were.
    pub(super) fn taken(&mut self, latency: Duration, under_way: usize) {
        let fastest = self.fastest.unwrap_or(latency);
        let forgetting = fastest + fastest / 1_000;
        let fastest = forgetting.min(latency);
        self.fastest = Some(fastest);
        // How many of them wait in the receiver, by Little's law.
        let limit = f64::from(self.limit);
        let served = fastest.as_secs_f64() / latency.as_secs_f64().max(f64::MIN_POSITIVE);
        let waiting = limit * (1.0 - served);
        if waiting < 2.0 + limit / 8.0 {
            // What is not used says nothing.
            if under_way * 2 > self.limit() {
                self.limit = (self.limit + 1).min(self.most);
            }
        } else if waiting > 4.0 + limit / 4.0 && self.limit > FIRST {
            self.limit -= 1;
        }
    }

    /// An attempt failed, or was asked to come back later.
    pub(super) fn failed(&mut self) {
        self.limit = (self.limit / 2).max(LEAST).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of as many attempts as are allowed; a receiver that works on `workers` at a time takes `work` for each.
    fn after_rounds(limit: &mut Concurrency, rounds: usize, work: Duration, workers: usize) {
        for _ in 0..rounds {
            let under_way = limit.limit();
            for n in 0..under_way {
                let turns = u32::try_from(n / workers + 1).unwrap();
                limit.taken(work * turns, under_way);
            }
        }
    }

    #[test]
    fn it_grows_to_what_a_distant_receiver_bears_and_no_further_than_it_may() {
        let mut limit = Concurrency::up_to(640);
        after_rounds(&mut limit, 6, Duration::from_millis(100), 100_000);
        assert_eq!(limit.limit(), 640);
        let mut limit = Concurrency::up_to(1);
        after_rounds(&mut limit, 6, Duration::from_millis(100), 100_000);
        assert_eq!(limit.limit(), 1);
        limit.failed();
        assert_eq!(limit.limit(), 1);
    }

    #[test]
    fn it_does_not_press_a_receiver_that_is_slow_because_it_is_busy() {
        let mut limit = Concurrency::up_to(640);
        after_rounds(&mut limit, 50, Duration::from_millis(20), 4);
        assert_eq!(limit.limit(), 16);
        // Nor does it stay where it came to, once the receiver has less to give.
        let mut limit = Concurrency::up_to(640);
        after_rounds(&mut limit, 6, Duration::from_millis(20), 100_000);
        assert_eq!(limit.limit(), 640);
        after_rounds(&mut limit, 10, Duration::from_millis(20), 40);
        assert!(limit.limit() <= 100, "{}", limit.limit());
    }

    #[test]
    fn it_halves_at_a_failure_and_comes_back() {
        let mut limit = Concurrency::up_to(640);
        after_rounds(&mut limit, 6, Duration::from_millis(100), 100_000);
        limit.failed();
        assert_eq!(limit.limit(), 320);
        for _ in 0..100 {
            limit.failed();
        }
        assert_eq!(limit.limit(), 2);
        after_rounds(&mut limit, 9, Duration::from_millis(100), 100_000);
        assert_eq!(limit.limit(), 640);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut limit = Concurrency::up_to(640);
        for _ in 0..10_000 {
            limit.taken(Duration::from_millis(1), 1);
        }
        assert_eq!(limit.limit(), 16);
    }
}
