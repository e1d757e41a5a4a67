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
            40_008 | 40_058 | 44_004 | 45_002 => Verdict::PermanentMessage,
            _ => Verdict::ByStatus,
        }
    }
}

impl Wecom {
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
    fn each_code_has_its_class_and_none_else_is_success() {
        use Verdict::{
            ByStatus, Delivered, PermanentMessage, PermanentTarget, RetryAfter, Transient,
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
            (r#"{"errcode":45002}"#, PermanentMessage),
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
