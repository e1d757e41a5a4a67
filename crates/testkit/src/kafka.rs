//! A real Kafka for tests: one broker for the whole test binary, or a cluster of a test's own whose
//! brokers can be killed, stopped and restarted.
//!
//! In: `SYNCBELL_TEST_KAFKA` (see [`Launcher`]). Out: brokers that answer, on 127.0.0.1. Never: a broker
//! that outlives its handle or the test process, or a test that passes because nothing was there.

pub mod launcher;
mod jars;
pub mod listener;
mod properties;
mod node;
mod process;
mod container;
pub mod cluster;
pub mod admin;
pub mod acl;
mod records;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OnceCell;

pub use acl::{Operation, Resource};
pub use admin::{Admin, Topic};
pub use cluster::{KafkaCluster, KafkaOptions};
pub use launcher::Launcher;
pub use listener::{Listener, Sasl, unsecured_token};

static SHARED: OnceCell<Kafka> = OnceCell::const_new();
static N_PREFIXES: AtomicU64 = AtomicU64::new(0);

/// A Kafka that others use too: topics with a prefix of one's own, and no broker is touched.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    /// None where the broker was given. Lives until the process ends, and ends with it.
    cluster: Option<KafkaCluster>,
}

impl Kafka {
    /// Where a client starts: `HOST:PORT`, with commas between several.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What makes, changes and looks at topics.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.bootstrap)
    }

    /// What the broker wrote; nothing where it was given.
    pub fn log(&self) -> String {
        let cluster = self.cluster.as_ref();
        cluster.map(|cluster| cluster.log(1)).unwrap_or_default()
    }
}

/// The Kafka that all tests of this process share, started when the first one asks; plain text, one
/// broker. `None`, and a line on stderr, where [`Launcher::None`] was chosen: return from the test.
///
/// Panics with the way to get one where there is none.
pub async fn shared() -> Option<&'static Kafka> {
    let chosen = Launcher::chosen().await;
    if chosen == Launcher::None {
        launcher::left_out("SYNCBELL_TEST_KAFKA=none");
        return None;
    }
    let kafka = SHARED.get_or_init(|| async {
        if let Launcher::Given(bootstrap) = chosen {
            Admin::new(&bootstrap).wait_until_it_answers().await;
            let cluster = None;
            return Kafka { bootstrap, cluster };
        }
        let cluster = KafkaCluster::start(KafkaOptions::default()).await;
        let cluster = cluster.expect("neither given nor left out");
        Kafka {
            bootstrap: cluster.bootstrap(),
            cluster: Some(cluster),
        }
    });
    Some(kafka.await)
}

/// A prefix for topics and groups, `name-…-`, that no other test has: not in this process, and not in
/// another one that uses the same broker.
pub fn unique_prefix(name: &str) -> String {
    let n = N_PREFIXES.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{:08x}-{n}-", rand::random::<u32>())
}

#[cfg(test)]
mod tests;
