//! `DingTalk` custom group robots. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use syncbell_config::At;
use url::Url;

use crate::render::{ChatMessage, Form, Markup, markdown, markdown_code, markdown_link};

use super::chat::{Provider, Request, Said, Signing, Verdict, titled};

/// The vendor's bound of a body.
const LIMIT_BYTES: usize = 20_000;
/// Of the text; longer ones are cut in some clients.
const LIMIT_CHARS: usize = 5_000;
/// After `send too fast`.
const PAUSE: Duration = Duration::from_mins(1);
/// After `system busy`, which is no fault of the robot: it is not probed each second.
const BUSY: Duration = Duration::from_secs(30);
/// The least after a gateway's `punish`.
const SHORTEST_PAUSE_SECONDS: u64 = 5;
const LONGEST_PAUSE_SECONDS: u64 = 3_600;

pub(crate) static FORM: Form = Form {
    name: "dingtalk",
    templates: ["dingtalk.title", "dingtalk.text"],
    markup: Markup {
        escape: markdown,
        strong: |text| format!("**{text}**"),
        link: markdown_link,
        code: markdown_code,
    },
};

pub(super) struct Dingtalk {
    pub(super) secret: Option<Signing>,
    pub(super) keyword: Option<String>,
    pub(super) at: At,
}

impl Provider for Dingtalk {
    fn form(&self) -> &'static Form {
        &FORM
    }

    fn request(&self, message: &ChatMessage, url: &Url, now: Timestamp) -> Request {
        let mut url = url.clone();
        if let Some(secret) = &self.secret {
            let timestamp = now.as_millisecond().to_string();
            let sign = sign(secret.known().expose(), &timestamp);
            url.query_pairs_mut()
                .append_pair("timestamp", &timestamp)
                .append_pair("sign", &sign);
        }
        let mentioned = message.mentions;
        let names = |names: &Vec<String>| if mentioned { names.clone() } else { Vec::new() };
        let body = json!({
            "msgtype": "markdown",
            "markdown": {
                "title": titled(message, self.keyword.as_ref()),
                "text": self.text(message),
            },
            "at": {
                "atMobiles": names(&self.at.mobiles),
                "atUserIds": names(&self.at.users),
                "isAtAll": mentioned && self.at.all,
            },
        });
        Request {
            url,
            body: body.to_string().into_bytes(),
        }
    }

    fn fits(&self, message: &ChatMessage, request: &Request) -> bool {
        request.body.len() <= LIMIT_BYTES && self.text(message).chars().count() <= LIMIT_CHARS
    }

    fn verdict(&self, said: &Said<'_>, _: Timestamp) -> Verdict {
        if let Some(after) = punished(said) {
            return Verdict::RetryAfter(after);
        }
        let Some(code) = said.code("errcode") else {
            return Verdict::ByStatus;
        };
        match code {
            0 if said.is_success() => Verdict::Delivered,
            -1 => Verdict::RetryAfter(BUSY),
            130_101 | 410_100 => Verdict::RetryAfter(PAUSE),
            // 310000 is keyword, signature or address: the text says which, and each is for people to repair.
            300_001 | 300_005 | 310_000 | 400_013 | 400_101 | 400_102 | 400_106 => {
                Verdict::PermanentTarget
            }
            460_101 => Verdict::TooLarge,
            40_035 | 43_004 | 400_105 | 430_101..=430_104 => Verdict::PermanentMessage,
            _ if said.text("errmsg").contains("too long") => Verdict::TooLarge,
            _ => Verdict::ByStatus,
        }
    }
}

impl Dingtalk {
    /// The title is not shown in the chat itself, so it is repeated.
    fn text(&self, message: &ChatMessage) -> String {
        let title = titled(message, self.keyword.as_ref());
        let mut text = format!("#### {}\n\n", markdown(&title));
        for line in message.text.lines() {
            text.push_str(line);
            // Two blanks break a line.
            text.push_str(if line.is_empty() { "\n" } else { "  \n" });
        }
        let named = self.at.mobiles.iter().chain(&self.at.users);
        if message.mentions && named.clone().next().is_some() {
            text.push('\n');
            for name in named {
                write!(text, "@{name} ").expect("a text takes all");
            }
        }
        text.trim_end().to_owned()
    }
}

