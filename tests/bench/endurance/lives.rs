//! Tasks that are begun, run and end, over and over, as changes that a poller found.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{Change, Envelope, Image, Kind, Source, Status, SyncTask};

pub(crate) const INSTANCE: &str = "cri-kmsiwlxxdcva0001";
pub(crate) const REGION: &str = "cn-shanghai";

const TASKS: u64 = 200_000;
/// Begun, running, ended.
const STEPS: u64 = 3;
const ONE_FAILS_OF: u64 = 1_000;

/// Where all of them stand.
#[derive(Default)]
pub(crate) struct Lives {
    /// Events that were made.
    n: u64,
    n_told: u64,
}

impl Lives {
    /// The next `n` events.
    pub(crate) fn next(&mut self, n: usize) -> Vec<Envelope> {
        (0..n).map(|_| self.step()).collect()
    }

    /// Alerts that all events so far must bring about: a failure each, and its end.
    pub(crate) fn n_told(&self) -> u64 {
        self.n_told
    }

    fn step(&mut self) -> Envelope {
        let (task, round) = (self.n % TASKS, self.n / TASKS);
        self.n += 1;
        let now = Timestamp::now();
        // A round is a minute of the registry, so that no state comes twice.
        let at = |round: u64| {
            let minutes = i64::try_from(round).expect("few");
            Timestamp::UNIX_EPOCH
                + SignedDuration::from_hours(24 * 365 * 50)
                + SignedDuration::from_mins(minutes)
        };
        let after = state(task, round, at(round));
        let before = round
            .checked_sub(1)
            .map(|round| state(task, round, at(round)));
        if round % STEPS == STEPS - 1 {
            let failed_before = round >= STEPS && fails(task, round - STEPS);
            self.n_told += u64::from(fails(task, round)) + u64::from(failed_before);
        }
        let change = Change {
            kind: if before.is_some() {
                Kind::Updated
            } else {
                Kind::Created
            },
            task_id: after.task_id.clone(),
            before,
            after: Some(after),
            changed: vec!["status".to_owned(), "modified_at".to_owned()],
            n: 0,
        };
        let source = Source {
            region: REGION.to_owned(),
            instance: INSTANCE.to_owned(),
        };
        change.into_envelope(&source, now, None)
    }
}

/// Whether the task's life that ends in `round` fails: never two in a row.
fn fails(task: u64, round: u64) -> bool {
    let life = round / STEPS;
    life.is_multiple_of(2) && (task + life).is_multiple_of(ONE_FAILS_OF)
}

fn state(task: u64, round: u64, modified_at: Timestamp) -> SyncTask {
    let status = match round % STEPS {
        0 => Status::Pending,
        1 => Status::Synchronizing,
        _ if fails(task, round) => Status::Error,
        _ => Status::Success,
    };
    let mut state = SyncTask::new(format!("rst-4kfd7fk6{task:08}"), status);
    let image = |region: &str, instance: &str| Image {
        region_id: Some(region.to_owned()),
        instance_id: Some(instance.to_owned()),
        namespace: Some("team-a".to_owned()),
        repo: Some(format!("shop-{}", task % 500)),
        tag: Some(format!("v{task}")),
    };
    state.batch_id = Some(format!("15DEEB56-9271-4FDD-AC4D-C3A5CC2C{:04}", task / 25));
    state.sync_rule_id = Some("crsr-7lph66uloi6h0001".to_owned());
    state.trigger = Some("PASSIVE".to_owned());
    state.from = Some(image(REGION, INSTANCE));
    state.to = Some(image("cn-shenzhen", "cri-k77rd2eo9zttneqo"));
    state.created_at = Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50));
    state.modified_at = Some(modified_at);
    state
}
