//! Records, written without a client library: also such as no client of ours would write.

use jiff::Timestamp;

use super::Admin;
use super::admin::of_one_partition;
use super::wire::Request;

impl Admin {
    /// Appends one record to a partition and gives its offset; acknowledged by all replicas in sync.
    pub async fn append(&self, topic: &str, partition: i32, key: &[u8], value: &[u8]) -> i64 {
        // Produce; no transaction, acks -1 is all.
        let request = Request::new(0, 3).null_text().i16(-1).i32(1_500).array(1);
        let request = request.text(topic).array(1).i32(partition);
        let request = request.bytes(&batch(key, value, Timestamp::now()));
        let what = format!("append to {topic}/{partition}");
        self.ask_leader(&what, (topic, partition), &request, |answer| {
            of_one_partition(answer, |partition| {
                let error = partition.i16()?;
                let offset = partition.i64()?;
                partition.i64()?; // Time stamp of the log.
                Ok((offset, error))
            })
        })
        .await
    }
}

/// A batch of one record (Kafka documentation 5.3, "Record Batch" and "Record").
fn batch(key: &[u8], value: &[u8], now: Timestamp) -> Vec<u8> {
    // Attributes, delta of the time, delta of the offset.
    let mut record = vec![0, 0, 0];
    for field in [key, value] {
        varint(&mut record, field.len());
        record.extend(field);
    }
    varint(&mut record, 0); // Headers.
    let mut summed = Vec::new();
    summed.extend(0_i16.to_be_bytes()); // Attributes: not compressed.
    summed.extend(0_i32.to_be_bytes()); // Delta of the last offset.
    // First and last time, in ms: the retention would delete what is old.
    summed.extend(now.as_millisecond().to_be_bytes());
    summed.extend(now.as_millisecond().to_be_bytes());
    summed.extend((-1_i64).to_be_bytes()); // Producer, its epoch, its sequence: not idempotent.
    summed.extend((-1_i16).to_be_bytes());
    summed.extend((-1_i32).to_be_bytes());
    summed.extend(1_i32.to_be_bytes()); // Records.
    varint(&mut summed, record.len());
    summed.extend(record);
    let mut rest = Vec::new();
    rest.extend((-1_i32).to_be_bytes()); // Epoch of the leader.
    rest.push(2); // Magic.
    rest.extend(crc32c::crc32c(&summed).to_be_bytes());
    rest.extend(summed);
    let length = i32::try_from(rest.len()).expect("a test's record is small");
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend(length.to_be_bytes());
    batch.extend(rest);
    batch
}

/// Zigzag, then seven bits a byte, lowest first.
fn varint(into: &mut Vec<u8>, value: usize) {
    let mut left = value << 1;
    while left >= 0x80 {
        into.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
        left >>= 7;
    }
    into.push(u8::try_from(left).expect("seven bits"));
}
