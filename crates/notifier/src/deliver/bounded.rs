//! The connection to a mail server: what it says between two commands has a bound.
//!
//! lettre looks how long a line is once it has all of it, and a server may say one without an end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::egress::System;

/// Certificates and all; lettre itself takes answers of 64 KiB.
const ANSWER_LIMIT_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Bounded {
    stream: TcpStream,
    /// Bytes that may still come before we say something.
    left: usize,
}

impl Bounded {
    /// Connects to the first address of `host` that takes it.
    pub(super) async fn connect(
        host: &str,
        port: u16,
        names: &System,
    ) -> Result<Self, Arc<io::Error>> {
        let mut found = names.addresses(host).await?;
        for address in &mut found {
            address.set_port(port);
        }
        let stream = TcpStream::connect(&found[..]).await?;
        Ok(Self {
            stream,
            left: ANSWER_LIMIT_BYTES,
        })
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the server says too much")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = ANSWER_LIMIT_BYTES;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
