//! One POST to an address of the configuration: within its deadline, its answer read to a bound.
//!
//! In: a request. Out: what was answered, or the outcome where nothing was. Must never happen: an attempt without a
//! deadline, an answer that is read without a bound, a note that holds a URL (it is often the credential).

use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use crate::outcome::Outcome;
use crate::render::text;

use super::client::client;
use super::egress::refused_literal;
use super::setup::SetupError;

const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
const NOTE_LIMIT_CHARS: usize = 200;

/// Where requests go, with the connections that are kept for it.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    timeout: Duration,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As much as was read.
    pub(super) body: Vec<u8>,
    /// How the reading ended.
    pub(super) end: End,
}

/// How the reading of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of it was read.
    Whole,
    /// It is over the bound.
    TooLong,
    /// The connection broke.
    Broken,
    /// The deadline came.
    Late,
}

impl Endpoint {
    /// Reads the certificates and prepares the connections. Blocking: only at start.
    pub(super) fn try_new(
        url: &Url,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            client: client(url, ca_file, timeout)?,
            url: url.clone(),
            timeout,
        })
    }

    /// The address as it is configured.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a POST to `url`, which `filled` completes. It ends within the timeout, the reading of the answer
    /// included. The error is how the attempt ended: nothing was answered.
    pub(super) async fn post(
        &self,
        url: &Url,
        filled: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, Outcome> {
        if let Some(address) = refused_literal(url) {
            let note = format!("nothing is sent to {address}: link-local or metadata service");
            return Err(Outcome::PermanentTarget { note });
        }
        let deadline = Instant::now() + self.timeout;
        let sent = filled(self.client.post(url.clone())).send();
        let response = match tokio::time::timeout_at(deadline, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // A request that found no connection cannot have arrived.
                let maybe_delivered = !error.is_connect() && !error.is_builder();
                let note = text::chain(&error.without_url(), NOTE_LIMIT_CHARS);
                return Err(Outcome::Transient {
                    note: without(url, &note),
                    maybe_delivered,
                });
            }
            Err(_) => {
                let note = format!("no answer within {:?}", self.timeout);
                return Err(Outcome::Transient {
                    note,
                    maybe_delivered: true,
                });
            }
        };
        Ok(read(response, deadline).await)
    }
}

impl Answer {
    /// Its first line that says something, without what `url` holds.
    pub(super) fn first_line(&self, url: &Url) -> String {
        let said = String::from_utf8_lossy(&self.body);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty());
        without(
            url,
            &text::line(first.unwrap_or_default(), NOTE_LIMIT_CHARS),
        )
    }
}

/// Reads the answer, so that its connection can serve again. What is over the bound is not read: the connection is
/// dropped then.
async fn read(mut response: Response, deadline: Instant) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    let end = loop {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = ANSWER_LIMIT_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break End::TooLong;
                }
            }
            Ok(Ok(None)) => break End::Whole,
            Ok(Err(_)) => break End::Broken,
            Err(_) => break End::Late,
        }
    };
    Answer {
        status,
        headers,
        body,
        end,
    }
}

/// `said` without the parts of `url`: receivers like to repeat the path they were asked for, and the path is often
/// the credential.
pub(super) fn without(url: &Url, said: &str) -> String {
    let path = url.path_segments().into_iter().flatten();
    let query = url
        .query()
        .into_iter()
        .flat_map(|query| query.split(['&', '=']));
    let user = [url.username(), url.password().unwrap_or_default()];
    let mut said = said.replace(url.as_str(), "[url]");
    for part in path.chain(query).chain(user).filter(|part| part.len() >= 4) {
        let decoded = percent_decode_str(part).decode_utf8_lossy();
        said = said
            .replace(part, "[url]")
            .replace(decoded.as_ref(), "[url]");
    }
    said
}
