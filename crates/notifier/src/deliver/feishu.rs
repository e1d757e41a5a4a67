//! Feishu and Lark custom bots. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::Sha256;
use syncbell_config::At;
use syncbell_event::{AlertStatus, Severity};
use url::Url;

use crate::delivery::Delivery;
use crate::render::{self, ChatMessage, Form, Markup, markdown_code};

use super::chat::{NotBefore, Provider, Request, Said, Signing, Verdict, titled};

/// Of the whole body, signature and escapes included; the vendor takes 20 KB.
const LIMIT_BYTES: usize = 19_000;
/// Between the least and the most that a frequency limit is waited for: spread, since everybody is limited at once.
const PAUSE_MS: (u64, u64) = (5_000, 30_000);
/// Everybody's timers strike at the full and the half hour, and the vendor takes less then: so long behind them what is
/// not urgent spreads.
const RUSH_EVERY_MS: i64 = 30 * 60 * 1_000;
const RUSH_MS: i64 = 20_000;
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// Where a gateway does not say how long.
const GATEWAY_PAUSE_SECONDS: u64 = 5;
const LONGEST_PAUSE_SECONDS: u64 = 3_600;

pub(crate) static FORM: Form = Form {
    name: "feishu",
    templates: ["feishu.title", "feishu.text"],
    markup: Markup {
        escape,
        strong: |text| format!("**{text}**"),
        link,
        code: markdown_code,
    },
};

pub(super) struct Feishu {
    pub(super) secret: Option<Signing>,
    pub(super) keyword: Option<String>,
    pub(super) at: At,
}

impl Provider for Feishu {
    fn form(&self) -> &'static Form {
        &FORM
    }

    fn request(&self, message: &ChatMessage, url: &Url, now: Timestamp) -> Request {
        let mut body = json!({
            "msg_type": "interactive",
            "card": {
                "schema": "2.0",
                "header": {
                    "title": {
                        "tag": "plain_text",
                        "content": titled(message, self.keyword.as_ref()),
                    },
                    "template": colour(message),
                },
                "body": {
                    "elements": [{ "tag": "markdown", "content": self.text(message) }],
                },
            },
        });
        if let Some(secret) = &self.secret {
            let timestamp = now.as_second().to_string();
            body["sign"] = sign(secret.known().expose(), &timestamp).into();
            body["timestamp"] = timestamp.into();
        }
        Request {
            url: url.clone(),
            body: body.to_string().into_bytes(),
        }
    }

    fn not_before(&self) -> Option<NotBefore> {
        Some(not_before)
    }

    fn fits(&self, _: &ChatMessage, request: &Request) -> bool {
        request.body.len() <= LIMIT_BYTES
    }

    fn verdict(&self, said: &Said<'_>, now: Timestamp) -> Verdict {
        // `StatusCode` is 0 in failures too: it counts only where there is no `code`.
        let Some(code) = said.code("code").or_else(|| said.code("StatusCode")) else {
            return Verdict::ByStatus;
        };
        match code {
            0 if said.is_success() => Verdict::Delivered,
            9_499 => match said.text("msg") {
                msg if msg.contains("too many") => Verdict::RetryAfter(SHORT_PAUSE),
                msg if msg.contains("bad request") => Verdict::PermanentMessage,
                _ => Verdict::ByStatus,
            },
            11_232 | 11_233 => Verdict::RetryAfter(spread(now)),
            99_991_400 => Verdict::RetryAfter(reset(said)),
            19_001 | 19_007 | 19_021 | 19_022 | 19_024 => Verdict::PermanentTarget,
            // Of a card the one, of the whole message the other.
            11_246 | 19_036 => Verdict::TooLarge,
            19_002 => Verdict::PermanentMessage,
            _ => Verdict::ByStatus,
        }
    }
}

impl Feishu {
    fn text(&self, message: &ChatMessage) -> String {
        let mut text = message.text.clone();
        if message.mentions && (self.at.all || !self.at.users.is_empty()) {
            text.push('\n');
            for user in &self.at.users {
                write!(text, "<at id={user}></at>").expect("a text takes all");
            }
            if self.at.all {
                text.push_str("<at id=all></at>");
            }
        }
        text
    }
}

/// The same each time it is asked of a delivery.
fn not_before(delivery: &Delivery, now: Timestamp) -> Timestamp {
    let since_ms = now.as_millisecond().rem_euclid(RUSH_EVERY_MS);
    let fires = render::status(&delivery.entries) == AlertStatus::Firing;
    let is_urgent = fires && render::severity(&delivery.entries) >= Severity::Error;
    if since_ms >= RUSH_MS || is_urgent {
        return now;
    }
    let digits = delivery.id.0.get(..8).unwrap_or_default();
    let chance = i64::from_str_radix(digits, 16).unwrap_or_default() % RUSH_MS;
    let wait = SignedDuration::from_millis((chance - since_ms).max(0));
    now.saturating_add(wait).unwrap_or(now)
}

