//! A command that prints credentials (the profile mode `External`).
//!
//! Must never happen: a command that outlives its deadline or our interest, output without a limit, a
//! word of the command or of its output in an error.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::issued::{ANSWER_LIMIT_BYTES, Issued, named, object, text};
use super::{down, fault};
use crate::Error;

const STEP: &str = "external";

/// Runs `command`, words apart by blanks as the vendor's command line has it (quotes keep blanks), for
/// at most `limit`. No shell.
pub(super) async fn run(command: &str, limit: Duration) -> Result<Issued, Error> {
    let words = words(command).ok_or_else(|| fault(STEP, "the command's quotes do not end"))?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| fault(STEP, "the command is empty"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It may say secrets, and we would have to say what it says.
        .stderr(Stdio::null())
        // What it starts ends with it.
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| {
        fault(
            STEP,
            format!("the command does not start: {}", error.kind()),
        )
    })?;
    let mut running = Running { child };
    let output = tokio::time::timeout(limit, running.output()).await;
    let limit_ms = limit.as_millis();
    let output =
        output.map_err(|_| down(STEP, format!("the command took longer than {limit_ms} ms")))??;
    let answer = object(STEP, &output)?;
    // As in the profile itself; where it is not said, what came tells.
    let token = match text(&answer, "mode").as_deref() {
        Some("AK") => "",
        Some("StsToken") if text(&answer, "sts_token").is_none() => {
            return Err(fault(STEP, "the answer has no sts_token"));
        }
        Some("StsToken") | None => "sts_token",
        Some(_) => return Err(fault(STEP, "the answer's mode is neither AK nor StsToken")),
    };
    let names = ["access_key_id", "access_key_secret", token, "expiration"];
    let issued = named(STEP, &answer, names)?;
    if issued.expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(fault(STEP, "the command gave credentials that are over"));
    }
    Ok(issued)
}

/// A started command; dropped before its end, its whole group is killed.
struct Running {
    child: Child,
}

impl Running {
    async fn output(&mut self) -> Result<Vec<u8>, Error> {
        let stdout = self.child.stdout.take();
        let stdout = stdout.ok_or_else(|| fault(STEP, "the command has no output"))?;
        let mut output = Vec::new();
        let read = stdout.take(ANSWER_LIMIT_BYTES as u64 + 1);
        let read = std::pin::pin!(read).read_to_end(&mut output).await;
        read.map_err(|error| fault(STEP, format!("its output: {}", error.kind())))?;
        if output.len() > ANSWER_LIMIT_BYTES {
            return Err(fault(STEP, "its output is larger than 64 KiB"));
        }
        let ended = self.child.wait().await;
        let ended = ended.map_err(|error| fault(STEP, format!("its end: {}", error.kind())))?;
        match ended.code() {
            Some(0) => Ok(output),
            Some(code) => Err(fault(STEP, format!("the command ended with {code}"))),
            None => Err(fault(STEP, "the command was killed")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // None once it was waited for: then its number may be another's.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "could not kill a credentials command");
        }
    }
}

/// The words of a command; none if a quote does not end.
fn words(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_apart_by_blanks_and_quotes_keep_them() {
        let check = |command: &str, expected: &[&str]| {
            assert_eq!(words(command).unwrap(), expected, "{command}");
        };
        check("  a  b\tc ", &["a", "b", "c"]);
        check(
            "/bin/x --y 'a b' \"c 'd'\" e'f g'",
            &["/bin/x", "--y", "a b", "c 'd'", "ef g"],
        );
        check("x ''", &["x", ""]);
        check("", &[]);
        assert_eq!(words("x 'y"), None);
    }
}
