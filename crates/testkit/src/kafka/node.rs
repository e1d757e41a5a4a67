//! One broker: its folder, and what runs it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::container::{Container, Image};
use super::process::Process;
use super::properties::CLUSTER_ID;

/// Formats the data folder where it is not yet, and becomes the broker. A watcher beside it ends it when
/// its standard input closes, which is when the test process ends, however that comes, and removes the
/// folder; stopped first, the broker writes no more.
///
/// For any POSIX shell: dash, busybox.
const SCRIPT: &str = r#"
java=$1 jars=$2 folder=$3 heap=$4 cluster=$5 alive=$6
shift 6
exec >>"$folder/log" 2>&1
if [ "$alive" != - ]; then exec <"$alive"; fi
exec 3<&0 </dev/null
(
    read -r _ <&3
    kill -STOP $$
    rm -rf "$folder"
    rmdir "$(dirname "$folder")"
    kill -KILL $$
) &
exec 3<&-
echo $$ >"$folder/pid"
properties=$folder/server.properties
"$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN -cp "$jars/*" \
    kafka.tools.StorageTool format --ignore-formatted -t "$cluster" -c "$properties" "$@" || exit 1
exec "$java" "-Xmx$heap" -XX:+UseSerialGC -Dlog4j2.level=WARN -cp "$jars/*" kafka.Kafka "$properties"
"#;

/// Where brokers run.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    /// As processes, with the jars of this folder.
    Jvm { jars: PathBuf },
    /// In containers of this image.
    Docker { image: Image },
}

/// What the script is called with.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The node's own, with its settings, its data and its log.
    pub(super) folder: PathBuf,
    /// As `-Xmx` takes it.
    pub(super) heap: String,
    /// More arguments for the first formatting.
    pub(super) format: Vec<String>,
}

impl Launch {
    /// Arguments for a shell. `alive` is what to read from until it closes, `-` for standard input.
    pub(super) fn shell(&self, java: &str, jars: &str, alive: &str) -> Vec<String> {
        let folder = self.folder.display().to_string();
        let first = ["-c", SCRIPT, "kafka-for-tests", java, jars];
        let second = [&folder, &self.heap, CLUSTER_ID, alive];
        let all = first.into_iter().chain(second).map(str::to_owned);
        all.chain(self.format.iter().cloned()).collect()
    }
}

/// A node of a cluster, running or not.
#[derive(Debug)]
pub(super) struct Node {
    engine: Engine,
    launch: Launch,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
enum Running {
    Process(Process),
    Container(Container),
}

/// What a broker can be told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Says nothing more, and keeps its connections.
    Stop,
    /// Goes on.
    Cont,
    /// Ends by itself.
    Term,
}

impl Node {
    /// A node with these settings; not started.
    pub(super) fn new(engine: Engine, launch: Launch, properties: &str) -> io::Result<Self> {
        fs::create_dir_all(&launch.folder)?;
        fs::write(launch.folder.join("server.properties"), properties)?;
        Ok(Self {
            engine,
            launch,
            running: Mutex::new(None),
        })
    }

    /// Starts it on the data that it has. Nothing if it runs.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut running = self.running();
        if running.as_mut().is_some_and(Running::is_running) {
            return Ok(());
        }
        *running = None;
        *running = Some(match &self.engine {
            Engine::Jvm { jars } => Running::Process(Process::start(&self.launch, jars)?),
            Engine::Docker { image } => Running::Container(Container::start(&self.launch, image)?),
        });
        Ok(())
    }

    /// SIGKILL; it is gone when this returns. Nothing if it does not run.
    pub(super) fn kill(&self) {
        drop(self.running().take());
    }

    /// Panics if it does not run.
    pub(super) fn tell(&self, order: Order) {
        let mut running = self.running();
        let running = running.as_mut();
        let running = running.expect("a broker that was not started takes no order");
        match running {
            Running::Process(process) => process.tell(order),
            Running::Container(container) => container.tell(order),
        }
    }

    /// Whether it is there, stopped or not.
    pub(super) fn is_running(&self) -> bool {
        self.running().as_mut().is_some_and(Running::is_running)
    }

    /// Runs a class of Kafka's jars where the broker runs: its exit code, and what it wrote.
    pub(super) fn run(&self, arguments: &[&str]) -> io::Result<(i64, String)> {
        match self.running().as_ref() {
            Some(Running::Container(container)) => container.run(arguments),
            _ => match &self.engine {
                Engine::Jvm { jars } => Process::run(jars, arguments),
                Engine::Docker { .. } => Err(io::Error::other("the container does not run")),
            },
        }
    }

    /// What it wrote, from its first start on.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.launch.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn is_running(&mut self) -> bool {
        match self {
            Self::Process(process) => process.is_running(),
            Self::Container(container) => container.is_running(),
        }
    }
}

/// The classpath of a folder with jars.
pub(super) fn classpath(jars: &Path) -> String {
    jars.join("*").display().to_string()
}
