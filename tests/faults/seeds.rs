//! Where a fault's chance begins, and how often it strikes.

use syncbell_testkit::Seed;

/// Repeats a run.
const SEED: &str = "SYNCBELL_FAULTS_SEED";

/// How often a fault strikes, all houses together.
const ROUNDS: &str = "SYNCBELL_FAULTS_ROUNDS";
const ROUNDS_OF_A_SHORT_RUN: usize = 15;

/// A house takes no more: its tasks are never taken away, and each look reads the whole list again.
const ROUNDS_OF_A_HOUSE: usize = 25;

/// Seeds that found something, by the name of the fault: they run first, each time.
const KEPT: &[(&str, u64)] = &[];

/// What one house goes through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seed: Seed,
    pub(crate) rounds: usize,
}

/// The kept seeds of `fault`, then as many houses as the rounds need, each with a seed of its own.
pub(crate) fn runs(fault: &str) -> Vec<Run> {
    let mut left = match std::env::var(ROUNDS) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{ROUNDS} must be a number, is {text:?}: {error}")),
        Err(_) => ROUNDS_OF_A_SHORT_RUN,
    };
    let kept = KEPT.iter().filter(|(of, _)| *of == fault);
    let mut runs: Vec<Run> = kept
        .map(|(_, seed)| Run {
            seed: Seed::new(*seed),
            rounds: ROUNDS_OF_A_SHORT_RUN,
        })
        .collect();
    let first = Seed::from_variable(SEED);
    let mut more = first.rng();
    let mut seed = first;
    while left > 0 {
        let rounds = left.min(ROUNDS_OF_A_HOUSE);
        runs.push(Run { seed, rounds });
        left -= rounds;
        seed = Seed::new(more.next_u64());
    }
    runs
}

/// One run, for a fault that strikes once or takes long.
pub(crate) fn seed() -> Seed {
    Seed::from_variable(SEED)
}
