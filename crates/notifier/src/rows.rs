//! The rows of the notifier's ledger: their keys, and JSON values of any size in them.
//!
//! | key | value |
//! |---|---|
//! | `p/{stream}/{partition}` | where the reader stands, and the id of the last event read |
//! | `ei/{number}` | the ids of the events of one turn, and when they were read; kept 24 h; all in bytes |
//! | `t/{task digest}` | the task's last state; the digest in bytes, and those of healthy ones too (`compact.rs`) |
//! | `s/{subject digest}` | the subject's newest well task and history; likewise |
//! | `i/{incident id}` | the incident, and when it began and ended of late |
//! | `o/{instance digest}/{open since, ms}/{task digest}` | an open task that may become stuck |
//! | `or/{rule digest}/{instance digest}/{since, ms}/{task digest}` | a task that is such as a rule wants it to be for some time |
//! | `f/{instance digest}/{task digest}` | a task that became final, and may have been slow |
//! | `w/{instance digest}` | what is known of the sight of an instance: last heartbeat, blind since |
//! | `n/{instance digest}/{digest}` | a sync rule or repository that is to run: when it last did |
//! | `b/own-rules` | the rules that the configuration added at the last start |
//! | `b/begun` | when the ledger began, and from when on it tells |
//! | `b/log-lost` | the log was not the one that was read; to be told |
//! | `g/{receiver digest}/{group digest}` | a group: labels, timers, what is open |
//! | `q/{receiver digest}/{group digest}/{seq}` | an entry that waits for its group's interval |
//! | `qi/{digest of receiver and whom it stands in for}/{incident id}/{seq}` | in which group that entry waits |
//! | `r/{receiver digest}` | when it was last notified, for the cap |
//! | `rs/{target digest}` | when messages were sent to it of late, for its vendor's rate |
//! | `rf/{target digest}` | since when every attempt at the target failed, and who was told so |
//! | `d/{target digest}/{seq}` | a delivery still to be made |
//! | `c/{seq}` | a delivery that is over; the number that it had in its lane |
//! | `x/{delivery id}` | the key that it has, or had, in its lane; the id in bytes |
//! | `a/{seq}/{attempt}` | an attempt |
//! | `k/{target digest}/{incident}` | the incident's trigger to this target is dead |
//! | `y/{target digest}/{incident}` | resolves that were dropped because of that |
//! | `l/{seq}` | a dead letter still to be put on the bus |
//! | `v/{dead letter's id}` | that it was replayed, and how that ended |
//! | `u/{seq}` | a dead letter's record that is to be decided again |
//! | `fb/{seq}` | a delivery that its receiver did not take, and of which its fallback is to be told |
//! | `m/{seq}` | a request to the poller still to be put on the bus |
//! | `z/{silence id}` | a silence; written by the API alone |
//! | `h/{incident id}` | what is held of the incident, and whether something of it was told |
//! | `j/{holder}/{incident id}` | that a silence, or an open incident, holds something of the incident |
//! | `hr/{holder}` | what it held back so far |
//! | `so/{meeting digest}/{incident id}` | the open incident is a source of a pair of inhibition, with these labels |
//! | `cl/{incident id}` | that the incident is to be closed, and why |
//! | `ex/n{number}` | trails of one turn, and when it was |
//! | `ex/d{event}{delivery id}` | that a delivery made later tells what the event caused; these in bytes |
//! | `b/pairs` | the pairs that those rows are of |
//!
//! A value larger than the store takes is split (`rows/pieces.rs`).
//!
//! Keys that begin with a digest lie anywhere: each touches a page of its own. So what is large and never looked up by
//! its digest while events are decided (a delivery that is over, its attempts, a trail) stands under a number that
//! grows, beside the last one, and a few bytes under the digest say where, if anybody is to find it fast.

use jiff::Timestamp;
use syncbell_bus::Stream;
use syncbell_event::{EventId, TaskId, digest_id};

use crate::decide::Quiet;
use crate::delivery::{DeliveryId, Target};
use crate::hold::Holder;
use crate::mirror::Digest;

mod packed;
mod pieces;

use pieces::without_piece;
pub(crate) use pieces::{
    bytes, delete, find, is_piece, json, n_pieces, put, read, seen, seen_bytes, unreadable,
};

pub(crate) type Key = Vec<u8>;

pub(crate) fn position(stream: Stream, partition: u32) -> Key {
    format!("p/{}/{partition:010}", stream.as_str()).into_bytes()
}

/// The length of a key that ends with a digest in bytes: there are millions of them.
pub(crate) const BINARY_KEY_BYTES: usize = 2 + 16;

