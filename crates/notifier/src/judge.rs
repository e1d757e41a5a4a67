//! What is judged at a heartbeat: tasks that got stuck, or were slow, and what did not run.
//!
//! In: an instance with a heartbeat that is not wholly judged; a draft. Out: rows in that draft, and what is
//! told. A heartbeat at which nothing is due costs two reads. Must never happen: an event after a heartbeat
//! that is decided before all that was due at it: then what is told would depend on where a batch ends.

use jiff::Timestamp;
use syncbell_event::SyncTask;
use syncbell_store::Error;

use crate::decide::timers::{self, Armed};
use crate::decide::watch::Watch;
use crate::decide::{Decision, Heartbeat, Rule, Rules, Silence, Subject, View};
use crate::done::Done;
use crate::draft::Draft;
use crate::rows;
use crate::setup::Setup;
use crate::tell;
use crate::watch;

/// Tasks judged in one batch; few in tests, so that there is always a rest.
const TASKS_A_TURN: usize = if cfg!(test) { 3 } else { 64 };

/// Judges what is due on `instance`, a slice of it. True if there is more.
pub(crate) fn judge(
    draft: &mut Draft<'_>,
    setup: &Setup,
    instance: &str,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let key = rows::watch(instance);
    let Some(mut watch) = draft.get::<Watch>(&key)? else {
        return Ok(false);
    };
    let Some(heartbeat) = watch.judging.clone() else {
        return Ok(false);
    };
    let mut left = TASKS_A_TURN;
    for (rule, limit) in setup.rules.timed() {
        let Ok(since) = heartbeat.seen_until.checked_sub(limit) else {
            continue;
        };
        let prefix = match rule {
            Rule::Own(name) => rows::remaining_tasks(name.as_str(), instance),
            _ => rows::open_tasks(instance),
        };
        let due = draft.keys(&prefix, &rows::waits_until(prefix.clone(), since), left)?;
        left -= due.len();
        tasks(draft, setup, due, timers::remained, &heartbeat, now, done)?;
    }
    let (prefix, mut until) = (rows::ended_tasks(instance), rows::ended_tasks(instance));
    until.push(b'g');
    let due = draft.keys(&prefix, &until, left)?;
    left -= due.len();
    tasks(draft, setup, due, timers::slow, &heartbeat, now, done)?;
    if left == 0 {
        return Ok(true);
    }
    silences(draft, setup, instance, &heartbeat, now, done)?;
    watch.judging = None;
    draft.put(key, &watch);
    Ok(false)
}

type JudgeTask = fn(&Armed, View, &Rules, &Heartbeat, Timestamp) -> Decision;

fn tasks(
    draft: &mut Draft<'_>,
    setup: &Setup,
    due: Vec<rows::Key>,
    judge: JudgeTask,
    heartbeat: &Heartbeat,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    for key in due {
        let Some(armed) = draft.get::<Armed>(&key)? else {
            continue;
        };
        draft.delete(key);
        let (task_id, subject) = (
            &armed.task.task_id,
            Subject::of(&armed.instance, &armed.task),
        );
        let view = draft.view(task_id, &subject, &setup.rules)?;
        let decision = judge(&armed, view, &setup.rules, heartbeat, now);
        draft.put_decision(task_id, &subject, &decision);
        tell::tell(draft, setup, &decision.told, now, done)?;
    }
    Ok(())
}

/// What is to run on the instance, each at this heartbeat.
fn silences(
    draft: &mut Draft<'_>,
    setup: &Setup,
    instance: &str,
    heartbeat: &Heartbeat,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let Some(within) = setup.rules.silent else {
        return Ok(());
    };
    for quiet in setup.quiet(instance) {
        let key = rows::silence(instance, quiet);
        let known = draft.get::<Silence>(&key)?;
        let before = known.unwrap_or_else(|| Silence::new(instance, quiet.clone()));
        let incident = watch::incident_of(draft, Rule::Silent, &before.subject())?;
        let mut silence = before.clone();
        let told = silence.judge(within, heartbeat, incident, now);
        if silence != before {
            draft.put(key, &silence);
        }
        watch::tell(draft, setup, &told, now, done)?;
    }
    Ok(())
}

/// A task was seen: what it is one of does run.
pub(crate) fn ran(
    draft: &mut Draft<'_>,
    setup: &Setup,
    instance: &str,
    task: &SyncTask,
    seen_at: Timestamp,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    for quiet in setup
        .quiet(instance)
        .iter()
        .filter(|quiet| quiet.covers(task))
    {
        let key = rows::silence(instance, quiet);
        let known = draft.get::<Silence>(&key)?;
        let mut silence = known.unwrap_or_else(|| Silence::new(instance, quiet.clone()));
        let incident = watch::incident_of(draft, Rule::Silent, &silence.subject())?;
        let told = silence.ran(task, seen_at, incident, now);
        draft.put(key, &silence);
        watch::tell(draft, setup, &told, now, done)?;
    }
    Ok(())
}
