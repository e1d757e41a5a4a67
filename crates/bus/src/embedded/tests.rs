//! The embedded log: the suite of all backends, and what only files can do: tear, rot, fill up, be
//! locked and be unlinked.

mod damage;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::{Bus, Retry};

/// A folder for one test.
pub(super) struct Fixture {
    dir: TempDir,
    pub(super) options: EmbeddedOptions,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture {
            dir: TempDir::new().unwrap(),
            options: EmbeddedOptions::default(),
        }
    }

    /// A segment holds a record or two.
    pub(super) fn tiny_segments() -> Fixture {
        let options = EmbeddedOptions {
            segment_bytes: 60,
            ..EmbeddedOptions::default()
        };
        Fixture {
            options,
            ..Fixture::new()
        }
    }

    pub(super) async fn open(&self) -> Bus {
        open(self.dir.path(), &self.options).await
    }

    fn try_open(&self) -> Result<Bus, Error> {
        Bus::embedded(self.dir.path(), self.options.clone())
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn segment(&self, stream: Stream, first: u64) -> PathBuf {
        segment::path_of(&self.dir.path().join(stream.as_str()), first)
    }

    pub(super) fn segments(&self, stream: Stream) -> Vec<u64> {
        segment::list(&self.dir.path().join(stream.as_str())).unwrap()
    }
}

mod in_one_segment {
    crate::conformance_tests!(Some(super::Fixture::new()));
}

mod in_many_segments {
    crate::conformance_tests!(Some(super::Fixture::tiny_segments()));
}

pub(super) fn record(n: u64) -> Record {
    let headers = vec![("n".to_owned(), n.to_string().into_bytes())];
    Record {
        headers,
        ..Record::new("key", format!("value {n}"))
    }
}

pub(super) async fn append(bus: &Bus, stream: Stream, numbers: std::ops::Range<u64>) {
    for n in numbers {
        bus.publisher()
            .append(stream, vec![record(n)])
            .await
            .unwrap();
    }
}

/// A test that waits this long has failed.
/// Opens a log that was just closed. Tests beside this one start processes, and such a one holds a copy of
/// every open file between its fork and its exec: the lock of the log may be one of them.
pub(super) async fn open(dir: &Path, options: &EmbeddedOptions) -> Bus {
    let opened = async {
        loop {
            match Bus::embedded(dir, options.clone()) {
                Err(Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
                opened => return opened.expect("it opens"),
            }
        }
    };
    soon(opened).await
}

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it comes in time")
}

/// The records from the start to the end.
pub(super) async fn all(bus: &Bus, stream: Stream) -> Vec<Record> {
    let bounds = bus.bounds(stream).await.unwrap();
    let n = usize::try_from(bounds.start.lag(&bounds.end)).unwrap();
    let mut reader = bus.subscribe(stream, StartAt::Start).await.unwrap();
    let mut records = Vec::new();
    while records.len() < n {
        records.extend(
            reader
                .next(100)
                .await
                .unwrap()
                .into_iter()
                .map(|read| read.record),
        );
    }
    records
}

pub(super) fn numbered(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(record).collect()
}

pub(super) fn at(offset: u64) -> StartAt {
    StartAt::At(Next::from_iter([(PARTITION, offset)]))
}

pub(super) async fn bounds(bus: &Bus, stream: Stream) -> (u64, u64) {
    let bounds = bus.bounds(stream).await.unwrap();
    (
        bounds.start.get(PARTITION).unwrap(),
        bounds.end.get(PARTITION).unwrap(),
    )
}

/// Waits until `stream` starts at `start`.
pub(super) async fn starts_at(bus: &Bus, stream: Stream, start: u64) {
    let reached = async {
        while bounds(bus, stream).await.0 != start {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .is_err()
    {
        panic!(
            "{stream} holds {:?}, not from {start}",
            bounds(bus, stream).await
        );
    }
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_leaves_the_whole_records_before_it() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..4).await;
    bus.close().await;
    let whole = fs::read(fixture.segment(Stream::Changes, 0)).unwrap();
    let frame = whole.len() / 4;
    assert_eq!(frame, frame::HEAD_BYTES + record(0).size_bytes());
    for cut in 0..=whole.len() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.dir.path().join("changes")).unwrap();
        fs::write(fixture.segment(Stream::Changes, 0), &whole[..cut]).unwrap();
        let bus = fixture.open().await;
        let kept = (cut / frame) as u64;
        assert_eq!(
            all(&bus, Stream::Changes).await,
            numbered(0..kept),
            "cut at {cut}"
        );
        // And it goes on from there, also over the next reopen.
        append(&bus, Stream::Changes, kept..kept + 1).await;
        bus.close().await;
        let bus = fixture.open().await;
        assert_eq!(
            all(&bus, Stream::Changes).await,
            numbered(0..kept + 1),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn zeros_and_garbage_behind_the_last_record_are_cut() {
    for tail in [
        &[0; 5000][..],
        &[0xff; 9],
        b"half a record, or something else",
    ] {
        let fixture = Fixture::new();
        let bus = fixture.open().await;
        append(&bus, Stream::Changes, 0..3).await;
        bus.close().await;
        let path = fixture.segment(Stream::Changes, 0);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], tail].concat()).unwrap();
        let bus = fixture.open().await;
        assert_eq!(fs::read(&path).unwrap(), whole);
        append(&bus, Stream::Changes, 3..4).await;
        assert_eq!(all(&bus, Stream::Changes).await, numbered(0..4));
    }
}

