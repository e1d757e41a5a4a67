//! Slack incoming webhooks. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use syncbell_config::At;
use syncbell_event::Severity;
use url::Url;

use crate::render::{ChatMessage, Form, Markup, ZERO_WIDTH_SPACE};

use super::chat::{Provider, Request, Said, Verdict};

/// Longer messages are taken, and read by nobody.
const LIMIT_CHARS: usize = 4_000;
/// Where a 429 does not say how long.
const PAUSE: Duration = Duration::from_secs(30);

pub(crate) static FORM: Form = Form {
    name: "slack",
    templates: ["slack.title", "slack.text"],
    markup: Markup {
        escape,
        strong: |text| format!("*{text}*"),
        link,
        code: |text| format!("`{}`", entities(&text.replace('`', "'"))),
    },
};

pub(super) struct Slack {
    pub(super) at: At,
}

impl Provider for Slack {
    fn form(&self) -> &'static Form {
        &FORM
    }

    fn request(&self, message: &ChatMessage, url: &Url, _: Timestamp) -> Request {
        let title = escape(&message.title);
        let body = json!({
            "text": format!("{title}{}", self.mentions(message)),
            "attachments": [{
                "color": colour(message),
                "fallback": message.title,
                "text": message.text,
                "mrkdwn_in": ["text"],
            }],
            "unfurl_links": false,
            "unfurl_media": false,
        });
        Request {
            url: url.clone(),
            body: body.to_string().into_bytes(),
        }
    }

    fn fits(&self, message: &ChatMessage, _: &Request) -> bool {
        let title = escape(&message.title).chars().count();
        title + message.text.chars().count() <= LIMIT_CHARS
    }

    fn verdict(&self, said: &Said<'_>, _: Timestamp) -> Verdict {
        match said.status {
            200 if said.body.trim() == "ok" => Verdict::Delivered,
            429 => Verdict::RetryAfter(said.pause.or_else(|| of_body(said)).unwrap_or(PAUSE)),
            400 if said.body.contains("too_long") || said.body.contains("too_many") => {
                Verdict::TooLarge
            }
            400 => Verdict::PermanentMessage,
            403 | 404 | 410 => Verdict::PermanentTarget,
            _ => Verdict::ByStatus,
        }
    }
}

impl Slack {
    fn mentions(&self, message: &ChatMessage) -> String {
        let mut mentions = String::new();
        if message.mentions {
            for user in &self.at.users {
                write!(mentions, " <@{user}>").expect("a text takes all");
            }
            if self.at.all {
                mentions.push_str(" <!channel>");
            }
        }
        mentions
    }
}

fn of_body(said: &Said<'_>) -> Option<Duration> {
    let seconds = said.json.as_ref()?.get("retry_after")?.as_f64()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|pause| !pause.is_zero())
}

fn colour(message: &ChatMessage) -> &'static str {
    match (message.fires, message.severity) {
        (false, _) => "#2EB67D",
        (true, Severity::Critical | Severity::Error) => "#D00000",
        (true, Severity::Warning) => "#E8912D",
        (true, Severity::Info) => "#1D9BD1",
    }
}

/// The only three characters that have an escape.
fn entities(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    for c in entities(text).chars() {
        let begins_word = !before.is_some_and(char::is_alphanumeric);
        match c {
            '*' | '~' | '`' => escaped.extend([ZERO_WIDTH_SPACE, c]),
            '_' if begins_word => escaped.extend([ZERO_WIDTH_SPACE, c]),
            c => escaped.push(c),
        }
        before = Some(c);
    }
    escaped
}

fn link(text: &str, url: &str) -> String {
    let url = url
        .replace('|', "%7C")
        .replace('<', "%3C")
        .replace('>', "%3E")
        .replace('&', "&amp;");
    format!("<{url}|{}>", escape(text))
}

#[cfg(test)]
mod tests {
    use crate::deliver::chat::tests::{message, said};

    use super::*;

    #[test]
    fn who_is_mentioned_is_mentioned_when_it_begins_and_not_in_a_replay() {
        let slack = Slack {
            at: At {
                users: vec!["U1".into()],
                all: true,
                ..At::default()
            },
        };
        let url = Url::parse("https://hooks.slack.com/services/T/B/x").unwrap();
        let body = |message: &ChatMessage| -> serde_json::Value {
            let request = slack.request(message, &url, Timestamp::UNIX_EPOCH);
            assert_eq!(request.url, url);
            serde_json::from_slice(&request.body).unwrap()
        };
        let mut begins = message("[FIRING] a<b", "one");
        assert_eq!(
            body(&begins),
            json!({
                "text": "[FIRING] a&lt;b <@U1> <!channel>",
                "attachments": [{
                    "color": "#D00000",
                    "fallback": "[FIRING] a<b",
                    "text": "one",
                    "mrkdwn_in": ["text"],
                }],
                "unfurl_links": false,
                "unfurl_media": false,
            })
        );
        begins.mentions = false;
        assert_eq!(body(&begins)["text"], "[FIRING] a&lt;b");
        begins.fires = false;
        assert_eq!(body(&begins)["attachments"][0]["color"], "#2EB67D");
    }

    #[test]
    fn each_answer_has_its_class_and_none_else_is_success() {
        use Verdict::{
            ByStatus, Delivered, PermanentMessage, PermanentTarget, RetryAfter, TooLarge,
        };
        let limited = r#"{"retry_after":7,"ok":false,"error":"rate_limited"}"#;
        let cases = [
            (200, "ok", Delivered),
            (200, "ok\n", Delivered),
            (200, "OK", ByStatus),
            (200, "ok then", ByStatus),
            (201, "ok", ByStatus),
            (400, "invalid_payload", PermanentMessage),
            (400, "user_not_found", PermanentMessage),
            (400, "msg_too_long", TooLarge),
            (400, "too_many_attachments", TooLarge),
            (403, "action_prohibited", PermanentTarget),
            (403, "invalid_token", PermanentTarget),
            (404, "channel_not_found", PermanentTarget),
            (404, "no_service", PermanentTarget),
            (410, "channel_is_archived", PermanentTarget),
            (429, limited, RetryAfter(Duration::from_secs(7))),
            (429, "", RetryAfter(PAUSE)),
            (500, "rollup_error", ByStatus),
        ];
        let slack = Slack { at: At::default() };
        for (status, body, expected) in cases {
            let verdict = slack.verdict(&said(status, body), Timestamp::UNIX_EPOCH);
            assert_eq!(verdict, expected, "{status} {body}");
        }
        let asked = Said {
            pause: Some(Duration::from_secs(3)),
            ..said(429, limited)
        };
        let verdict = slack.verdict(&asked, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict, RetryAfter(Duration::from_secs(3)));
    }

    #[test]
    fn data_pages_nobody() {
        assert_eq!(
            entities("a < b && c > d <!channel>"),
            "a &lt; b &amp;&amp; c &gt; d &lt;!channel&gt;"
        );
        assert_eq!(escape("team-a/web_app:v1"), "team-a/web_app:v1");
        assert_eq!(escape("*b*"), "\u{200B}*b\u{200B}*");
        assert_eq!(
            link("a|b<c>", "https://h/x?a=1&b=|>"),
            "<https://h/x?a=1&amp;b=%7C%3E|a|b&lt;c&gt;>"
        );
    }
}
