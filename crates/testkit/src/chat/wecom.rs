//! A `WeCom` group robot.

use serde_json::Value;

use super::{Asked, CHAT_TOKEN, ChatReply, in_query};

const LIMIT_BYTES: usize = 4_096;

fn no(code: i64, why: &str) -> ChatReply {
    ChatReply::json(200, &format!("{{\"errcode\":{code},\"errmsg\":\"{why}\"}}"))
}

pub(super) fn judge(asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
    if in_query(asked.uri, "key").as_deref() != Some(CHAT_TOKEN) {
        return Err(no(93_000, "invalid webhook url, hint: [1764]"));
    }
    if asked.method != "POST" {
        return Err(no(43_002, "require POST method"));
    }
    if asked.over.is_some() {
        return Err(no(45_009, "api freq out of limit"));
    }
    read(&asked.json)
}

pub(super) fn read(json: &Value) -> Result<(String, String), ChatReply> {
    if json["msgtype"] != "markdown" {
        return Err(no(40_008, "invalid message type"));
    }
    match json["markdown"]["content"].as_str() {
        None | Some("") => Err(no(44_004, "text content is empty")),
        Some(content) if content.len() > LIMIT_BYTES => Err(no(
            40_058,
            "markdown.content exceed max length 4096. invalid Request Parameter",
        )),
        Some(content) => {
            let (title, text) = content.split_once('\n').unwrap_or((content, ""));
            Ok((title.to_owned(), text.to_owned()))
        }
    }
}
