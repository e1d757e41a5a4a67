//! A TCP proxy that fails on request. It stands before any address; the program under test is told the
//! proxy's.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What the proxy does with bytes and with new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// New connections are refused by the kernel, as if nothing listened. Existing ones go on: see
    /// [`ChaosProxy::cut`].
    Refuse,
    /// Every piece of bytes, each way, arrives this much later.
    Delay(Duration),
    /// Connections are accepted and kept, and nothing goes through, until the mode changes: a half-open
    /// peer.
    Stall,
}

/// The proxy; it ends, with its connections, when dropped.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    commands: mpsc::Sender<(Mode, oneshot::Sender<()>)>,
    shared: Shared,
    /// Bound, never listening: keeps the port ours while new connections are refused.
    _placeholder: TcpSocket,
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
struct Shared {
    target: Arc<Mutex<SocketAddr>>,
    mode: Arc<watch::Sender<Mode>>,
    cut: Arc<Mutex<CancellationToken>>,
    n_accepted: Arc<watch::Sender<usize>>,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl ChaosProxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything on to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let placeholder = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let placeholder = placeholder.expect("could not bind the chaos proxy");
        let address = placeholder
            .local_addr()
            .expect("a bound socket has an address");
        let stop = CancellationToken::new();
        let shared = Shared {
            target: Arc::new(Mutex::new(target)),
            mode: Arc::new(watch::Sender::new(Mode::Refuse)),
            cut: Arc::default(),
            n_accepted: Arc::new(watch::Sender::new(0)),
            stop: stop.clone(),
            connections: TaskTracker::new(),
        };
        let (commands, received) = mpsc::channel(1);
        TaskTracker::new().spawn(accept(address, received, shared.clone()));
        let proxy = Self {
            address,
            commands,
            shared,
            _placeholder: placeholder,
            _stop: stop.drop_guard(),
        };
        proxy.set(Mode::Pass).await;
        proxy
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does; in force when this returns, for existing connections too.
    pub async fn set(&self, mode: Mode) {
        let (done, wait) = oneshot::channel();
        let told = self.commands.send((mode, done)).await;
        told.expect("the accept loop runs as long as the proxy");
        wait.await.expect("the accept loop answers every command");
    }

    /// New connections go to `target` from now on: the server was started again on another port.
    pub fn retarget(&self, target: SocketAddr) {
        *self
            .shared
            .target
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Resets every existing connection, on both sides (RST where the system does it). New ones are
    /// treated as the mode says. Returns when they are gone.
    pub async fn cut(&self) {
        let old = {
            let mut cut = self
                .shared
                .cut
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *cut)
        };
        let before = self.shared.connections.clone();
        old.cancel();
        before.close();
        // Only connections made before are waited for in practice: each of them ends at once.
        let gone = before.wait();
        tokio::time::timeout(Duration::from_secs(1), gone)
            .await
            .ok();
        before.reopen();
    }