fn colour(message: &ChatMessage) -> &'static str {
    match (message.fires, message.severity) {
        (false, _) => "green",
        (true, Severity::Critical | Severity::Error) => "red",
        (true, Severity::Warning) => "orange",
        (true, Severity::Info) => "grey",
    }
}

fn spread(now: Timestamp) -> Duration {
    let (least, most) = PAUSE_MS;
    let chance = now.as_millisecond().unsigned_abs() % (most - least);
    Duration::from_millis(least + chance)
}

/// What the gateway's own header asks for.
fn reset(said: &Said<'_>) -> Duration {
    let header = said.headers.get("x-ogw-ratelimit-reset");
    let seconds = header.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let seconds = seconds.map(|seconds: u64| seconds.clamp(1, LONGEST_PAUSE_SECONDS));
    let asked = seconds.map(Duration::from_secs).or(said.pause);
    asked.unwrap_or(Duration::from_secs(GATEWAY_PAUSE_SECONDS))
}

/// The base64 of HMAC-SHA256 over nothing; the key is made of timestamp (in seconds) and secret.
fn sign(secret: &str, timestamp: &str) -> String {
    let key = format!("{timestamp}\n{secret}");
    let mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    STANDARD.encode(mac.finalize().into_bytes())
}

/// As entities: what they stand for is shown and means nothing. Names with `_` in them stay whole.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    for c in text.chars() {
        let begins_word = !before.is_some_and(char::is_alphanumeric);
        let means_something = match c {
            '&' | '<' | '>' | '*' | '~' | '[' | ']' | '`' => true,
            '_' => begins_word,
            '#' => before.is_none(),
            _ => false,
        };
        if means_something {
            write!(escaped, "&#{};", u32::from(c)).expect("a text takes all");
        } else {
            escaped.push(c);
        }
        before = Some(c);
    }
    escaped
}

