//! A list that moves between two answers, as a seed decides.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use syncbell_event::Status;

use super::is_healthy;
use crate::fault::Fault;
use crate::task::NewTask;
use crate::world::State;

/// A healthy task to be removed is looked for among this many, from a place that the seed decides.
const LOOK_AT: usize = 1000;

/// What happens before one list answer.
pub(super) fn drift(state: &mut State, instance_id: &str, faults: &[Fault]) {
    let found = faults.iter().find_map(|fault| match fault {
        Fault::Drift {
            seed,
            inserts_per_mille,
            removals_per_mille,
        } => Some((*seed, *inserts_per_mille, *removals_per_mille)),
        _ => None,
    });
    let Some((seed, inserts_per_mille, removals_per_mille)) = found else {
        return;
    };
    state.n_drifts += 1;
    let mut random =
        StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9).wrapping_add(state.n_drifts));
    for n in 0..times(&mut random, inserts_per_mille) {
        let tag = format!("d{seed}-{}-{n}", state.n_drifts);
        let status = match random.random_range(0..4) {
            0 => Status::Error,
            1 => Status::Synchronizing,
            _ => Status::Success,
        };
        state.add(inserted(instance_id, "paging/drift", &tag).status(status));
    }
    for _ in 0..times(&mut random, removals_per_mille) {
        let n_listed = state.tasks.n_listed(instance_id);
        if n_listed == 0 {
            return;
        }
        let rank = random.random_range(0..n_listed);
        let victim = state.tasks.find(instance_id, rank, LOOK_AT, is_healthy);
        if let Some(task_id) = victim {
            let removed = state.tasks.remove(&task_id);
            debug_assert!(removed.is_ok(), "it was just found in the list");
        }
    }
}

/// 2500 per mille: twice, and half of the time once more.
fn times(random: &mut StdRng, per_mille: u32) -> u32 {
    per_mille / 1000 + u32::from(random.random_range(0..1000) < per_mille % 1000)
}

/// A task of `instance_id` with a route of its own.
pub(super) fn inserted(instance_id: &str, repository: &str, tag: &str) -> NewTask {
    let mut task = NewTask::of(repository, tag).listed_by(&[instance_id]);
    if let Some(from) = &mut task.from {
        from.instance_id = Some(instance_id.to_owned());
    }
    task
}
