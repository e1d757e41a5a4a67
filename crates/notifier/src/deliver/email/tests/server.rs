//! A mail server that follows a script and remembers what was said to it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// A certificate for `name`, as PEM, and a server that has it.
pub(in crate::deliver) fn certificate(name: &str) -> (String, TlsAcceptor) {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// What the server does at a point of the conversation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Say(&'static str),
    HangUp,
    Hang,
    /// A line without an end.
    Endless,
}

#[derive(Clone)]
pub(super) struct Script {
    pub(super) greeting: Act,
    pub(super) offers: &'static [&'static str],
    pub(super) auth: Act,
    pub(super) mail: Act,
    pub(super) rcpt: Act,
    pub(super) data: Act,
    pub(super) end: Act,
    /// Hangs up at the first command after this many mails.
    pub(super) patience: usize,
    /// Refuses further recipients of a connection after these.
    pub(super) recipients: usize,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) implicit: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: Act::Say("220 mx.example.com"),
            offers: &["SIZE 1000000"],
            auth: Act::Say("235 2.7.0 welcome"),
            mail: Act::Say("250 2.1.0 ok"),
            rcpt: Act::Say("250 2.1.5 ok"),
            data: Act::Say("354 go on"),
            end: Act::Say("250 2.0.0 queued as 17"),
            patience: usize::MAX,
            recipients: usize::MAX,
            tls: None,
            implicit: false,
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) commands: Arc<Mutex<Vec<String>>>,
    pub(super) mails: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<Mutex<usize>>,
}

pub(super) struct Fake {
    pub(super) port: u16,
    pub(super) log: Log,
    _tasks: TaskTracker,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) async fn serve(script: Script) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tasks, log) = (TaskTracker::new(), Log::default());
    let (spawner, seen) = (tasks.clone(), log.clone());
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *seen.connections.lock().unwrap() += 1;
            spawner.spawn(converse(stream, script.clone(), seen.clone()));
        }
    });
    Fake {
        port,
        log,
        _tasks: tasks,
    }
}

/// Some when the conversation goes on.
async fn act(stream: &mut BufReader<Box<dyn Stream>>, act: Act) -> Option<()> {
    match act {
        Act::Say(text) => stream
            .write_all(format!("{text}\r\n").as_bytes())
            .await
            .ok(),
        Act::HangUp => None,
        Act::Endless => {
            while stream.write_all(&[b'2'; 8_192]).await.is_ok() {}
            None
        }
        Act::Hang => std::future::pending().await,
    }
}

async fn converse(stream: TcpStream, script: Script, log: Log) -> Option<()> {
    let stream: Box<dyn Stream> = match &script.tls {
        Some(acceptor) if script.implicit => Box::new(acceptor.accept(stream).await.ok()?),
        _ => Box::new(stream),
    };
    let mut stream = BufReader::new(stream);
    act(&mut stream, script.greeting).await?;
    let mut n_mails = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 || n_mails >= script.patience {
            return None;
        }
        let line = line.trim_end();
        log.commands.lock().unwrap().push(line.to_owned());
        let word = line.split([' ', ':']).next().unwrap_or_default();
        match word {
            "EHLO" => {
                for offer in script.offers {
                    act(&mut stream, Act::Say("250-mx")).await?;
                    stream
                        .write_all(format!("250-{offer}\r\n").as_bytes())
                        .await
                        .ok()?;
                }
                act(&mut stream, Act::Say("250 HELP")).await?;
            }
            "STARTTLS" => {
                act(&mut stream, Act::Say("220 go")).await?;
                let inner = stream.into_inner();
                let tls = script.tls.as_ref()?.accept(inner).await.ok()?;
                stream = BufReader::new(Box::new(tls));
            }
            "AUTH" => act(&mut stream, script.auth).await?,
            "MAIL" => act(&mut stream, script.mail).await?,
            "RCPT" if n_mails >= script.recipients => {
                act(&mut stream, Act::Say("452 4.5.3 too many recipients")).await?;
            }
            "RCPT" => act(&mut stream, script.rcpt).await?,
            "DATA" => {
                act(&mut stream, script.data).await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await.ok()? == 0 {
                        return None;
                    }
                }
                let mail = mail
                    .strip_suffix(".\r\n")
                    .unwrap()
                    .replace("\r\n..", "\r\n.");
                log.mails.lock().unwrap().push(mail);
                n_mails += 1;
                act(&mut stream, script.end).await?;
            }
            "QUIT" => return act(&mut stream, Act::Say("221 bye")).await.and(None),
            _ => act(&mut stream, Act::Say("250 ok")).await?,
        }
    }
}
