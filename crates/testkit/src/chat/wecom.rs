//! A `WeCom` group robot.

use serde_json::Value;

use super::{Asked, CHAT_TOKEN, ChatReply, in_query};

const LIMIT_BYTES: usize = 4_096;
const TEXT_LIMIT_BYTES: usize = 2_048;

fn no(code: i64, why: &str) -> ChatReply {
    ChatReply::json(200, &format!("{{\"errcode\":{code},\"errmsg\":\"{why}\"}}"))
}

pub(super) fn too_large() -> ChatReply {
    no(
        40_058,
        "markdown.content exceed max length 4096. invalid Request Parameter",
    )
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
    if json["msgtype"] == "text" {
        return read_text(&json["text"]);
    }
    if json["msgtype"] != "markdown" {
        return Err(no(40_008, "invalid message type"));
    }
    match json["markdown"]["content"].as_str() {
        None | Some("") => Err(no(44_004, "text content is empty")),
        Some(content) if content.len() > LIMIT_BYTES => Err(too_large()),
        Some(content) => {
            let (title, text) = content.split_once('\n').unwrap_or((content, ""));
            Ok((title.to_owned(), text.to_owned()))
        }
    }
}

/// A plain text, and whom it mentions.
fn read_text(text: &Value) -> Result<(String, String), ChatReply> {
    let content = text["content"].as_str().unwrap_or_default();
    if content.is_empty() {
        return Err(no(44_004, "text content is empty"));
    }
    if content.len() > TEXT_LIMIT_BYTES {
        return Err(no(
            40_058,
            "text.content exceed max length 2048. invalid Request Parameter",
        ));
    }
    let lists = ["mentioned_list", "mentioned_mobile_list"];
    let mentioned = lists.iter().filter_map(|list| text[list].as_array());
    let mentioned: Vec<&str> = mentioned.flatten().filter_map(Value::as_str).collect();
    Ok((content.to_owned(), mentioned.join(" ")))
}
