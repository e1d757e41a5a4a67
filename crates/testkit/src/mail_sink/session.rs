//! One SMTP connection.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Sink, SinkTls};
use crate::Mail;

/// RFC 5321 section 4.5.3.1 asks for 512 and 1000; AUTH lines may be longer.
const LINE_MAX_BYTES: u64 = 16 * 1024;
const MAIL_MAX_BYTES: usize = 10 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    sink: Sink,
    tls: bool,
    user: Option<String>,
    mail_from: Option<String>,
    rcpt_to: Vec<String>,
}

/// What follows a command.
enum Then {
    Go,
    Starttls,
    Close,
}

/// Speaks until the client quits or goes away.
pub(super) async fn run(stream: TcpStream, sink: Sink, tls: TlsAcceptor) -> io::Result<()> {
    let implicit = sink.options.tls == SinkTls::Implicit;
    let greet_421 = sink.connected();
    let stream: Box<dyn Stream> = if implicit {
        Box::new(tls.accept(stream).await?)
    } else {
        Box::new(stream)
    };
    let mut session = Session {
        stream: BufReader::new(stream),
        sink,
        tls: implicit,
        user: None,
        mail_from: None,
        rcpt_to: Vec::new(),
    };
    if greet_421 {
        return session.say("421 4.3.2 localhost is not available").await;
    }
    session
        .say("220 localhost ESMTP syncbell test sink")
        .await?;
    loop {
        let Some(line) = session.line().await? else {
            return Ok(());
        };
        match session.command(&line).await? {
            Then::Go => {}
            Then::Starttls => session = session.starttls(&tls).await?,
            Then::Close => return Ok(()),
        }
    }
}

