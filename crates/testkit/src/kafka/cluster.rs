//! Brokers of a test's own: started together, and each killed, stopped, restarted on request.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rustix::process::getuid;
use tempfile::TempDir;

use super::admin::{Admin, Metadata};
use super::launcher::Launcher;
use super::listener::{Listener, User, scram_arguments, write_keys};
use super::node::{Engine, Launch, Node, Order};
use super::properties::{Addresses, server_properties};
use crate::{Authority, eventually};

/// Formatting and starting three takes 12 s on two idle cores.
const START_TIMEOUT: Duration = Duration::from_mins(2);
const STOP_TIMEOUT: Duration = Duration::from_mins(1);
const BROKERS_MAX: usize = 3;
/// Somebody else may take a port before the broker has it.
const STARTS_MAX: usize = 5;
/// Below the range from which the system gives ports to outgoing connections, so that a killed broker
/// finds its own free again, and no client that tries to reach it connects to itself.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// What to start.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before start()"]
pub struct KafkaOptions {
    brokers: usize,
    heap: String,
    pub(super) properties: Vec<(String, String)>,
    pub(super) listeners: Vec<Listener>,
    pub(super) users: Vec<User>,
    pub(super) acls: bool,
}

impl Default for KafkaOptions {
    /// One broker.
    fn default() -> Self {
        Self::brokers(1)
    }
}

impl KafkaOptions {
    /// One to three brokers, each a controller too; their ids count from 1.
    pub fn brokers(n: usize) -> Self {
        assert!((1..=BROKERS_MAX).contains(&n), "one to three brokers");
        Self {
            brokers: n,
            heap: "384m".to_owned(),
            properties: Vec::new(),
            listeners: Vec::new(),
            users: Vec::new(),
            acls: false,
        }
    }

    /// One more way in, next to the one in plain text.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Who can log in where a listener asks for PLAIN or SCRAM. Letters and digits.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        for word in [name, password] {
            let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            assert!(
                plain,
                "it goes into the broker's settings: letters and digits only"
            );
        }
        let (name, password) = (name.to_owned(), password.to_owned());
        self.users.push(User { name, password });
        self
    }

    /// Nobody may do anything, but for who comes in plain text, and what [`Admin::allow`] allows.
    pub fn acls(mut self) -> Self {
        self.acls = true;
        self
    }

    /// A setting of every broker, over those that the launcher chose.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// The brokers; killed when dropped, and with the test process however that ends.
#[derive(Debug)]
pub struct KafkaCluster {
    // Before the folder: what runs in it goes first.
    nodes: Vec<Arc<Node>>,
    addresses: Vec<Addresses>,
    listeners: Vec<Listener>,
    authority: Authority,
    folder: TempDir,
}

