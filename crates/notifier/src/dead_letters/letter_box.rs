//! The dead letters as people ask for them: those on the log and those still in the ledger, with what the
//! ledger knows of their replays.
//!
//! In: the log, the ledger if there is one here, what is wanted. Out: rows, or one letter whole. Bounded: a
//! list keeps no bytes of records, and no more rows than it may give. Must never happen: a letter that is
//! listed twice, because the relay had to put it on the log again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use syncbell_bus::{Bus, Error as BusError, Next, StartAt, Stream, Subscriber};

use super::letter::{DeadLetter, Found, Joiner, LetterKind, Origin};
use super::replayed::Replayed;
use crate::ledger::Ledger;
use crate::{Error, rows, tail};

/// Letters of one answer.
pub const LETTERS_LIMIT: usize = 1_000;

/// Letters of the ledger that are not on the log yet; more are shown once they are.
const WAITING_LIMIT: usize = 1_000;

/// Which letters are asked for; also the query of `GET /dead-letters`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LettersWanted {
    /// The newest so many, at most [`LETTERS_LIMIT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those that were given up then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only records, or only deliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<LetterKind>,
    /// Only deliveries to this receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
}

/// One dead letter in a list.
#[derive(Clone, Debug, Serialize)]
pub struct LetterRow {
    /// What is known of it, without its record.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// In one text: where it came from, or where it should have gone.
    pub what: String,
    /// The record's key as text; of a delivery its id. Absent where the record was cut into pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was replayed, and how that ended; absent where it was not, or where the ledger that knows is
    /// not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
}

/// Where dead letters are found.
#[derive(Clone)]
pub struct LetterBox {
    pub(crate) bus: Bus,
    pub(crate) ledger: Option<Ledger>,
    /// What is older is not listed and not replayed any more: nobody remembers whether it was.
    pub(crate) kept: SignedDuration,
}

impl LettersWanted {
    pub(super) fn has(&self, letter: &DeadLetter) -> bool {
        let receiver = letter.target.as_ref().map(|target| &target.receiver);
        self.since.is_none_or(|since| letter.at >= since)
            && self.kind.is_none_or(|kind| letter.kind == kind)
            && (self.receiver.is_none() || self.receiver.as_ref() == receiver)
    }
}

impl LetterBox {
    /// The letters of a log whose notifier keeps its ledger elsewhere.
    pub fn of_log(bus: Bus, retention: &syncbell_config::Retention) -> Self {
        Self {
            bus,
            ledger: None,
            kept: kept(retention),
        }
    }

    /// The letters that are wanted, the newest first.
    pub async fn list(&self, wanted: &LettersWanted) -> Result<Vec<LetterRow>, Error> {
        let limit = wanted.limit.unwrap_or(LETTERS_LIMIT).min(LETTERS_LIMIT);
        let horizon = self.horizon();
        let mut newest: BTreeMap<(Timestamp, String), (DeadLetter, Option<String>)> =
            BTreeMap::new();
        let mut keep = |mut letter: DeadLetter, key: Option<String>| {
            if letter.at >= horizon && wanted.has(&letter) {
                letter.record = syncbell_bus::Record::default();
                newest.insert((letter.at, letter.id.clone()), (letter, key));
                if newest.len() > limit {
                    newest.pop_first();
                }
            }
        };
        let mut letters = Letters::open(&self.bus).await?;
        while let Some(found) = letters.next().await? {
            for found in found {
                let (letter, key) = match found {
                    Found::Whole(letter) => {
                        let key = String::from_utf8_lossy(&letter.record.key).into_owned();
                        (letter, Some(key))
                    }
                    Found::Piece { letter, .. } => (letter, None),
                };
                keep(letter, key);
            }
        }
        for letter in self.waiting().await? {
            let key = String::from_utf8_lossy(&letter.record.key).into_owned();
            keep(letter, Some(key));
        }
        let mut listed = Vec::new();
        for (letter, key) in newest.into_values().rev() {
            let replayed = self.replayed(&letter.id).await?;
            listed.push(LetterRow {
                what: what(&letter),
                letter,
                key,
                replayed,
            });
        }
        Ok(listed)
    }

    /// One letter whole, by its id, or by the id of the delivery that is in it (then the newest).
    pub async fn find(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        let (horizon, mut joiner, mut newest) = (self.horizon(), Joiner::default(), None);
        let names = |letter: &DeadLetter| {
            let of_delivery =
                letter.kind == LetterKind::Delivery && letter.record.key == id.as_bytes();
            letter.at >= horizon && (letter.id == id || of_delivery)
        };
        let mut letters = Letters::open(&self.bus).await?;
        while let Some(found) = letters.next().await? {
            for found in found {
                let letter = joiner.take(found);
                newest = letter.filter(names).or(newest);
            }
        }
        let waiting = self.waiting().await?.into_iter().rfind(names);
        Ok(waiting.or(newest))
    }

