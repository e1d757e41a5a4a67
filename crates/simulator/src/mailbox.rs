//! A mailbox for the demo: takes any mail over SMTP, without TLS and without a password, and keeps its text.
//!
//! In: connections to a port of its own on this machine. Out: [`Mail`]s in the order they came. Must never happen:
//! memory without a bound, or a mail that is kept and was not acknowledged to be.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;

/// The oldest mails are dropped beyond this.
const MAX_MAILS: usize = 1_000;
const MAX_MAIL_BYTES: usize = 1 << 20;
const MAX_LINE_BYTES: u64 = 4 * 1024;
const DRAIN: Duration = Duration::from_secs(5);
/// Before the next try, where connections cannot be taken.
const BREATH: Duration = Duration::from_millis(100);

/// A mail as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// When its last line had come.
    pub received_at: Timestamp,
    /// Its plain text, lines ending in `\n`; empty if it has none.
    pub text: String,
}

/// A mailbox that listens. Clones are the same one; dropping it leaves it running.
#[derive(Clone, Debug)]
pub struct Mailbox {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    mails: Mutex<VecDeque<Mail>>,
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Mailbox {
    /// Takes a free port of 127.0.0.1 and serves until [`Mailbox::stop`].
    pub async fn start() -> Result<Self, Error> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen_error = |source| Error::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let inner = Arc::new(Inner::default());
        inner.tracker.spawn(serve(listener, Arc::clone(&inner)));
        Ok(Self { addr, inner })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What came so far, the oldest first, at most the last 1,000.
    pub fn mails(&self) -> Vec<Mail> {
        self.inner.kept().iter().cloned().collect()
    }

    /// Stops listening and closes what is open; false if a connection was still busy after five seconds.
    pub async fn stop(&self) -> bool {
        self.inner.token.cancel();
        self.inner.tracker.close();
        tokio::time::timeout(DRAIN, self.inner.tracker.wait())
            .await
            .is_ok()
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, raw: &str) {
        let text = plain_text(raw).unwrap_or_default();
        let received_at = Timestamp::now();
        let mut kept = self.kept();
        kept.push_back(Mail { received_at, text });
        if kept.len() > MAX_MAILS {
            kept.pop_front();
        }
    }
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        let accepted = tokio::select! {
            () = inner.token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let session = session(stream, Arc::clone(&inner));
                let token = inner.token.clone();
                inner.tracker.spawn(async move {
                    if let Some(Err(error)) = token.run_until_cancelled(session).await {
                        tracing::debug!(%error, "an SMTP connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the mailbox takes no connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Speaks until the client quits or goes away.
async fn session(stream: TcpStream, inner: Arc<Inner>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 localhost ESMTP").await?;
    while let Some(line) = line(&mut stream).await? {
        let verb = line.split(' ').next().unwrap_or_default();
        match verb.trim_end().to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => {
                say(&mut stream, "250 ok").await?;
            }
            "DATA" => {
                say(&mut stream, "354 go ahead").await?;
                let Some(raw) = message(&mut stream).await? else {
                    return say(&mut stream, "552 too large").await;
                };
                inner.keep(&raw);
                say(&mut stream, "250 taken").await?;
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            _ => say(&mut stream, "502 not known here").await?,
        }
    }
    Ok(())
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await
}

/// A command; none: the client went away, or says more than a line is long.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut bounded = stream.take(MAX_LINE_BYTES);
    bounded.read_until(b'\n', &mut bytes).await?;
    let whole = bytes.ends_with(b"\n");
    Ok(whole.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Lines up to the final dot, dots unstuffed; none if there is more than is taken.
async fn message(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut raw = Vec::new();
    loop {
        let begin = raw.len();
        let mut bounded = (&mut *stream).take(MAX_MAIL_BYTES as u64);
        if bounded.read_until(b'\n', &mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &raw[begin..] == b".\r\n" {
            raw.truncate(begin);
            return Ok(Some(String::from_utf8_lossy(&raw).into_owned()));
        }
        if raw[begin] == b'.' {
            raw.remove(begin);
        }
        if raw.len() > MAX_MAIL_BYTES {
            return Ok(None);
        }
    }
}

/// The first part that is plain text.
fn plain_text(raw: &str) -> Option<String> {
    let boundary = raw
        .split_once("boundary=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let parts: Vec<&str> = match boundary {
        Some((boundary, _)) => raw.split(&format!("\r\n--{boundary}")).collect(),
        None => vec![raw],
    };
    let text = parts.iter().find_map(|part| {
        let (head, body) = part.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        head.contains("content-type: text/plain")
            .then_some((head, body))
    });
    let (head, body) = text?;
    let bytes = if head.contains("content-transfer-encoding: base64") {
        STANDARD
            .decode(body.split_whitespace().collect::<String>())
            .ok()?
    } else if head.contains("content-transfer-encoding: quoted-printable") {
        unquoted(body)
    } else {
        body.as_bytes().to_vec()
    };
    Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

/// RFC 2045 section 6.7; what is no escape stays as it is.
fn unquoted(text: &str) -> Vec<u8> {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let mut byte = [0];
        let escaped = first == b'='
            && after.len() >= 2
            && hex::decode_to_slice(&after[..2], &mut byte).is_ok();
        bytes.push(if escaped { byte[0] } else { first });
        rest = if escaped { &after[2..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Subject: x\r\nContent-Type: multipart/alternative;\r\n boundary=\"b\"\r\n\r\n--b\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        2 =C3=97 failed, and a long=\r\n line\r\n..a dot\r\n----\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>no\r\n--b--\r\n";

    #[test]
    fn the_text_is_read_in_each_encoding() {
        let text = "2 × failed, and a long line\n..a dot\n----";
        assert_eq!(plain_text(MAIL).unwrap(), text);
        let plain = "Content-Type: text/plain\r\n\r\nx = y\r\n";
        assert_eq!(plain_text(plain).unwrap(), "x = y\n");
        let base64 =
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\neCA=\r\neQ==\r\n";
        assert_eq!(plain_text(base64), None, "padding within");
        let base64 = base64.replace("eCA=\r\neQ==", "eD1\r\n5");
        assert_eq!(plain_text(&base64).unwrap(), "x=y");
        assert_eq!(plain_text("Content-Type: text/html\r\n\r\n<p>"), None);
    }

    #[tokio::test]
    async fn a_mail_is_taken_and_what_is_too_large_is_not() {
        let mailbox = Mailbox::start().await.unwrap();
        let mut stream = BufReader::new(TcpStream::connect(mailbox.addr()).await.unwrap());
        let said = async |stream: &mut BufReader<TcpStream>| {
            line(stream).await.unwrap().unwrap_or_default()
        };
        assert!(said(&mut stream).await.starts_with("220"));
        for (command, code) in [
            ("EHLO here", "250"),
            ("MAIL FROM:<a@b>", "250"),
            ("RCPT TO:<c@d>", "250"),
            ("STARTTLS", "502"),
            ("data", "354"),
        ] {
            say(&mut stream, command).await.unwrap();
            let answer = said(&mut stream).await;
            assert!(answer.starts_with(code), "{command}: {answer}");
        }
        let wire = MAIL.replace("\r\n.", "\r\n..");
        say(&mut stream, &format!("{wire}.")).await.unwrap();
        assert!(said(&mut stream).await.starts_with("250"));
        let mails = mailbox.mails();
        assert!(mails[0].text.contains("\n..a dot\n"), "{mails:?}");

        say(&mut stream, "DATA").await.unwrap();
        assert!(said(&mut stream).await.starts_with("354"));
        let long = "x".repeat(MAX_MAIL_BYTES + 2);
        say(&mut stream, &long).await.unwrap();
        assert!(said(&mut stream).await.starts_with("552"));
        assert_eq!(mailbox.mails().len(), 1);
        assert!(mailbox.stop().await);
    }
}
