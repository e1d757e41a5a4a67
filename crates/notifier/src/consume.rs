//! The consume loop: events from the log, through deciding and grouping, into one batch with the
//! position. [`consume`] is one event; every line of it is a step.
//!
//! In: records of the log, the time. Out: turns of the ledger; which lanes have new rows.
//!
//! Must never happen: a position that moves without what its record caused, or the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_bus::{Read, Stream};
use syncbell_event::{Envelope, Event, Kind};
use syncbell_service::crash_point;
use syncbell_service::shutdown::past;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::decide::{Incident, Observation, Rules, Subject, decide};
use crate::delivery::Target;
use crate::ledger::{DeadLetter, Draft, Ledger, Standing};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::notify::{self, GroupKey, Timers};
use crate::reader::Reader;
use crate::route::Routes;
use crate::rows;

/// Records taken into one batch.
const RECORDS_A_TURN: usize = 256;

/// The loop looks at its timers at least this often: the wall clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What is under way when the process stops may take this long.
const LAST_TRY: Duration = Duration::from_secs(2);

/// How long event ids are remembered.
const EVENT_IDS_HOURS: i64 = 24;

/// Takes the lanes with new rows, and whether there are dead letters to relay.
pub(crate) type Wake = dyn Fn(&BTreeSet<Target>, bool) + Send + Sync;

/// What a consume loop works with.
pub(crate) struct Consumer {
    pub(crate) ledger: Ledger,
    pub(crate) routes: Arc<Routes>,
    pub(crate) rules: Rules,
    pub(crate) expire_after: SignedDuration,
    pub(crate) metrics: NotifierMetrics,
    /// Told which lanes have new rows, and that there are dead letters to relay.
    pub(crate) wake: Arc<Wake>,
}

/// What one turn did, beside its batch.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) lanes: BTreeSet<Target>,
    pub(crate) timers: BTreeMap<GroupKey, Option<Timestamp>>,
    pub(crate) told: u64,
    pub(crate) dead: u64,
}

impl Consumer {
    /// Runs until `stop`. An error is a broken ledger or log.
    pub(crate) async fn run(
        self,
        mut reader: Reader,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut timers = notify::load_timers(&self.ledger.store).await?;
        let mut swept_at = Timestamp::UNIX_EPOCH;
        loop {
            let sleep = timers.sleep(Timestamp::now()).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                read = reader.next(RECORDS_A_TURN) => {
                    let records = read?;
                    crash_point("consume.read");
                    // A full disk may make it wait for ever; the log still has the records.
                    let done = tokio::select! {
                        biased;
                        done = self.take(records) => done?,
                        () = past(&stop, LAST_TRY) => return Ok(()),
                    };
                    crash_point("consume.committed");
                    self.finish(done, &mut timers);
                    reader.acknowledge().await?;
                }
                () = tokio::time::sleep(sleep) => {}
            }
            let now = Timestamp::now();
            for key in timers.due(now) {
                let done = tokio::select! {
                    biased;
                    done = self.tick(key, now) => done?,
                    () = past(&stop, LAST_TRY) => return Ok(()),
                };
                self.finish(done, &mut timers);
            }
            if now.duration_since(swept_at).as_hours() >= 1 {
                swept_at = now;
                self.forget(now).await?;
            }
        }
    }

    fn finish(&self, done: Done, timers: &mut Timers) {
        timers.apply(done.timers);
        self.metrics.told.inc_by(done.told);
        self.metrics.dead(DeadKind::Record, done.dead);
        (self.wake)(&done.lanes, done.dead > 0);
    }

    /// One turn: `records` decided in order, one batch, position included. Waits while the disk is full.
    async fn take(&self, records: Vec<Read>) -> Result<Done, Error> {
        self.metrics.events.inc_by(records.len() as u64);
        let records = Arc::new(records);
        let (routes, rules) = (self.routes.clone(), self.rules);
        self.ledger
            .patiently(move |draft, now| {
                let mut done = Done::default();
                let mut read_to: BTreeMap<u32, Standing> = BTreeMap::new();
                for read in records.iter() {
                    let mut standing = Standing::behind(read.position);
                    match Envelope::decode(&read.record.value) {
                        Ok(envelope) => {
                            standing.event_id = Some(envelope.id.clone());
                            standing.observed_at = Some(envelope.time);
                            consume(draft, envelope, &routes, rules, now, &mut done)?;
                        }
                        Err(error) => {
                            let (partition, offset) =
                                (read.position.partition, read.position.offset);
                            tracing::error!(%error, partition, offset, "a record is no event");
                            draft.bury(&DeadLetter::of_record(read, error.to_string(), now));
                            done.dead += 1;
                        }
                    }
                    read_to.insert(read.position.partition, standing);
                }
                draft.stand(Stream::Changes, &read_to);
                crash_point("consume.decided");
                Ok(done)
            })
            .await
    }

    /// A group's time has come.
    async fn tick(&self, key: GroupKey, now: Timestamp) -> Result<Done, Error> {
        let routes = self.routes.clone();
        self.ledger
            .patiently(move |draft, _| {
                let mut done = Done::default();
                notify::tick(draft, &key, &routes, now, &mut done)?;
                Ok(done)
            })
            .await
    }

    /// Forgets event ids after their time, and closes incidents in which nothing happens; a bounded
    /// number an hour.
    async fn forget(&self, now: Timestamp) -> Result<(), Error> {
        let expire_after = self.expire_after;
        self.ledger
            .patiently(move |draft, _| {
                expire(draft, expire_after, now)?;
                for (key, row) in draft.reader.scan(b"e/", None, 20_000)? {
                    let at: Timestamp = rows::read(draft.reader, &key, &row)?;
                    if now.duration_since(at).as_hours() >= EVENT_IDS_HOURS {
                        draft.delete(key);
                    }
                }
                Ok(())
            })
            .await
    }
}

