//! The robots of chats as their vendors run them: what one takes it keeps, what it does not take it refuses in the
//! vendor's own words, which mostly is HTTP 200 and a code in the body.
//!
//! They are made from the vendors' pages, not from what the program sends: signature, clock, kind of content, size,
//! rate, keyword and shape are each checked here anew.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::eventually;

mod reply;
mod markup;
mod dingtalk;
mod feishu;
mod wecom;
mod slack;

pub use reply::ChatReply;

/// What stands in the URL of each robot and is the credential.
pub const CHAT_TOKEN: &str = "T0KENaaaabbbbccccddddeeeeffff0000";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Whose robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatProvider {
    /// A `DingTalk` custom group robot.
    Dingtalk,
    /// A Feishu custom bot.
    Feishu,
    /// A `WeCom` group robot.
    Wecom,
    /// A Slack incoming webhook.
    Slack,
}

impl ChatProvider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dingtalk, Self::Feishu, Self::Wecom, Self::Slack];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dingtalk => "dingtalk",
            Self::Feishu => "feishu",
            Self::Wecom => "wecom",
            Self::Slack => "slack",
        }
    }

    /// Whether its requests can be signed.
    pub fn signs(self) -> bool {
        matches!(self, Self::Dingtalk | Self::Feishu)
    }

    /// What is open in a text of its markup, or is not of it; none: nothing.
    pub fn markup_problem(self, text: &str) -> Option<String> {
        markup::problem(self, text)
    }

    /// The title and the text of a body, if the provider takes its shape and size.
    pub fn read(self, body: &[u8]) -> Result<(String, String), ChatReply> {
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        match self {
            Self::Dingtalk => dingtalk::read(body, &json),
            Self::Feishu => feishu::read(body, &json),
            Self::Wecom => wecom::read(&json),
            Self::Slack => slack::read(&json),
        }
    }

    fn path(self) -> String {
        match self {
            Self::Dingtalk => format!("/robot/send?access_token={CHAT_TOKEN}"),
            Self::Feishu => format!("/open-apis/bot/v2/hook/{CHAT_TOKEN}"),
            Self::Wecom => format!("/cgi-bin/webhook/send?key={CHAT_TOKEN}"),
            Self::Slack => format!("/services/T00000000/B00000000/{CHAT_TOKEN}"),
        }
    }

    /// Messages in a span.
    fn rates(self) -> &'static [(usize, Duration)] {
        match self {
            Self::Dingtalk | Self::Wecom => &[(20, MINUTE)],
            Self::Feishu => &[(5, SECOND), (100, MINUTE)],
            // "Short bursts are tolerated."
            Self::Slack => &[(3, SECOND)],
        }
    }

    /// How it says that a body is too large.
    fn too_large(self) -> ChatReply {
        match self {
            Self::Dingtalk => dingtalk::too_large(),
            Self::Feishu => feishu::too_large(),
            Self::Wecom => wecom::too_large(),
            Self::Slack => slack::too_large(),
        }
    }

    fn judge(self, asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
        let limit_bytes = asked.options.limit_bytes.unwrap_or(usize::MAX);
        let judged = self.judge_form(asked)?;
        if let Some((word, reply)) = &asked.options.forbidden
            && String::from_utf8_lossy(asked.body).contains(word.as_str())
        {
            return Err(reply.clone());
        }
        if asked.body.len() > limit_bytes {
            return Err(self.too_large());
        }
        Ok(judged)
    }

    fn judge_form(self, asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
        match self {
            Self::Dingtalk => dingtalk::judge(asked),
            Self::Feishu => feishu::judge(asked),
            Self::Wecom => wecom::judge(asked),
            Self::Slack => slack::judge(asked),
        }
    }

    fn yes(self) -> ChatReply {
        match self {
            Self::Dingtalk | Self::Wecom => ChatReply::json(200, r#"{"errcode":0,"errmsg":"ok"}"#),
            Self::Feishu => ChatReply::json(
                200,
                r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#,
            ),
            Self::Slack => ChatReply::text(200, "ok"),
        }
    }
}

/// How a robot is set up.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// Whose.
    pub provider: ChatProvider,
    /// Asks for signatures, where the provider knows them.
    pub secret: Option<String>,
    /// Asks for this word in each message, where the provider knows such.
    pub keyword: Option<String>,
    /// So far its clock is ahead.
    pub clock_ahead: SignedDuration,
    /// Takes no body that is larger, though the vendor's pages allow it.
    pub limit_bytes: Option<usize>,
    /// A word that is in no message that it takes, and what it says to one with it.
    pub forbidden: Option<(String, ChatReply)>,
    /// Whether the vendor's rate holds.
    pub is_limited: bool,
}

