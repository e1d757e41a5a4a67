//! The generic webhook: one POST, signed as Standard Webhooks 1.0 says, one outcome.
//!
//! In: a delivery's id and body. Out: an outcome; there is no error beside it.
//!
//! Must never happen: a redirect that is followed, an attempt without a deadline, an answer that is read
//! without a bound, a note that holds the URL (it is a credential) or the key.

use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use syncbell_config::{Secret, Webhook};
use syncbell_event::TraceParent;

use crate::delivery::DeliveryId;
use crate::outcome::Outcome;

use super::answer;
use super::endpoint::Endpoint;
use super::setup::SetupError;
use super::sign::sign;

/// A receiver of kind `webhook`.
pub(crate) struct WebhookChannel {
    endpoint: Endpoint,
    key: Option<Secret<Vec<u8>>>,
}

impl WebhookChannel {
    /// Reads the certificates and prepares the connections. Blocking: only at start.
    pub(crate) fn try_new(webhook: &Webhook) -> Result<Self, SetupError> {
        let ca_file = webhook.ca_file.as_deref();
        Ok(Self {
            endpoint: Endpoint::try_new(&webhook.url, ca_file, webhook.timeout)?,
            key: webhook.key.clone(),
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
        let url = self.endpoint.url();
        let filled = |request| self.filled(request, id, trace, body, now);
        let answer = match self.endpoint.post(url, filled).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        // The status has decided already; the rest of the answer only explains it.
        let (status, said) = (answer.status, answer.first_line(url));
        let note = match (status.is_success(), said.is_empty()) {
            (true, _) | (_, true) => format!("HTTP {status}"),
            (false, false) => format!("HTTP {status}: {said}"),
        };
        let pause = answer::asked_pause(&answer.headers, now);
        answer::classify(status.as_u16(), pause, note)
    }

    fn filled(
        &self,
        request: RequestBuilder,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        body: Vec<u8>,
        now: Timestamp,
    ) -> RequestBuilder {
        let timestamp = now.as_second();
        let mut request = request
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
        request.body(body)
    }
}

#[cfg(test)]
mod tests;
