//! The suite, on readers, positions and the close.

use std::collections::BTreeMap;

use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::{
    PATIENCE, append, by_key, is_pending, next, next_after, numbers, read_all, record, records,
    subscribe, take,
};
use crate::{Bus, Error, Next, Position, Read, StartAt, Stream};

/// From the position after any number of records come exactly the others; also after a reopen.
pub async fn a_reader_goes_on_at_a_position(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(
        &bus,
        Stream::Changes,
        [records("a", 0..6), records("b", 0..6)].concat(),
    )
    .await;
    for n in [0, 1, 5, 11] {
        let mut first = subscribe(&bus, StartAt::Start).await;
        let mut reads = take(&mut *first, n).await;
        let from = StartAt::At(next_after(&reads));
        reads.extend(read_all(&bus, Stream::Changes, from).await);
        let expected = ["a", "b"].map(|key| (key.to_owned(), numbers(0..6)));
        assert_eq!(
            by_key(&reads),
            BTreeMap::from(expected),
            "after {n} records"
        );
    }
    let mut first = subscribe(&bus, StartAt::Start).await;
    let reads = take(&mut *first, 7).await;
    drop(first);
    bus.close().await;
    let bus = open().await;
    let from = StartAt::At(next_after(&reads));
    assert_eq!(read_all(&bus, Stream::Changes, from).await.len(), 5);
    bus.close().await;
}

/// A reader that comes late, or is slow, gets everything all the same.
pub async fn readers_know_nothing_of_each_other(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let mut early = subscribe(&bus, StartAt::Start).await;
    append(&bus, Stream::Changes, records("a", 0..10)).await;
    let mut late = subscribe(&bus, StartAt::Start).await;
    let first = take(&mut *early, 10).await;
    append(&bus, Stream::Changes, records("a", 10..12)).await;
    assert_eq!(by_key(&take(&mut *late, 12).await)["a"], numbers(0..12));
    let both = [first, take(&mut *early, 2).await].concat();
    assert_eq!(by_key(&both)["a"], numbers(0..12));
    bus.close().await;
}

/// At the end a reader waits; an append wakes it, each time.
pub async fn a_reader_waits_and_is_woken(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    for n in 0..5 {
        assert!(
            is_pending(&mut *subscriber).await,
            "there is nothing to read yet"
        );
        let (reads, ()) = tokio::join!(next(&mut *subscriber, 10), async {
            yield_now().await;
            append(&bus, Stream::Changes, vec![record("a", n)]).await;
        });
        assert_eq!(by_key(&reads)["a"], numbers(n..n + 1));
    }
    bus.close().await;
}

/// Futures dropped at any moment, while records come in, neither lose nor repeat one.
pub async fn a_dropped_future_loses_nothing(open: impl AsyncFn() -> Bus) {
    const N: usize = 200;
    let bus = open().await;
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    let publisher = bus.publisher();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for n in 0..N / 4 {
            let batch = records("a", 4 * n..4 * n + 4);
            publisher
                .append(Stream::Changes, batch)
                .await
                .expect("the append is taken");
        }
    });
    let mut reads: Vec<Read> = Vec::new();
    let mut round = 0;
    timeout(PATIENCE, async {
        while reads.len() < N {
            round += 1;
            // A different moment, and a different size, each time.
            let (moment, max) = (round % 7, 1 + round % 5);
            tokio::select! {
                biased;
                batch = subscriber.next(max) => {
                    let batch = batch.expect("the log can be read");
                    assert!(batch.len() <= max, "a batch is larger than asked");
                    reads.extend(batch);
                }
                () = async { for _ in 0..moment { yield_now().await } } => {}
            }
        }
    })
    .await
    .expect("all records come in time");
    tasks.join_all().await;
    assert_eq!(by_key(&reads)["a"], numbers(0..N));
    bus.close().await;
}

/// `max` is a limit, also where more is waiting, and 0 is 1.
pub async fn a_batch_is_no_larger_than_asked(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(&bus, Stream::Changes, records("a", 0..10)).await;
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    let mut reads = Vec::new();
    for max in [1, 2, 3] {
        reads.extend(next(&mut *subscriber, max).await);
    }
    let one = timeout(PATIENCE, subscriber.next(0))
        .await
        .expect("in time")
        .expect("readable");
    assert_eq!(one.len(), 1);
    reads.extend(one);
    let rest = 10 - reads.len();
    reads.extend(take(&mut *subscriber, rest).await);
    assert_eq!(by_key(&reads)["a"], numbers(0..10));
    bus.close().await;
}

