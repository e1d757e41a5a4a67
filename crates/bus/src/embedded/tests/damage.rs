//! Segments that are damaged, or of a newer program: named, left alone or set aside.

use super::*;

/// What can happen to a segment of two records, with the byte at which it is found.
fn damages(whole: &[u8]) -> [(&'static str, Vec<u8>, usize); 4] {
    let half = whole.len() / 2;
    let mut flipped = whole.to_vec();
    flipped[half + frame::HEAD_BYTES + 3] ^= 0x10;
    [
        ("a flipped bit", flipped, half),
        ("cut inside a record", whole[..half + 5].to_vec(), half),
        ("cut between records", whole[..half].to_vec(), half),
        (
            "a record too many",
            [whole, &whole[..half]].concat(),
            whole.len(),
        ),
    ]
}

/// A log of eight records, its second segment, and where the third begins.
async fn eight_records(fixture: &Fixture) -> (Bus, std::path::PathBuf, u64) {
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..8).await;
    let firsts = fixture.segments(Stream::Changes);
    let [_, second, third, ..] = firsts[..] else {
        panic!("{firsts:?}")
    };
    assert_eq!(third - second, 2, "a segment holds two records here");
    (bus, fixture.segment(Stream::Changes, second), third)
}

#[tokio::test]
async fn an_older_segment_that_is_damaged_under_a_reader_is_named_with_its_byte_and_left_alone() {
    // What stands behind the records that it wrote itself is not looked at.
    for n in 0..3 {
        let fixture = Fixture::tiny_segments();
        let (bus, path, third) = eight_records(&fixture).await;
        let (what, bytes, expected_byte) = damages(&fs::read(&path).unwrap())[n].clone();
        fs::write(&path, &bytes).unwrap();
        let mut reader = bus
            .subscribe(Stream::Changes, StartAt::Start)
            .await
            .unwrap();
        let mut good = Vec::new();
        let error = loop {
            match soon(reader.next(100)).await {
                Ok(reads) => good.extend(reads.into_iter().map(|read| read.record)),
                Err(error) => break error,
            }
        };
        // Every record before the damage was given, and the error comes again.
        let n_good = u64::try_from(good.len()).unwrap();
        assert_eq!(good, numbered(0..n_good), "{what}");
        assert!(n_good > third - 2, "{what}: {n_good} records");
        assert_eq!(soon(reader.next(1)).await.unwrap_err(), error, "{what}");
        assert_eq!(error.retry(), Retry::Never);
        let Error::Corrupt { file, byte, .. } = error else {
            panic!("{what}: {error:?}")
        };
        assert_eq!((file, byte), (path.clone(), expected_byte as u64), "{what}");
        // What lies behind the damage can still be read, and the log still takes appends.
        let mut reader = bus.subscribe(Stream::Changes, at(third)).await.unwrap();
        let read = soon(reader.next(1)).await.unwrap();
        assert_eq!(read[0].record, record(third), "{what}");
        append(&bus, Stream::Changes, 8..9).await;
        bus.close().await;
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
    }
}

#[tokio::test]
async fn at_the_next_start_a_log_with_a_damaged_older_segment_is_set_aside_and_begins_anew() {
    for n in 0..4 {
        let fixture = Fixture::tiny_segments();
        let (bus, path, _) = eight_records(&fixture).await;
        bus.close().await;
        drop(bus);
        let (what, bytes, _) = damages(&fs::read(&path).unwrap())[n].clone();
        fs::write(&path, &bytes).unwrap();
        let bus = fixture.open().await;
        assert_eq!(bounds(&bus, Stream::Changes).await, (8, 8), "{what}");
        append(&bus, Stream::Changes, 8..10).await;
        assert_eq!(all(&bus, Stream::Changes).await, numbered(8..10), "{what}");
        let names = fs::read_dir(fixture.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().path());
        let aside = |path: &std::path::PathBuf| path.to_string_lossy().contains("changes.damaged-");
        let aside: Vec<_> = names.filter(aside).collect();
        assert_eq!(aside.len(), 1, "{what}: {aside:?}");
        let kept = aside[0].join(path.file_name().unwrap());
        assert_eq!(fs::read(kept).unwrap(), bytes, "{what}");
    }
}

#[tokio::test]
async fn a_record_of_a_newer_program_is_refused_and_not_cut() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..1).await;
    bus.close().await;
    let path = fixture.segment(Stream::Changes, 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[frame::HEAD_BYTES] = 2;
    let checksum = crc32c::crc32c(&bytes[frame::HEAD_BYTES..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = fixture.try_open().unwrap_err();
    let Error::Corrupt {
        file,
        byte: 0,
        what,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(file, path);
    assert!(what.contains("version"), "{what}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
