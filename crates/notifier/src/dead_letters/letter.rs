//! A dead letter and its forms: a row of the ledger, and records of the log. Pure.
//!
//! On the log it is the original record itself, its bytes and headers as they were, behind headers that
//! say why it is there (`x-orig-topic`, `x-error`, …), of which `x-letter` is the last. What would then be
//! larger than a record may be is packed and cut into pieces: records of one key, `x-piece: 1/2`. So
//! whatever the log can hold, its dead letter can be held too.
//!
//! Must never happen: a letter whose bytes differ from those that came; one that the log refuses for its
//! size.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_bus::{MAX_RECORD_BYTES, Position, Read, Record, Stream};
use syncbell_event::digest_id;

use crate::delivery::{Delivery, Target};
use crate::render::text;
use crate::rows;

/// Ours ends here: the letter without its record, as JSON. What follows are the original's own headers.
const LETTER: &str = "x-letter";

/// `1/2`: the first of two pieces of a packed record.
const PIECE: &str = "x-piece";

/// So much of a packed record is in one piece; the rest is for the headers.
const PIECE_BYTES: usize = MAX_RECORD_BYTES - 50_000;

/// A reason is for people.
const REASON_LIMIT_CHARS: usize = 1_000;

/// What is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterKind {
    /// A record of the event log that is no event.
    Record,
    /// A delivery that nobody took.
    Delivery,
}

/// Why it is dead, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathClass {
    /// It could not be decoded.
    Undecodable,
    /// The receiver refused this message for good.
    Refused,
    /// It could not be delivered in its time.
    Expired,
    /// Its receiver left the configuration.
    ReceiverGone,
}

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The stream of the log.
    pub stream: String,
    /// Its place there.
    #[serde(flatten)]
    pub position: Position,
    /// When it was put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appended_at: Option<Timestamp>,
}

/// What could not be read or delivered, with all that is needed to try again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// 32 hex; the same however often it is put on the log.
    pub id: String,
    /// What it is.
    pub kind: LetterKind,
    /// Why it is here, as one word.
    pub class: DeathClass,
    /// Why it is here, for people.
    pub reason: String,
    /// When it was given up.
    pub at: Timestamp,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it first failed.
    pub first_failure_at: Timestamp,
    /// The version of the program that gave it up.
    pub app_version: String,
    /// Of a record: where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Of a delivery: where it should have gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// How large the original's value is, in bytes.
    pub size_bytes: usize,
    /// The original record. Of a delivery its JSON, under its id.
    #[serde(skip)]
    pub record: Record,
}

/// One record of the dead letters' stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Whole(DeadLetter),
    /// A letter without its record, and one piece of that.
    Piece {
        letter: DeadLetter,
        number: usize,
        of: usize,
        bytes: Vec<u8>,
    },
}

impl LetterKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Delivery => "delivery",
        }
    }
}

impl DeathClass {
    fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::ReceiverGone => "receiver_gone",
        }
    }
}

impl DeadLetter {
    /// A record of the log that is not an event.
    pub(crate) fn of_record(read: &Read, reason: &str, now: Timestamp) -> Self {
        let Position { partition, offset } = read.position;
        let at = now.to_string();
        let place = [partition.to_string(), offset.to_string()];
        let parts = ["record", &place[0], &place[1], &at];
        let appended_at = read.appended_at_ms.map(Timestamp::from_millisecond);
        Self {
            id: digest_id(parts.map(Some)),
            kind: LetterKind::Record,
            class: DeathClass::Undecodable,
            reason: text::line(reason, REASON_LIMIT_CHARS),
            at: now,
            attempts: 1,
            first_failure_at: now,
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: Some(Origin {
                stream: Stream::Changes.as_str().to_owned(),
                position: read.position,
                appended_at: appended_at.and_then(Result::ok),
            }),
            target: None,
            size_bytes: read.record.value.len(),
            record: read.record.clone(),
        }
    }

    /// A delivery that was given up.
    pub(crate) fn of_delivery(
        delivery: &Delivery,
        class: DeathClass,
        reason: &str,
        now: Timestamp,
    ) -> Self {
        let value = rows::json(delivery);
        Self {
            id: Self::id_of_delivery(delivery, now),
            kind: LetterKind::Delivery,
            class,
            reason: text::line(reason, REASON_LIMIT_CHARS),
            at: now,
            attempts: delivery.attempts,
            first_failure_at: delivery.first_failure_at.unwrap_or(now),
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: None,
            target: Some(delivery.target.clone()),
            size_bytes: value.len(),
            record: Record {
                headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
                ..Record::new(delivery.id.0.as_bytes(), value)
            },
        }
    }

