//! Trying dead letters again. A record is decided again, by the consume loop and in its order, under its
//! event id; a delivery is pending again, under its delivery id.
//!
//! In: which letters. Out: what became of each. Must never happen: a letter that is replayed twice unasked; a
//! replay that says it went well and left nothing in the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_event::Envelope;

use super::letter::{DeadLetter, Joiner, LetterKind};
use super::letter_box::{LETTERS_LIMIT, Letters, LettersWanted};
use super::replayed::{QUEUED, Replayed};
use crate::deliver::record;
use crate::delivery::{Closed, DeliveryState, Ending, Target};
use crate::draft::Draft;
use crate::run::Handle;
use crate::{Error, rows};

/// How long an answer waits for records to be decided.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Which letters are to be tried again; also the body of `POST /dead-letters/replay`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReplayWanted {
    /// Those with these ids (of a letter, or of the delivery in it). None: all that `which` names.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Which, where no ids are given; the oldest [`LETTERS_LIMIT`] of them.
    #[serde(default)]
    pub which: LettersWanted,
    /// Also those that were replayed before.
    #[serde(default)]
    pub again: bool,
}

/// What became of one letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LetterReplay {
    /// The letter's id, or the id that was asked for where there is none such.
    pub id: String,
    /// `pending` (a delivery), `decided` or `queued` (a record), `skipped` (replayed before), `refused`.
    pub outcome: String,
    /// More, for people.
    pub note: String,
}

/// What became of all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LettersReplayed {
    /// One a letter, the oldest first.
    pub letters: Vec<LetterReplay>,
    /// More were wanted, and not tried: ask again.
    pub more: bool,
}

/// How one letter was taken.
enum Taken {
    Pending(Target),
    Queued,
    ReplayedBefore(Timestamp),
    Refused(String),
}

impl LetterReplay {
    /// Whether nothing is left to do for whoever asked.
    pub fn is_well(&self) -> bool {
        self.outcome != "refused"
    }

    fn new(id: &str, outcome: &str, note: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            outcome: outcome.to_owned(),
            note: note.into(),
        }
    }
}

impl Handle {
    /// Tries the wanted letters again, the oldest first. Without a notifier that runs they go out at its
    /// next start.
    pub async fn replay_letters(&self, wanted: &ReplayWanted) -> Result<LettersReplayed, Error> {
        let letters = self.letter_box();
        let horizon = letters.horizon();
        let mut done = LettersReplayed::default();
        let mut seen = BTreeSet::new();
        if wanted.ids.is_empty() {
            let is_wanted = |letter: &DeadLetter| letter.at >= horizon && wanted.which.has(letter);
            let (mut on_log, mut joiner) = (Letters::open(&self.bus).await?, Joiner::default());
            while let Some(found) = on_log.next().await? {
                for found in found {
                    let letter = joiner.take(found).filter(is_wanted);
                    self.replay_one(letter, wanted, &mut seen, &mut done)
                        .await?;
                }
            }
            for letter in letters.waiting().await? {
                let letter = Some(letter).filter(is_wanted);
                self.replay_one(letter, wanted, &mut seen, &mut done)
                    .await?;
            }
        }
        for id in wanted.ids.iter().take(LETTERS_LIMIT) {
            let letter = letters.find(id).await?;
            if letter.is_none() {
                let note = "there is no such dead letter";
                done.letters.push(LetterReplay::new(id, "refused", note));
            }
            self.replay_one(letter, wanted, &mut seen, &mut done)
                .await?;
        }
        self.wait_for_decisions(&mut done).await?;
        Ok(done)
    }

    async fn replay_one(
        &self,
        letter: Option<DeadLetter>,
        wanted: &ReplayWanted,
        seen: &mut BTreeSet<String>,
        done: &mut LettersReplayed,
    ) -> Result<(), Error> {
        let Some(letter) = letter.filter(|letter| seen.insert(letter.id.clone())) else {
            return Ok(());
        };
        if done.letters.len() >= LETTERS_LIMIT {
            done.more = true;
            return Ok(());
        }
        let id = letter.id.clone();
        let by_name = !wanted.ids.is_empty();
        let replay = match self.take_letter(letter, wanted.again).await? {
            Taken::Pending(target) => {
                if let Some(signal) = self.signals.get(&target) {
                    signal.reload();
                }
                LetterReplay::new(&id, "pending", self.when())
            }
            Taken::Queued => {
                self.wake_consumer();
                LetterReplay::new(&id, QUEUED, self.when())
            }
            Taken::ReplayedBefore(at) => {
                let outcome = if by_name { "refused" } else { "skipped" };
                let note = format!("it was replayed at {at}; --again replays it once more");
                LetterReplay::new(&id, outcome, note)
            }
            Taken::Refused(why) => LetterReplay::new(&id, "refused", why),
        };
        done.letters.push(replay);
        Ok(())
    }

