//! A broker as a process.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::jars;
use super::node::{Launch, Order, classpath};

/// Killed, with its watcher, when dropped. Both are a process group of their own, whose number stays
/// taken while the watcher lives, so that it never kills a stranger.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    pub(super) fn start(launch: &Launch, jars: &Path) -> io::Result<Self> {
        let java = jars::java().display().to_string();
        let jars = jars.display().to_string();
        let child = Command::new("sh")
            .args(launch.shell(&java, &jars, "-"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// To the broker itself. Panics if it ended.
    pub(super) fn tell(&mut self, order: Order) {
        // Asked first: a process that was waited for has given its id back to the system.
        assert!(self.is_running(), "a broker that ended takes no order");
        let signal = match order {
            Order::Stop => Signal::STOP,
            Order::Cont => Signal::CONT,
            Order::Term => Signal::TERM,
        };
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs a class of the jars.
    pub(super) fn run(jars: &Path, arguments: &[&str]) -> io::Result<(i64, String)> {
        let output = Command::new(jars::java())
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(classpath(jars))
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let code = output
            .status
            .code()
            .ok_or_else(|| io::Error::other("ended by a signal"))?;
        Ok((code.into(), said))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group, for its watcher too. Best effort: a panic in a drop would hide the test's own.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}