    /// How many connections were accepted so far.
    pub fn n_accepted(&self) -> usize {
        *self.shared.n_accepted.borrow()
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listener(address: SocketAddr) -> TcpListener {
    socket(address)
        .and_then(|socket| socket.listen(128))
        .expect("the placeholder keeps the port for the chaos proxy")
}

/// Accepts while the mode allows it, and changes the mode.
async fn accept(
    address: SocketAddr,
    mut commands: mpsc::Receiver<(Mode, oneshot::Sender<()>)>,
    shared: Shared,
) {
    let mut listening: Option<TcpListener> = None;
    loop {
        let accepted = async {
            match &listening {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            command = commands.recv() => {
                let Some((mode, done)) = command else { return };
                if mode == Mode::Refuse {
                    listening = None;
                } else if listening.is_none() {
                    listening = Some(listener(address));
                }
                shared.mode.send_replace(mode);
                // Who asked may have stopped waiting; the mode has changed all the same.
                done.send(()).ok();
            }
            accepted = accepted => {
                let Ok((client, _)) = accepted else { continue };
                shared.n_accepted.send_modify(|n| *n += 1);
                let cut = shared.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let connection = connection(client, cut, shared.clone());
                shared.connections.spawn(connection);
            }
        }
    }
}

async fn connection(mut client: TcpStream, cut: CancellationToken, shared: Shared) {
    let stopped = async {
        tokio::select! {
            () = shared.stop.cancelled() => {}
            () = cut.cancelled() => {}
        }
    };
    tokio::pin!(stopped);
    let server = tokio::select! {
        () = &mut stopped => None,
        server = open(&shared) => server.ok(),
    };
    let Some(mut server) = server else {
        return reset(&client);
    };
    tokio::select! {
        () = stopped => {
            reset(&client);
            reset(&server);
        }
        // An end or an error that is passed on by closing both.
        _ = pass(&mut client, &mut server, &shared) => {}
    }
}

/// Closing then sends RST and drops what was not sent. Best effort: the stream is closed anyway.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}

async fn open(shared: &Shared) -> io::Result<TcpStream> {
    ready(&mut shared.mode.subscribe()).await;
    let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
    TcpStream::connect(target).await
}

async fn pass(client: &mut TcpStream, server: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    let up = pump(client_in, server_out, shared.mode.subscribe());
    let down = pump(server_in, client_out, shared.mode.subscribe());
    tokio::try_join!(up, down)?;
    Ok(())
}

/// One direction until its end, which is passed on too.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut bytes).await?;
        ready(&mut mode).await;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..n]).await?;
    }
}

/// Waits as long as the mode says before bytes go on.
async fn ready(mode: &mut watch::Receiver<Mode>) {
    let now = *mode.borrow();
    if let Mode::Delay(delay) = now {
        tokio::time::sleep(delay).await;
    }
    // An error means that the proxy is gone; the connection ends by its token.
    mode.wait_for(|mode| *mode != Mode::Stall).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A server that sends back what it gets.
    async fn echo(tasks: &TaskTracker) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = tasks.clone();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream, what: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(what).await?;
        let mut answer = vec![0; what.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_passes_cuts_and_refuses_at_one_address() {
        let tasks = TaskTracker::new();
        let proxy = ChaosProxy::start(echo(&tasks).await).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");

        proxy.set(Mode::Refuse).await;
        let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(ask(&mut stream, b"still").await.unwrap(), b"still");

        proxy.cut().await;
        assert!(ask(&mut stream, b"gone").await.is_err());

        proxy.set(Mode::Pass).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream, b"again").await.unwrap(), b"again");
        assert_eq!(proxy.n_accepted(), 2);
    }

    #[tokio::test]
    async fn a_stalled_connection_goes_on_when_it_may() {
        let tasks = TaskTracker::new();
        let proxy = ChaosProxy::start(echo(&tasks).await).await;
        proxy.set(Mode::Stall).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        let short = Duration::from_millis(200);
        let stalled = tokio::time::timeout(short, ask(&mut stream, b"late")).await;
        assert!(stalled.is_err());
        proxy.set(Mode::Pass).await;
        let mut answer = [0; 4];
        tokio::time::timeout(LONG, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"late");
    }

    #[tokio::test]
    async fn a_delay_delays_and_an_end_is_passed_on() {
        let tasks = TaskTracker::new();
        let proxy = ChaosProxy::start(echo(&tasks).await).await;
        let delay = Duration::from_millis(100);
        proxy.set(Mode::Delay(delay)).await;
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream, b"slow").await.unwrap(), b"slow");
        assert!(begun.elapsed() >= 2 * delay, "{:?}", begun.elapsed());
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn it_can_be_pointed_elsewhere() {
        let tasks = TaskTracker::new();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let proxy = ChaosProxy::start(nobody).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(ask(&mut stream, b"nobody").await.is_err());
        proxy.retarget(echo(&tasks).await);
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream, b"here").await.unwrap(), b"here");
    }
}