    fn when(&self) -> &'static str {
        if self.is_running() {
            ""
        } else {
            "it goes out at the next start"
        }
    }

    /// One letter, in one batch.
    async fn take_letter(&self, letter: DeadLetter, again: bool) -> Result<Taken, Error> {
        let known = self.is_running().then(|| self.signals.clone());
        let gone = letter.target.as_ref().filter(|target| {
            let known = known.as_ref();
            known.is_some_and(|known| !known.contains_key(*target))
        });
        if let Some(target) = gone {
            let why = format!("its receiver {target} is not in the configuration");
            return Ok(Taken::Refused(why));
        }
        let _held = self.ledger.by_hand.write().await;
        let taking = move |draft: &mut Draft<'_>, now| take(draft, &letter, again, now);
        self.ledger.patiently(taking).await
    }

    /// What was queued is soon decided by a notifier that runs.
    async fn wait_for_decisions(&self, done: &mut LettersReplayed) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        let letters = self.letter_box();
        let until = tokio::time::Instant::now() + PATIENCE;
        for replay in done.letters.iter_mut().filter(|one| one.outcome == QUEUED) {
            loop {
                let known = letters.replayed(&replay.id).await?;
                if let Some(known) = known.filter(|known| known.ended != QUEUED) {
                    "decided".clone_into(&mut replay.outcome);
                    replay.note = known.ended;
                    break;
                }
                if tokio::time::Instant::now() >= until {
                    "it is not decided yet".clone_into(&mut replay.note);
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }
}

fn take(
    draft: &mut Draft<'_>,
    letter: &DeadLetter,
    again: bool,
    now: Timestamp,
) -> Result<Taken, syncbell_store::Error> {
    let before: Option<Replayed> = draft.get(&rows::replayed(&letter.id))?;
    if let Some(before) = before.filter(|_| !again) {
        return Ok(Taken::ReplayedBefore(before.at));
    }
    if letter.kind == LetterKind::Record {
        if let Err(error) = Envelope::decode(&letter.record.value) {
            return Ok(Taken::Refused(format!("it stays: {error}")));
        }
        let key = rows::numbered(rows::REPLAYS.to_vec(), draft.next_number());
        draft.put_bytes(key, letter.row());
        Replayed::of_record(letter.at, now).note(draft, &letter.id)?;
        return Ok(Taken::Queued);
    }
    let Some(delivery) = letter.delivery() else {
        let why = "it stays: the delivery in it cannot be read";
        return Ok(Taken::Refused(why.to_owned()));
    };
    let is_told = |closed: &Closed| matches!(closed.ending, Ending::Delivered | Ending::Merged);
    let refused = match draft.delivery(&delivery.id)? {
        Some(DeliveryState::Pending(_)) => Some("its delivery is pending"),
        Some(DeliveryState::Over(closed)) if is_told(&closed) && !again => {
            Some("its delivery was made since; --again makes it once more")
        }
        _ => None,
    };
    if let Some(why) = refused {
        return Ok(Taken::Refused(why.to_owned()));
    }
    Replayed::of_delivery(&delivery.id, letter.at, now).note(draft, &letter.id)?;
    record::revive(draft, delivery, now).map(Taken::Pending)
}

/// Notes that the record of the letter `id` was decided: it `told` so many conditions, or was read before.
pub(crate) fn decided(
    draft: &mut Draft<'_>,
    id: &str,
    told: Option<u64>,
) -> Result<(), syncbell_store::Error> {
    let key = rows::replayed(id);
    if let Some(mut replayed) = draft.get::<Replayed>(&key)? {
        replayed.ended = match told {
            None => "its event was read before: nothing changed".to_owned(),
            Some(told) => format!("decided: {told} told"),
        };
        draft.put(key, &replayed);
    }
    Ok(())
}