impl ChatOptions {
    /// A robot that asks for nothing but the vendor's rate.
    pub fn of(provider: ChatProvider) -> Self {
        Self {
            provider,
            secret: None,
            keyword: None,
            clock_ahead: SignedDuration::ZERO,
            limit_bytes: None,
            forbidden: None,
            is_limited: true,
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// By the clock of the machine.
    pub received_at: Timestamp,
    /// The path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub raw: Bytes,
    /// As it would be shown, if it was taken.
    pub shown: Option<(String, String)>,
}

impl ChatRequest {
    /// What people see: title and text.
    pub fn text(&self) -> String {
        let (title, text) = self.shown.clone().unwrap_or_default();
        format!("{title}\n{text}")
    }
}

/// A robot; it ends when dropped.
#[derive(Debug)]
pub struct ChatServer {
    url: String,
    robot: Robot,
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
struct Robot {
    options: Arc<ChatOptions>,
    kept: Arc<Mutex<Kept>>,
    n_streamed: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: Vec<ChatRequest>,
    next: VecDeque<ChatReply>,
    always: Option<ChatReply>,
}

/// A request as a provider looks at it.
struct Asked<'a> {
    options: &'a ChatOptions,
    method: &'a Method,
    uri: &'a Uri,
    content_type: &'a str,
    body: &'a [u8],
    json: Value,
    /// By its own clock.
    now: Timestamp,
    /// Whether too many came of late; the index of the rate.
    over: Option<usize>,
}

impl ChatServer {
    /// A robot on a free port of 127.0.0.1.
    pub async fn start(options: ChatOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("could not listen");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let url = format!("http://{address}{}", options.provider.path());
        let robot = Robot {
            options: Arc::new(options),
            kept: Arc::default(),
            n_streamed: Arc::default(),
        };
        let app = Router::new().fallback(receive).with_state(robot.clone());
        let stop = CancellationToken::new();
        let served = stop.clone().run_until_cancelled_owned(async move {
            axum::serve(listener, app)
                .await
                .expect("axum serves until it is dropped");
        });
        TaskTracker::new().spawn(served);
        Self {
            url,
            robot,
            _stop: stop.drop_guard(),
        }
    }

    /// What goes into `url`; [`CHAT_TOKEN`] stands in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the next `n` requests so, whatever they are; they are not taken.
    pub fn answer_next(&self, n: usize, reply: &ChatReply) {
        let mut kept = self.robot.lock();
        kept.next.extend(std::iter::repeat_n(reply.clone(), n));
    }

    /// Answers every request so for which nothing is waiting; none: as the provider would.
    pub fn answer_always(&self, reply: Option<ChatReply>) {
        self.robot.lock().always = reply;
    }

    /// Everything that came, in order.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.robot.lock().requests.clone()
    }

    /// What was taken.
    pub fn messages(&self) -> Vec<ChatRequest> {
        let requests = self.requests().into_iter();
        requests.filter(|request| request.shown.is_some()).collect()
    }

    /// Waits until `n` messages were taken.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<ChatRequest> {
        let what = format!("{n} messages at {}", self.robot.options.provider.name());
        eventually(&what, timeout, || {
            let messages = self.messages();
            async move { (messages.len() >= n).then_some(messages) }
        })
        .await
    }

    /// Bytes of endless answers that left so far.
    pub fn n_streamed(&self) -> usize {
        self.robot.n_streamed.load(Ordering::Relaxed)
    }
}

impl Robot {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request, and says how it is answered.
    fn take(&self, method: &Method, uri: &Uri, headers: HeaderMap, raw: Bytes) -> ChatReply {
        let received_at = Timestamp::now();
        let content_type = headers.get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let asked = Asked {
            options: &self.options,
            method,
            uri,
            content_type: &content_type,
            body: &raw,
            json: serde_json::from_slice(&raw).unwrap_or(Value::Null),
            now: received_at + self.options.clock_ahead,
            over: self.over(received_at),
        };
        let (provider, mut kept) = (self.options.provider, self.lock());
        let told = kept.next.pop_front().or_else(|| kept.always.clone());
        let judged = told.map_or_else(|| provider.judge(&asked), Err);
        let (shown, reply) = match judged {
            Ok(shown) => (Some(shown), provider.yes()),
            Err(reply) => (None, reply),
        };
        kept.requests.push(ChatRequest {
            received_at,
            path: uri.to_string(),
            headers,
            raw,
            shown,
        });
        reply
    }

    /// The rate that one more message breaks.
    fn over(&self, now: Timestamp) -> Option<usize> {
        if !self.options.is_limited {
            return None;
        }
        let kept = self.lock();
        let rates = self.options.provider.rates().iter();
        rates.enumerate().find_map(|(index, (count, per))| {
            let of_late = |request: &&ChatRequest| {
                let age = now.duration_since(request.received_at);
                Duration::try_from(age).is_ok_and(|age| age < *per)
            };
            let n = kept.requests.iter().rev().take_while(of_late).count();
            (n >= *count).then_some(index)
        })
    }
}

async fn receive(
    State(robot): State<Robot>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let reply = robot.take(&method, &uri, headers, raw);
    reply.response(robot.n_streamed).await
}

/// What stands under `key` of a query; percent-decoded.
fn in_query(uri: &Uri, key: &str) -> Option<String> {
    let pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(name, _)| *name == key);
    let (_, value) = found.next()?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Base64 of HMAC-SHA256.
fn hmac(key: &[u8], message: &[u8]) -> String {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let mut mac =
        hmac::Hmac::<sha2::Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;
