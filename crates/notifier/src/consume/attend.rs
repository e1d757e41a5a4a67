//! What the consume loop does between records: what somebody asked for, and what is let out that was held back.
//!
//! In: rows that the API wrote, holders that ended. Out: turns of the ledger, as many as it takes. Must never happen: a
//! turn without a bound.

use jiff::Timestamp;
use syncbell_event::Envelope;

use super::{Clocks, Consumer, REPLAYS_A_TURN, consume};
use crate::dead_letters::{DeadLetter, decided};
use crate::done::Done;
use crate::draft::Draft;
use crate::hold::Holder;
use crate::notify::Timers;
use crate::rows::{self, Key};
use crate::setup::Setup;
use crate::{Error, fallback, held, incidents, silence, sources};

/// Batches of hand-overs that are told before events are looked at again.
const HAND_OVERS_AT_ONCE: usize = 4;

impl Consumer {
    /// What somebody asked for: fallbacks that are to be told, records that are to be decided again, incidents that are
    /// to be closed, silences.
    pub(super) async fn attend(&self, clocks: &mut Clocks) -> Result<(), Error> {
        self.hand_on(clocks).await?;
        self.replay(clocks).await?;
        self.close_asked(clocks).await?;
        let ends = self.ledger.store.read(silence::ends).await?;
        clocks.silences = Timers::default();
        let ends = ends.into_iter().map(|(id, at)| (id, Some(at)));
        clocks.silences.apply(ends.collect());
        Ok(())
    }

    /// Tells fallbacks what was handed over to them; a lane that lets go of many hands over as fast as this is done, and
    /// events do not wait for that.
    async fn hand_on(&self, clocks: &mut Clocks) -> Result<(), Error> {
        for _ in 0..HAND_OVERS_AT_ONCE {
            let setup = self.setup.clone();
            let slice = self.ledger.patiently(move |draft, now| {
                let mut done = Done::default();
                let more = fallback::hand_on(draft, &setup, now, &mut done)?;
                Ok((done, more))
            });
            let (done, more) = slice.await?;
            self.finish(done, clocks);
            if !more {
                return Ok(());
            }
        }
        self.attend.notify_one();
        Ok(())
    }

    /// Closes what somebody wants to be closed.
    async fn close_asked(&self, clocks: &mut Clocks) -> Result<(), Error> {
        loop {
            let setup = self.setup.clone();
            let slice = self.ledger.patiently(move |draft, now| {
                let mut done = Done::default();
                let more = incidents::close_asked(draft, &setup, now, &mut done)?;
                Ok((done, more))
            });
            let (done, more) = slice.await?;
            self.finish(done, clocks);
            self.release_rest(clocks).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Silences, pairs and incidents may be others than when it was held: looks at all that is held again.
    pub(super) async fn look_at_held(&self, clocks: &mut Clocks) -> Result<(), Error> {
        let mut place: Option<Key> = None;
        loop {
            let (setup, after) = (self.setup.clone(), place.clone());
            let slice = self.ledger.patiently(move |draft, _| {
                let known: Option<String> = draft.get(rows::PAIRS)?;
                if known.is_some_and(|known| known == setup.pairs.digest()) {
                    return Ok(None);
                }
                sources::note_open_sources(draft, &setup, after.as_ref())
            });
            place = slice.await?;
            if place.is_none() {
                break;
            }
        }
        loop {
            let (setup, after) = (self.setup.clone(), place.clone());
            let slice = self.ledger.patiently(move |draft, now| {
                let mut done = Done::default();
                let last = held::look_again(draft, &setup, after.as_ref(), now, &mut done)?;
                Ok((done, last))
            });
            let (done, last) = slice.await?;
            self.finish(done, clocks);
            place = last;
            if place.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells what `holder` held back, in as many batches as it takes.
    pub(super) async fn release(
        &self,
        holder: Holder,
        now: Option<Timestamp>,
        clocks: &mut Clocks,
    ) -> Result<(), Error> {
        loop {
            let (setup, holder) = (self.setup.clone(), holder.clone());
            let slice = self.ledger.patiently(move |draft, at| {
                let mut done = Done::default();
                let now = now.unwrap_or(at);
                let more = held::release(draft, &setup, &holder, now, &mut done)?;
                Ok((done, more))
            });
            let (done, more) = slice.await?;
            self.finish(done, clocks);
            if !more {
                return Ok(());
            }
        }
    }

    /// Decides the records of dead letters that are to be decided again, in the order in which they were
    /// asked for.
    pub(super) async fn replay(&self, clocks: &mut Clocks) -> Result<(), Error> {
        loop {
            let setup = self.setup.clone();
            let slice = self.ledger.patiently(move |draft, now| {
                let mut done = Done::default();
                let more = replay(draft, &setup, now, &mut done)?;
                Ok((done, more))
            });
            let (mut done, more) = slice.await?;
            let judging = done.judging.take();
            self.finish(done, clocks);
            self.release_rest(clocks).await?;
            if let Some(instance) = judging {
                self.judge(instance, clocks).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The rest of what incidents held back that ended.
    pub(super) async fn release_rest(&self, clocks: &mut Clocks) -> Result<(), Error> {
        while let Some(id) = clocks.releasing.pop_first() {
            self.release(Holder::Incident(id), None, clocks).await?;
        }
        Ok(())
    }
}

/// Decides the first records that wait to be decided again. True if there may be more.
fn replay(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, syncbell_store::Error> {
    let page = draft.reader.scan(rows::REPLAYS, None, REPLAYS_A_TURN)?;
    for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
        if done.judging.is_some() || !done.releasing.is_empty() {
            return Ok(true);
        }
        let letter = DeadLetter::of_row(&rows::bytes(draft.reader, key, row)?);
        let what = "it is no dead letter of this version";
        let letter = letter.ok_or_else(|| rows::unreadable(key, what))?;
        draft.delete(key.clone());
        // Whoever queued it had decoded it.
        let Ok(envelope) = Envelope::decode(&letter.record.value) else {
            continue;
        };
        let told = if draft.was_read(&envelope.id)? {
            None
        } else {
            let before = done.told;
            consume(draft, envelope, setup, now, done)?;
            Some(done.told - before)
        };
        decided(draft, &letter.id, told)?;
    }
    Ok(!page.is_empty())
}
