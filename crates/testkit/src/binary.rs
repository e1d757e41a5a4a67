//! A program under test: started, read line by line, stopped by signal.
//!
//! The program is killed when its [`Binary`] is dropped, also when the test panics.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Lines kept in memory; older ones are only in the log file.
const LINES_MAX: usize = 100_000;
/// A longer line is cut in pieces of this size.
const LINE_MAX_BYTES: u64 = 64 * 1024;

/// What to start, and how.
#[derive(Debug)]
#[must_use = "nothing runs before start()"]
pub struct Launch {
    path: PathBuf,
    command: Command,
    log_file: Option<PathBuf>,
    stderr_file: Option<PathBuf>,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a program.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Timestamp,
    /// Where it was written.
    pub source: Source,
    /// Without its end; bytes that are not UTF-8 replaced.
    pub text: String,
}

/// A program that runs, or did.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    child: Child,
    pid: u32,
    output: Output,
    readers: TaskTracker,
}

#[derive(Clone, Debug)]
struct Output {
    lines: Arc<Mutex<VecDeque<Line>>>,
    file: Option<Arc<File>>,
    changed: Arc<watch::Sender<()>>,
}

impl Launch {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable; the others are inherited.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Leaves an environment variable out.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in `folder`.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Appends all lines to `file` as well (kept when a program is started again).
    pub fn log_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.log_file = Some(file.into());
        self
    }

    /// Its stderr goes to the end of `file`, as a service's does, and nobody reads it: a benchmark is not to measure that.
    pub fn stderr_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.stderr_file = Some(file.into());
        self
    }

    /// Starts it. Panics, with the path, if it cannot be started.
    pub fn start(mut self) -> Binary {
        let path = self.path;
        let open = |file: &Path| {
            let opened = File::options().append(true).create(true).open(file);
            opened.unwrap_or_else(|error| panic!("could not open {}: {error}", file.display()))
        };
        let stderr = self.stderr_file.as_deref().map(open);
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.map_or_else(Stdio::piped, Stdio::from))
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {}: {error}", path.display()));
        let output = Output {
            lines: Arc::default(),
            file: self.log_file.as_deref().map(open).map(Arc::new),
            changed: Arc::new(watch::Sender::new(())),
        };
        let readers = TaskTracker::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        readers.spawn(output.clone().read(Source::Stdout, stdout));
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(output.clone().read(Source::Stderr, stderr));
        }
        readers.close();
        Binary {
            path,
            pid: child.id().expect("it was not waited for yet"),
            child,
            output,
            readers,
        }
    }
}

impl Binary {
    /// A program to start, such as `env!("CARGO_BIN_EXE_syncbell")`.
    pub fn launch(path: impl Into<PathBuf>) -> Launch {
        let path = path.into();
        Launch {
            command: Command::new(&path),
            path,
            log_file: None,
            stderr_file: None,
        }
    }

    /// Its process id, also after it ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The last 20,000 lines of both streams, in the order in which they were read.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lock().iter().cloned().collect()
    }

    /// The text of one stream.
    pub fn text(&self, source: Source) -> String {
        let lines = self.output.lock();
        let of_source = lines.iter().filter(|line| line.source == source);
        of_source.fold(String::new(), |text, line| text + &line.text + "\n")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the first line, from the start, that contains `what`. Panics with the last lines if it
    /// does not come in `timeout`, or cannot come any more because the program ended.
    pub async fn wait_for_line(&self, what: &str, timeout: Duration) -> Line {
        self.wait_for_lines(what, 1, timeout).await.remove(0)
    }

    /// The same for `n` lines.
    pub async fn wait_for_lines(&self, what: &str, n: usize, timeout: Duration) -> Vec<Line> {
        let mut changed = self.output.changed.subscribe();
        let wait = async {
            loop {
                // Asked before the lines: what was read before the end is then among them.
                let ended = self.readers.is_empty();
                let found = self.output.containing(what, n);
                if found.len() >= n.max(1) || ended {
                    return found;
                }
                // Both readers may end without a line; hence the second branch.
                tokio::select! {
                    _ = changed.changed() => {}
                    () = self.readers.wait() => {}
                }
            }
        };
        let found = tokio::time::timeout(timeout, wait).await;
        let why = match found {
            Ok(found) if found.len() >= n => return found,
            Ok(_) => "ended without".to_owned(),
            Err(elapsed) => format!("did not write ({elapsed}, {timeout:?})"),
        };
        panic!("{} {why} {n} x {what:?}\n{}", self.name(), self.tail());
    }

    /// Waits until it ends and all its lines are read. Panics with the last lines after `timeout`.
    pub async fn wait_for_exit(&mut self, timeout: Duration) -> ExitStatus {
        let exit = async {
            let status = self.child.wait().await.expect("a child can be waited for");
            self.readers.wait().await;
            status
        };
        let Ok(status) = tokio::time::timeout(timeout, exit).await else {
            panic!(
                "{} did not end in {timeout:?}\n{}",
                self.name(),
                self.tail()
            );
        };
        status
    }

    /// Asks it to stop (SIGTERM). Nothing if it ended.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to stop as Ctrl-C does (SIGINT). Nothing if it ended.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGKILL, and waits until it is gone, so that its locks and ports are free. Nothing if it ended.
    pub async fn kill(&mut self) {
        if self.is_running() {
            self.child
                .kill()
                .await
                .expect("a running child can be killed");
        }
        // Bounded: a child of its own may still hold the other end of its streams.
        let readers = self.readers.wait();
        tokio::time::timeout(Duration::from_secs(5), readers)
            .await
            .ok();
    }

    fn signal(&mut self, signal: Signal) {
        // `try_wait` first: a process that was waited for has given its id back to the system.
        if self.is_running() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            let pid = pid.expect("a child has a positive process id");
            kill_process(pid, signal).expect("a child that was not waited for can be signalled");
        }
    }

    fn name(&self) -> String {
        format!("{} ({})", self.path.display(), self.pid)
    }

    /// The last lines, for messages.
    fn tail(&self) -> String {
        let lines = self.output.lock();
        let last = lines.iter().skip(lines.len().saturating_sub(40));
        last.fold(String::new(), |text, line| {
            text + &format!(
                "  {:?}: {}
",
                line.source, line.text
            )
        })
    }
}