/// Ids of other writers may be any text: the digest of such a one, else the bytes of its digits.
pub(crate) fn event_digest(id: &EventId) -> Digest {
    id_digest(&id.0)
}

fn id_digest(id: &str) -> Digest {
    hex_bytes(id).unwrap_or_else(|| digest_bytes(id))
}

/// The ids of events that were read.
pub(crate) const READ_IDS: &[u8] = b"ei/";

/// As an earlier version wrote them: each under its own key.
pub(crate) const IDS_OF_BEFORE: &[u8] = b"e/";

pub(crate) fn read_ids(number: u64) -> Key {
    [READ_IDS, &number.to_be_bytes()].concat()
}

/// Whether `key`, one of [`READ_IDS`], is a row, and not a piece of a larger value: a number's bytes may be any.
pub(crate) fn is_read_ids(key: &[u8]) -> bool {
    key.len() == READ_IDS.len() + 8
}

/// The value of a row of [`read_ids`].
pub(crate) fn row_of_ids<'a>(
    read_at: Timestamp,
    ids: impl IntoIterator<Item = &'a Digest>,
) -> Vec<u8> {
    let mut row = second_bytes(read_at);
    ids.into_iter().for_each(|id| row.extend(id));
    row
}

/// What [`row_of_ids`] wrote; none if these bytes are something else.
pub(crate) fn ids_of_row(row: &[u8]) -> Option<(Timestamp, &[Digest])> {
    let (read_at, ids) = row.split_at_checked(SECOND_BYTES)?;
    let (ids, rest) = ids.as_chunks::<16>();
    rest.is_empty().then_some((second(read_at)?, ids))
}

/// Ids of the vendor are any text of any length: their digest stands for them.
pub(crate) fn task(id: &TaskId) -> Key {
    [b"t/", digest_bytes(id.as_str()).as_slice()].concat()
}

pub(crate) fn subject(digest: &str) -> Key {
    let digest = hex_bytes(digest).unwrap_or_else(|| digest_bytes(digest));
    [b"s/", digest.as_slice()].concat()
}

fn digest_bytes(text: &str) -> [u8; 16] {
    hex_bytes(&digest_of(text)).expect("a digest is 32 hex digits")
}

/// The bytes of 32 lower-case hex digits; none if `text` is something else.
pub(crate) fn hex_bytes(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let digits = text.as_bytes();
    if digits.len() != 32 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

/// What [`hex_bytes`] read.
pub(crate) fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// Bytes of [`second_bytes`].
pub(crate) const SECOND_BYTES: usize = 4;

/// A time in four bytes, to the second, until 2106: when an event was read.
pub(crate) fn second_bytes(at: Timestamp) -> Vec<u8> {
    let second = u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX);
    second.to_be_bytes().to_vec()
}

/// What [`second_bytes`] wrote; none if these bytes are something else.
pub(crate) fn second(bytes: &[u8]) -> Option<Timestamp> {
    let second = u32::from_be_bytes(bytes.try_into().ok()?);
    Timestamp::from_second(i64::from(second)).ok()
}

/// Incidents.
pub(crate) const INCIDENTS: &[u8] = b"i/";

pub(crate) fn incident(id: &str) -> Key {
    [INCIDENTS, id.as_bytes()].concat()
}

/// What stands for the incident of this key, one of [`incident`].
pub(crate) fn incident_digest(key: &[u8]) -> Option<Digest> {
    let id = key.strip_prefix(INCIDENTS)?;
    std::str::from_utf8(id).ok().map(id_digest)
}

fn digest_of(name: &str) -> String {
    digest_id([Some(name)])
}

/// The open tasks of an instance, the longest open first.
pub(crate) fn open_tasks(instance: &str) -> Key {
    format!("o/{}/", digest_of(instance)).into_bytes()
}

pub(crate) fn open_task(instance: &str, since: Timestamp, id: &TaskId) -> Key {
    let mut key = open_tasks(instance);
    key.extend(format!("{:020}/{}", milliseconds(since), digest_of(id.as_str())).into_bytes());
    key
}

/// The tasks of an instance that are such as the rule says, the longest first.
pub(crate) fn remaining_tasks(rule: &str, instance: &str) -> Key {
    let mut key = remaining_by(rule);
    key.extend(format!("{}/", digest_of(instance)).into_bytes());
    key
}

/// All that wait for the rule.
pub(crate) fn remaining_by(rule: &str) -> Key {
    format!("or/{}/", digest_of(rule)).into_bytes()
}

