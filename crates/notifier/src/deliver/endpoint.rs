//! One POST to an address of the configuration: within its deadline, its answer read to a bound.
//!
//! In: a request. Out: what was answered, or the outcome where nothing was. Must never happen: an attempt without a
//! deadline, an answer that is read without a bound, a note that holds a URL (it is often the credential).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use syncbell_config::{Egress, Http, Secret};
use tokio::time::Instant;
use url::Url;

use crate::outcome::Outcome;
use crate::render::text;

use super::client::client;
use super::egress::{RefusedName, System, refused_literal};
use super::redact::without;
use super::setup::SetupError;

const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
const NOTE_LIMIT_CHARS: usize = 200;
/// A name that stands for nothing but refused addresses for so long is no mishap of its servers.
const REFUSED_FOR_GOOD: Duration = Duration::from_mins(5);

/// Where requests go, with the connections that are kept for it.
pub(super) struct Endpoint {
    client: Client,
    proxy: Option<Secret<Url>>,
    egress: Egress,
    timeout: Duration,
    /// Since when every look-up of the name gave nothing but refused addresses.
    refused_since: Mutex<Option<Instant>>,
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
    /// Reads the certificates and prepares connections to `url`. Blocking: only at start.
    pub(super) fn try_new(url: &Url, http: &Http) -> Result<Self, SetupError> {
        Self::try_new_by(url, http, Arc::new(System::new()))
    }

    /// The same, where `names` looks up names.
    pub(super) fn try_new_by(
        url: &Url,
        http: &Http,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            client: client(url, http, names)?,
            proxy: http.proxy.clone(),
            egress: http.egress.clone(),
            timeout: http.timeout,
            refused_since: Mutex::default(),
        })
    }

    /// Sends a POST to `url`, which `filled` completes. It ends within the timeout, the reading of the answer
    /// included. The error is how the attempt ended: nothing was answered.
    pub(super) async fn post(
        &self,
        url: &Url,
        filled: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, Outcome> {
        if let Some(note) = refused_literal(url, &self.egress) {
            return Err(Outcome::PermanentTarget { note });
        }
        let deadline = Instant::now() + self.timeout;
        let sent = filled(self.client.post(url.clone())).send();
        let response = match tokio::time::timeout_at(deadline, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.failed(url, error)),
            Err(_) => {
                self.found();
                let note = format!("no answer within {:?}", self.timeout);
                return Err(Outcome::Transient {
                    note,
                    maybe_delivered: true,
                });
            }
        };
        self.found();
        let answer = read(response, deadline).await;
        if self.proxy.is_some() && answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            let note = "the proxy does not take our user name and password".to_owned();
            return Err(Outcome::PermanentTarget { note });
        }
        Ok(answer)
    }

    /// A name that is refused now may stand for something else soon: it is tried again. One that stays so is as an
    /// address that is refused: somebody has to change the configuration.
    fn refused(&self, note: String) -> Outcome {
        let now = Instant::now();
        let mut since = self
            .refused_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*since.get_or_insert(now)) >= REFUSED_FOR_GOOD {
            return Outcome::PermanentTarget { note };
        }
        Outcome::Transient {
            note,
            maybe_delivered: false,
        }
    }

    /// The name stands for something that may be connected to, as far as is known.
    fn found(&self) {
        let mut since = self
            .refused_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = None;
    }

    fn failed(&self, url: &Url, error: reqwest::Error) -> Outcome {
        if let Some(refused) = RefusedName::within(&error) {
            return self.refused(refused.to_string());
        }
        self.found();
        // A request that found no connection cannot have arrived.
        let maybe_delivered = !error.is_connect() && !error.is_builder();
        let mut note = without(url, &text::chain(&error.without_url(), NOTE_LIMIT_CHARS));
        if let Some(proxy) = &self.proxy {
            note = without(proxy.expose(), &note);
        }
        Outcome::Transient {
            note,
            maybe_delivered,
        }
    }
}

impl Answer {
    /// Its first line that says something, without what `url` holds.
    pub(super) fn first_line(&self, url: &Url) -> String {
        let said = String::from_utf8_lossy(&self.body);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty());
        // Before it is cut: the rest of a secret would not be found.
        text::line(&without(url, first.unwrap_or_default()), NOTE_LIMIT_CHARS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_stays_refused_is_as_an_address_that_is_and_one_that_comes_back_is_not() {
        let url = Url::parse("http://hooks.example.com/").unwrap();
        let endpoint = Endpoint::try_new(&url, &Http::default()).unwrap();
        let refused = || endpoint.refused("add the line".to_owned()).name();
        for _ in 0..2 {
            assert_eq!(refused(), "transient");
            tokio::time::advance(REFUSED_FOR_GOOD / 2).await;
            assert_eq!(refused(), "transient");
            endpoint.found();
        }
        assert_eq!(refused(), "transient");
        tokio::time::advance(REFUSED_FOR_GOOD).await;
        assert_eq!(refused(), "permanent_target");
    }
}
