//! Tasks that are begun, run and end, over and over, as changes that a poller found; some of them at a time.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{Change, Envelope, Image, Kind, Source, Status, SyncTask};

pub(crate) const INSTANCE: &str = "cri-kmsiwlxxdcva0001";
pub(crate) const REGION: &str = "cn-shanghai";

const TASKS: u64 = 200_000;
/// Open at a time.
const OPEN: u64 = 2_000;
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
        let wave = self.n / (OPEN * STEPS);
        let step = self.n / OPEN % STEPS;
        let task = (wave * OPEN + self.n % OPEN) % TASKS;
        let life = wave / (TASKS / OPEN);
        self.n += 1;
        let before = match (life, step) {
            (0, 0) => None,
            (_, 0) => Some(state(task, life - 1, STEPS - 1)),
            _ => Some(state(task, life, step - 1)),
        };
        if step == STEPS - 1 {
            let failed_before = life > 0 && fails(task, life - 1);
            self.n_told += u64::from(fails(task, life)) + u64::from(failed_before);
        }
        let after = state(task, life, step);
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
        change.into_envelope(&source, Timestamp::now(), None)
    }
}

/// Whether that life of the task ends with a failure: never two in a row.
fn fails(task: u64, life: u64) -> bool {
    life.is_multiple_of(2) && (task + life).is_multiple_of(ONE_FAILS_OF)
}

fn state(task: u64, life: u64, step: u64) -> SyncTask {
    let status = match step {
        0 => Status::Pending,
        1 => Status::Synchronizing,
        _ if fails(task, life) => Status::Error,
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
    // A step is a minute of the registry, so that no state comes twice.
    let minutes = i64::try_from(life * STEPS + step).expect("few");
    let begun = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
    state.created_at = Some(begun);
    state.modified_at = Some(begun + SignedDuration::from_mins(minutes));
    state
}