pub(crate) fn remaining_task(rule: &str, instance: &str, since: Timestamp, id: &TaskId) -> Key {
    let mut key = remaining_tasks(rule, instance);
    key.extend(format!("{:020}/{}", milliseconds(since), digest_of(id.as_str())).into_bytes());
    key
}

/// Behind every task under `prefix` that has been so since `since` or longer.
pub(crate) fn waits_until(mut prefix: Key, since: Timestamp) -> Key {
    // A digest is hex.
    prefix.extend(format!("{:020}/g", milliseconds(since)).into_bytes());
    prefix
}

/// What was before 1970 is no later than that.
fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

pub(crate) fn ended_tasks(instance: &str) -> Key {
    format!("f/{}/", digest_of(instance)).into_bytes()
}

pub(crate) fn ended_task(instance: &str, id: &TaskId) -> Key {
    let mut key = ended_tasks(instance);
    key.extend(digest_of(id.as_str()).into_bytes());
    key
}

pub(crate) const WATCHES: &[u8] = b"w/";

pub(crate) fn watch(instance: &str) -> Key {
    format!("w/{}", digest_of(instance)).into_bytes()
}

pub(crate) const SILENCES: &[u8] = b"n/";

pub(crate) fn silence(instance: &str, quiet: &Quiet) -> Key {
    let digest = digest_id(quiet.parts().into_iter().map(Some));
    format!("n/{}/{digest}", digest_of(instance)).into_bytes()
}

pub(crate) const OWN_RULES: &[u8] = b"b/own-rules";

pub(crate) const MUTES: &[u8] = b"z/";

pub(crate) fn mute(id: &str) -> Key {
    format!("z/{id}").into_bytes()
}

pub(crate) const HELD: &[u8] = b"h/";

pub(crate) fn held(incident: &str) -> Key {
    format!("h/{incident}").into_bytes()
}

fn name_of(holder: &Holder) -> String {
    match holder {
        Holder::Silence(id) => format!("s{id}"),
        Holder::Incident(id) => format!("i{id}"),
    }
}

pub(crate) fn all_held_by(holder: &Holder) -> Key {
    format!("j/{}/", name_of(holder)).into_bytes()
}

/// The beginning of [`all_held_by`] of every incident.
pub(crate) const HELD_BY_INCIDENTS: &[u8] = b"j/i";

pub(crate) fn held_by(holder: &Holder, incident: &str) -> Key {
    format!("j/{}/{incident}", name_of(holder)).into_bytes()
}

pub(crate) fn hold_record(holder: &Holder) -> Key {
    format!("hr/{}", name_of(holder)).into_bytes()
}

/// When an incident began and ended of late, as an earlier version wrote it.
pub(crate) const TURNS: &[u8] = b"fl/";

pub(crate) const SOURCES: &[u8] = b"so/";

pub(crate) fn sources(meeting: &str) -> Key {
    format!("so/{meeting}/").into_bytes()
}

pub(crate) fn source(meeting: &str, incident: &str) -> Key {
    format!("so/{meeting}/{incident}").into_bytes()
}

pub(crate) const CLOSINGS: &[u8] = b"cl/";

pub(crate) fn closing(incident: &str) -> Key {
    format!("cl/{incident}").into_bytes()
}

/// Trails, and the deliveries that were made later; their values begin with the second.
pub(crate) const TRAILS: &[u8] = b"ex/";

/// The trails themselves.
pub(crate) const TRAILS_NUMBERED: &[u8] = b"ex/n";

pub(crate) fn trail(number: u64) -> Key {
    [TRAILS_NUMBERED, &number.to_be_bytes()].concat()
}

/// The number in a key of [`trail`] or [`read_ids`], or in that of a piece of its value; none of other keys.
pub(crate) fn number_in_bytes(key: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(TRAILS_NUMBERED);
    let number = number.or_else(|| key.strip_prefix(READ_IDS))?.get(..8)?;
    number.try_into().ok().map(u64::from_be_bytes)
}

/// Whether `key`, one of [`TRAILS`], is a piece of a larger value: the bytes of a digest may be any.
pub(crate) fn is_piece_of_trail(key: &[u8]) -> bool {
    key.starts_with(TRAILS_NUMBERED) && key.len() > TRAILS_NUMBERED.len() + 8
}

pub(crate) fn deliveries_of_event(id: &EventId) -> Key {
    [b"ex/d", event_digest(id).as_slice()].concat()
}

pub(crate) fn delivery_of_event(id: &EventId, delivery: &DeliveryId) -> Key {
    let mut key = deliveries_of_event(id);
    key.extend(delivery_bytes(delivery));
    key
}

pub(crate) const PAIRS: &[u8] = b"b/pairs";

