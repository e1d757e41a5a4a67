//! Kafka's protocol, as much as the launcher needs: requests of the last versions that are encoded
//! without compact fields and tags (the Kafka protocol guide, "Protocol Primitive Types"; versions in
//! `clients/src/main/resources/common/message/*.json` of Apache Kafka 4.3.1).
//!
//! A client of our own, so that a check needs no JVM and shares no mistake with the one under test.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A stopped broker accepts connections, and says nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_MAX_BYTES: i32 = 16 << 20;
const CLIENT_ID: &str = "syncbell-testkit";

/// A request: its key and version, and its fields in order.
#[derive(Clone, Debug)]
pub(super) struct Request {
    key: i16,
    version: i16,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(key: i16, version: i16) -> Self {
        Self {
            key,
            version,
            body: Vec::new(),
        }
    }

    pub(super) fn i8(mut self, value: i8) -> Self {
        self.body.extend(value.to_be_bytes());
        self
    }

    pub(super) fn i16(mut self, value: i16) -> Self {
        self.body.extend(value.to_be_bytes());
        self
    }

    pub(super) fn i32(mut self, value: i32) -> Self {
        self.body.extend(value.to_be_bytes());
        self
    }

    pub(super) fn i64(mut self, value: i64) -> Self {
        self.body.extend(value.to_be_bytes());
        self
    }

    pub(super) fn bool(self, value: bool) -> Self {
        self.i8(value.into())
    }

    pub(super) fn text(self, value: &str) -> Self {
        let length = i16::try_from(value.len()).expect("no name is that long");
        let mut request = self.i16(length);
        request.body.extend(value.as_bytes());
        request
    }

    pub(super) fn null_text(self) -> Self {
        self.i16(-1)
    }

    pub(super) fn bytes(self, value: &[u8]) -> Self {
        let mut request = self.array(value.len());
        request.body.extend(value);
        request
    }

    /// How many elements follow.
    pub(super) fn array(self, n: usize) -> Self {
        self.i32(i32::try_from(n).expect("no array is that long"))
    }

    /// Null, where an array may be.
    pub(super) fn null_array(self) -> Self {
        self.i32(-1)
    }

    /// Sends it over a connection of its own and gives the answer's body.
    pub(super) async fn send(&self, address: &str) -> io::Result<Vec<u8>> {
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(address)).await;
        sent.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
    }

    async fn exchange(&self, address: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address).await?;
        self.exchange_on(&mut stream).await
    }

    /// The same over a connection that stays.
    pub(super) async fn exchange_on(&self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let correlation = 1;
        let header = Self::new(0, 0).i16(self.key).i16(self.version);
        let mut message = header.i32(correlation).text(CLIENT_ID).body;
        message.extend(&self.body);
        let length = i32::try_from(message.len()).expect("no request is that long");
        stream.write_i32(length).await?;
        stream.write_all(&message).await?;
        let length = stream.read_i32().await?;
        if !(4..=ANSWER_MAX_BYTES).contains(&length) {
            return Err(malformed());
        }
        if stream.read_i32().await? != correlation {
            return Err(malformed());
        }
        let length = usize::try_from(length - 4).expect("at least 4");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// An answer's body, read from the front.
#[derive(Debug)]
pub(super) struct Answer<'a>(pub(super) &'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*front)
    }

    pub(super) fn i8(&mut self) -> io::Result<i8> {
        self.take().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> io::Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> io::Result<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// A text, or null.
    pub(super) fn nullable(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let (front, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        String::from_utf8(front.to_vec())
            .map(Some)
            .map_err(|_| malformed())
    }

    pub(super) fn text(&mut self) -> io::Result<String> {
        self.nullable()?.ok_or_else(malformed)
    }

    /// An array, each element read by `element`; null is empty.
    pub(super) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let n = self.i32()?;
        (0..n).map(|_| element(self)).collect()
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer of Kafka's")
}
