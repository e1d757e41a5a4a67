//! Robots in group chats: one POST, one outcome, which the answer's body decides as much as its status.
//!
//! In: a delivery. Out: an outcome; there is no error beside it. What a provider wants and says is in a file of its
//! own, as a [`Provider`]: pure.
//!
//! Must never happen: a message that counts as delivered because of HTTP 200 alone, a redirect that is followed, a
//! note that holds the URL (it is the credential), data that becomes markup or a mention.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde_json::Value;
use syncbell_config::{Chat, ChatKind, LiveSecret, Rate, Secret, http_url};
use url::Url;

use crate::delivery::Delivery;
use crate::outcome::{Answered, Outcome};
use crate::render::{ChatMessage, Form, Renderer, text};

use super::answer;
use super::endpoint::{Answer, End, Endpoint};
use super::fresh::{self, Fresh};
use super::setup::SetupError;
use super::{dingtalk, feishu, slack, wecom};

/// All providers.
pub(crate) const FORMS: [&Form; 4] = [&dingtalk::FORM, &feishu::FORM, &wecom::FORM, &slack::FORM];

const JSON: &str = "application/json; charset=utf-8";

/// Clocks that differ by less are no reason to be refused.
const SKEW_TOLD: SignedDuration = SignedDuration::from_mins(5);

/// What one provider wants and says. Pure.
pub(super) trait Provider: Send + Sync {
    /// Its name, templates and markup.
    fn form(&self) -> &'static Form;

    /// The request of an attempt at `now`; `url` is the configured one.
    fn request(&self, message: &ChatMessage, url: &Url, now: Timestamp) -> Request;

    /// A second message that mentions whom the first cannot, for providers of which one kind has colours and another
    /// mentions.
    fn mention(&self, _message: &ChatMessage, _url: &Url) -> Option<Request> {
        None
    }

    /// Messages of one attempt, at most: those and these.
    fn messages(&self) -> usize {
        1
    }

    /// When a delivery goes at the earliest, where that depends on the time of day.
    fn not_before(&self) -> Option<NotBefore> {
        None
    }

    /// Whether the provider takes a message of this size.
    fn fits(&self, message: &ChatMessage, request: &Request) -> bool;

    /// What an answer means that is no redirect.
    fn verdict(&self, said: &Said<'_>, now: Timestamp) -> Verdict;
}

/// When a delivery goes at the earliest, if it is `now`.
pub(crate) type NotBefore = fn(&Delivery, Timestamp) -> Timestamp;

/// A POST of JSON.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) body: Vec<u8>,
}

/// An answer as providers look at it.
pub(super) struct Said<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    /// What its `Retry-After` asks for.
    pub(super) pause: Option<Duration>,
    pub(super) body: &'a str,
    /// The body, if it is JSON.
    pub(super) json: Option<Value>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    RetryAfter(Duration),
    Transient,
    PermanentMessage,
    /// The provider takes smaller ones.
    TooLarge,
    PermanentTarget,
    /// It says neither yes nor no in words that are known: what its status means for any receiver, and of 2xx nothing.
    ByStatus,
}

/// A receiver of one of the kinds of chats.
pub(crate) struct ChatChannel {
    endpoint: Endpoint,
    url: Fresh<Url>,
    secret: Option<Signing>,
    provider: Box<dyn Provider>,
    rates: Vec<Rate>,
}

/// What signs requests.
pub(super) type Signing = Arc<Fresh<Secret<String>>>;

impl ChatChannel {
    /// Reads the certificates and prepares the connections. Blocking: only at start.
    pub(crate) fn try_new(chat: &Chat) -> Result<Self, SetupError> {
        let url = http_url(chat.url.text().expose()).map_err(SetupError::unusable)?;
        let secret = match &chat.kind {
            ChatKind::Dingtalk { secret } | ChatKind::Feishu { secret } => secret.as_ref(),
            ChatKind::Wecom | ChatKind::Slack => None,
        };
        let secret = secret.map(signing).transpose()?;
        Ok(Self {
            endpoint: Endpoint::try_new(&url, &chat.http)?,
            url: fresh::url(&chat.url, &url)?,
            provider: provider(chat, secret.clone()),
            secret,
            rates: chat.rates.clone(),
        })
    }

