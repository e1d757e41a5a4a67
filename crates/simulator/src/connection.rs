//! TCP connections that can be closed or reset in the middle of an answer, or before it.
//!
//! axum's handlers must answer. So a handler that wants silence says how many bytes may still be
//! written, and the byte after those meets a write error: the connection closes, or is reset.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A listener whose connections can be cut.
pub(crate) struct Doors(pub(crate) TcpListener);

/// A connection's limits, as handlers get them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    /// Bytes that may still be written; `usize::MAX`: any number.
    left: AtomicUsize,
    /// The end is a reset, no orderly one.
    reset: AtomicBool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            left: AtomicUsize::new(usize::MAX),
            reset: AtomicBool::new(false),
        }
    }
}

impl Line {
    /// Nothing more is written on this connection.
    pub(crate) fn cut(&self) {
        self.0.left.store(0, Ordering::Release);
    }

    /// After so many bytes more the connection is reset.
    pub(crate) fn reset_after(&self, bytes: usize) {
        self.0.reset.store(true, Ordering::Release);
        self.0.left.store(bytes, Ordering::Release);
    }

    /// However the connection ends, it ends as a reset.
    pub(crate) fn end_as_reset(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Acquire)
    }
}

impl Listener for Doors {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "could not switch Nagle's algorithm off");
                    }
                    return (
                        Connection {
                            stream,
                            line: Line::default(),
                        },
                        peer,
                    );
                }
                Err(error) => {
                    // Out of file handles, or a peer that was gone at once: later is better.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Doors>> for Line {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        stream.io().line.clone()
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.line.0.left.load(Ordering::Acquire);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let part = &bytes[..bytes.len().min(left)];
        let written = Pin::new(&mut self.stream).poll_write(cx, part);
        if left != usize::MAX
            && let Poll::Ready(Ok(n)) = &written
        {
            let left = left.saturating_sub(*n);
            self.line.0.left.store(left, Ordering::Release);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.is_reset() {
            // An orderly end would come before the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.line.is_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "could not make the end of a connection a reset");
        }
    }
}