fn link(text: &str, url: &str) -> String {
    let url = url
        .replace('(', "%28")
        .replace(')', "%29")
        .replace(' ', "%20")
        .replace('<', "%3C")
        .replace('>', "%3E");
    format!("[{}]({url})", escape(text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::deliver::chat::tests::{message, said, signs};

    use super::*;

    fn bot(secret: Option<&str>) -> Feishu {
        Feishu {
            secret: secret.map(signs),
            keyword: None,
            at: At::default(),
        }
    }

    fn body(bot: &Feishu, message: &ChatMessage, second: i64) -> Value {
        let url = Url::parse("https://open.feishu.cn/open-apis/bot/v2/hook/abc").unwrap();
        let now = Timestamp::from_second(second).unwrap();
        let request = bot.request(message, &url, now);
        assert_eq!(request.url, url);
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn the_published_vectors_hold() {
        let cases = [
            (
                "demo",
                1_599_360_473,
                "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=",
            ),
            (
                "fs_secret_example",
                1_704_067_200,
                "WOImctoVZ/XeWeg3iYD0HhuR6js6kS7m7bbQqZ/HpBU=",
            ),
        ];
        for (secret, second, expected) in cases {
            let body = body(&bot(Some(secret)), &message("t", "x"), second);
            assert_eq!(body["sign"], expected);
            assert_eq!(body["timestamp"], second.to_string());
        }
        assert_eq!(body(&bot(None), &message("t", "x"), 0).get("sign"), None);
    }

    #[test]
    fn a_card_says_by_its_colour_how_it_stands() {
        let mut bot = bot(None);
        (bot.keyword, bot.at.users) = (Some("sync".into()), vec!["ou_1".into()]);
        bot.at.all = true;
        let mut begins = message("[FIRING] a<b", "one");
        let card = |message: &ChatMessage| body(&bot, message, 0)["card"].clone();
        assert_eq!(
            card(&begins),
            json!({
                "schema": "2.0",
                "header": {
                    "title": { "tag": "plain_text", "content": "[FIRING] a<b · sync" },
                    "template": "red",
                },
                "body": { "elements": [{
                    "tag": "markdown",
                    "content": "one\n<at id=ou_1></at><at id=all></at>",
                }]},
            })
        );
        begins.severity = Severity::Warning;
        assert_eq!(card(&begins)["header"]["template"], "orange");
        (begins.fires, begins.mentions) = (false, false);
        assert_eq!(card(&begins)["header"]["template"], "green");
        assert_eq!(card(&begins)["body"]["elements"][0]["content"], "one");
    }

    #[test]
    fn at_the_full_and_the_half_hour_only_what_is_urgent_goes_at_once() {
        use crate::deliver::lane::tests::delivery;
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let mut calm = delivery(1, "a", AlertStatus::Firing);
        calm.entries[0].item.severity = Severity::Warning;
        calm.id.0 = format!("{:08x}{:024}", 12_345, 0);
        let over = delivery(1, "a", AlertStatus::Resolved);
        for hour in ["10:00", "10:30"] {
            let mark = at(&format!("2026-11-27T{hour}:00Z"));
            let then = mark + SignedDuration::from_millis(12_345);
            assert_eq!(not_before(&calm, mark), then);
            // The same whenever it is asked, and not later for that.
            let later = mark + SignedDuration::from_secs(5);
            assert_eq!(not_before(&calm, later), then);
            let past = mark + SignedDuration::from_secs(15);
            assert_eq!(not_before(&calm, past), past);
            let urgent = delivery(1, "a", AlertStatus::Firing);
            assert_eq!(not_before(&urgent, mark), mark);
            assert!(not_before(&over, mark) < mark + SignedDuration::from_secs(20));
        }
        for calm_at in ["10:00:20", "10:29:59", "10:15:00"] {
            let now = at(&format!("2026-11-27T{calm_at}Z"));
            assert_eq!(not_before(&calm, now), now);
        }
    }

    #[test]
    fn data_is_shown_as_it_is() {
        assert_eq!(escape("<at id=all>*b*"), "&#60;at id=all&#62;&#42;b&#42;");
        assert_eq!(escape("&#60;"), "&#38;#60;");
        assert_eq!(escape("NETWORK_ERROR _x"), "NETWORK_ERROR &#95;x");
        assert_eq!(link("a]b", "https://h/(x)"), "[a&#93;b](https://h/%28x%29)");
    }

    #[test]
    fn each_code_has_its_class_and_none_else_is_success() {
        use Verdict::{
            ByStatus, Delivered, PermanentMessage, PermanentTarget, RetryAfter, TooLarge,
        };
        let short = RetryAfter(SHORT_PAUSE);
        let cases = [
            (
                r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#,
                Delivered,
            ),
            (r#"{"StatusCode":0}"#, Delivered),
            (
                r#"{"StatusCode":0,"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}"#,
                PermanentTarget,
            ),
            (r#"{"code":9499,"msg":"Bad Request"}"#, PermanentMessage),
            (r#"{"code":9499,"msg":"too many request"}"#, short),
            (r#"{"code":9499,"msg":"?"}"#, ByStatus),
            (r#"{"code":19001}"#, PermanentTarget),
            (r#"{"code":19002}"#, PermanentMessage),
            (r#"{"code":19007,"msg":"Bot Not Enabled"}"#, PermanentTarget),
            (r#"{"code":19022,"msg":"Ip Not Allowed"}"#, PermanentTarget),
            (
                r#"{"code":19024,"msg":"Key Words Not Found"}"#,
                PermanentTarget,
            ),
            (
                r#"{"code":19036,"msg":"The message exceeds the size limit of 30KB"}"#,
                TooLarge,
            ),
            (
                r#"{"code":11246,"data":{},"msg":"ErrCode: 100000; ErrMsg: card content size is over limit"}"#,
                TooLarge,
            ),
            (r#"{"code":1}"#, ByStatus),
            (r#"{"msg":"success"}"#, ByStatus),
            ("success", ByStatus),
        ];
        let judge = |said: &Said<'_>| bot(None).verdict(said, Timestamp::UNIX_EPOCH);
        for (body, expected) in cases {
            assert_eq!(judge(&said(200, body)), expected, "{body}");
        }
        assert_eq!(judge(&said(502, r#"{"code":0}"#)), ByStatus);
        for ms in [0, 1, 24_999, 25_000, 1_704_067_200_123] {
            let now = Timestamp::from_millisecond(ms).unwrap();
            for code in ["11232", "11233"] {
                let body = format!("{{\"code\":{code}}}");
                let RetryAfter(after) = bot(None).verdict(&said(200, &body), now) else {
                    panic!("{code}");
                };
                assert!((5..=30).contains(&after.as_secs()), "{after:?}");
            }
        }
        let mut headers = reqwest::header::HeaderMap::new();
        let limited = r#"{"code":99991400,"msg":"request trigger frequency limit"}"#;
        assert_eq!(
            judge(&said(400, limited)),
            RetryAfter(Duration::from_secs(5))
        );
        headers.insert("x-ogw-ratelimit-reset", "17".parse().unwrap());
        let asked = Said {
            headers: &headers,
            ..said(429, limited)
        };
        assert_eq!(judge(&asked), RetryAfter(Duration::from_secs(17)));
    }
}
