//! What every backend must do, as tests over a factory: `open` gives a handle on one and the same
//! log each time (a folder, a set of topics), empty at first. A handle is closed before the next is
//! opened. Nothing here knows how many partitions there are: order is asked for within a key.
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each function, so that no
//! backend can leave one out.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

mod appending;
mod reading;

pub use self::appending::*;
pub use self::reading::*;

use crate::{Bus, Next, Read, Record, StartAt, Stream, Subscriber};

/// Makes a `#[tokio::test]` of each function of the suite. Takes an expression, evaluated in each
/// test, that gives `Some` value with `async fn open(&self) -> Bus`, which lives as long as the test;
/// `None` leaves the test out, where the backend is not there on purpose.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::conformance_tests! { @ $fixture;
            an_append_is_durable_and_in_order,
            an_empty_append_is_accepted,
            bytes_and_headers_come_back_as_they_were,
            order_is_kept_within_a_key,
            a_reader_goes_on_at_a_position,
            readers_know_nothing_of_each_other,
            a_reader_waits_and_is_woken,
            a_dropped_future_loses_nothing,
            a_batch_is_no_larger_than_asked,
            an_acknowledgement_moves_no_reader,
            bounds_and_ends_say_what_is_held,
            a_position_outside_is_refused,
            one_record_can_be_read_at_its_position,
            streams_are_independent,
            concurrent_appends_are_all_there_once,
            a_record_over_the_limit_refuses_the_whole_append,
            a_closed_log_says_so,
        }
    };
    (@ $fixture:expr; $($name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(fixture) = $fixture else { return };
                $crate::conformance::$name(async || fixture.open().await).await;
            }
        )*
    };
}

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn record(key: &str, n: usize) -> Record {
    Record::new(key, n.to_string())
}

fn records(key: &str, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|n| record(key, n)).collect()
}

async fn append(bus: &Bus, stream: Stream, records: Vec<Record>) {
    bus.publisher()
        .append(stream, records)
        .await
        .expect("the append is taken");
}

async fn subscribe(bus: &Bus, from: StartAt) -> Box<dyn Subscriber> {
    bus.subscribe(Stream::Changes, from)
        .await
        .expect("the position is held")
}

async fn next(subscriber: &mut dyn Subscriber, max: usize) -> Vec<Read> {
    let reads = timeout(PATIENCE, subscriber.next(max)).await;
    let reads = reads
        .expect("a record comes in time")
        .expect("the log can be read");
    assert!(!reads.is_empty(), "a batch holds at least one record");
    assert!(
        reads.len() <= max,
        "{} records where {max} were asked for",
        reads.len()
    );
    reads
}

/// Exactly the next `n` records.
async fn take(subscriber: &mut dyn Subscriber, n: usize) -> Vec<Read> {
    let mut reads = Vec::new();
    while reads.len() < n {
        reads.extend(next(subscriber, n - reads.len()).await);
    }
    reads
}

/// Everything from `from` to the end of `stream` now.
async fn read_all(bus: &Bus, stream: Stream, from: StartAt) -> Vec<Read> {
    let mut subscriber = bus
        .subscribe(stream, from.clone())
        .await
        .expect("the position is held");
    let end = subscriber.ends().await.expect("the log answers");
    let mut at = match from {
        StartAt::Start => bus.bounds(stream).await.expect("the log answers").start,
        StartAt::At(next) => next,
    };
    let mut reads = Vec::new();
    while at.lag(&end) > 0 {
        for read in next(&mut *subscriber, 100).await {
            at.advance(read.position);
            reads.push(read);
        }
    }
    reads
}

fn next_after(reads: &[Read]) -> Next {
    let mut next = Next::new();
    for read in reads {
        next.advance(read.position);
    }
    next
}

/// The values of each key, in the order they were read; and that positions rise.
fn by_key(reads: &[Read]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen = Next::new();
    for read in reads {
        assert!(
            !seen.is_past(read.position),
            "{:?} came twice or late",
            read.position
        );
        seen.advance(read.position);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        keys.entry(text(&read.record.key))
            .or_default()
            .push(text(&read.record.value));
    }
    keys
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Whether the reader has something at once.
async fn is_pending(subscriber: &mut dyn Subscriber) -> bool {
    let mut future = subscriber.next(1);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
