//! One event, every line a step: what it means, and who is told.
//!
//! In: an event, a draft. Out: what it changes in the draft. Must never happen: an event that is decided twice.

use jiff::Timestamp;
use syncbell_event::{Envelope, Event, Kind, Phase};
use syncbell_store::Error;

use crate::decide::watch::Said;
use crate::decide::{Observation, Subject, decide};
use crate::done::Done;
use crate::draft::Draft;
use crate::judge::{self, judge};
use crate::rows;
use crate::setup::Setup;
use crate::tell;
use crate::trail::{self, Deciding};
use crate::watch::{self, Word};

/// One event: what it means, and who is told.
pub(crate) fn consume(
    draft: &mut Draft<'_>,
    envelope: Envelope,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    if draft.was_read(&envelope.id)? {
        return Ok(());
    }
    draft.ids.read(rows::event_digest(&envelope.id), now);
    let what = match &envelope.event {
        Event::Task { kind, .. } => trail::word(*kind),
        Event::Swept(_) => "swept",
        Event::Failing(_) => "failing",
        Event::Recovered(_) => "recovered",
    };
    let deciding = Deciding::new(&envelope.id, what, &envelope.source.instance);
    done.deciding = Some(deciding);
    means(draft, envelope, setup, now, done)?;
    trail::write(draft, done.deciding.take(), now);
    Ok(())
}

/// What a new event means, and who is told.
fn means(
    draft: &mut Draft<'_>,
    envelope: Envelope,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let instance = envelope.source.instance;
    let word = match envelope.event {
        Event::Task { kind, data } => {
            // What vanished is told as it last was.
            let before = data.before.as_ref();
            let was_final = before.is_some_and(|task| task.status.phase() == Phase::Final);
            let Some(task) = data.after.or(data.before) else {
                return Ok(());
            };
            let seen = Observation {
                event_id: envelope.id,
                kind,
                instance,
                observed_at: envelope.time,
                task,
                was_final,
                detail: data.detail,
                traceparent: envelope.traceparent,
            };
            return observe(draft, &seen, setup, now, done);
        }
        Event::Swept(swept) => Word::Swept(swept),
        Event::Failing(failing) => Word::Failing(failing),
        Event::Recovered(_) => Word::Recovered,
    };
    let said = Said {
        region: &envelope.source.region,
        at: envelope.time,
        traceparent: envelope.traceparent,
    };
    let judges = watch::said(draft, setup, &instance, &word, &said, now, done)?;
    if judges && judge(draft, setup, &instance, now, done)? {
        done.judging = Some(instance);
    }
    Ok(())
}

/// A task as it was seen.
fn observe(
    draft: &mut Draft<'_>,
    seen: &Observation,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let subject = Subject::of(&seen.instance, &seen.task);
    let view = draft.view(&seen.task.task_id, &subject, &setup.rules)?;
    let causes_before = trail::causes(&view.incidents);
    let decision = decide(seen, view, &setup.rules, now);
    draft.put_decision(&seen.task.task_id, &subject, &decision);
    if let Some(deciding) = &mut done.deciding {
        deciding.of_task(&seen.task);
        deciding.decided(&decision, seen.kind, causes_before);
    }
    if seen.kind != Kind::Vanished {
        let (instance, at) = (&seen.instance, seen.observed_at);
        judge::ran(draft, setup, instance, &seen.task, at, now, done)?;
    }
    tell::tell(draft, setup, &decision.told, now, done)
}
