//! Random operations, crashes and reopenings, against a `Vec`.

use std::fs::{self, OpenOptions};

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::tests::{open, soon};
use super::*;
use crate::{Bus, Subscriber};

const STREAM: Stream = Stream::Changes;

#[derive(Clone, Debug)]
enum Operation {
    /// One append of records of these sizes.
    Append(Vec<usize>),
    /// The same, but the disk becomes full after so many bytes.
    AppendToFullDisk(Vec<usize>, usize),
    Read(usize),
    /// Acknowledge what was read.
    Acknowledge,
    Reopen,
    /// Crash: the newest segment keeps only a part of its bytes.
    Tear(Index),
    /// Crash: something follows the last record.
    Garbage(Vec<u8>),
}

fn operation() -> impl Strategy<Value = Operation> {
    let sizes = || proptest::collection::vec(0_usize..90, 1..5);
    prop_oneof![
        6 => sizes().prop_map(Operation::Append),
        1 => (sizes(), 0_usize..300).prop_map(|(s, n)| Operation::AppendToFullDisk(s, n)),
        5 => (1_usize..6).prop_map(Operation::Read),
        3 => Just(Operation::Acknowledge),
        1 => Just(Operation::Reopen),
        1 => any::<Index>().prop_map(Operation::Tear),
        1 => proptest::collection::vec(any::<u8>(), 1..60).prop_map(Operation::Garbage),
    ]
}

/// The log beside what it should hold.
struct Model {
    dir: TempDir,
    options: EmbeddedOptions,
    log: Option<(Bus, Box<dyn Subscriber>)>,
    /// By offset, those that were unlinked too.
    records: Vec<Record>,
    next: u64,
    /// Nothing from here on may be unlinked.
    needed: u64,
    start: u64,
    /// Makes every record another one.
    n_made: usize,
}

impl Model {
    async fn new() -> Model {
        let options = EmbeddedOptions {
            segment_bytes: 200,
            retention_bytes: 700,
            ..EmbeddedOptions::default()
        };
        let dir = TempDir::new().unwrap();
        let (records, n_made) = (Vec::new(), 0);
        let mut model = Model {
            dir,
            options,
            log: None,
            records,
            next: 0,
            needed: 0,
            start: 0,
            n_made,
        };
        model.open().await;
        model
    }

    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn log(&mut self) -> &mut (Bus, Box<dyn Subscriber>) {
        self.log.as_mut().unwrap()
    }

    /// Opens the log and takes the reader up where its ledger says, or at the start where the log
    /// ends before that.
    async fn open(&mut self) {
        let bus = open(self.dir.path(), &self.options).await;
        let from = StartAt::At(Next::from_iter([(PARTITION, self.next)]));
        let reader = match bus.subscribe(STREAM, from).await {
            Ok(reader) => {
                assert!(self.next <= self.end());
                reader
            }
            Err(error) => {
                let (wanted, start, end) = (self.next, self.start, self.end());
                let refused = Error::OutOfRange {
                    stream: STREAM,
                    partition: PARTITION,
                    wanted,
                    start,
                    end,
                };
                assert_eq!(error, refused);
                assert!(wanted > end);
                self.next = start;
                bus.subscribe(STREAM, StartAt::Start).await.unwrap()
            }
        };
        self.needed = self.next;
        self.log = Some((bus, reader));
    }

    async fn close(&mut self) {
        if let Some((bus, _)) = self.log.take() {
            bus.close().await;
        }
    }

    fn make(&mut self, sizes: &[usize]) -> Vec<Record> {
        let make = |size: &usize| {
            self.n_made += 1;
            Record::new(self.n_made.to_string(), vec![b'.'; *size])
        };
        sizes.iter().map(make).collect()
    }

