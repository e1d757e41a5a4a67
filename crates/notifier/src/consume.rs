//! The consume loop: events from the log, through deciding and grouping, into one batch with the
//! position. [`consume`] is one event.
//!
//! In: records of the log, the time. Out: turns of the ledger; which lanes have new rows.
//!
//! Must never happen: a position that moves without what its record caused, or the other way round.

mod attend;
mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_bus::{Read, Stream};
use syncbell_event::Envelope;
use syncbell_service::crash_point;
use syncbell_service::shutdown::past;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::begin::{Begun, LedgerLost, begin};
use crate::dead_letters::DeadLetter;
use crate::delivery::Target;
use crate::done::Done;
use crate::group::GroupKey;
use crate::held;
use crate::hold::Holder;
use crate::judge::judge;
use crate::ledger::{Draft, Ledger};
use crate::metrics::{DeadKind, NotifierMetrics};
use crate::notify::{self, Timers};
use crate::reader::Reader;
use crate::retention::{self, Kept, Passes};
use crate::setup::Setup;
use crate::standing::Standing;
use crate::watch;

pub(crate) use event::consume;

/// Records taken into one batch.
const RECORDS_A_TURN: usize = 256;

/// Rows of records to be decided again that are looked at in one batch.
const REPLAYS_A_TURN: usize = 64;

/// The loop looks at its timers at least this often: the wall clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What is under way when the process stops may take this long.
const LAST_TRY: Duration = Duration::from_secs(2);

/// While an instance is overdue and the log is not read to its end, it is looked at again after this.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// Takes the lanes with new rows, and whether there are dead letters to relay.
pub(crate) type Wake = dyn Fn(&BTreeSet<Target>, bool) + Send + Sync;

/// What a consume loop works with.
pub(crate) struct Consumer {
    pub(crate) ledger: Ledger,
    pub(crate) setup: Arc<Setup>,
    pub(crate) begun: Begun,
    /// The ledger before this one.
    pub(crate) lost: Option<LedgerLost>,
    pub(crate) kept: Kept,
    pub(crate) metrics: NotifierMetrics,
    /// Woken when something is asked of it.
    pub(crate) attend: Arc<Notify>,
    /// Told which lanes have new rows, and that there are dead letters to relay.
    pub(crate) wake: Arc<Wake>,
}

/// Caches of rows: when what is to be looked at.
struct Clocks {
    groups: Timers<GroupKey>,
    watches: Timers<String>,
    /// When silences end.
    silences: Timers<String>,
    /// Incidents that ended, of which more is to be released.
    releasing: BTreeSet<String>,
}

impl Clocks {
    fn sleep(&self, now: Timestamp) -> Duration {
        let next = self.groups.sleep(now).min(self.watches.sleep(now));
        next.min(self.silences.sleep(now)).min(LONGEST_SLEEP)
    }
}

