//! Connections that a handler can close without an answer, plain or TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A client that does not finish its TLS handshake in this time is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Connections {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// Closes the connection of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Hangup(CancellationToken);

/// A stream that ends, for its server, when it is hung up.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    hangup: Hangup,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connections {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        let tls = tls.map(TlsAcceptor::from);
        Self { listener, tls }
    }
}

impl Hangup {
    pub(super) fn now(&self) {
        self.0.cancel();
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (tcp, peer) = Listener::accept(&mut self.listener).await;
            // One handshake at a time: enough for a test, and the order of requests stays that of
            // connections.
            let stream: Box<dyn Stream> = match &self.tls {
                None => Box::new(tcp),
                Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(_)) | Err(_) => continue,
                },
            };
            let hangup = Hangup::default();
            let hung_up = Box::pin(hangup.0.clone().cancelled_owned());
            let connection = Connection {
                stream,
                hangup,
                hung_up,
            };
            return (connection, peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Connections>> for Hangup {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.io().hangup.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper reads while a request is handled, to see whether the client is still there. It is told
        // that it is not, and closes the connection.
        if self.hung_up.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
