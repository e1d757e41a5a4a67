//! The generic webhook: one POST, signed as Standard Webhooks 1.0 says, one outcome.
//!
//! In: a delivery. Out: an outcome; there is no error beside it.
//!
//! Must never happen: a note that holds the URL (it is a credential), a key, or anything else that says who we are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use syncbell_config::{Authorization, Problem, Secret, Webhook, http_url, signing_key};
use syncbell_event::TraceParent;
use url::Url;

use crate::delivery::{Delivery, DeliveryId};
use crate::outcome::Answered;
use crate::render::{self, BodyTemplate, Renderer, TemplateFailure};

use super::answer;
use super::endpoint::{End, Endpoint};
use super::fresh::{self, Fresh};
use super::redact::without_each;
use super::setup::SetupError;
use super::sign::sign;

/// A receiver of kind `webhook`.
pub(crate) struct WebhookChannel {
    endpoint: Endpoint,
    url: Fresh<Url>,
    keys: Vec<Fresh<Secret<Vec<u8>>>>,
    /// Of the configuration, `authorization` among them.
    headers: Vec<(HeaderName, Fresh<Given>)>,
    template: Option<BodyTemplate>,
    content_type: HeaderValue,
}

/// A body, and what it is said to be.
pub(crate) struct Payload {
    bytes: Vec<u8>,
    content_type: HeaderValue,
}

/// The value of a header, and what of it must not be seen.
struct Given {
    value: HeaderValue,
    secret: Secret<String>,
}

impl WebhookChannel {
    /// Reads the certificates and prepares the connections. Blocking: only at start.
    pub(crate) fn try_new(webhook: &Webhook) -> Result<Self, SetupError> {
        let url = http_url(webhook.url.text().expose()).map_err(SetupError::unusable)?;
        let endpoint = Endpoint::try_new(&url, &webhook.http)?;
        Self::with(endpoint, &url, webhook)
    }

    fn with(endpoint: Endpoint, url: &Url, webhook: &Webhook) -> Result<Self, SetupError> {
        let keys = webhook.secrets.iter();
        let mut headers = Vec::new();
        for (name, value) in &webhook.headers {
            let name = HeaderName::try_from(name)
                .map_err(|_| SetupError::unusable(format!("`{name}` is no header")))?;
            headers.push((name, Fresh::try_new(value, Given::plain)?));
        }
        if let Some(authorization) = &webhook.authorization {
            headers.push((AUTHORIZATION, authorized(authorization)?));
        }
        let default = match &webhook.template {
            Some(_) => "application/json",
            None => syncbell_event::CONTENT_TYPE,
        };
        let content_type = webhook.content_type.as_deref().unwrap_or(default);
        let is_json = content_type.to_ascii_lowercase().contains("json");
        let template = webhook.template.as_ref();
        let template = template.map(|file| BodyTemplate::try_new(file, is_json));
        Ok(Self {
            endpoint,
            template: template.transpose().map_err(SetupError::Template)?,
            content_type: HeaderValue::try_from(content_type)
                .map_err(|_| SetupError::unusable("`content_type` cannot stand in a header"))?,
            url: fresh::url(&webhook.url, url)?,
            keys: keys
                .map(|secret| Fresh::try_new(secret, signing_key))
                .collect::<Result<_, _>>()?,
            headers,
        })
    }

    /// The first problem that its template has with samples of every kind of message.
    pub(crate) fn problem(&self, renderer: &Renderer) -> Option<Problem> {
        self.template.as_ref()?.problem(renderer)
    }

    /// What is sent of `delivery`. With a failure: the template gave nothing, and the built-in body is in its place.
    pub(crate) fn payload(
        &self,
        renderer: &Renderer,
        delivery: &Delivery,
        now: Timestamp,
    ) -> (Payload, Option<TemplateFailure>) {
        let own = self.template.as_ref();
        let failure = match own.map(|template| template.render(renderer, delivery, now)) {
            Some(Ok(bytes)) => return (self.of(bytes), None),
            None => return (self.of(render::webhook(delivery)), None),
            Some(Err(failure)) => failure,
        };
        let built_in = Payload {
            bytes: render::webhook(delivery),
            content_type: HeaderValue::from_static(syncbell_event::CONTENT_TYPE),
        };
        (built_in, Some(failure))
    }

    fn of(&self, bytes: Vec<u8>) -> Payload {
        Payload {
            bytes,
            content_type: self.content_type.clone(),
        }
    }