/// `prefix`, and what lies behind every key that begins so and goes on with text.
pub(crate) fn within(prefix: Key) -> (Key, Key) {
    let mut until = prefix.clone();
    until.push(0xFF);
    (prefix, until)
}

pub(crate) const BEGUN: &[u8] = b"b/begun";

pub(crate) const LOG_LOST: &[u8] = b"b/log-lost";

pub(crate) fn group(receiver: &str, digest: &str) -> Key {
    format!("g/{}/{digest}", digest_id([Some(receiver)])).into_bytes()
}

pub(crate) fn waiting(receiver: &str, digest: &str) -> Key {
    format!("q/{}/{digest}/", digest_id([Some(receiver)])).into_bytes()
}

/// The beginning of [`waits`].
pub(crate) const WAITS: &[u8] = b"qi/";

/// What waits of an incident for a receiver, whichever group it waits in.
pub(crate) fn waits(receiver: &str, instead_of: [Option<&str>; 2], incident: &str) -> Key {
    let digest = digest_id([Some(receiver)].into_iter().chain(instead_of));
    format!("qi/{digest}/{incident}/").into_bytes()
}

pub(crate) fn receiver(name: &str) -> Key {
    format!("r/{}", digest_id([Some(name)])).into_bytes()
}

/// Since when nothing reached a target.
pub(crate) const FAILING: &[u8] = b"rf/";

pub(crate) fn failing(target: &Target) -> Key {
    let digest = digest_id([Some(target.receiver.as_str()), target.address.as_deref()]);
    format!("rf/{digest}").into_bytes()
}

pub(crate) fn sent_of_late(target: &Target) -> Key {
    let digest = digest_id([Some(target.receiver.as_str()), target.address.as_deref()]);
    format!("rs/{digest}").into_bytes()
}

pub(crate) fn lane(target: &Target) -> Key {
    let digest = digest_id([Some(target.receiver.as_str()), target.address.as_deref()]);
    format!("d/{digest}/").into_bytes()
}

/// The beginning of [`dead_trigger`].
pub(crate) const DEAD_TRIGGERS: &[u8] = b"k/";

/// Marks an incident whose trigger to this target is in the dead letters: its resolve is dropped.
pub(crate) fn dead_trigger(target: &Target, incident: &str) -> Key {
    let digest = digest_id([Some(target.receiver.as_str()), target.address.as_deref()]);
    format!("k/{digest}/{incident}").into_bytes()
}

/// The resolves that were dropped because of such a mark.
pub(crate) fn dropped(target: &Target, incident: &str) -> Key {
    let mut key = dead_trigger(target, incident);
    key[0] = b'y';
    key
}

/// The mark that belongs to a key of [`dropped`].
pub(crate) fn trigger_of_dropped(key: &[u8]) -> Key {
    let mut mark = key.to_vec();
    mark[0] = b'k';
    mark
}

pub(crate) const PENDING: &[u8] = b"d/";

/// Says where a delivery stands.
pub(crate) fn place(id: &DeliveryId) -> Key {
    [b"x/", delivery_bytes(id).as_slice()].concat()
}

fn delivery_bytes(id: &DeliveryId) -> [u8; 16] {
    hex_bytes(&id.0).unwrap_or_else(|| digest_bytes(&id.0))
}

pub(crate) const CLOSED: &[u8] = b"c/";

/// A delivery that is over; `seq` is its number.
pub(crate) fn closed(seq: u64) -> Key {
    numbered(CLOSED.to_vec(), seq)
}

pub(crate) fn attempts(seq: u64) -> Key {
    let mut key = numbered(b"a/".to_vec(), seq);
    key.push(b'/');
    key
}

pub(crate) const REQUESTS: &[u8] = b"m/";

/// What is to be told to fallbacks.
pub(crate) const HANDED_OVER: &[u8] = b"fb/";

pub(crate) const DEAD_LETTERS: &[u8] = b"l/";

/// Records of dead letters that are to be decided again.
pub(crate) const REPLAYS: &[u8] = b"u/";

pub(crate) fn replayed(letter_id: &str) -> Key {
    format!("v/{letter_id}").into_bytes()
}

/// `prefix` with a number behind it, in an order that is the number's.
pub(crate) fn numbered(mut prefix: Key, number: u64) -> Key {
    prefix.extend(format!("{number:020}").into_bytes());
    prefix
}

/// The number at the end of a key made by [`numbered`], of a piece of its value, or of a position's key; 0 if none.
pub(crate) fn number(key: &[u8]) -> u64 {
    let key = without_piece(key);
    let digits = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