    /// The id of the letter of a delivery that died at `at`: one that is tried again and dies again is
    /// another letter.
    pub(crate) fn id_of_delivery(delivery: &Delivery, at: Timestamp) -> String {
        let at = at.to_string();
        digest_id(["delivery", &delivery.id.0, &at].map(Some))
    }

    /// The delivery in it; none if it holds a record.
    pub(crate) fn delivery(&self) -> Option<Delivery> {
        let is_delivery = self.kind == LetterKind::Delivery;
        is_delivery.then(|| serde_json::from_slice(&self.record.value).ok())?
    }

    /// As a row of the ledger.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put(&mut row, &rows::json(self));
        pack(&self.record, &mut row);
        row
    }

    /// What [`DeadLetter::row`] wrote; none if these bytes are none.
    pub(crate) fn of_row(mut row: &[u8]) -> Option<Self> {
        let mut letter: Self = serde_json::from_slice(get(&mut row)?).ok()?;
        letter.record = unpack(row)?;
        Some(letter)
    }

    /// As it stands on the log: one record, or more where that would be too large.
    pub(crate) fn records(&self) -> Vec<Record> {
        let whole = Record {
            key: self.record.key.clone(),
            value: self.record.value.clone(),
            headers: [self.headers(), self.record.headers.clone()].concat(),
        };
        if whole.size_bytes() <= MAX_RECORD_BYTES {
            return vec![whole];
        }
        let mut packed = Vec::new();
        pack(&self.record, &mut packed);
        let pieces = packed.chunks(PIECE_BYTES);
        let of = pieces.len();
        let piece = |(at, bytes): (usize, &[u8])| {
            let mut headers = vec![(PIECE.to_owned(), format!("{}/{of}", at + 1).into_bytes())];
            headers.extend(self.headers());
            Record {
                headers,
                ..Record::new(self.id.as_bytes(), bytes)
            }
        };
        pieces.enumerate().map(piece).collect()
    }

    /// Ours, in words that other tools know, and as JSON for ourselves.
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![
            ("x-error-class", self.class.as_str().to_owned()),
            ("x-error", self.reason.clone()),
            ("x-attempts", self.attempts.to_string()),
            ("x-first-failure", self.first_failure_at.to_string()),
            ("x-app-version", self.app_version.clone()),
        ];
        if let Some(origin) = &self.origin {
            let position = origin.position;
            headers.push(("x-orig-topic", origin.stream.clone()));
            headers.push(("x-orig-partition", position.partition.to_string()));
            headers.push(("x-orig-offset", position.offset.to_string()));
            let appended_at = origin.appended_at.map(|at| at.to_string());
            headers.extend(appended_at.map(|at| ("x-orig-timestamp", at)));
        }
        let named = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_bytes()));
        named
            .chain([(LETTER.to_owned(), rows::json(self))])
            .collect()
    }
}

impl Found {
    /// What `record` of the dead letters' stream is; none if it is not one of ours.
    pub(super) fn of(mut record: Record) -> Option<Self> {
        let at = record.headers.iter().position(|(name, _)| name == LETTER)?;
        let ours: Vec<_> = record.headers.drain(..=at).collect();
        let mut letter: DeadLetter = serde_json::from_slice(&ours.last()?.1).ok()?;
        let Some((_, piece)) = ours.iter().find(|(name, _)| name == PIECE) else {
            letter.record = record;
            return Some(Self::Whole(letter));
        };
        let (number, of) = std::str::from_utf8(piece).ok()?.split_once('/')?;
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        Some(Self::Piece {
            letter,
            number,
            of,
            bytes: record.value,
        })
    }
}

/// Puts the pieces of letters together again. Keeps one at a time: its pieces were appended at once, and
/// what is put between them by others, or again by ourselves, is known by its id and number.
#[derive(Default)]
pub(super) struct Joiner {
    id: String,
    pieces: usize,
    bytes: Vec<u8>,
}

impl Joiner {
    /// The letter that `found` completes.
    pub(super) fn take(&mut self, found: Found) -> Option<DeadLetter> {
        let (mut letter, number, of, bytes) = match found {
            Found::Whole(letter) => return Some(letter),
            Found::Piece {
                letter,
                number,
                of,
                bytes,
            } => (letter, number, of, bytes),
        };
        if number == 1 {
            *self = Self {
                id: letter.id.clone(),
                ..Self::default()
            };
        }
        if self.id != letter.id || number != self.pieces + 1 {
            return None;
        }
        self.pieces += 1;
        self.bytes.extend(bytes);
        if number < of {
            return None;
        }
        letter.record = unpack(&std::mem::take(self).bytes)?;
        Some(letter)
    }
}

fn pack(record: &Record, out: &mut Vec<u8>) {
    put(out, &record.key);
    out.extend(length(record.headers.len()));
    for (name, value) in &record.headers {
        put(out, name.as_bytes());
        put(out, value);
    }
    out.extend(&record.value);
}