    /// Makes one attempt. It ends within the receiver's timeout, the reading of the answer included.
    pub(crate) async fn send(
        &self,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        payload: Payload,
        now: Timestamp,
    ) -> Answered {
        let url = self.url.now().await;
        let headers = self.headers(id, trace, &payload, now).await;
        let filled = |request: RequestBuilder| request.headers(headers).body(payload.bytes);
        let answer = match self.endpoint.post(&url, filled).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome.into(),
        };
        // The status has decided already; the rest of the answer only explains it.
        let (status, said) = (answer.status, self.redacted(&answer.first_line(&url)));
        let mut note = format!("HTTP {status}");
        if !said.is_empty() {
            note = format!("{note}: {said}");
        }
        if let End::Broken | End::Late = answer.end {
            note.push_str(" (the answer did not end)");
        }
        let pause = answer::asked_pause(&answer.headers, now);
        let status = status.as_u16();
        Answered::with(status, answer::classify(status, pause, note))
    }

    /// What [`WebhookChannel::send`] sends, without secrets.
    pub(crate) async fn preview(
        &self,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        payload: &Payload,
        now: Timestamp,
    ) -> String {
        let url = self.url.now().await;
        let mut text = format!("POST {}\n", shown(&url));
        for (name, value) in &self.headers(id, trace, payload, now).await {
            let given = value.to_str().ok().filter(|_| !value.is_sensitive());
            text.push_str(name.as_str());
            text.push_str(": ");
            text.push_str(given.unwrap_or("[secret]"));
            text.push('\n');
        }
        format!("{text}\n{}", String::from_utf8_lossy(&payload.bytes))
    }

    /// All headers of an attempt but those of HTTP itself.
    async fn headers(
        &self,
        id: &DeliveryId,
        trace: Option<TraceParent>,
        payload: &Payload,
        now: Timestamp,
    ) -> HeaderMap {
        let timestamp = now.as_second();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.now().await.value.clone());
        }
        headers.insert(CONTENT_TYPE, payload.content_type.clone());
        let mut set = |name: &'static str, value: String| {
            // Ids are hexadecimal, signatures base64: no header refuses them.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("webhook-id", id.0.clone());
        set("webhook-timestamp", timestamp.to_string());
        let mut signatures = Vec::new();
        for key in &self.keys {
            signatures.push(sign(
                key.now().await.expose(),
                &id.0,
                timestamp,
                &payload.bytes,
            ));
        }
        if !signatures.is_empty() {
            set("webhook-signature", signatures.join(" "));
        }
        if let Some(trace) = trace {
            set("traceparent", trace.to_string());
        }
        headers
    }

    /// Receivers like to repeat what they were sent.
    fn redacted(&self, said: &str) -> String {
        let given: Vec<Arc<Given>> = self
            .headers
            .iter()
            .map(|(_, given)| given.known())
            .collect();
        let secrets = given.iter().map(|given| given.secret.expose().as_str());
        without_each(secrets, "[secret]", said)
    }
}

#[cfg(test)]
impl WebhookChannel {
    /// The next attempt looks into the files of its secrets.
    fn look_again(&self) {
        self.url.look_again();
        self.keys.iter().for_each(Fresh::look_again);
        self.headers
            .iter()
            .for_each(|(_, value)| value.look_again());
    }
}

impl Given {
    fn plain(text: &str) -> Result<Self, String> {
        Self::of(text, text.to_owned())
    }

    fn of(value: &str, secret: String) -> Result<Self, String> {
        let mut value =
            HeaderValue::try_from(value).map_err(|_| "it cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        Ok(Self {
            value,
            secret: Secret::new(secret),
        })
    }
}

/// The part of a URL that is no credential.
fn shown(url: &Url) -> String {
    let more = url.path() != "/" || url.query().is_some();
    let host = &url[..url::Position::BeforePath];
    format!("{host}/{}", if more { "[url]" } else { "" })
}

fn authorized(authorization: &Authorization) -> Result<Fresh<Given>, SetupError> {
    match authorization {
        Authorization::Bearer(token) => Fresh::try_new(token, |token: &str| {
            Given::of(&format!("Bearer {token}"), token.to_owned())
        }),
        Authorization::Basic { username, password } => {
            let username = username.clone();
            Fresh::try_new(password, move |password: &str| {
                let pair = STANDARD.encode(format!("{username}:{password}"));
                Given::of(&format!("Basic {pair}"), password.to_owned())
            })
        }
    }
}

#[cfg(test)]
mod tests;
