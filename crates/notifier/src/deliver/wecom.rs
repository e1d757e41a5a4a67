//! `WeCom` group robots. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use syncbell_config::At;
use syncbell_event::Severity;
use url::Url;

use crate::render::{ChatMessage, Form, Markup, markdown, markdown_code, markdown_link};

use super::chat::{Provider, Request, Said, Verdict};

/// Of the content, in UTF-8.
const LIMIT_BYTES: usize = 4_096;
const PAUSE: Duration = Duration::from_mins(1);

pub(crate) static FORM: Form = Form {
    name: "wecom",
    templates: ["wecom.title", "wecom.text"],
    markup: Markup {
        escape: markdown,
        strong: |text| format!("**{text}**"),
        link: markdown_link,
        code: markdown_code,
    },
};

pub(super) struct Wecom {
    pub(super) at: At,
}

impl Provider for Wecom {
    fn form(&self) -> &'static Form {
        &FORM
    }

    fn request(&self, message: &ChatMessage, url: &Url, _: Timestamp) -> Request {
        let body = json!({
            "msgtype": "markdown",
            "markdown": { "content": self.content(message) },
        });
        Request {
            url: url.clone(),
            body: body.to_string().into_bytes(),
        }
    }

    fn messages(&self) -> usize {
        if self.mentions_by_text() { 2 } else { 1 }
    }

    fn mention(&self, message: &ChatMessage, url: &Url) -> Option<Request> {
        if !message.mentions || !self.mentions_by_text() {
            return None;
        }
        let all: &[&str] = if self.at.all { &["@all"] } else { &[] };
        let body = json!({
            "msgtype": "text",
            "text": {
                "content": message.title,
                "mentioned_list": all,
                "mentioned_mobile_list": self.at.mobiles,
            },
        });
        Some(Request {
            url: url.clone(),
            body: body.to_string().into_bytes(),
        })
    }

    fn fits(&self, message: &ChatMessage, _: &Request) -> bool {
        self.content(message).len() <= LIMIT_BYTES
    }

    fn verdict(&self, said: &Said<'_>, _: Timestamp) -> Verdict {
        let Some(code) = said.code("errcode") else {
            return Verdict::ByStatus;
        };
        match code {
            0 if said.is_success() => Verdict::Delivered,
            -1 | 45_033 => Verdict::Transient,
            45_009 => Verdict::RetryAfter(PAUSE),
            93_000 => Verdict::PermanentTarget,
            45_002 => Verdict::TooLarge,
            40_058 if said.text("errmsg").contains("exceed max length") => Verdict::TooLarge,
            40_008 | 40_058 | 44_004 => Verdict::PermanentMessage,
            _ => Verdict::ByStatus,
        }
    }
}

impl Wecom {
    /// Markdown mentions by user id alone.
    fn mentions_by_text(&self) -> bool {
        self.at.all || !self.at.mobiles.is_empty()
    }

    fn content(&self, message: &ChatMessage) -> String {
        let title = markdown(&message.title);
        let colour = colour(message);
        let mut content = format!(
            "### <font color=\"{colour}\">{title}</font>\n{}",
            message.text
        );
        if message.mentions && !self.at.users.is_empty() {
            content.push('\n');
            for user in &self.at.users {
                write!(content, "<@{user}>").expect("a text takes all");
            }
        }
        content
    }
}

/// Three are known: `info` is green, `comment` grey, `warning` orange.
fn colour(message: &ChatMessage) -> &'static str {
    match (message.fires, message.severity) {
        (false, _) => "info",
        (true, Severity::Info) => "comment",
        (true, _) => "warning",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::deliver::chat::tests::{message, said};

    use super::*;

    #[test]
    fn the_content_is_markdown_that_mentions_whom_it_is_for() {
        let robot = Wecom {
            at: At {
                users: vec!["zhang.san".into()],
                ..At::default()
            },
        };
        let url = Url::parse("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abc").unwrap();
        let body = |message: &ChatMessage| -> Value {
            let request = robot.request(message, &url, Timestamp::UNIX_EPOCH);
            assert_eq!(request.url, url);
            serde_json::from_slice(&request.body).unwrap()
        };
        let mut begins = message("a<b", "one");
        let content = "### <font color=\"warning\">a＜b</font>\none\n<@zhang.san>";
        assert_eq!(
            body(&begins),
            json!({ "msgtype": "markdown", "markdown": { "content": content } })
        );
        (begins.fires, begins.mentions) = (false, false);
        let content = "### <font color=\"info\">a＜b</font>\none";
        assert_eq!(body(&begins)["markdown"]["content"], content);
    }

    #[test]
    fn whom_markdown_cannot_mention_a_second_message_does_when_something_begins() {
        let url = Url::parse("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abc").unwrap();
        let at = |mobiles: &[&str], all| At {
            users: vec!["zhang.san".into()],
            mobiles: mobiles.iter().map(|one| (*one).to_owned()).collect(),
            all,
        };
        let mut begins = message("[FIRING] a<b", "one");
        let none = Wecom { at: at(&[], false) };
        assert!(none.mention(&begins, &url).is_none());
        let robot = Wecom {
            at: at(&["13800001111"], true),
        };
        let request = robot.mention(&begins, &url).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({ "msgtype": "text", "text": {
                "content": "[FIRING] a<b",
                "mentioned_list": ["@all"],
                "mentioned_mobile_list": ["13800001111"],
            }})
        );
        begins.mentions = false;
        assert!(robot.mention(&begins, &url).is_none());
    }

    #[test]
    fn each_code_has_its_class_and_none_else_is_success() {
        use Verdict::{
            ByStatus, Delivered, PermanentMessage, PermanentTarget, RetryAfter, TooLarge, Transient,
        };
        let cases = [
            (r#"{"errcode":0,"errmsg":"ok"}"#, Delivered),
            (r#"{"errcode":-1,"errmsg":"system busy"}"#, Transient),
            (
                r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#,
                RetryAfter(PAUSE),
            ),
            (r#"{"errcode":45033}"#, Transient),
            (
                r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#,
                PermanentTarget,
            ),
            (r#"{"errcode":40058}"#, PermanentMessage),
            (r#"{"errcode":40008}"#, PermanentMessage),
            (r#"{"errcode":44004}"#, PermanentMessage),
            (
                r#"{"errcode":40058,"errmsg":"markdown.content exceed max length 4096. invalid Request Parameter"}"#,
                TooLarge,
            ),
            (
                r#"{"errcode":45002,"errmsg":"content size out of limit"}"#,
                TooLarge,
            ),
            (r#"{"errcode":7}"#, ByStatus),
            ("ok", ByStatus),
        ];
        let robot = Wecom { at: At::default() };
        for (body, expected) in cases {
            let verdict = robot.verdict(&said(200, body), Timestamp::UNIX_EPOCH);
            assert_eq!(verdict, expected, "{body}");
        }
        let failed = robot.verdict(&said(500, r#"{"errcode":0}"#), Timestamp::UNIX_EPOCH);
        assert_eq!(failed, ByStatus);
    }
}