/// Closes the incidents that are over by age.
fn expire(
    draft: &mut Draft<'_>,
    expire_after: SignedDuration,
    now: Timestamp,
) -> Result<(), syncbell_store::Error> {
    for (key, row) in draft.reader.scan(b"i/", None, 100_000)? {
        if rows::is_piece(&key) {
            continue;
        }
        let mut incident: Incident = rows::read(draft.reader, &key, &row)?;
        if incident.expire(expire_after, now) {
            tracing::info!(
                incident = incident.id,
                "an incident expired: nothing happened in it"
            );
            draft.put(key, &incident);
        }
    }
    Ok(())
}

/// One event: what it means, and who is told. Watch events move the position and nothing else yet.
fn consume(
    draft: &mut Draft<'_>,
    envelope: Envelope,
    routes: &Routes,
    rules: Rules,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), syncbell_store::Error> {
    let Event::Task { kind, data } = envelope.event else {
        return Ok(());
    };
    let (Some(task), true) = (data.after, kind != Kind::Vanished) else {
        return Ok(());
    };
    let read_before = rows::event(&envelope.id);
    if draft.has(&read_before)? {
        return Ok(());
    }
    draft.put(read_before, &now);
    let seen = Observation {
        event_id: envelope.id,
        kind,
        instance: envelope.source.instance,
        observed_at: envelope.time,
        task,
        detail: data.detail,
        traceparent: envelope.traceparent,
    };
    let subject = Subject::of(&seen.instance, &seen.task);
    let view = draft.view(&seen.task.task_id, &subject)?;
    let decision = decide(&seen, view, rules, now);
    draft.put_decision(&seen.task.task_id, &subject, &decision);
    for entry in decision.told {
        tracing::info!(
            task.id = %seen.task.task_id, event.id = %seen.event_id, rule = entry.item.rule,
            status = entry.item.status.as_str(), "{}", entry.item.summary
        );
        done.told += 1;
        notify::tell(draft, &entry, routes, now, done)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use syncbell_event::{Status, SyncTask};

    use super::*;
    use crate::decide::Rule;

    #[tokio::test]
    async fn an_incident_in_which_nothing_happens_expires_and_a_younger_one_does_not() {
        let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let expired = ledger.turn(move |draft| {
            for (task, age) in [("old", days(8)), ("young", days(6))] {
                let subject = Subject::of("cri-1", &SyncTask::new(task, Status::Error));
                let incident = Incident::open(Rule::Failed, subject, "cri-1", now - age);
                draft.put(rows::incident(&incident.id), &incident);
            }
            Ok(())
        });
        expired.await.unwrap();
        ledger
            .turn(move |draft| expire(draft, days(7), now))
            .await
            .unwrap();
        let rows_of = ledger.store.read(|reader| {
            let rows = reader.scan(b"i/", None, 10)?;
            rows.iter()
                .map(|(key, row)| rows::read::<Incident>(reader, key, row))
                .collect()
        });
        let incidents: Vec<Incident> = rows_of.await.unwrap();
        let open: Vec<bool> = incidents.iter().map(Incident::is_open).collect();
        assert_eq!(
            open.iter().filter(|open| **open).count(),
            1,
            "{incidents:?}"
        );
        assert!(
            incidents
                .iter()
                .any(|i| i.is_open() && i.opened_at > now - days(7))
        );
    }
}
