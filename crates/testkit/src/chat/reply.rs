//! How a robot answers, well or badly.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

const CHUNK: &[u8] = &[b'x'; 16 * 1024];

/// An answer.
#[derive(Clone, Debug)]
#[must_use = "an answer is given to the robot"]
pub struct ChatReply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Text(String),
    /// Nothing is answered at all.
    Silence,
    /// One byte a second, for ever.
    Drip,
    /// Without end, as fast as it is read.
    Endless,
    /// Half of what was promised, then the connection is reset.
    Reset,
}

impl ChatReply {
    /// JSON with this status.
    pub fn json(status: u16, body: &str) -> Self {
        Self::text(status, body).with_header("content-type", "application/json")
    }

    /// A plain text with this status.
    pub fn text(status: u16, body: &str) -> Self {
        Self::of(status, Content::Text(body.to_owned()))
    }

    /// With 302 to `location`.
    pub fn redirect(location: &str) -> Self {
        Self::text(302, "").with_header("location", location)
    }

    /// The request is read and never answered.
    pub fn silence() -> Self {
        Self::of(200, Content::Silence)
    }

    /// Status 200, then one byte a second without end.
    pub fn drip() -> Self {
        Self::of(200, Content::Drip)
    }

    /// Status 200, then bytes without end.
    pub fn endless() -> Self {
        Self::of(200, Content::Endless)
    }

    /// Status 200, half of a body, and the connection is reset.
    pub fn reset() -> Self {
        Self::of(200, Content::Reset)
    }

    fn of(status: u16, body: Content) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("an HTTP status is 100 to 999"),
            headers: Vec::new(),
            body,
        }
    }

    /// With a header more.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) async fn response(self, n_streamed: Arc<AtomicUsize>) -> Response {
        let body = match self.body {
            Content::Text(text) => Body::from(text),
            Content::Silence => std::future::pending().await,
            Content::Drip => Body::from_stream(stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
            })),
            Content::Endless => Body::from_stream(stream::repeat_with(move || {
                n_streamed.fetch_add(CHUNK.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(Bytes::from_static(CHUNK))
            })),
            Content::Reset => {
                let half = Ok(Bytes::from_static(b"{\"errcode\":0,"));
                let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                Body::from_stream(stream::iter([half, broken]))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("a header value is printable");
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, value);
        }
        response
    }
}
