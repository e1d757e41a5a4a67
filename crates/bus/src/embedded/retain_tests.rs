//! What is unlinked, and what stays.

use super::tests::{Fixture, all, append, at, bounds, numbered, record, soon, starts_at};
use super::*;

/// Two records a segment, and room for two segments or so.
fn small_room() -> Fixture {
    let mut fixture = Fixture::tiny_segments();
    fixture.options.retention_bytes = 250;
    fixture
}

#[tokio::test]
async fn read_segments_go_when_there_are_too_many_and_unread_ones_stay() {
    let fixture = small_room();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..20).await;
    // Nobody reads: nothing may go.
    assert_eq!(bounds(&bus, Stream::Changes).await, (0, 20));
    let mut reader = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    append(&bus, Stream::Changes, 20..30).await;
    assert_eq!(
        bounds(&bus, Stream::Changes).await,
        (0, 30),
        "a reader stands at the start"
    );
    let mut slow = bus.subscribe(Stream::Changes, at(7)).await.unwrap();
    reader
        .acknowledge(&Next::from_iter([(PARTITION, 30)]))
        .await
        .unwrap();
    append(&bus, Stream::Changes, 30..33).await;
    starts_at(&bus, Stream::Changes, 6).await;
    assert_eq!(soon(slow.next(1)).await.unwrap()[0].record, record(7));
    drop(slow);
    append(&bus, Stream::Changes, 33..36).await;
    let held = || async { bounds(&bus, Stream::Changes).await };
    starts_at(&bus, Stream::Changes, 30).await;
    assert_eq!(held().await.1, 36);
    // The reader has acknowledged what it never read, and stands before the start now.
    let error = soon(reader.next(1)).await.unwrap_err();
    let stream = Stream::Changes;
    assert_eq!(
        error,
        Error::OutOfRange {
            stream,
            partition: 0,
            wanted: 0,
            start: 30,
            end: 36
        }
    );
    let error = bus.subscribe(Stream::Changes, at(29)).await.err();
    assert_eq!(
        error,
        Some(Error::OutOfRange {
            stream,
            partition: 0,
            wanted: 29,
            start: 30,
            end: 36
        })
    );
    assert_eq!(fixture.segments(Stream::Changes)[0], 30);
    let gone = Position {
        partition: PARTITION,
        offset: 3,
    };
    assert_eq!(bus.read_at(Stream::Changes, gone).await, Ok(None));
    bus.close().await;
    let bus = fixture.open().await;
    assert_eq!(bounds(&bus, Stream::Changes).await, (30, 36));
    assert_eq!(all(&bus, Stream::Changes).await, numbered(30..36));
}

#[tokio::test]
async fn dead_letters_are_bounded_by_size_whether_read_or_not() {
    let fixture = small_room();
    let bus = fixture.open().await;
    let mut reader = bus
        .subscribe(Stream::DeadLetters, StartAt::Start)
        .await
        .unwrap();
    append(&bus, Stream::DeadLetters, 0..30).await;
    // Answered behind the retention that the last append has set off.
    bus.publisher().ready().await.unwrap();
    let limit = fixture.options.retention_bytes + fixture.options.segment_bytes * 2;
    let (start, end) = bounds(&bus, Stream::DeadLetters).await;
    assert!(start > 0 && end == 30 && bus.size_bytes().unwrap() <= limit);
    let error = soon(reader.next(1)).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { wanted: 0, start: s, .. } if s == start));
}

#[tokio::test]
async fn old_segments_go_without_an_append() {
    let mut fixture = Fixture::tiny_segments();
    fixture.options.retention_age = Duration::ZERO;
    fixture.options.retention_every = Duration::from_millis(10);
    let bus = fixture.open().await;
    append(&bus, Stream::Requests, 0..5).await;
    let mut reader = bus
        .subscribe(Stream::Requests, StartAt::Start)
        .await
        .unwrap();
    soon(reader.next(100)).await.unwrap();
    reader
        .acknowledge(&Next::from_iter([(PARTITION, 5)]))
        .await
        .unwrap();
    // The active segment stays, however old.
    starts_at(&bus, Stream::Requests, 4).await;
    assert_eq!(all(&bus, Stream::Requests).await, numbered(4..5));
}

#[tokio::test]
async fn the_age_of_a_segment_is_known_after_a_reopen() {
    let mut fixture = Fixture::tiny_segments();
    let bus = fixture.open().await;
    append(&bus, Stream::DeadLetters, 0..5).await;
    bus.close().await;
    fixture.options.dead_letters_age = Duration::from_millis(1);
    fixture.options.retention_every = Duration::from_millis(10);
    let bus = fixture.open().await;
    starts_at(&bus, Stream::DeadLetters, 4).await;
}
