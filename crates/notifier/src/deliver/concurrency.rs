//! How many attempts of a lane may be under way at a time. Pure.
//!
//! One number does not fit all: with 16 at a time a receiver that answers in 100 ms takes 160 alerts a second, and
//! one that is slow because it has too much to do gets slower with each more. As in TCP Vegas the limit grows while
//! answers take about as long as the fastest did, shrinks when they take longer, and halves when an attempt fails.
//!
//! A receiver that moved far away looks like a busy one: answers take longer than the fastest did. As in BBR it is looked
//! at with next to nothing under way, for a moment: what an answer takes then is the way to it, and no queue of ours.

use std::time::Duration;

/// Where it begins, and where a receiver that answers at once stays.
const FIRST: u32 = 16;
/// A failure halves it down to this.
const LEAST: u32 = 2;

/// After so many slow answers in a row the lane looks for the reason. Each look that finds the receiver busy doubles the
/// number, since a look costs some throughput.
const SLOW_ANSWERS: u32 = 128;
const MOST_SLOW_ANSWERS: u32 = 1_024;

/// Answers that a look is made of.
const ANSWERS_A_LOOK: u32 = 2;

/// The limit of one lane.
pub(super) struct Concurrency {
    limit: u32,
    most: u32,
    /// What the fastest answers take; it forgets slowly.
    fastest: Option<Duration>,
    /// Slow answers in a row, while no more are under way than at the beginning.
    slow: u32,
    /// After so many of them it looks.
    slow_limit: u32,
    look: Option<Look>,
}

/// Next to nothing is under way, to see how long an answer takes then.
struct Look {
    /// Attempts from before, still under way.
    from_before: usize,
    answers: u32,
    fastest: Duration,
}

impl Concurrency {
    /// At most `most` attempts at a time, whatever the receiver bears.
    pub(super) fn up_to(most: u32) -> Self {
        Self {
            limit: FIRST.min(most),
            most,
            fastest: None,
            slow: 0,
            slow_limit: SLOW_ANSWERS,
            look: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        match self.look {
            Some(_) => self.limit.min(LEAST) as usize,
            None => self.limit as usize,
        }
    }

    /// An attempt was taken after `latency`, while `under_way` of them were.
    pub(super) fn taken(&mut self, latency: Duration, under_way: usize) {
        if let Some(look) = &mut self.look {
            if look.from_before > 0 {
                look.from_before -= 1;
                return;
            }
            look.fastest = look.fastest.min(latency);
            look.answers += 1;
            if look.answers == ANSWERS_A_LOOK {
                let found = look.fastest;
                self.looked(found);
            }
            return;
        }
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
            self.slow = 0;
        } else if self.limit <= FIRST {
            self.slow += 1;
            if self.slow >= self.slow_limit && self.limit > LEAST {
                self.look = Some(Look {
                    from_before: under_way.saturating_sub(1),
                    answers: 0,
                    fastest: Duration::MAX,
                });
            }
        } else if waiting > 4.0 + limit / 4.0 {
            self.limit -= 1;
        }
    }

    /// With next to nothing under way an answer takes `found`.
    fn looked(&mut self, found: Duration) {
        let is_far = self.fastest.is_none_or(|fastest| found > fastest * 2);
        self.slow_limit = if is_far {
            SLOW_ANSWERS
        } else {
            (self.slow_limit * 2).min(MOST_SLOW_ANSWERS)
        };
        self.fastest = Some(found);
        self.look = None;
        self.slow = 0;
    }

    /// An attempt failed, or was asked to come back later.
    pub(super) fn failed(&mut self) {
        self.limit = (self.limit / 2).max(LEAST).min(self.most);
        self.refused();
    }

    /// An attempt got an answer that is no measure. What only refuses is not waited for at two attempts.
    pub(super) fn refused(&mut self) {
        self.look = None;
        self.slow = 0;
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
    fn a_receiver_that_becomes_distant_is_not_taken_for_a_busy_one_for_long() {
        let mut limit = Concurrency::up_to(640);
        after_rounds(&mut limit, 60, Duration::from_millis(1), 100_000);
        let far = |limit: &mut Concurrency, n_answers: u32| {
            for _ in 0..n_answers {
                limit.taken(Duration::from_millis(100), limit.limit());
            }
        };
        // First it lets go, then it looks, then it grows again.
        far(&mut limit, 640 + SLOW_ANSWERS + 20 + 640);
        assert_eq!(limit.limit(), 640);
    }

    #[test]
    fn a_look_ends_with_any_answer_that_is_no_measure() {
        for ends in [Concurrency::failed, Concurrency::refused] {
            let mut limit = Concurrency::up_to(640);
            limit.taken(Duration::from_millis(1), 1);
            while limit.limit() > 2 {
                limit.taken(Duration::from_millis(100), 16);
            }
            // What was under way is refused, and nothing else comes back.
            ends(&mut limit);
            assert!(limit.limit() >= 8, "{}", limit.limit());
        }
    }

    #[test]
    fn looking_costs_a_busy_receiver_few_answers() {
        let mut limit = Concurrency::up_to(640);
        // It works on all at a time, four as fast as one.
        let takes =
            |under_way: usize| Duration::from_millis(5) * u32::try_from(under_way.max(4)).unwrap();
        limit.taken(takes(1), 1);
        let (mut few, all) = (0, 2_000);
        for _ in 0..all {
            let under_way = limit.limit();
            few += usize::from(under_way == 2);
            for left in (1..=under_way).rev() {
                limit.taken(takes(under_way), left);
            }
            assert!(limit.limit() <= 16);
        }
        assert!(few > 0 && few * 20 < all, "{few} of {all}");
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
