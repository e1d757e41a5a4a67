//! One broker: a process, its folder, its signals.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::jars;
use super::properties::CLUSTER_ID;

/// Formats the data folder where it is not yet, and becomes the broker. A watcher beside it ends it when
/// its standard input closes, which is when the test process ends, however that comes, and removes the
/// folder. A handle ends both as a process group, whose number stays taken while the watcher lives, so
/// that it never kills a stranger.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
java=$1 jars=$2 folder=$3 heap=$4 cluster=$5 properties=$3/server.properties
(
    read -r _ <&3
    kill -KILL $$
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ 2>/dev/null && sleep 0.2; done
    rm -rf "$folder"
    rmdir "$(dirname "$folder")"
) &
exec 3<&-
"$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool \
    format --ignore-formatted -t "$cluster" -c "$properties" || exit 1
exec "$java" "-Xmx$heap" -XX:+UseSerialGC -Dlog4j2.level=WARN -cp "$jars/*" kafka.Kafka "$properties"
"#;

/// A node of a cluster, running or not.
#[derive(Debug)]
pub(super) struct Node {
    folder: PathBuf,
    heap: String,
    jars: PathBuf,
    process: Mutex<Option<Process>>,
}

/// Killed, with its watcher, when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Node {
    /// A node with these settings, its data in `folder`; not started.
    pub(super) fn new(
        folder: &Path,
        properties: &str,
        heap: &str,
        jars: &Path,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("server.properties"), properties)?;
        Ok(Self {
            folder: folder.to_owned(),
            heap: heap.to_owned(),
            jars: jars.to_owned(),
            process: Mutex::new(None),
        })
    }

    /// Starts it on the data that it has. Nothing if it runs.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut process = self.process();
        if process.as_mut().is_some_and(Process::is_running) {
            return Ok(());
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "kafka-for-tests"])
            .arg(jars::java())
            .arg(&self.jars)
            .arg(&self.folder)
            .args([&self.heap, CLUSTER_ID])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        *process = Some(Process { child });
        Ok(())
    }

    /// SIGKILL; it is gone when this returns. Nothing if it does not run.
    pub(super) fn kill(&self) {
        drop(self.process().take());
    }

    /// Sends a signal to the broker itself. Panics if it does not run.
    pub(super) fn signal(&self, signal: Signal) {
        let mut process = self.process();
        let process = process
            .as_mut()
            .expect("a broker that was not started takes no signal");
        // Asked first: a process that was waited for has given its id back to the system.
        assert!(process.is_running(), "a broker that ended takes no signal");
        kill_process(Pid::from_child(&process.child), signal).expect("a child can be signalled");
    }

    /// Whether its process is there, stopped or not.
    pub(super) fn is_running(&self) -> bool {
        self.process().as_mut().is_some_and(Process::is_running)
    }

    /// What it wrote, from its first start on.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group, for its watcher too. Best effort: a panic in a drop would hide the test's own.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}
