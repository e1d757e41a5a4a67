use std::sync::Arc;

use jiff::Timestamp;
use syncbell_event::{Source, SweepKind, Swept};

use super::*;

fn envelope(n: u64) -> Envelope {
    let source = Source {
        region: "cn-shanghai".to_owned(),
        instance: "cri-a".to_owned(),
    };
    let swept = Swept {
        seen_until: Timestamp::UNIX_EPOCH,
        tasks: n,
        open: 0,
        sweep: SweepKind::Full,
        next_by: Timestamp::UNIX_EPOCH,
    };
    Envelope::swept(&source, Timestamp::UNIX_EPOCH, swept)
}

async fn put(outbox: &Outbox, numbers: impl IntoIterator<Item = u64>) {
    let envelopes: Vec<Envelope> = numbers.into_iter().map(envelope).collect();
    let mut batch = Batch::new();
    let added = outbox.add(&mut batch, &envelopes);
    outbox.store.commit(batch).await.unwrap();
    outbox.committed(&added);
}

#[tokio::test]
async fn the_oldest_come_first_and_go_when_acknowledged() {
    let outbox = Outbox::load(Store::memory()).await.unwrap();
    put(&outbox, 0..300).await;
    let first = outbox.oldest(200).await.unwrap();
    let events: Vec<Vec<u8>> = first.iter().map(|row| row.event.clone()).collect();
    let expected: Vec<Vec<u8>> = (0..200).map(|n| envelope(n).encode()).collect();
    assert_eq!(events, expected);
    assert_eq!(first[0].instance, "cri-a");
    outbox.acknowledged(&first).await.unwrap();
    let rest = outbox.oldest(200).await.unwrap();
    assert_eq!(rest[0].event, envelope(200).encode());
    assert_eq!(outbox.depth().rows, 100);
    outbox.acknowledged(&rest).await.unwrap();
    assert_eq!(outbox.depth(), Depth::default());
}

#[tokio::test]
async fn the_sequence_goes_on_after_a_restart_even_of_an_empty_outbox() {
    let store = Store::memory();
    let outbox = Outbox::load(store.clone()).await.unwrap();
    put(&outbox, 0..3).await;
    let rows = outbox.oldest(10).await.unwrap();
    outbox.acknowledged(&rows).await.unwrap();

    let outbox = Outbox::load(store.clone()).await.unwrap();
    put(&outbox, 3..4).await;
    let next = outbox.oldest(10).await.unwrap();
    assert_eq!(seq(&next[0].key), seq(&rows[2].key) + 1);

    let again = Outbox::load(store).await.unwrap();
    assert_eq!(
        again.depth(),
        outbox.depth(),
        "what waits is counted at start"
    );
    assert_eq!(again.oldest(10).await.unwrap(), next);
}

#[tokio::test]
async fn no_sequence_number_is_given_twice_when_two_commit_in_another_order() {
    let store = Store::memory();
    let outbox = Outbox::load(store.clone()).await.unwrap();
    let (mut first, mut second) = (Batch::new(), Batch::new());
    let added = [
        outbox.add(&mut first, &[envelope(1)]),
        outbox.add(&mut second, &[envelope(2)]),
    ];
    store.commit(second).await.unwrap();
    store.commit(first).await.unwrap();
    for added in &added {
        outbox.committed(added);
    }
    let rows = outbox.oldest(10).await.unwrap();
    outbox.acknowledged(&rows).await.unwrap();

    let outbox = Outbox::load(store).await.unwrap();
    put(&outbox, 3..4).await;
    assert_eq!(seq(&outbox.oldest(1).await.unwrap()[0].key), 3);
}

#[tokio::test]
async fn a_full_outbox_lets_nobody_in_until_rows_go() {
    let limit = Depth {
        rows: 3,
        bytes: u64::MAX,
    };
    let outbox = Arc::new(Outbox::load_with(Store::memory(), limit).await.unwrap());
    put(&outbox, 0..2).await;
    outbox.room().await;
    put(&outbox, 2..4).await;
    assert!(outbox.is_full());
    let rows = outbox.oldest(10).await.unwrap();
    assert_eq!(rows.len(), 4, "nothing is dropped");
    tokio::join!(outbox.room(), async {
        outbox.acknowledged(&rows[..2]).await.unwrap();
    });
    assert!(!outbox.is_full());
}

#[tokio::test]
async fn bytes_fill_it_too_and_an_abandoned_batch_does_not() {
    let limit = Depth {
        rows: 1_000,
        bytes: 1,
    };
    let outbox = Outbox::load_with(Store::memory(), limit).await.unwrap();
    let added = outbox.add(&mut Batch::new(), &[envelope(1)]);
    assert!(outbox.is_full());
    outbox.abandoned(&added);
    assert!(!outbox.is_full());
    assert_eq!(outbox.oldest(1).await.unwrap(), []);
}

#[tokio::test]
async fn a_cut_row_is_an_error_that_names_it() {
    let store = Store::memory();
    let mut batch = Batch::new();
    batch.put(key(1), [9, 9]);
    store.commit(batch).await.unwrap();
    let outbox = Outbox::load(store).await.unwrap();
    let error = outbox.oldest(1).await.unwrap_err();
    assert!(error.to_string().contains("outbox/"), "{error}");
}

#[tokio::test]
async fn what_is_sent_and_not_yet_deleted_is_not_given_again_and_hides_nothing() {
    let store = Store::memory();
    let outbox = Outbox::load(store.clone()).await.unwrap();
    let (mut early, mut late) = (Batch::new(), Batch::new());
    let first = outbox.add(&mut early, &[envelope(1)]);
    let second = outbox.add(&mut late, &[envelope(2), envelope(3)]);
    // Added earlier, committed later: another instance's.
    store.commit(late).await.unwrap();
    outbox.committed(&second);
    let sent = outbox.oldest(2).await.unwrap();
    assert_eq!(outbox.oldest_besides(&sent, 10).await.unwrap(), []);
    store.commit(early).await.unwrap();
    outbox.committed(&first);
    let besides = outbox.oldest_besides(&sent, 10).await.unwrap();
    let events: Vec<Vec<u8>> = besides.into_iter().map(|row| row.event).collect();
    assert_eq!(events, [envelope(1).encode()]);
}
