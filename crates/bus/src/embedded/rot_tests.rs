//! Damage of the newest segment that no crash makes: set aside, told by where the log starts, never cut.

use std::fs;

use super::tests::{Fixture, all, append, at, bounds, numbered};
use crate::{Error, Stream};

const N: u64 = 6;

#[tokio::test]
async fn a_flipped_bit_at_any_byte_before_the_last_record_drops_nothing_in_silence() {
    let fixture = Fixture::new();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..N).await;
    bus.close().await;
    drop(bus);
    let whole = fs::read(fixture.segment(Stream::Changes, 0)).unwrap();
    let frame = whole.len() / usize::try_from(N).unwrap();
    for byte in 0..whole.len() {
        let fixture = Fixture::new();
        drop(fixture.open().await);
        let mut rotten = whole.clone();
        rotten[byte] ^= 0x04;
        fs::write(fixture.segment(Stream::Changes, 0), &rotten).unwrap();
        let bus = fixture.open().await;
        let (start, end) = bounds(&bus, Stream::Changes).await;
        if byte / frame == whole.len() / frame - 1 {
            // The last record: it looks as a torn tail does. Who has read it is told by the end.
            assert_eq!((start, end), (0, N - 1), "byte {byte}");
            continue;
        }
        assert_eq!((start, end), (N, N), "byte {byte}");
        // Who has read it all reads on; who has not is told so.
        bus.subscribe(Stream::Changes, at(N)).await.unwrap();
        let unread = bus.subscribe(Stream::Changes, at(N - 1)).await;
        assert!(matches!(unread, Err(Error::OutOfRange { start: N, .. })));
        append(&bus, Stream::Changes, N..N + 2).await;
        assert_eq!(all(&bus, Stream::Changes).await, numbered(N..N + 2));
    }
}

#[tokio::test]
async fn what_is_damaged_is_kept_by_name_and_the_new_log_lasts() {
    let fixture = Fixture::tiny_segments();
    let bus = fixture.open().await;
    append(&bus, Stream::Changes, 0..N).await;
    bus.close().await;
    drop(bus);
    let newest = *fixture.segments(Stream::Changes).last().unwrap();
    let path = fixture.segment(Stream::Changes, newest);
    let mut rotten = fs::read(&path).unwrap();
    let frame = rotten.clone();
    // A whole record behind a bad one.
    rotten[20] ^= 1;
    rotten.extend(frame);
    fs::write(&path, &rotten).unwrap();
    let bus = fixture.open().await;
    let (start, _) = bounds(&bus, Stream::Changes).await;
    append(&bus, Stream::Changes, 0..3).await;
    bus.close().await;
    drop(bus);
    let bus = fixture.open().await;
    assert_eq!(bounds(&bus, Stream::Changes).await, (start, start + 3));
    assert_eq!(all(&bus, Stream::Changes).await, numbered(0..3));
    let names = fs::read_dir(fixture.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside: Vec<String> = names
        .filter(|name| name.starts_with("changes.damaged-"))
        .collect();
    let [aside] = aside.as_slice() else {
        panic!("not one set aside: {aside:?}");
    };
    let kept = fixture.path().join(aside).join(path.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), rotten);
}
