//! The generic webhook: one POST, signed as Standard Webhooks 1.0 says, one outcome.
//!
//! In: a delivery's id and body. Out: an outcome; there is no error beside it.
//!
//! Must never happen: a redirect that is followed, an attempt without a deadline, an answer that is read
//! without a bound, a note that holds the URL (it is a credential) or the key.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response};
use syncbell_config::{Secret, Webhook};
use syncbell_event::TraceParent;
use url::Url;

use crate::delivery::DeliveryId;
use crate::outcome::Outcome;
use crate::render::text;

use super::answer;
use super::client::client;
use super::egress::refused_literal;
use super::setup::SetupError;
use super::sign::sign;

const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
const NOTE_LIMIT_CHARS: usize = 200;

/// A receiver of kind `webhook`.
pub(crate) struct WebhookChannel {
    client: Client,
    url: Url,
    key: Option<Secret<Vec<u8>>>,
    timeout: Duration,
}

impl WebhookChannel {
    /// Reads the certificates and prepares the connections. Blocking: only at start.
    pub(crate) fn try_new(webhook: &Webhook) -> Result<Self, SetupError> {
        Ok(Self {
            client: client(&webhook.url, webhook.ca_file.as_deref(), webhook.timeout)?,
            url: webhook.url.clone(),
            key: webhook.key.clone(),
            timeout: webhook.timeout,
        })
    }

    /// Makes one attempt. It ends within the receiver's timeout, the reading of the answer included.
    pub(crate) async fn send(
        &self,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Outcome {
        if let Some(address) = refused_literal(&self.url) {
            let note = format!("nothing is sent to {address}: link-local or metadata service");
            return Outcome::PermanentTarget { note };
        }
        let deadline = tokio::time::Instant::now() + self.timeout;
        let response = match tokio::time::timeout_at(deadline, self.post(id, trace, body, now))
            .await
        {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // A request that found no connection cannot have arrived.
                let maybe_delivered = !error.is_connect() && !error.is_builder();
                let note = self.without_url(&text::chain(&error.without_url(), NOTE_LIMIT_CHARS));
                return Outcome::Transient {
                    note,
                    maybe_delivered,
                };
            }
            Err(_) => {
                let note = format!("no answer within {:?}", self.timeout);
                return Outcome::Transient {
                    note,
                    maybe_delivered: true,
                };
            }
        };
        let status = response.status();
        let pause = pause(response.headers(), now);
        // The status has decided already; the rest of the answer only explains it.
        let said = tokio::time::timeout_at(deadline, first_line(response)).await;
        let said = self.without_url(&said.unwrap_or_default());
        let note = match (status.is_success(), said.is_empty()) {
            (true, _) | (_, true) => format!("HTTP {status}"),
            (false, false) => format!("HTTP {status}: {said}"),
        };
        answer::classify(status.as_u16(), pause, note)
    }

    async fn post(
        &self,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<Response, reqwest::Error> {
        let timestamp = now.as_second();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, syncbell_event::CONTENT_TYPE)
            .header("webhook-id", &id.0)
            .header("webhook-timestamp", timestamp);
        if let Some(key) = &self.key {
            let signature = sign(key.expose(), &id.0, timestamp, &body);
            request = request.header("webhook-signature", signature);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace.to_string());
        }
        request.body(body).send().await
    }

    /// Receivers like to repeat the path they were asked for, and the path is often the credential.
    fn without_url(&self, said: &str) -> String {
        let path = self.url.path_segments().into_iter().flatten();
        let query = self
            .url
            .query()
            .into_iter()
            .flat_map(|query| query.split(['&', '=']));
        let user = [self.url.username(), self.url.password().unwrap_or_default()];
        let mut said = said.replace(self.url.as_str(), "[url]");
        for part in path.chain(query).chain(user).filter(|part| part.len() >= 4) {
            let decoded = percent_decode_str(part).decode_utf8_lossy();
            said = said
                .replace(part, "[url]")
                .replace(decoded.as_ref(), "[url]");
        }
        said
    }
}

/// What the answer asks us to wait. Dates are compared with the server's own, where it has one.
fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let server_now = text(DATE).and_then(answer::date).unwrap_or(now);
    answer::pause(text(RETRY_AFTER)?, server_now)
}

/// Reads the answer, so that its connection can serve again, and gives its first line. What is over the
/// bound is not read: the connection is dropped then.
async fn first_line(mut response: Response) -> String {
    let mut kept = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        kept.extend_from_slice(&chunk);
        if kept.len() > ANSWER_LIMIT_BYTES {
            break;
        }
    }
    let said = String::from_utf8_lossy(&kept);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    text::line(first.unwrap_or_default(), NOTE_LIMIT_CHARS)
}

#[cfg(test)]
mod tests;