impl Session {
    async fn command(&mut self, line: &str) -> io::Result<Then> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.ehlo().await?,
            "HELO" => self.say("250 localhost").await?,
            "STARTTLS" if self.sink.options.tls == SinkTls::Starttls && !self.tls => {
                self.say("220 2.0.0 go ahead").await?;
                return Ok(Then::Starttls);
            }
            "AUTH" if self.sink.options.login.is_some() => self.auth(rest).await?,
            "MAIL" => self.mail(rest).await?,
            "RCPT" => self.rcpt(rest).await?,
            "DATA" => return self.data().await,
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 forgotten").await?;
            }
            "NOOP" => self.say("250 2.0.0 ok").await?,
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                return Ok(Then::Close);
            }
            _ => self.say("502 5.5.1 not known here").await?,
        }
        Ok(Then::Go)
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        self.reset();
        let starttls = self.sink.options.tls == SinkTls::Starttls && !self.tls;
        let mut lines = vec!["localhost".to_owned(), "8BITMIME".to_owned()];
        lines.push(format!("SIZE {MAIL_MAX_BYTES}"));
        if starttls {
            lines.push("STARTTLS".to_owned());
        } else if self.sink.options.login.is_some() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            self.say(&format!("250{separator}{line}")).await?;
        }
        Ok(())
    }

    /// What was read before the handshake is not carried over (RFC 3207 section 4.2).
    async fn starttls(self, tls: &TlsAcceptor) -> io::Result<Self> {
        let stream = tls.accept(self.stream.into_inner()).await?;
        Ok(Self {
            stream: BufReader::new(Box::new(stream)),
            sink: self.sink,
            tls: true,
            user: None,
            mail_from: None,
            rcpt_to: Vec::new(),
        })
    }

    async fn auth(&mut self, rest: &str) -> io::Result<()> {
        if self.sink.options.tls == SinkTls::Starttls && !self.tls {
            self.sink.lock().n_auth_refused += 1;
            return self.say("538 5.7.11 encryption required").await;
        }
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => self.auth_plain(initial).await?,
            "LOGIN" => self.auth_login(initial).await?,
            _ => return self.say("504 5.5.4 mechanism not known").await,
        };
        if given.is_some() && given == self.sink.options.login {
            self.user = given.map(|(user, _)| user);
            return self.say("235 2.7.0 welcome").await;
        }
        self.sink.lock().n_auth_refused += 1;
        self.say("535 5.7.8 user name or password is wrong").await
    }

    /// RFC 4616: an identity to act as, NUL, the user name, NUL, the password.
    async fn auth_plain(&mut self, initial: &str) -> io::Result<Option<(String, String)>> {
        let text = match initial {
            "" => self.challenge("").await?,
            initial => decode(initial),
        };
        let mut parts = text.split('\0').skip(1);
        Ok(parts
            .next()
            .zip(parts.next())
            .map(|(user, password)| (user.to_owned(), password.to_owned())))
    }

    async fn auth_login(&mut self, initial: &str) -> io::Result<Option<(String, String)>> {
        let user = match initial {
            "" => self.challenge("Username:").await?,
            initial => decode(initial),
        };
        Ok(Some((user, self.challenge("Password:").await?)))
    }

    async fn challenge(&mut self, text: &str) -> io::Result<String> {
        self.say(&format!("334 {}", STANDARD.encode(text))).await?;
        let answer = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(decode(&answer))
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        if self.sink.options.tls == SinkTls::Starttls && !self.tls {
            return self
                .say("530 5.7.0 must issue a STARTTLS command first")
                .await;
        }
        if self.sink.options.login.is_some() && self.user.is_none() {
            return self.say("530 5.7.0 authentication required").await;
        }
        match path(rest, "FROM:") {
            Some(address) => {
                self.reset();
                self.mail_from = Some(address);
                self.say("250 2.1.0 ok").await
            }
            None => self.say("501 5.5.4 FROM:<address> expected").await,
        }
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let Some(address) = path(rest, "TO:") else {
            return self.say("501 5.5.4 TO:<address> expected").await;
        };
        if self.mail_from.is_none() {
            return self.say("503 5.5.1 MAIL first").await;
        }
        if let Some(code) = self.sink.refusal(&address) {
            let class = code / 100;
            return self
                .say(&format!("{code} {class}.1.1 refused on request"))
                .await;
        }
        self.rcpt_to.push(address);
        self.say("250 2.1.5 ok").await
    }

    async fn data(&mut self) -> io::Result<Then> {
        if self.rcpt_to.is_empty() {
            self.say("503 5.5.1 RCPT first").await?;
            return Ok(Then::Go);
        }
        self.say("354 go ahead").await?;
        let Some(raw) = self.message().await? else {
            self.say("552 5.3.4 too large").await?;
            return Ok(Then::Close);
        };
        let mail = Mail {
            mail_from: self.mail_from.take().unwrap_or_default(),
            rcpt_to: std::mem::take(&mut self.rcpt_to),
            raw,
            received_at: Timestamp::now(),
            tls: self.tls,
            authenticated_as: self.user.clone(),
            acknowledged: true,
        };
        if !self.sink.keep(mail) {
            return Ok(Then::Close);
        }
        self.say("250 2.0.0 taken").await?;
        Ok(Then::Go)
    }

    /// Lines up to the final dot, dots unstuffed. None if there is more than we take.
    async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut raw = Vec::new();
        loop {
            let begin = raw.len();
            let mut bounded = (&mut self.stream).take(MAIL_MAX_BYTES as u64);
            if bounded.read_until(b'\n', &mut raw).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &raw[begin..] == b".\r\n" {
                raw.truncate(begin);
                return Ok(Some(raw));
            }
            if raw[begin] == b'.' {
                raw.remove(begin);
            }
            if raw.len() > MAIL_MAX_BYTES {
                return Ok(None);
            }
        }
    }

    fn reset(&mut self) {
        self.mail_from = None;
        self.rcpt_to.clear();
    }

    /// A command, or None if the client went away. A longer line than we take is an error.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.stream).take(LINE_MAX_BYTES);
        if bounded.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(None);
        }
        if !bytes.ends_with(b"\n") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(text.trim_end().to_owned()))
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await?;
        self.stream.flush().await
    }
}

/// `FROM:<a@b> SIZE=1` gives `a@b`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let start = rest.get(..keyword.len())?;
    let rest = rest.get(keyword.len()..)?.trim_start();
    let (address, _) = rest.strip_prefix('<')?.split_once('>')?;
    start
        .eq_ignore_ascii_case(keyword)
        .then(|| address.to_owned())
}

/// Base64 text; what is none is empty, and so no password.
fn decode(text: &str) -> String {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