/// Acknowledging is for retention and lag: it moves neither this reader nor another.
pub async fn an_acknowledgement_moves_no_reader(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(&bus, Stream::Changes, records("a", 0..6)).await;
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    let mut reads = take(&mut *subscriber, 2).await;
    let behind = next_after(&reads[..1]);
    let at = next_after(&reads);
    for next in [&at, &behind, &Next::new()] {
        subscriber
            .acknowledge(next)
            .await
            .expect("an acknowledgement is taken");
    }
    reads.extend(take(&mut *subscriber, 4).await);
    assert_eq!(by_key(&reads)["a"], numbers(0..6));
    assert_eq!(read_all(&bus, Stream::Changes, StartAt::Start).await, reads);
    bus.close().await;
}

/// The bounds are what a reader gets from start to end; an acknowledged append is within them.
pub async fn bounds_and_ends_say_what_is_held(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let bounds = bus.bounds(Stream::Changes).await.expect("the log answers");
    assert_eq!(bounds.start.lag(&bounds.end), 0);
    append(&bus, Stream::Changes, records("a", 0..7)).await;
    let bounds = bus.bounds(Stream::Changes).await.expect("the log answers");
    assert_eq!(bounds.start.lag(&bounds.end), 7);
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    assert_eq!(
        subscriber.ends().await.expect("the log answers"),
        bounds.end
    );
    let reads = take(&mut *subscriber, 7).await;
    assert_eq!(next_after(&reads).lag(&bounds.end), 0);
    assert_eq!(
        subscriber.ends().await.expect("the log answers"),
        bounds.end
    );
    bus.close().await;
}

/// The end is a position; beyond it is not.
pub async fn a_position_outside_is_refused(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(&bus, Stream::Changes, records("a", 0..3)).await;
    let end = bus
        .bounds(Stream::Changes)
        .await
        .expect("the log answers")
        .end;
    let mut at_end = subscribe(&bus, StartAt::At(end.clone())).await;
    assert!(
        is_pending(&mut *at_end).await,
        "nothing lies behind the end"
    );
    let (partition, offset) = end.iter().next().expect("a stream has a partition");
    let mut beyond = end.clone();
    beyond.set(partition, offset + 100);
    let refused = bus.subscribe(Stream::Changes, StartAt::At(beyond)).await;
    match refused.err() {
        Some(Error::OutOfRange {
            stream,
            partition: p,
            wanted,
            end,
            ..
        }) => {
            assert_eq!(
                (stream, p, wanted),
                (Stream::Changes, partition, offset + 100)
            );
            assert_eq!(end, offset);
        }
        other => panic!("a position beyond the end gave {other:?}"),
    }
    bus.close().await;
}

/// Every record can be read by itself; a position without a record gives none.
pub async fn one_record_can_be_read_at_its_position(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    append(
        &bus,
        Stream::Changes,
        [records("a", 0..5), records("b", 0..5)].concat(),
    )
    .await;
    for read in read_all(&bus, Stream::Changes, StartAt::Start).await {
        let again = bus
            .read_at(Stream::Changes, read.position)
            .await
            .expect("the log answers");
        assert_eq!(again, Some(read));
    }
    let end = bus
        .bounds(Stream::Changes)
        .await
        .expect("the log answers")
        .end;
    for (partition, offset) in end.iter() {
        for offset in [offset, offset + 1000] {
            let position = Position { partition, offset };
            let none = bus
                .read_at(Stream::Changes, position)
                .await
                .expect("the log answers");
            assert_eq!(none, None);
        }
    }
    let nowhere = Position {
        partition: 4321,
        offset: 0,
    };
    assert_eq!(bus.read_at(Stream::Changes, nowhere).await, Ok(None));
    bus.close().await;
}

/// After a close every call says so, and a reader that waits is woken to hear it.
pub async fn a_closed_log_says_so(open: impl AsyncFn() -> Bus) {
    let bus = open().await;
    let publisher = bus.publisher();
    let mut subscriber = subscribe(&bus, StartAt::Start).await;
    let (waited, ()) = tokio::join!(timeout(PATIENCE, subscriber.next(1)), bus.close());
    assert_eq!(
        waited.expect("a waiting reader is woken"),
        Err(Error::Closed)
    );
    assert_eq!(subscriber.next(1).await, Err(Error::Closed));
    assert_eq!(subscriber.ends().await, Err(Error::Closed));
    assert_eq!(
        subscriber.acknowledge(&Next::new()).await,
        Err(Error::Closed)
    );
    assert_eq!(
        publisher.append(Stream::Changes, records("a", 0..1)).await,
        Err(Error::Closed)
    );
    assert_eq!(publisher.ready().await, Err(Error::Closed));
    assert_eq!(bus.bounds(Stream::Changes).await, Err(Error::Closed));
    let refused = bus.subscribe(Stream::Changes, StartAt::Start).await;
    assert_eq!(refused.err(), Some(Error::Closed));
    bus.close().await;
}