#[tokio::test]
async fn below_the_least_free_space_the_log_takes_nothing_and_can_be_read() {
    let mut fixture = Fixture::new();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..3).await;
    bus.close().await;
    drop(bus);
    fixture.options.min_free_bytes = u64::MAX;
    let bus = fixture.open().await;
    let publisher = bus.publisher();
    let error = publisher.append(Stream::Changes, numbered(3..4)).await;
    let error = error.unwrap_err();
    assert_eq!(error.retry(), crate::Retry::Later, "{error}");
    assert!(error.to_string().contains("are kept free"), "{error}");
    assert!(publisher.ready().await.is_err());
    assert_eq!(all(&bus, Stream::Changes).await, numbered(0..3));
}

#[tokio::test]
async fn a_full_disk_fails_the_append_and_leaves_nothing_between_good_records() {
    let frame = frame::HEAD_BYTES + record(0).size_bytes();
    for written in [0, 1, frame - 1, frame, frame + 7, 2 * frame] {
        for fixture in [Fixture::new(), Fixture::tiny_segments()] {
            let bus = fixture.open().await;
            append(&bus, Stream::Changes, 0..2).await;
            let mut waiting = bus.subscribe(Stream::Changes, at(2)).await.unwrap();
            fixture.options.fault.next_write_stops_after(written);
            let failing = vec![record(90), record(91)];
            let error = bus
                .publisher()
                .append(Stream::Changes, failing)
                .await
                .unwrap_err();
            assert_eq!(error.retry(), Retry::Later, "{error}");
            assert!(error.to_string().contains("changes"), "{error}");
            assert_eq!(all(&bus, Stream::Changes).await, numbered(0..2));
            bus.publisher().ready().await.unwrap();
            append(&bus, Stream::Changes, 2..4).await;
            assert_eq!(soon(waiting.next(1)).await.unwrap()[0].record, record(2));
            assert_eq!(all(&bus, Stream::Changes).await, numbered(0..4));
            bus.close().await;
            let bus = fixture.open().await;
            assert_eq!(all(&bus, Stream::Changes).await, numbered(0..4));
        }
    }
}

#[tokio::test]
async fn a_failed_stream_does_not_fail_its_neighbour() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    fixture.options.fault.next_write_stops_after(3);
    let publisher = bus.publisher();
    assert!(
        publisher
            .append(Stream::Changes, numbered(0..1))
            .await
            .is_err()
    );
    append(&bus, Stream::DeadLetters, 0..1).await;
    assert_eq!(bounds(&bus, Stream::Changes).await, (0, 0));
    assert_eq!(bounds(&bus, Stream::DeadLetters).await, (0, 1));
}

#[tokio::test]
async fn only_one_handle_can_have_the_folder() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    let error = fixture.try_open().unwrap_err();
    assert_eq!(
        error,
        Error::Locked {
            dir: fixture.dir.path().to_owned()
        }
    );
    bus.close().await;
    let bus = fixture.open().await;
    drop(bus);
    // The last handle gone is as good as a close, also right after an append nobody waited for.
    let bus = fixture.open().await;
    let publisher = bus.publisher();
    drop(publisher.append(Stream::Changes, numbered(0..1)));
    drop((bus, publisher));
    fixture.open().await;
}

#[tokio::test]
async fn a_reader_keeps_the_log_open_without_a_handle() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..1).await;
    let mut reader = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    drop(bus);
    assert_eq!(soon(reader.next(1)).await.unwrap()[0].record, record(0));
    assert!(matches!(fixture.try_open(), Err(Error::Locked { .. })));
    drop(reader);
    fixture.open().await;
}

#[tokio::test]
async fn files_that_are_none_of_ours_stay() {
    let fixture = Fixture::new();
    fixture.open().await.close().await;
    let folder = fixture.dir.path().join("changes");
    let others = ["notes.txt", "7.segment", "0000000000000000000x.segment"];
    for other in others {
        fs::write(folder.join(other), "mine").unwrap();
    }
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..2).await;
    assert_eq!(all(&bus, Stream::Changes).await, numbered(0..2));
    for other in others {
        assert_eq!(fs::read_to_string(folder.join(other)).unwrap(), "mine");
    }
}

#[tokio::test]
async fn what_a_stream_takes_is_what_its_files_take() {
    let fixture = Fixture::tiny_segments();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..5).await;
    append(&bus, Stream::Requests, 0..2).await;
    let files: u64 = [Stream::Changes, Stream::Requests]
        .into_iter()
        .flat_map(|stream| {
            fixture
                .segments(stream)
                .into_iter()
                .map(move |first| (stream, first))
        })
        .map(|(stream, first)| fs::metadata(fixture.segment(stream, first)).unwrap().len())
        .sum();
    assert_eq!(bus.size_bytes().unwrap(), files);
}

#[tokio::test]
async fn a_position_of_another_backend_is_refused() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    let from = StartAt::At(Next::from_iter([(0, 0), (3, 17)]));
    let error = bus.subscribe(Stream::Changes, from).await.err();
    let stream = Stream::Changes;
    let refused = Error::OutOfRange {
        stream,
        partition: 3,
        wanted: 17,
        start: 0,
        end: 0,
    };
    assert_eq!(error, Some(refused));
}

#[tokio::test]
async fn a_batch_stays_near_one_mebibyte() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    for _ in 0..6 {
        let large = Record::new("key", vec![7; 400_000]);
        bus.publisher()
            .append(Stream::Changes, vec![large])
            .await
            .unwrap();
    }
    let mut reader = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    assert_eq!(soon(reader.next(100)).await.unwrap().len(), 3);
    assert_eq!(soon(reader.next(100)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path().join("file");
    fs::write(&dir, "").unwrap();
    let error = Bus::embedded(&dir, EmbeddedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
