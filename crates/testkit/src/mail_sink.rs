//! An SMTP server of our own that takes every mail, and fails on request (RFC 5321, 3207, 4954).
//!
//! It is for faults that a real server does not show when asked; [`crate::Smtpd`] is for the proof that a
//! real server agrees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{Authority, Mail, eventually};

mod session;

/// A client that is silent for longer is cut off.
const SESSION_TIMEOUT: Duration = Duration::from_mins(1);

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkTls {
    /// Not at all: STARTTLS is not offered.
    #[default]
    Plain,
    /// By STARTTLS, which is required before AUTH and MAIL.
    Starttls,
    /// From the first byte.
    Implicit,
}

/// What a [`MailSink`] asks of its clients.
#[derive(Clone, Debug, Default)]
pub struct MailSinkOptions {
    /// How the connection is protected.
    pub tls: SinkTls,
    /// User name and password, then required before MAIL (AUTH PLAIN and LOGIN). None: AUTH is not
    /// offered.
    pub login: Option<(String, String)>,
}

/// The server; it ends, with its connections, when dropped.
#[derive(Debug)]
pub struct MailSink {
    address: SocketAddr,
    state: Sink,
    authority: Authority,
    _stop: DropGuard,
}

/// What all sessions share.
#[derive(Clone, Debug)]
struct Sink {
    options: Arc<MailSinkOptions>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    mails: Vec<Mail>,
    n_sessions: usize,
    n_auth_refused: usize,
    n_recipients_refused: usize,
    /// Code and how often still, by address.
    refused_recipients: BTreeMap<String, (u16, usize)>,
    n_greet_421: usize,
    n_drop_after_final_dot: usize,
}

impl MailSink {
    /// A server on a free port of 127.0.0.1, called `localhost` and `127.0.0.1` in its certificate.
    pub async fn start(options: MailSinkOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("could not listen");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        let tls = TlsAcceptor::from(identity.server_config());
        let state = Sink {
            options: Arc::new(options),
            kept: Arc::default(),
        };
        let stop = CancellationToken::new();
        let accept = accept(listener, state.clone(), tls, stop.clone());
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(accept));
        Self {
            address,
            state,
            authority,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What goes into `smtp.ca_file`.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.authority.ca_pem_path()
    }

    /// Answers RCPT for `recipient` with `code` (such as 550 or 450), the next `times` times;
    /// `usize::MAX` for always.
    pub fn refuse_recipient(&self, recipient: &str, code: u16, times: usize) {
        assert!((400..600).contains(&code), "{code} does not refuse");
        let mut kept = self.state.lock();
        kept.refused_recipients
            .insert(recipient.to_ascii_lowercase(), (code, times));
    }

    /// Greets the next `times` connections with 421 and closes them.
    pub fn greet_with_421(&self, times: usize) {
        self.state.lock().n_greet_421 = times;
    }

    /// Takes the next `times` mails and closes the connection instead of saying so: the sender cannot
    /// know. They are kept with `acknowledged: false`.
    pub fn drop_after_final_dot(&self, times: usize) {
        self.state.lock().n_drop_after_final_dot = times;
    }

    /// Everything that was taken, in order.
    pub fn mails(&self) -> Vec<Mail> {
        self.state.lock().mails.clone()
    }

    /// Waits until `n` mails were taken.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<Mail> {
        let what = format!("{n} mails at {}", self.address);
        eventually(&what, timeout, || async {
            let mails = self.mails();
            (mails.len() >= n).then_some(mails)
        })
        .await
    }

    /// Connections so far.
    pub fn n_sessions(&self) -> usize {
        self.state.lock().n_sessions
    }

    /// AUTH commands so far that were refused, for whatever reason.
    pub fn n_auth_refused(&self) -> usize {
        self.state.lock().n_auth_refused
    }

    /// RCPT commands so far that were refused by [`MailSink::refuse_recipient`].
    pub fn n_recipients_refused(&self) -> usize {
        self.state.lock().n_recipients_refused
    }
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection; whether it is to be greeted with 421.
    fn connected(&self) -> bool {
        let mut kept = self.lock();
        kept.n_sessions += 1;
        take_one(&mut kept.n_greet_421)
    }

    /// The code to refuse a recipient with, if it is to be refused.
    fn refusal(&self, recipient: &str) -> Option<u16> {
        let mut kept = self.lock();
        let (code, times) = kept
            .refused_recipients
            .get_mut(&recipient.to_ascii_lowercase())?;
        let code = take_one(times).then_some(*code)?;
        kept.n_recipients_refused += 1;
        Some(code)
    }

    /// Keeps a mail; whether to acknowledge it.
    fn keep(&self, mut mail: Mail) -> bool {
        let mut kept = self.lock();
        mail.acknowledged = !take_one(&mut kept.n_drop_after_final_dot);
        let acknowledged = mail.acknowledged;
        kept.mails.push(mail);
        acknowledged
    }
}

/// Whether one of `times` was left; `usize::MAX` is never used up.
fn take_one(times: &mut usize) -> bool {
    let left = *times > 0;
    if *times != usize::MAX {
        *times = times.saturating_sub(1);
    }
    left
}

async fn accept(listener: TcpListener, sink: Sink, tls: TlsAcceptor, stop: CancellationToken) {
    let sessions = TaskTracker::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let session = session::run(stream, sink.clone(), tls.clone());
        let session = tokio::time::timeout(SESSION_TIMEOUT, session);
        // An error is a client that went away: nothing is to be done about it here.
        sessions.spawn(stop.clone().run_until_cancelled_owned(session));
    }
}

#[cfg(test)]
mod tests;