impl KafkaCluster {
    /// Starts brokers of the test's own and waits until each answers and sees all others. `None`, and a
    /// line on stderr, where [`Launcher::None`] or [`Launcher::Given`] was chosen: return from the test.
    ///
    /// Panics with the brokers' log where they do not come up, or with what is missing.
    pub async fn start(options: KafkaOptions) -> Option<Self> {
        let engine = Launcher::engine().await?;
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            let cluster = Self::spawn(&engine, &options).expect("could not start a Kafka");
            match cluster.comes_up().await {
                Ok(()) => return Some(cluster),
                Err(said) => log = said,
            }
            if !log.contains("Address already in use") {
                break;
            }
        }
        panic!("Kafka did not start:\n{log}");
    }

    fn spawn(engine: &Engine, options: &KafkaOptions) -> io::Result<Self> {
        // In a folder for all clusters, of which a broker in a container can remove its own.
        let all = std::env::temp_dir().join(format!("syncbell-kafka-{}", getuid().as_raw()));
        fs::create_dir_all(&all)?;
        let folder = TempDir::new_in(fs::canonicalize(all)?)?;
        let authority = Authority::new();
        let n_ports = 2 + options.listeners.len();
        let ports = free_ports(n_ports * options.brokers);
        let addresses = ports.chunks(n_ports).map(|ports| Addresses {
            plaintext: ports[0],
            controller: ports[1],
            more: ports[2..].to_vec(),
        });
        let addresses: Vec<_> = addresses.collect();
        let nodes = (1..=options.brokers).map(|id| {
            let own = folder.path().join(id.to_string());
            let keys = own.join("keys");
            write_keys(&authority, &keys)?;
            let properties = server_properties(id, &addresses, options, &own, &keys);
            let launch = Launch {
                folder: own,
                heap: options.heap.clone(),
                format: scram_arguments(&options.users),
            };
            Node::new(engine.clone(), launch, &properties).map(Arc::new)
        });
        let nodes = nodes.collect::<io::Result<Vec<_>>>()?;
        nodes.iter().try_for_each(|node| node.start())?;
        Ok(Self {
            nodes,
            addresses,
            listeners: options.listeners.clone(),
            authority,
            folder,
        })
    }

    /// Whether all brokers answer and see one another; their logs, if one ended.
    async fn comes_up(&self) -> Result<(), String> {
        let wait = eventually("the brokers", START_TIMEOUT * 2, || async {
            if !self.nodes.iter().all(|node| node.is_running()) {
                return Some(false);
            }
            self.all_answer(&self.all()).await.then_some(true)
        });
        match tokio::time::timeout(START_TIMEOUT, wait).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.logs()),
            Err(elapsed) => Err(format!(
                "not up ({elapsed}, {START_TIMEOUT:?})\n{}",
                self.logs()
            )),
        }
    }

    /// Whether each of these brokers answers and sees all of them.
    async fn all_answer(&self, ids: &BTreeSet<i32>) -> bool {
        for id in ids {
            let seen = self.admin_of(*id).each_metadata().await;
            let sees = |metadata: &Metadata| ids.iter().all(|id| metadata.brokers.contains_key(id));
            if !seen.first().is_some_and(sees) {
                return false;
            }
        }
        true
    }

    /// Where a client starts: the plain-text listeners of all brokers, `HOST:PORT,…`.
    pub fn bootstrap(&self) -> String {
        let addresses = self.addresses.iter();
        let addresses: Vec<_> = addresses.map(|one| one.plaintext.to_string()).collect();
        addresses.join(",")
    }

    /// The plain-text listener of one broker.
    pub fn addr(&self, id: i32) -> SocketAddr {
        self.addresses[index(id)].plaintext
    }

    /// Where a client starts that comes in by another listener.
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        let index = self.listeners.iter().position(|one| *one == listener);
        let index = index.expect("no such listener was asked for");
        let addresses = self.addresses.iter();
        let addresses: Vec<_> = addresses.map(|one| one.more[index].to_string()).collect();
        addresses.join(",")
    }

    /// Who signed the certificates of the brokers, and signs those of clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Runs one of Kafka's own tools, a class of its jars, where the first broker runs, and gives what it
    /// wrote; as an error, if it failed. Files for it go into [`KafkaCluster::folder`].
    pub async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let node = Arc::clone(&self.nodes[0]);
        let run = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            node.run(&arguments)
        });
        let ran = run.await.expect("does not panic");
        match ran.expect("could not run a tool of Kafka's") {
            (0, said) => Ok(said),
            (code, said) => Err(format!("exit code {code}\n{said}")),
        }
    }

    /// What makes, changes and looks at topics.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.bootstrap())
    }

    fn admin_of(&self, id: i32) -> Admin {
        Admin::new(&self.addr(id).to_string())
    }

    fn all(&self) -> BTreeSet<i32> {
        (1..).take(self.nodes.len()).collect()
    }

    /// SIGKILL; the broker is gone when this returns, its data stays.
    pub fn kill(&self, id: i32) {
        self.node(id).kill();
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn stop(&self, id: i32) {
        self.node(id).tell(Order::Stop);
    }

    /// SIGCONT: goes on after [`KafkaCluster::stop`].
    pub fn cont(&self, id: i32) {
        self.node(id).tell(Order::Cont);
    }

    /// SIGTERM, and waits for the end: the broker hands its partitions to others first. Panics with its
    /// log after 60 s.
    pub async fn terminate(&self, id: i32) {
        self.node(id).tell(Order::Term);
        let ended = eventually("the broker to end", STOP_TIMEOUT * 2, || {
            std::future::ready((!self.node(id).is_running()).then_some(()))
        });
        let ended = tokio::time::timeout(STOP_TIMEOUT, ended).await;
        ended.unwrap_or_else(|elapsed| {
            panic!(
                "broker {id} did not end ({elapsed}, {STOP_TIMEOUT:?})\n{}",
                self.log(id)
            )
        });
        // Its watcher too.
        self.node(id).kill();
    }

    /// Starts a broker that was killed or terminated, on its data and its ports, and waits until it
    /// answers as one of the cluster: after SIGKILL not before its session of 6 s is over. Panics with its
    /// log after two minutes.
    pub async fn restart(&self, id: i32) {
        self.node(id).start().expect("could not start a Kafka");
        let up = eventually("the broker", START_TIMEOUT * 2, || async {
            assert!(
                self.node(id).is_running(),
                "broker {id} ended:\n{}",
                self.log(id)
            );
            let seen = self.admin_of(id).each_metadata().await;
            let seen = seen
                .first()
                .is_some_and(|seen| seen.brokers.contains_key(&id));
            seen.then_some(())
        });
        let up = tokio::time::timeout(START_TIMEOUT, up).await;
        up.unwrap_or_else(|elapsed| {
            panic!(
                "broker {id} is not up ({elapsed}, {START_TIMEOUT:?})\n{}",
                self.log(id)
            )
        });
    }

    /// Restarts one broker after the other as an update would: SIGTERM, start, and on to the next when
    /// all replicas are in sync again.
    pub async fn roll(&self) {
        for id in self.all() {
            self.terminate(id).await;
            self.restart(id).await;
            self.wait_until_in_sync().await;
        }
    }

    /// Waits until every partition has a leader and all its replicas in sync.
    pub async fn wait_until_in_sync(&self) {
        let healthy = |metadata: &Metadata| {
            let mut partitions = metadata.topics.values().flatten();
            partitions.all(|one| one.leader.is_some() && one.in_sync.len() == one.replicas.len())
        };
        let what = "all replicas to be in sync";
        self.admin().wait_until_all_see(what, healthy).await;
    }

    /// Whether a broker's process is there, stopped or not.
    pub fn is_running(&self, id: i32) -> bool {
        self.node(id).is_running()
    }

    /// What a broker wrote, from its first start on.
    pub fn log(&self, id: i32) -> String {
        self.node(id).log()
    }

    /// The folder with the brokers' data.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn logs(&self) -> String {
        let logs = self.all().into_iter();
        let logs = logs.map(|id| format!("-- broker {id}\n{}\n", self.log(id)));
        logs.collect::<Vec<_>>().concat()
    }

    fn node(&self, id: i32) -> &Node {
        &self.nodes[index(id)]
    }
}

/// Ids count from 1.
fn index(id: i32) -> usize {
    let index = usize::try_from(id - 1).ok();
    index.expect("the ids of brokers count from 1")
}

/// Different ports of 127.0.0.1 that nobody listens on.
fn free_ports(n: usize) -> Vec<SocketAddr> {
    let mut rng = rand::rng();
    let mut held = Vec::new();
    while held.len() < n {
        let port = rng.random_range(PORTS);
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    let addresses = held.iter().map(TcpListener::local_addr);
    addresses
        .map(|address| address.expect("a bound socket has an address"))
        .collect()
}