impl Output {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn containing(&self, what: &str, n: usize) -> Vec<Line> {
        let lines = self.lock();
        let matching = lines.iter().filter(|line| line.text.contains(what));
        matching.take(n).cloned().collect()
    }

    async fn read(self, source: Source, stream: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut bounded = (&mut reader).take(LINE_MAX_BYTES);
            match bounded.read_until(b'\n', &mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => self.keep(source, &bytes),
            }
        }
        self.changed.send_replace(());
    }

    fn keep(&self, source: Source, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let line = Line {
            at: Timestamp::now(),
            source,
            text: text.trim_end_matches(['\n', '\r']).to_owned(),
        };
        if let Some(file) = &self.file {
            // One write a line: two streams, and two runs, share the file.
            let mut file: &File = file;
            file.write_all(format!("{} {source:?} {}\n", line.at, line.text).as_bytes())
                .expect("could not write the log file of a program under test");
        }
        let mut lines = self.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Launch {
        Binary::launch("/bin/sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn its_lines_and_its_exit_are_seen_and_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let log_file = folder.path().join("out.log");
        let mut binary = shell("echo to $WHOM; echo oops >&2; exit 3")
            .env("WHOM", "you")
            .log_file(&log_file)
            .start();
        assert_eq!(binary.wait_for_exit(LONG).await.code(), Some(3));
        assert_eq!(binary.text(Source::Stdout), "to you\n");
        let line = binary.wait_for_line("oops", LONG).await;
        assert_eq!(line.source, Source::Stderr);
        let logged = std::fs::read_to_string(log_file).unwrap();
        assert!(logged.contains("Stdout to you") && logged.contains("Stderr oops"));
    }

    #[tokio::test]
    async fn it_can_be_asked_to_stop_and_made_to() {
        let mut polite =
            shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done");
        polite = polite.env_remove("ENV");
        let mut polite = polite.start();
        polite.wait_for_line("up", LONG).await;
        polite.terminate();
        assert!(polite.wait_for_exit(LONG).await.success());
        polite.wait_for_line("bye", LONG).await;
        polite.terminate();

        let mut deaf = shell("trap '' TERM; echo up; while :; do sleep 0.02; done").start();
        deaf.wait_for_line("up", LONG).await;
        deaf.terminate();
        assert!(deaf.is_running());
        deaf.kill().await;
        assert!(!deaf.is_running());
        assert_eq!(deaf.wait_for_exit(LONG).await.signal(), Some(9));
    }

    #[tokio::test]
    #[should_panic(expected = "ended without 1 x \"never\"")]
    async fn a_line_that_cannot_come_is_not_waited_for() {
        shell("echo once")
            .start()
            .wait_for_line("never", LONG)
            .await;
    }

    #[tokio::test]
    async fn a_dropped_program_is_killed() {
        let binary = shell("echo up; exec sleep 600").start();
        binary.wait_for_line("up", LONG).await;
        let stat = format!("/proc/{}/stat", binary.pid());
        drop(binary);
        crate::eventually("the end of a dropped program", LONG, || async {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z")).then_some(())
        })
        .await;
    }
}
