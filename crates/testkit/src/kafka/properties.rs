//! A broker's settings.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// `syncbell-testkit`, as Kafka writes ids: base64 of 16 bytes.
pub(super) const CLUSTER_ID: &str = "c3luY2JlbGwtdGVzdGtpdA";

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) plaintext: SocketAddr,
    pub(super) controller: SocketAddr,
}

/// The settings of node `id` of `nodes` (whose ids count from 1), as a properties file. What stands in
/// `more` overrides.
pub(super) fn server_properties(
    id: usize,
    nodes: &[Addresses],
    folder: &Path,
    more: &[(String, String)],
) -> String {
    let own = nodes[id - 1];
    let voters = nodes.iter().enumerate();
    let voters = voters.map(|(index, node)| format!("{}@{}", index + 1, node.controller));
    let voters = voters.collect::<Vec<_>>().join(",");
    let n = nodes.len();
    let min_in_sync = n.min(2);
    let (plaintext, controller) = (own.plaintext, own.controller);
    let data = folder.join("data");
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{plaintext},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{plaintext}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
# A topic is there because somebody created it.
auto.create.topics.enable=false
# A group is complete with its first member.
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor={n}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={n}
transaction.state.log.min.isr={min_in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={n}
share.coordinator.state.topic.min.isr={min_in_sync}
# A broker that says nothing is given up sooner than after 9 s.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
# Small machines run several at a time.
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
",
        data.display()
    );
    for (key, value) in more {
        writeln!(text, "{key}={value}").expect("a String takes everything");
    }
    text
}