    async fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Append(sizes) => {
                let records = self.make(&sizes);
                self.records.extend(records.clone());
                self.log()
                    .0
                    .publisher()
                    .append(STREAM, records)
                    .await
                    .unwrap();
            }
            Operation::AppendToFullDisk(sizes, bytes) => {
                let records = self.make(&sizes);
                self.options.fault.next_write_stops_after(bytes);
                self.log()
                    .0
                    .publisher()
                    .append(STREAM, records)
                    .await
                    .unwrap_err();
            }
            Operation::Read(max) => self.read(max).await,
            Operation::Acknowledge => {
                let next = Next::from_iter([(PARTITION, self.next)]);
                self.needed = self.next;
                self.log().1.acknowledge(&next).await.unwrap();
            }
            Operation::Reopen => {
                self.close().await;
                self.open().await;
            }
            Operation::Tear(index) => {
                self.close().await;
                self.tear(index);
                self.open().await;
            }
            Operation::Garbage(bytes) => {
                self.close().await;
                let path = self.newest().1;
                let kept = fs::read(&path).unwrap();
                fs::write(&path, [kept, bytes].concat()).unwrap();
                self.open().await;
            }
        }
    }

    async fn read(&mut self, max: usize) {
        if self.next == self.end() {
            // Nothing to read: the future waits, and is dropped.
            let waiting = self.log().1.next(max);
            assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
            return;
        }
        let reads = soon(self.log().1.next(max)).await.unwrap();
        assert!((1..=max).contains(&reads.len()));
        for read in reads {
            assert_eq!(read.position.offset, self.next);
            assert_eq!(
                Some(&read.record),
                self.records.get(usize::try_from(self.next).unwrap())
            );
            self.next += 1;
        }
    }

    fn newest(&self) -> (u64, std::path::PathBuf) {
        let dir = self.dir.path().join(STREAM.as_str());
        let first = *segment::list(&dir).unwrap().last().unwrap();
        (first, segment::path_of(&dir, first))
    }

    /// Cuts the newest segment, and from the model the records that are no longer whole.
    fn tear(&mut self, index: Index) {
        let (first, path) = self.newest();
        let bytes = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let mut left = index.index(bytes + 1);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(left as u64)
            .unwrap();
        let first = usize::try_from(first).unwrap();
        let whole = self.records[first..].iter().take_while(|record| {
            let frame = frame::HEAD_BYTES + record.size_bytes();
            let whole = frame <= left;
            left = left.saturating_sub(frame);
            whole
        });
        let kept = first + whole.count();
        self.records.truncate(kept);
    }

    async fn check(&mut self) {
        let (end, needed) = (self.end(), self.needed);
        // Answered behind the retention that the last append has set off.
        self.log().0.publisher().ready().await.unwrap();
        let bounds = self.log().0.bounds(STREAM).await.unwrap();
        assert_eq!(bounds.end.get(PARTITION), Some(end));
        let start = bounds.start.get(PARTITION).unwrap();
        assert!(start >= self.start, "the start went back");
        assert!(
            start <= needed,
            "the log starts at {start}, and {needed} is still needed"
        );
        self.start = start;
    }

    async fn check_all(&mut self) {
        let start = usize::try_from(self.start).unwrap();
        let expected = self.records[start..].to_vec();
        let mut reader = self
            .log()
            .0
            .subscribe(STREAM, StartAt::Start)
            .await
            .unwrap();
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(
                reader
                    .next(7)
                    .await
                    .unwrap()
                    .into_iter()
                    .map(|read| read.record),
            );
        }
        assert_eq!(seen, expected);
        for (record, offset) in expected.into_iter().zip(self.start..) {
            let position = Position {
                partition: PARTITION,
                offset,
            };
            let read = self.log().0.read_at(STREAM, position).await.unwrap();
            let read = read.expect("it is held");
            assert_eq!((read.position, read.record), (position, record));
            assert!(read.appended_at_ms.is_some_and(|at| at > 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vec_over_any_crashes(
        operations in proptest::collection::vec(operation(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for operation in operations {
                model.apply(operation).await;
                model.check().await;
            }
            model.check_all().await;
            model.close().await;
        });
    }
}