    /// Its name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        self.provider.form().name
    }

    /// How much the vendor takes.
    pub(crate) fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// Where it posts to, as it is known; a secret.
    pub(crate) fn url(&self) -> Arc<Url> {
        self.url.known()
    }

    /// The largest message of `delivery` that the provider takes; where it said that it takes less than it used to, one
    /// of half the size.
    pub(crate) fn message(
        &self,
        renderer: &Renderer,
        delivery: &Delivery,
        now: Timestamp,
    ) -> ChatMessage {
        let (provider, url) = (&self.provider, self.url.known());
        let size = |message: &ChatMessage| {
            let request = provider.request(message, &url, now);
            let fits = provider.fits(message, &request);
            fits.then_some(request.body.len())
        };
        renderer.chat(provider.form(), delivery, now, size)
    }

    /// Makes one attempt. It ends within the receiver's timeout, the reading of the answer included.
    pub(crate) async fn send(&self, message: &ChatMessage, now: Timestamp) -> Answered {
        let url = self.url.now().await;
        if let Some(secret) = &self.secret {
            secret.now().await;
        }
        let request = self.provider.request(message, &url, now);
        self.post(request, now).await
    }

    async fn post(&self, request: Request, now: Timestamp) -> Answered {
        let Request { url, body } = request;
        let filled =
            |request: reqwest::RequestBuilder| request.header(CONTENT_TYPE, JSON).body(body);
        match self.endpoint.post(&url, filled).await {
            Ok(answer) => {
                let status = answer.status.as_u16();
                Answered::with(status, self.judged(&answer, &url, now))
            }
            Err(outcome) => outcome.into(),
        }
    }

    /// Messages of one attempt, at most.
    pub(crate) fn messages(&self) -> usize {
        self.provider.messages()
    }

    /// When a delivery goes at the earliest, where that depends on the time of day.
    pub(crate) fn not_before(&self) -> Option<NotBefore> {
        self.provider.not_before()
    }

    /// Mentions whom the message could not, once that was taken. None: there is nobody. It ends within the timeout.
    pub(crate) async fn mention(&self, message: &ChatMessage, now: Timestamp) -> Option<Outcome> {
        let url = self.url.known();
        let request = self.provider.mention(message, &url)?;
        Some(self.post(request, now).await.outcome)
    }

    /// What an attempt at `now` sends, without secrets.
    pub(crate) fn preview(&self, message: &ChatMessage, now: Timestamp) -> String {
        let Request { url, body } = self.provider.request(message, &self.url.known(), now);
        let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(sign) = body.get_mut("sign") {
            *sign = "[secret]".into();
        }
        let host = url.host_str().unwrap_or_default();
        format!(
            "POST {}://{host}/[secret]\ncontent-type: {JSON}\n\n{body:#}",
            url.scheme()
        )
    }

    fn judged(&self, answer: &Answer, url: &Url, now: Timestamp) -> Outcome {
        let (status, said) = (answer.status, answer.first_line(url));
        let note = if said.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {said}")
        };
        if status.is_redirection() {
            return Outcome::PermanentTarget { note };
        }
        if status.is_success() && matches!(answer.end, End::Broken | End::Late) {
            return Outcome::Transient {
                note: format!("HTTP {status}, and the answer did not end"),
                maybe_delivered: true,
            };
        }
        let body = String::from_utf8_lossy(&answer.body);
        let said = Said {
            status: status.as_u16(),
            headers: &answer.headers,
            pause: answer::asked_pause(&answer.headers, now),
            json: serde_json::from_str(&body).ok(),
            body: &body,
        };
        match self.provider.verdict(&said, now) {
            Verdict::Delivered => Outcome::Delivered { note },
            Verdict::RetryAfter(after) => Outcome::RetryAfter { after, note },
            Verdict::Transient => Outcome::Transient {
                note,
                maybe_delivered: false,
            },
            Verdict::PermanentMessage => Outcome::PermanentMessage { note },
            Verdict::TooLarge => Outcome::TooLarge { note },
            Verdict::PermanentTarget => Outcome::PermanentTarget {
                note: format!("{note}{}", skew(&answer.headers, now)),
            },
            Verdict::ByStatus if status == StatusCode::PAYLOAD_TOO_LARGE => {
                Outcome::TooLarge { note }
            }
            Verdict::ByStatus if !status.is_success() => {
                answer::classify(said.status, said.pause, note)
            }
            Verdict::ByStatus => Outcome::Unknown { note },
        }
    }
}

/// What signs, as its file has it now.
pub(super) fn signing(secret: &LiveSecret) -> Result<Signing, SetupError> {
    let fresh = Fresh::try_new(secret, |text| Ok(Secret::new(text.to_owned())))?;
    Ok(Arc::new(fresh))
}

fn provider(chat: &Chat, secret: Option<Signing>) -> Box<dyn Provider> {
    let (at, keyword) = (chat.at.clone(), chat.keyword.clone());
    match &chat.kind {
        ChatKind::Dingtalk { .. } => Box::new(dingtalk::Dingtalk {
            secret,
            keyword,
            at,
        }),
        ChatKind::Feishu { .. } => Box::new(feishu::Feishu {
            secret,
            keyword,
            at,
        }),
        ChatKind::Wecom => Box::new(wecom::Wecom { at }),
        ChatKind::Slack => Box::new(slack::Slack { at }),
    }
}

/// That our clock may be the reason: signatures are of a time.
fn skew(headers: &HeaderMap, now: Timestamp) -> String {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let Some(skew) = date
        .and_then(answer::date)
        .map(|date| now.duration_since(date))
    else {
        return String::new();
    };
    let side = if skew.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    match skew.abs() {
        skew if skew > SKEW_TOLD => {
            format!("; our clock is {} {side} the server's", text::spoken(skew))
        }
        _ => String::new(),
    }
}

impl Said<'_> {
    /// The number under `key` of its JSON.
    pub(super) fn code(&self, key: &str) -> Option<i64> {
        self.json.as_ref()?.get(key)?.as_i64()
    }

    /// The text under `key` of its JSON, in small letters; empty if there is none.
    pub(super) fn text(&self, key: &str) -> String {
        let text = self.json.as_ref().and_then(|json| json.get(key));
        let text = text.and_then(Value::as_str);
        text.unwrap_or_default().to_lowercase()
    }

    /// Whether its status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The title, with the keyword that the robot asks for.
pub(super) fn titled(message: &ChatMessage, keyword: Option<&String>) -> String {
    match keyword {
        Some(keyword) if !message.title.contains(keyword.as_str()) => {
            format!("{} · {keyword}", message.title)
        }
        _ => message.title.clone(),
    }
}

#[cfg(test)]
pub(in crate::deliver) mod tests;
