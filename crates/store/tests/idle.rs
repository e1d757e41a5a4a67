//! What an open store takes of the memory. Alone in its process: others would be counted too.

use syncbell_store::{Batch, Options, Store};

/// sled's histograms alone are 20 MiB, where they are written.
const MOST_KIB: u64 = 12 * 1024;

#[tokio::test]
async fn an_open_store_takes_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put("key", "value");
    store.commit(batch).await.unwrap();

    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    let kib: u64 = kib.parse().unwrap();
    assert!(kib < MOST_KIB, "{kib} KiB");
    store.close().await.unwrap();
}