    /// [`LetterBox::find`] for people: headers and bytes as text, where they are text, else as hex and base64.
    pub async fn show(&self, id: &str) -> Result<Option<Value>, Error> {
        let Some(letter) = self.find(id).await? else {
            return Ok(None);
        };
        let headers = letter.record.headers.iter();
        let headers: Vec<Value> = headers
            .map(|(name, value)| json!({"name": name, "value": readable(value)}))
            .collect();
        let replayed = self.replayed(&letter.id).await?;
        let mut shown = json!({
            "what": what(&letter),
            "key": readable(&letter.record.key),
            "headers": headers,
            "value": readable(&letter.record.value),
            "replayed": replayed,
        });
        let known = serde_json::to_value(&letter).unwrap_or_default();
        if let (Value::Object(shown), Value::Object(known)) = (&mut shown, known) {
            shown.extend(known);
        }
        Ok(Some(shown))
    }

    /// Older letters are over.
    pub(super) fn horizon(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_sub(self.kept).unwrap_or(Timestamp::MIN)
    }

    /// Letters that the relay has not put on the log yet, the oldest first.
    pub(super) async fn waiting(&self) -> Result<Vec<DeadLetter>, Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(Vec::new());
        };
        let waiting = ledger.store.read(|reader| {
            let mut waiting = Vec::new();
            for (key, row) in reader.scan(rows::DEAD_LETTERS, None, WAITING_LIMIT)? {
                if !rows::is_piece(&key) {
                    let bytes = rows::seen_bytes(reader, &key, &row)?;
                    waiting.extend(bytes.and_then(|bytes| DeadLetter::of_row(&bytes)));
                }
            }
            Ok(waiting)
        });
        Ok(waiting.await?)
    }

    /// What the ledger knows of a replay, with how it ended, or stands.
    pub(crate) async fn replayed(&self, id: &str) -> Result<Option<Replayed>, Error> {
        let (Some(ledger), id) = (&self.ledger, id.to_owned()) else {
            return Ok(None);
        };
        let read = ledger.store.read(move |reader| {
            let key = rows::replayed(&id);
            let replayed: Option<Replayed> = rows::find(reader, &key)?;
            replayed.map(|it| it.with_end(reader)).transpose()
        });
        Ok(read.await?)
    }
}

/// How long letters are listed and replayed.
pub(crate) fn kept(retention: &syncbell_config::Retention) -> SignedDuration {
    SignedDuration::try_from(retention.dead_letters).unwrap_or(SignedDuration::MAX)
}

fn what(letter: &DeadLetter) -> String {
    match (&letter.origin, &letter.target) {
        (
            Some(Origin {
                stream, position, ..
            }),
            _,
        ) => {
            format!("{stream} {}/{}", position.partition, position.offset)
        }
        (None, Some(target)) => target.to_string(),
        (None, None) => letter.kind.as_str().to_owned(),
    }
}

/// `{text}`, or `{hex, base64}` of what is no text.
fn readable(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    /// So much of what is no text is shown in hex; the whole is in the base64.
    const HEX_LIMIT_BYTES: usize = 4 * 1024;
    if let Ok(text) = std::str::from_utf8(bytes) {
        return json!({"text": text});
    }
    let shown = &bytes[..bytes.len().min(HEX_LIMIT_BYTES)];
    let hex = shown.chunks(32).map(|line| {
        let digits = line.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    });
    json!({
        "hex": hex.collect::<Vec<_>>(),
        "base64": base64::engine::general_purpose::STANDARD.encode(bytes),
    })
}

/// Reads the dead letters' stream from its start to where it ends now.
pub(super) struct Letters {
    bus: Bus,
    subscriber: Option<Box<dyn Subscriber>>,
    next: Next,
    end: Next,
}

impl Letters {
    pub(super) async fn open(bus: &Bus) -> Result<Self, Error> {
        let bounds = bus.bounds(Stream::DeadLetters).await?;
        Ok(Self {
            bus: bus.clone(),
            subscriber: None,
            next: bounds.start,
            end: bounds.end,
        })
    }

    /// What comes next; none at the end. What is no letter of ours is left out.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Found>>, Error> {
        while self.next.lag(&self.end) > 0 {
            if self.subscriber.is_none() {
                let from = StartAt::At(self.next.clone());
                match self.bus.subscribe(Stream::DeadLetters, from).await {
                    Err(BusError::OutOfRange { .. }) => {
                        self.step_over_what_is_gone().await?;
                        continue;
                    }
                    opened => self.subscriber = Some(opened?),
                }
            }
            let Some(subscriber) = &mut self.subscriber else {
                continue;
            };
            let reads = match tail::soon(&mut **subscriber).await {
                Err(BusError::OutOfRange { .. }) => {
                    self.subscriber = None;
                    self.step_over_what_is_gone().await?;
                    continue;
                }
                reads => reads?,
            };
            let mut found = Vec::new();
            for read in reads {
                self.next.advance(read.position);
                found.extend(Found::of(read.record));
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// Retention goes on while it is read.
    async fn step_over_what_is_gone(&mut self) -> Result<(), Error> {
        let bounds = self.bus.bounds(Stream::DeadLetters).await?;
        for (partition, start) in bounds.start.iter() {
            if self.next.get(partition).is_none_or(|next| next < start) {
                self.next.set(partition, start);
            }
        }
        Ok(())
    }
}