impl Consumer {
    /// Runs until `stop`. An error is a broken ledger or log.
    pub(crate) async fn run(
        self,
        mut reader: Reader,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let ready = tokio::select! {
            biased;
            ready = self.start() => ready?,
            () = past(&stop, LAST_TRY) => return Ok(()),
        };
        let mut clocks = ready;
        let mut passes = Passes::new(Instant::now());
        loop {
            let until_slice = passes.due_at().saturating_duration_since(Instant::now());
            let sleep = clocks.sleep(Timestamp::now()).min(until_slice);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                read = reader.next(RECORDS_A_TURN) => {
                    let records = read?;
                    passes.ids.came(records.len() as u64, Instant::now());
                    crash_point("consume.read");
                    // A full disk may make it wait for ever; the log still has the records.
                    tokio::select! {
                        biased;
                        done = self.take(records, &mut clocks) => done?,
                        () = past(&stop, LAST_TRY) => return Ok(()),
                    }
                    reader.acknowledge().await?;
                }
                () = self.attend.notified() => {
                    tokio::select! {
                        biased;
                        done = self.attend(&mut clocks) => done?,
                        () = past(&stop, LAST_TRY) => return Ok(()),
                    }
                }
                () = tokio::time::sleep(sleep) => {}
            }
            let now = Timestamp::now();
            tokio::select! {
                biased;
                done = self.look(&mut reader, now, &mut clocks) => done?,
                () = past(&stop, LAST_TRY) => return Ok(()),
            }
            tokio::select! {
                biased;
                done = self.forget(&mut reader, &mut passes, &mut clocks) => done?,
                () = past(&stop, LAST_TRY) => return Ok(()),
            }
        }
    }

    /// Reads the clocks back, and ends what was under way.
    async fn start(&self) -> Result<Clocks, Error> {
        self.ledger.rewrite_ids().await?;
        let mut clocks = Clocks {
            groups: notify::load_timers(&self.ledger.store, self.setup.clone()).await?,
            watches: Timers::default(),
            silences: Timers::default(),
            releasing: BTreeSet::new(),
        };
        let setup = self.setup.clone();
        let register = move |draft: &mut Draft<'_>, now| watch::register(draft, &setup, now);
        let registered = self.ledger.patiently(register).await?;
        clocks.watches.apply(registered.due);
        for instance in registered.judging {
            self.judge(instance, &mut clocks).await?;
        }
        if self.begun.is_new {
            self.begin(&mut clocks).await?;
        }
        if self.ledger.store.set_aside().is_some() {
            self.ledger.store.forget_set_aside().await?;
        }
        self.log_lost(&mut clocks).await?;
        self.look_at_held(&mut clocks).await?;
        self.attend(&mut clocks).await?;
        Ok(clocks)
    }

    /// The ledger begins; where one was lost before it, that is told.
    async fn begin(&self, clocks: &mut Clocks) -> Result<(), Error> {
        let (setup, begun, lost) = (self.setup.clone(), self.begun.clone(), self.lost.clone());
        let begins = self.ledger.patiently(move |draft, now| {
            let mut done = Done::default();
            begin(draft, &begun, lost.as_ref());
            if let Some(lost) = &lost {
                watch::ledger_lost(draft, &setup, lost, now, &mut done)?;
            }
            Ok(done)
        });
        let done = begins.await?;
        self.finish(done, clocks);
        // The request waits to be relayed.
        (self.wake)(&BTreeSet::new(), true);
        Ok(())
    }

    /// What the time brings: silences that end, groups that are due, instances that are overdue.
    async fn look(
        &self,
        reader: &mut Reader,
        now: Timestamp,
        clocks: &mut Clocks,
    ) -> Result<(), Error> {
        // Before the groups, as at a start: what is let out now goes with what is due now.
        for id in clocks.silences.due(now) {
            let holder = Holder::Silence(id.clone());
            self.release(holder, Some(now), clocks).await?;
            clocks.silences.apply(BTreeMap::from([(id, None)]));
        }
        self.release_rest(clocks).await?;
        for key in clocks.groups.due(now) {
            let done = self.tick(key, now).await?;
            self.finish(done, clocks);
        }
        let overdue = clocks.watches.due(now);
        if overdue.is_empty() {
            return Ok(());
        }
        let read_to_end = reader.is_at_end().await;
        for instance in overdue {
            let done = if read_to_end {
                self.overdue(instance, now).await?
            } else {
                let again = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                Done {
                    watches: BTreeMap::from([(instance, Some(again))]),
                    ..Done::default()
                }
            };
            self.finish(done, clocks);
        }
        Ok(())
    }

    fn finish(&self, done: Done, clocks: &mut Clocks) {
        clocks.groups.apply(done.timers);
        clocks.watches.apply(done.watches);
        clocks.releasing.extend(done.releasing);
        self.metrics.told.inc_by(done.told);
        self.metrics.held.inc_by(done.untold);
        self.metrics.dead(DeadKind::Record, done.dead);
        self.metrics.dead(DeadKind::Delivery, done.buried);
        (self.wake)(&done.lanes, done.dead + done.buried > 0);
    }

    /// `records` decided in order, in one batch, or in more where more is due at a heartbeat than one takes.
    async fn take(&self, records: Vec<Read>, clocks: &mut Clocks) -> Result<(), Error> {
        self.metrics.events.inc_by(records.len() as u64);
        let records = Arc::new(records);
        let mut taken = 0;
        while taken < records.len() {
            let (mut done, to) = self.turn(records.clone(), taken).await?;
            crash_point("consume.committed");
            taken = to;
            let judging = done.judging.take();
            self.finish(done, clocks);
            self.release_rest(clocks).await?;
            if let Some(instance) = judging {
                self.judge(instance, clocks).await?;
                self.release_rest(clocks).await?;
            }
        }
        Ok(())
    }

    /// One turn: `records` from `from` on, one batch, position included. Gives how far it came. Waits while
    /// the disk is full.
    async fn turn(&self, records: Arc<Vec<Read>>, from: usize) -> Result<(Done, usize), Error> {
        let (setup, tells_from) = (self.setup.clone(), self.begun.tells_from);
        self.ledger
            .patiently(move |draft, now| {
                let mut done = Done {
                    tells_from,
                    ..Done::default()
                };
                let mut read_to: BTreeMap<u32, Standing> = BTreeMap::new();
                watch::log_lost(draft, &setup, now, &mut done)?;
                let mut to = from;
                while to < records.len() && done.judging.is_none() && done.releasing.is_empty() {
                    let read = &records[to];
                    to += 1;
                    let mut standing = Standing::behind(read.position);
                    match Envelope::decode(&read.record.value) {
                        Ok(envelope) => {
                            standing.event_id = Some(envelope.id.clone());
                            standing.observed_at = Some(envelope.time);
                            consume(draft, envelope, &setup, now, &mut done)?;
                        }
                        Err(error) => {
                            let (partition, offset) =
                                (read.position.partition, read.position.offset);
                            tracing::error!(%error, partition, offset, "a record is no event");
                            draft.bury(&DeadLetter::of_record(read, &error.to_string(), now));
                            done.dead += 1;
                        }
                    }
                    read_to.insert(read.position.partition, standing);
                }
                draft.stand(Stream::Changes, &read_to);
                crash_point("consume.decided");
                Ok((done, to))
            })
            .await
    }

    /// The rest of what is due at an instance's heartbeat, in as many batches as it takes.
    async fn judge(&self, instance: String, clocks: &mut Clocks) -> Result<(), Error> {
        loop {
            let (setup, instance) = (self.setup.clone(), instance.clone());
            let tells_from = self.begun.tells_from;
            let slice = self.ledger.patiently(move |draft, now| {
                let mut done = Done {
                    tells_from,
                    ..Done::default()
                };
                let more = judge(draft, &setup, &instance, now, &mut done)?;
                Ok((done, more))
            });
            let (done, more) = slice.await?;
            self.finish(done, clocks);
            if !more {
                return Ok(());
            }
        }
    }

    async fn overdue(&self, instance: String, now: Timestamp) -> Result<Done, Error> {
        let setup = self.setup.clone();
        self.ledger
            .patiently(move |draft, _| {
                let mut done = Done::default();
                watch::overdue(draft, &setup, &instance, now, &mut done)?;
                Ok(done)
            })
            .await
    }

    async fn log_lost(&self, clocks: &mut Clocks) -> Result<(), Error> {
        let setup = self.setup.clone();
        let told = self.ledger.patiently(move |draft, now| {
            let mut done = Done::default();
            watch::log_lost(draft, &setup, now, &mut done)?;
            Ok(done)
        });
        let done = told.await?;
        self.finish(done, clocks);
        Ok(())
    }

    /// A group's time has come.
    async fn tick(&self, key: GroupKey, now: Timestamp) -> Result<Done, Error> {
        let setup = self.setup.clone();
        self.ledger
            .patiently(move |draft, _| {
                let mut done = Done::default();
                notify::tick(draft, &key, &setup, now, &mut done)?;
                Ok(done)
            })
            .await
    }

    /// Forgets a slice of what is over, if that is due.
    async fn forget(
        &self,
        reader: &mut Reader,
        passes: &mut Passes,
        clocks: &mut Clocks,
    ) -> Result<(), Error> {
        let Some(pass) = passes.due(Instant::now()) else {
            return Ok(());
        };
        if pass.asks_for_log() {
            pass.log_begins_at = reader.log_begins_at().await;
        }
        let (place, kept, begins_at) = (pass.place(), self.kept, pass.log_begins_at);
        let setup = self.setup.clone();
        let seen = self.ledger.by_hand.read().await;
        let slice = self.ledger.patiently(move |draft, now| {
            let mut done = Done::default();
            let slice = retention::forget(draft, &place, kept, begins_at, now)?;
            // What expired hides nothing any more.
            held::release_ended(draft, &setup, now, &mut done)?;
            Ok((done, slice))
        });
        let (done, slice) = slice.await?;
        drop(seen);
        self.finish(done, clocks);
        pass.went_on(slice, &self.metrics, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