fn unpack(mut bytes: &[u8]) -> Option<Record> {
    let key = get(&mut bytes)?.to_vec();
    let (n_headers, rest) = bytes.split_first_chunk::<4>()?;
    bytes = rest;
    let mut headers = Vec::new();
    for _ in 0..u32::from_be_bytes(*n_headers) {
        let name = std::str::from_utf8(get(&mut bytes)?).ok()?.to_owned();
        headers.push((name, get(&mut bytes)?.to_vec()));
    }
    Some(Record {
        key,
        value: bytes.to_vec(),
        headers,
    })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length(bytes.len()));
    out.extend(bytes);
}

fn get<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (taken, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("what a log or a ledger holds is far below 4 GiB")
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(record: Record) -> DeadLetter {
        let read = Read {
            position: Position {
                partition: 3,
                offset: 7,
            },
            record,
            appended_at_ms: Some(1_767_322_800_123),
        };
        let at = Timestamp::from_second(1_767_322_900).unwrap();
        DeadLetter::of_record(&read, "no JSON\nat all", at)
    }

    fn joined(records: Vec<Record>) -> Option<DeadLetter> {
        let mut joiner = Joiner::default();
        let mut found = records.into_iter().filter_map(Found::of);
        found.find_map(|found| joiner.take(found))
    }

    /// Whatever a log of ours takes, and beyond it what a foreign one may hold.
    #[test]
    fn a_record_of_any_size_comes_back_byte_for_byte() {
        let overhead = Record::new("k", "").size_bytes();
        let most = MAX_RECORD_BYTES - overhead;
        for length in [0, 1, 524_289, most - 2_000, most - 600, most, 3_000_000] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let headers = vec![
                ("x-error".to_owned(), b"of another".to_vec()),
                (LETTER.to_owned(), vec![0xFF, 0]),
            ];
            let letter = letter(Record {
                headers,
                ..Record::new("k", bytes)
            });
            let records = letter.records();
            let fits = |record: &Record| record.size_bytes() <= MAX_RECORD_BYTES;
            assert!(records.iter().all(fits), "{length}");
            assert_eq!(records.len() > 1, length > most - 1_500, "{length}");
            assert_eq!(joined(records).as_ref(), Some(&letter), "{length}");
            assert_eq!(DeadLetter::of_row(&letter.row()), Some(letter), "{length}");
        }
    }

    #[test]
    fn headers_of_any_size_come_back_too() {
        let headers = vec![("h".to_owned(), vec![7; MAX_RECORD_BYTES - 100])];
        let letter = letter(Record {
            headers,
            ..Record::new("k", "v")
        });
        let records = letter.records();
        assert!(records.iter().all(|r| r.size_bytes() <= MAX_RECORD_BYTES));
        assert_eq!(joined(records), Some(letter));
    }

    #[test]
    fn other_tools_find_their_words() {
        let letter = letter(Record::new("cri-1", "{"));
        let [record] = <[Record; 1]>::try_from(letter.records()).unwrap();
        assert_eq!((record.key, record.value), (b"cri-1".into(), b"{".into()));
        let header = |name: &str| {
            let found = record.headers.iter().find(|(known, _)| known == name);
            String::from_utf8(found.unwrap().1.clone()).unwrap()
        };
        let expected = [
            ("x-orig-topic", "changes"),
            ("x-orig-partition", "3"),
            ("x-orig-offset", "7"),
            ("x-orig-timestamp", "2026-01-02T03:00:00.123Z"),
            ("x-error-class", "undecodable"),
            ("x-error", "no JSON at all"),
            ("x-attempts", "1"),
            ("x-first-failure", "2026-01-02T03:01:40Z"),
            ("x-app-version", env!("CARGO_PKG_VERSION")),
        ];
        for (name, value) in expected {
            assert_eq!(header(name), value, "{name}");
        }
    }

    #[test]
    fn pieces_are_joined_across_what_others_wrote_and_a_repeat() {
        let letter = letter(Record::new("k", vec![1; MAX_RECORD_BYTES]));
        let pieces = letter.records();
        assert_eq!(pieces.len(), 2);
        let foreign = Record::new("x", "y");
        let [one, two] = [pieces[0].clone(), pieces[1].clone()];
        // The first relay died between the two; the second put both.
        let on_log = vec![one.clone(), foreign, one.clone(), two.clone()];
        assert_eq!(joined(on_log).as_ref(), Some(&letter));
        assert_eq!(joined(vec![two, one]), None, "its start is gone");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = DeadLetter::of_row(&bytes);
            let record = Record { headers: vec![(LETTER.to_owned(), bytes.clone())], ..Record::new("", bytes) };
            let _ = Found::of(record);
        }
    }
}