/// What a gateway in front of the robot asks for; it may come without any code.
fn punished(said: &Said<'_>) -> Option<Duration> {
    let json = said.json.as_ref()?;
    let wait = json.get("wait").and_then(Value::as_f64);
    if wait.is_none() && json.get("punish").is_none() {
        return None;
    }
    let wait = Duration::try_from_secs_f64(wait.unwrap_or_default()).unwrap_or_default();
    let least = Duration::from_secs(SHORTEST_PAUSE_SECONDS);
    Some(wait.clamp(least, Duration::from_secs(LONGEST_PAUSE_SECONDS)))
}

/// The base64 of HMAC-SHA256 with the secret over timestamp (in milliseconds) and secret.
fn sign(secret: &str, timestamp: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{timestamp}\n{secret}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::deliver::chat::tests::{message, said, signs};

    use super::*;

    fn robot(secret: Option<&str>) -> Dingtalk {
        Dingtalk {
            secret: secret.map(signs),
            keyword: None,
            at: At::default(),
        }
    }

    #[test]
    fn the_published_vectors_hold() {
        let cases = [
            (
                "this is secret",
                "dP9mCg9FwTewq+eA/VwyLSqokv4ybdqzxKl+ukiQa68=",
                "dP9mCg9FwTewq%2BeA%2FVwyLSqokv4ybdqzxKl%2BukiQa68%3D",
            ),
            (
                "SEC000example",
                "lP2Vv9YoN9ShtW9WNogG0N/+dPpbVh2JXmeIIPUeLes=",
                "lP2Vv9YoN9ShtW9WNogG0N%2F%2BdPpbVh2JXmeIIPUeLes%3D",
            ),
            (
                "SECtest1234567890",
                "7X46oXyyyH6mPRlQTUifxXaQrjJoGLTRnXEWcQ0Hq2Q=",
                "7X46oXyyyH6mPRlQTUifxXaQrjJoGLTRnXEWcQ0Hq2Q%3D",
            ),
        ];
        let now = Timestamp::from_millisecond(1_704_067_200_000).unwrap();
        let url = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=abc").unwrap();
        for (secret, base64, encoded) in cases {
            assert_eq!(sign(secret, "1704067200000"), base64);
            let request = robot(Some(secret)).request(&message("t", "x"), &url, now);
            let expected = format!("access_token=abc&timestamp=1704067200000&sign={encoded}");
            assert_eq!(request.url.query(), Some(expected.as_str()));
        }
        let unsigned = robot(None).request(&message("t", "x"), &url, now);
        assert_eq!(unsigned.url, url);
    }

    #[test]
    fn who_is_mentioned_stands_in_text_and_list_and_only_when_it_begins() {
        let mut robot = robot(None);
        robot.keyword = Some("syncbell".into());
        robot.at.mobiles = vec!["13800000000".into()];
        robot.at.all = true;
        let url = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=abc").unwrap();
        let body = |message: &ChatMessage| -> Value {
            let request = robot.request(message, &url, Timestamp::UNIX_EPOCH);
            serde_json::from_slice(&request.body).unwrap()
        };
        let mut begins = message("[FIRING] a*b", "one\n\ntwo");
        assert_eq!(
            body(&begins),
            json!({
                "msgtype": "markdown",
                "markdown": {
                    "title": "[FIRING] a*b · syncbell",
                    "text": "#### \u{200B}[FIRING\u{200B}] a\u{200B}*b · syncbell\n\none  \n\ntwo  \n\n@13800000000",
                },
                "at": { "atMobiles": ["13800000000"], "atUserIds": [], "isAtAll": true },
            })
        );
        begins.mentions = false;
        let at = json!({ "atMobiles": [], "atUserIds": [], "isAtAll": false });
        assert_eq!(body(&begins)["at"], at);
        assert!(
            !body(&begins)["markdown"]["text"]
                .as_str()
                .unwrap()
                .contains('@')
        );
    }

    #[test]
    fn each_code_has_its_class_and_none_else_is_success() {
        use Verdict::{
            ByStatus, Delivered, PermanentMessage, PermanentTarget, RetryAfter, TooLarge,
        };
        let minute = RetryAfter(PAUSE);
        let cases = [
            (r#"{"errcode":0,"errmsg":"ok"}"#, Delivered),
            (r#"{"errcode":-1,"errmsg":"系统繁忙"}"#, RetryAfter(BUSY)),
            (
                r#"{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}"#,
                minute,
            ),
            (
                r#"{"errcode":410100,"errmsg":"发送速度太快而限流"}"#,
                minute,
            ),
            (
                r#"{"errcode":310000,"errmsg":"keywords not in content"}"#,
                PermanentTarget,
            ),
            (
                r#"{"errcode":310000,"errmsg":"sign not match"}"#,
                PermanentTarget,
            ),
            (
                r#"{"errcode":310000,"errmsg":"ip 1.2.3.4 not in whitelist"}"#,
                PermanentTarget,
            ),
            (
                r#"{"errcode":300001,"errmsg":"token is not exist"}"#,
                PermanentTarget,
            ),
            (
                r#"{"errcode":300005,"errmsg":"token is not exist"}"#,
                PermanentTarget,
            ),
            (r#"{"errcode":400101}"#, PermanentTarget),
            (r#"{"errcode":400102}"#, PermanentTarget),
            (r#"{"errcode":400106}"#, PermanentTarget),
            (r#"{"errcode":400013}"#, PermanentTarget),
            (r#"{"errcode":40035}"#, PermanentMessage),
            (r#"{"errcode":43004}"#, PermanentMessage),
            (r#"{"errcode":400105}"#, PermanentMessage),
            (r#"{"errcode":430101}"#, PermanentMessage),
            (r#"{"errcode":430104}"#, PermanentMessage),
            (
                r#"{"errcode":460101,"errmsg":"message too long, exceed 20000 bytes"}"#,
                TooLarge,
            ),
            (
                r#"{"errcode":460101,"errmsg":"description: body 大小不合法"}"#,
                TooLarge,
            ),
            (r#"{"errcode":1,"errmsg":"Message too long"}"#, TooLarge),
            (r#"{"errcode":999}"#, ByStatus),
            (r#"{"errcode":"0"}"#, ByStatus),
            ("{}", ByStatus),
            ("<html>", ByStatus),
            ("", ByStatus),
        ];
        for (body, expected) in cases {
            let verdict = robot(None).verdict(&said(200, body), Timestamp::UNIX_EPOCH);
            assert_eq!(verdict, expected, "{body}");
        }
        let refused = robot(None).verdict(&said(500, r#"{"errcode":0}"#), Timestamp::UNIX_EPOCH);
        assert_eq!(refused, ByStatus);
    }

    #[test]
    fn a_gateway_that_punishes_is_heeded_with_and_without_a_code() {
        use Verdict::RetryAfter;
        let cases = [
            (
                r#"{"status":1111,"wait":5,"punish":"deny"}"#,
                RetryAfter(Duration::from_secs(5)),
            ),
            (
                r#"{"errcode":0,"wait":90,"punish":"deny"}"#,
                RetryAfter(Duration::from_secs(90)),
            ),
            (
                r#"{"errcode":1,"wait":1}"#,
                RetryAfter(Duration::from_secs(5)),
            ),
            (r#"{"punish":"deny"}"#, RetryAfter(Duration::from_secs(5))),
        ];
        for (body, expected) in cases {
            let verdict = robot(None).verdict(&said(200, body), Timestamp::UNIX_EPOCH);
            assert_eq!(verdict, expected, "{body}");
        }
    }
}
