//! The suite, on what is appended.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::{append, by_key, is_pending, numbers, read_all, record, records, subscribe, take};
use crate::{Bus, Error, MAX_RECORD_BYTES, Record, StartAt, Stream};

/// What was acknowledged is there after a reopen, in the order of the appends.
pub async fn an_append_is_durable_and_in_order(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    bus.publisher().ready().await.expect("an open log is ready");
    append(&bus, Stream::Changes, records("a", 0..3)).await;
    append(&bus, Stream::Changes, records("a", 3..4)).await;
    bus.close().await;
    let bus = open().await;
    append(&bus, Stream::Changes, records("a", 4..9)).await;
    let reads = read_all(&bus, Stream::Changes, StartAt::Start).await;
    assert_eq!(
        by_key(&reads),
        BTreeMap::from([("a".into(), numbers(0..9))])
    );
    bus.close().await;
}

/// Nothing to append is no error and leaves nothing.
pub async fn an_empty_append_is_accepted(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(&bus, Stream::Changes, Vec::new()).await;
    append(&bus, Stream::Changes, records("a", 0..1)).await;
    append(&bus, Stream::Changes, Vec::new()).await;
    assert_eq!(
        read_all(&bus, Stream::Changes, StartAt::Start).await.len(),
        1
    );
    bus.close().await;
}

/// Any bytes, empty ones too, and headers in their order.
pub async fn bytes_and_headers_come_back_as_they_were(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let headers = vec![
        (
            "content-type".to_owned(),
            b"application/octet-stream".to_vec(),
        ),
        ("x-twice".to_owned(), all.clone()),
        ("x-twice".to_owned(), Vec::new()),
    ];
    let sent = vec![
        Record {
            key: all.clone(),
            value: all,
            headers,
        },
        Record::new("k", ""),
        Record::new("k", vec![b'v'; 900_000]),
    ];
    for record in &sent {
        append(&bus, Stream::Changes, vec![record.clone()]).await;
    }
    let mut seen: Vec<Record> = read_all(&bus, Stream::Changes, StartAt::Start)
        .await
        .into_iter()
        .map(|read| read.record)
        .collect();
    // Partitions may come in any order; within a key it is the order of the appends.
    seen.sort_by_key(|record| record.key != sent[0].key);
    assert!(seen == sent, "what was read is not what was appended");
    bus.close().await;
}

/// Keys that are mixed in one append and over appends keep their own order.
pub async fn order_is_kept_within_a_key(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    for n in 0..20 {
        let mixed = ["a", "b", "c"].map(|key| record(key, 2 * n));
        let again = ["c", "a", "b"].map(|key| record(key, 2 * n + 1));
        append(&bus, Stream::Changes, [mixed, again].concat()).await;
    }
    let reads = read_all(&bus, Stream::Changes, StartAt::Start).await;
    let expected = ["a", "b", "c"].map(|key| (key.to_owned(), numbers(0..40)));
    assert_eq!(by_key(&reads), BTreeMap::from(expected));
    bus.close().await;
}

/// What goes into one stream is in no other.
pub async fn streams_are_independent(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    for (n, stream) in Stream::ALL.into_iter().enumerate() {
        append(&bus, stream, records(stream.as_str(), 0..n + 1)).await;
    }
    for (n, stream) in Stream::ALL.into_iter().enumerate() {
        let reads = read_all(&bus, stream, StartAt::Start).await;
        let expected = BTreeMap::from([(stream.as_str().to_owned(), numbers(0..n + 1))]);
        assert_eq!(by_key(&reads), expected);
    }
    bus.close().await;
}

/// Appends from many tasks are all there, once, each task's in its order.
pub async fn concurrent_appends_are_all_there_once(open: impl AsyncFn() -> Bus) {
    const TASKS: usize = 32;
    const APPENDS: usize = 10;
    let bus = open().await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let publisher = bus.publisher();
        tasks.spawn(async move {
            for n in 0..APPENDS {
                let batch = records(&format!("task-{task}"), 2 * n..2 * n + 2);
                publisher
                    .append(Stream::Changes, batch)
                    .await
                    .expect("the append is taken");
            }
        });
    }
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    let reads = take(&mut *subscriber, TASKS * APPENDS * 2).await;
    tasks.join_all().await;
    let expected = (0..TASKS).map(|task| (format!("task-{task}"), numbers(0..APPENDS * 2)));
    assert_eq!(by_key(&reads), expected.collect::<BTreeMap<_, _>>());
    assert!(
        is_pending(&mut *subscriber).await,
        "there is no record more"
    );
    bus.close().await;
}

/// One record that is too large refuses what is appended with it, before anything is written.
pub async fn a_record_over_the_limit_refuses_the_whole_append(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let large = Record::new("a", vec![0; MAX_RECORD_BYTES + 1]);
    let batch = vec![record("a", 0), large, record("a", 1)];
    match bus.publisher().append(Stream::Changes, batch).await {
        Err(Error::TooLarge {
            stream,
            size_bytes,
            limit_bytes,
        }) => {
            assert_eq!(stream, Stream::Changes);
            assert!(size_bytes > limit_bytes && limit_bytes <= MAX_RECORD_BYTES);
        }
        other => panic!("a record over the limit gave {other:?}"),
    }
    append(&bus, Stream::Changes, vec![record("a", 2)]).await;
    let reads = read_all(&bus, Stream::Changes, StartAt::Start).await;
    assert_eq!(by_key(&reads)["a"], numbers(2..3));
    bus.close().await;
}
