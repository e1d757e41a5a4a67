//! The few bytes that are kept of a task that is over and went well.
//!
//! In: a row whose task is SUCCESS or CANCELED without an issue. Out: its id, status and times, the
//! hash of the whole, and what the diff must remember: some 80 bytes instead of 700. What else the
//! task said is gone, so that a later change of it names only what can be compared.
//!
//! Layout, integers big-endian: version, status, hash (8), observed, created, modified, gone since
//! (8 each; milliseconds, [`NEVER`] for none), filters (length, text), visits (count, then 8 and 4
//! bytes each), the id to the end.

use jiff::Timestamp;
use syncbell_event::{Status, SyncTask};

use super::{Fingerprint, Row, VERSION};

/// The first byte; a whole row begins with `{`.
const COMPACT_VERSION: u8 = 2;

const NEVER: i64 = i64::MIN;

pub(super) fn encode(row: &Row) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.push(COMPACT_VERSION);
    bytes.push(u8::from(row.task.status == Status::Canceled));
    bytes.extend(row.fingerprint().0.to_be_bytes());
    let times = [
        Some(row.observed_at),
        row.task.created_at,
        row.task.modified_at,
        row.absent_since,
    ];
    for time in times {
        let ms = time.map_or(NEVER, Timestamp::as_millisecond);
        bytes.extend(ms.to_be_bytes());
    }
    let filters = row.filters.as_bytes();
    bytes.push(u8::try_from(filters.len()).expect("the digest of filters has 16 digits"));
    bytes.extend(filters);
    bytes.push(u8::try_from(row.visits.len()).expect("the history is bounded"));
    for (state, n) in &row.visits {
        let state = u64::from_str_radix(state, 16).expect("states are 16 hex digits");
        bytes.extend(state.to_be_bytes());
        bytes.extend(n.to_be_bytes());
    }
    bytes.extend(row.task.task_id.as_str().as_bytes());
    bytes
}

/// The error says what is wrong with the bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Row, String> {
    match bytes.first() {
        Some(&COMPACT_VERSION) => take(&bytes[1..]).ok_or_else(|| "it is cut".to_owned()),
        Some(version) => Err(format!(
            "it has version {version}, this program knows up to {COMPACT_VERSION}"
        )),
        None => Err("it is empty".to_owned()),
    }
}

fn take(mut rest: &[u8]) -> Option<Row> {
    let [canceled] = *fixed(&mut rest)?;
    let fingerprint = u64::from_be_bytes(*fixed(&mut rest)?);
    let mut time = || -> Option<Option<Timestamp>> {
        match i64::from_be_bytes(*fixed(&mut rest)?) {
            NEVER => Some(None),
            ms => Some(Some(Timestamp::from_millisecond(ms).ok()?)),
        }
    };
    let observed_at = time()??;
    let (created_at, modified_at, absent_since) = (time()?, time()?, time()?);
    let [n_bytes] = *fixed(&mut rest)?;
    let (filters, mut rest) = rest.split_at_checked(n_bytes.into())?;
    let [n_visits] = *fixed(&mut rest)?;
    let mut visits = Vec::with_capacity(n_visits.into());
    for _ in 0..n_visits {
        let state = u64::from_be_bytes(*fixed(&mut rest)?);
        let n = u32::from_be_bytes(*fixed(&mut rest)?);
        visits.push((format!("{state:016x}"), n));
    }
    let status = if canceled == 0 {
        Status::Success
    } else {
        Status::Canceled
    };
    let mut task = SyncTask::new(String::from_utf8(rest.to_vec()).ok()?, status);
    task.created_at = created_at;
    task.modified_at = modified_at;
    Some(Row {
        v: VERSION,
        task,
        compacted: Some(Fingerprint(fingerprint)),
        visits,
        filters: String::from_utf8(filters.to_vec()).ok()?,
        observed_at,
        misses: 0,
        absent_since,
        vanished: false,
    })
}

fn fixed<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(status: Status) -> Row {
        let mut task = SyncTask::new("rst-é/1", status);
        task.created_at = Timestamp::from_millisecond(1_572_839_126_000).ok();
        task.link_id = Some("lost".to_owned());
        let mut row = Row::new(task, "0123456789abcdef", Timestamp::UNIX_EPOCH);
        row.enter();
        row.enter();
        row
    }

    #[test]
    fn a_healthy_final_task_takes_few_bytes_and_is_recognised() {
        for status in [Status::Success, Status::Canceled] {
            let mut row = whole(status.clone());
            row.absent_since = Timestamp::from_millisecond(-5).ok();
            let bytes = row.encode();
            assert!(bytes.len() < 100, "{} bytes", bytes.len());
            let back = Row::decode(b"k", &bytes).unwrap();
            assert_eq!(back.fingerprint(), Fingerprint::of(&row.task));
            let mut expected = row.clone();
            expected.compacted = Some(row.fingerprint());
            expected.task.link_id = None;
            assert_eq!(back, expected);
            assert_eq!(back.encode(), bytes, "written again it is the same");
        }
    }

    #[test]
    fn what_may_still_matter_is_kept_whole() {
        let mut bad = whole(Status::Success);
        bad.task.issue = Some("NETWORK_ERROR".to_owned());
        for row in [whole(Status::Error), whole(Status::Pending), bad] {
            assert_eq!(Row::decode(b"k", &row.encode()).unwrap(), row);
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let error = Row::decode(b"task/a", &[3, 1, 2]).unwrap_err().to_string();
        assert!(error.contains("version 3"), "{error}");
        assert!(Row::decode(b"k", b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
            drop(decode(&[&[COMPACT_VERSION], bytes.as_slice()].concat()));
        }
    }
}
