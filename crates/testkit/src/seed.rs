//! Chance that can be repeated: a seed that is printed, and a generator that gives the same numbers
//! for the same seed on every machine and in every version.

use std::ops::Range;
use std::time::Duration;

/// The environment variable that repeats a run.
pub const VARIABLE: &str = "SYNCBELL_TEST_SEED";

/// Where a test's chance begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A known seed, for a test that must always do the same.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `SYNCBELL_TEST_SEED` (a decimal number), else random. Printed to stderr either way, so that
    /// the output of a failed test says how to repeat it.
    pub fn from_environment() -> Self {
        Self::from_variable(VARIABLE)
    }

    /// The same from a variable of a suite's own, such as `SYNCBELL_FAULTS_SEED`.
    #[expect(
        clippy::print_stderr,
        reason = "a test's output is where the seed is looked for"
    )]
    pub fn from_variable(variable: &str) -> Self {
        let seed = match std::env::var(variable) {
            Ok(text) => text.parse().unwrap_or_else(|error| {
                panic!("{variable} must be a number from 0 to 2^64-1, is {text:?}: {error}")
            }),
            Err(_) => rand::random(),
        };
        eprintln!("{variable}={seed}");
        Self(seed)
    }

    /// The number itself, for messages.
    pub fn value(self) -> u64 {
        self.0
    }

    /// A generator that starts at this seed.
    pub fn rng(self) -> Rng {
        Rng { state: self.0 }
    }

    /// A generator for one of several parts of a test: parts do not disturb each other's numbers.
    pub fn rng_for(self, part: &str) -> Rng {
        // FNV-1a: std's hasher may change between versions, and the numbers must not.
        let hash = part.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = Rng {
            state: self.0 ^ hash,
        };
        rng.next_u64();
        rng
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Any 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `range`, which must not be empty.
    pub fn between(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "no number lies in {range:?}");
        range.start + self.next_u64() % (range.end - range.start)
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.between(0..denominator) < numerator
    }

    /// A whole number of milliseconds in `range_ms`.
    pub fn duration(&mut self, range_ms: Range<u64>) -> Duration {
        Duration::from_millis(self.between(range_ms))
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.between(0..items.len() as u64);
        &items[usize::try_from(index).expect("an index below a usize")]
    }

    /// Any order of `items` (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.between(0..last as u64 + 1);
            items.swap(
                last,
                usize::try_from(other).expect("an index below a usize"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_algorithm() {
        // First outputs of the authors' splitmix64.c for the seed 1234567.
        let mut rng = Seed::new(1_234_567).rng();
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(rng.next_u64(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn parts_of_a_test_have_numbers_of_their_own_that_repeat() {
        let seed = Seed::new(7);
        let first = seed.rng_for("kills").next_u64();
        assert_eq!(seed.rng_for("kills").next_u64(), first);
        assert_ne!(seed.rng_for("faults").next_u64(), first);
    }

    #[test]
    fn numbers_stay_in_their_range_and_a_shuffle_loses_nothing() {
        let mut rng = Seed::from_environment().rng();
        for _ in 0..1_000 {
            assert!((5..9).contains(&rng.between(5..9)));
        }
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        assert!((0..100).all(|_| rng.chance(1, 1)) && (0..100).all(|_| !rng.chance(0, 1)));
    }
}
