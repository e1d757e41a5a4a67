//! A broker's settings.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::cluster::KafkaOptions;

/// `syncbell-testkit`, as Kafka writes ids: base64 of 16 bytes.
pub(super) const CLUSTER_ID: &str = "c3luY2JlbGwtdGVzdGtpdA";

/// Where a node listens.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) plaintext: SocketAddr,
    pub(super) controller: SocketAddr,
    /// In the order of the options' listeners.
    pub(super) more: Vec<SocketAddr>,
}

/// The settings of node `id` of `nodes` (whose ids count from 1), as a properties file. Its data goes into
/// `folder`, its keys lie in `keys`.
pub(super) fn server_properties(
    id: usize,
    nodes: &[Addresses],
    options: &KafkaOptions,
    folder: &Path,
    keys: &Path,
) -> String {
    let own = &nodes[id - 1];
    let voters = nodes.iter().enumerate();
    let voters = voters.map(|(index, node)| format!("{}@{}", index + 1, node.controller));
    let voters = voters.collect::<Vec<_>>().join(",");
    let mut brokers = format!("PLAINTEXT://{}", own.plaintext);
    let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    for (listener, address) in options.listeners.iter().zip(&own.more) {
        let name = listener.name().to_uppercase();
        let protocol = listener.protocol();
        write!(brokers, ",{name}://{address}").expect("a String takes everything");
        write!(protocols, ",{name}:{protocol}").expect("a String takes everything");
    }
    let controller = own.controller;
    let data = folder.join("data");
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners={brokers},CONTROLLER://{controller}
advertised.listeners={brokers}
listener.security.protocol.map={protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
",
        data.display()
    );
    text += &behaviour(nodes.len());
    if options.acls {
        text += "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
# Who comes in plain text: the brokers themselves, and the launcher.
super.users=User:ANONYMOUS
";
    }
    let listeners = options.listeners.iter();
    let listeners = listeners.flat_map(|listener| listener.properties(keys, &options.users));
    for (key, value) in listeners.chain(options.properties.iter().cloned()) {
        writeln!(text, "{key}={value}").expect("a String takes everything");
    }
    text
}

/// What suits tests, on a cluster of `n`.
fn behaviour(n: usize) -> String {
    let min_in_sync = n.min(2);
    format!(
        "# A topic is there because somebody created it.
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
"
    )
}
