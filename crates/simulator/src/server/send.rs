//! A reply on its way: in parts, slowly, and perhaps not to its end.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use crate::World;
use crate::answer::Reply;
use crate::connection::Line;
use crate::fault::{Fault, ResetIn};

/// The body goes out in parts of this size, so that "sent in full" means nearly that.
const PART_BYTES: usize = 16 << 10;
const FLUSH: Duration = Duration::from_millis(20);
/// Where a reset in the middle of the headers comes: in the first header's name, or nearly so.
const RESET_AFTER_BYTES: usize = 24;

/// How the faults want a body sent.
struct Manner {
    part_bytes: usize,
    pause: Option<Duration>,
    reset: Option<ResetIn>,
    blanks: usize,
}

impl Manner {
    fn of(faults: &[Fault]) -> Self {
        let mut manner = Self {
            part_bytes: PART_BYTES,
            pause: None,
            reset: None,
            blanks: 0,
        };
        for fault in faults {
            match fault {
                Fault::Drip { bytes, every_ms } => {
                    manner.part_bytes = (*bytes).max(1);
                    manner.pause = Some(Duration::from_millis(*every_ms));
                }
                Fault::Reset(place) => manner.reset = Some(*place),
                Fault::Huge { bytes } => manner.blanks = (*bytes).min(1 << 30),
                _ => {}
            }
        }
        manner
    }
}

/// The reply as a response whose last part, when it is taken to be written, notes it as served.
pub(super) fn send(mut reply: Reply, faults: &[Fault], world: World, line: &Line) -> Response {
    let manner = Manner::of(faults);
    if reply.status.is_success() && manner.blanks > 0 {
        let mut body = BytesMut::zeroed(manner.blanks);
        body.fill(b' ');
        body.extend_from_slice(&reply.body);
        reply.body = body.freeze();
        reply.served = None;
    }
    let whole_bytes = reply.body.len();
    let (body, length_bytes, is_whole) = match (reply.cut, manner.reset) {
        (None, Some(ResetIn::Body)) => (reply.body.slice(..whole_bytes / 2), whole_bytes, false),
        (None, None | Some(ResetIn::Headers)) => (reply.body, whole_bytes, manner.reset.is_none()),
        (Some(cut), _) => {
            let half = reply.body.slice(..whole_bytes / 2);
            let claimed = if cut.honest { half.len() } else { whole_bytes };
            (half, claimed, false)
        }
    };
    match manner.reset {
        Some(ResetIn::Headers) => line.reset_after(RESET_AFTER_BYTES),
        Some(ResetIn::Body) => line.end_as_reset(),
        None => {}
    }
    let breaks_off = body.len() < length_bytes;
    let n_parts = body.len().div_ceil(manner.part_bytes);
    let parts = parts(body, manner.part_bytes);
    let served = reply.served.filter(|_| is_whole);
    let pause = manner.pause;
    let parts = stream::iter(parts.enumerate()).then(move |(n, part)| {
        let last = (n + 1 == n_parts).then(|| served.clone()).flatten();
        let world = world.clone();
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            if let Some(served) = last {
                world.served(&served);
            }
            Ok::<Bytes, io::Error>(part)
        }
    });
    let end = stream::iter(breaks_off.then_some(())).then(|()| async {
        // While the body waits, hyper flushes: the half is out before the connection breaks.
        tokio::time::sleep(FLUSH).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut response = Response::new(Body::from_stream(parts.chain(end)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length_bytes));
    for (name, value) in reply.headers {
        headers.insert(name, value);
    }
    response
}

fn parts(mut body: Bytes, part_bytes: usize) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let part = body.split_to(body.len().min(part_bytes));
        (!part.is_empty()).then_some(part)
    })
}
