//! A Feishu custom bot.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Asked, CHAT_TOKEN, ChatReply, hmac};

const LIMIT_BYTES: usize = 20 * 1024;
const SKEW: SignedDuration = SignedDuration::from_hours(1);
const TEMPLATES: [&str; 4] = ["red", "orange", "green", "grey"];

fn no(code: i64, why: &str) -> ChatReply {
    let body = format!("{{\"StatusCode\":0,\"code\":{code},\"data\":{{}},\"msg\":\"{why}\"}}");
    ChatReply::json(200, &body)
}

pub(super) fn too_large() -> ChatReply {
    no(19_036, "The message exceeds the size limit of 30KB")
}

pub(super) fn judge(asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
    let token = asked.uri.path().rsplit('/').next();
    if asked.method != "POST" || !asked.content_type.starts_with("application/json") {
        return Err(no(9_499, "Bad Request"));
    }
    if token != Some(CHAT_TOKEN) {
        return Err(no(
            19_001,
            "param invalid: incoming webhook access token invalid",
        ));
    }
    match asked.over {
        Some(0) => return Err(no(9_499, "too many request")),
        Some(_) => return Err(no(11_232, "frequency limited psm")),
        None => {}
    }
    if let Some(secret) = &asked.options.secret {
        signed(asked, secret)?;
    }
    let (title, text) = read(asked.body, &asked.json)?;
    if let Some(keyword) = &asked.options.keyword
        && !title.contains(keyword.as_str())
        && !text.contains(keyword.as_str())
    {
        return Err(no(19_024, "Key Words Not Found"));
    }
    Ok((title, text))
}

fn signed(asked: &Asked<'_>, secret: &str) -> Result<(), ChatReply> {
    let why = "sign match fail or timestamp is not within one hour from current time";
    let timestamp = asked.json["timestamp"].as_str().unwrap_or_default();
    let at = timestamp.parse().ok();
    let at = at.and_then(|at: i64| jiff::Timestamp::from_second(at).ok());
    let expected = hmac(format!("{timestamp}\n{secret}").as_bytes(), b"");
    let in_time = at.is_some_and(|at| asked.now.duration_since(at).abs() <= SKEW);
    if !in_time || asked.json["sign"] != expected {
        return Err(no(19_021, why));
    }
    Ok(())
}

pub(super) fn read(body: &[u8], json: &Value) -> Result<(String, String), ChatReply> {
    if body.len() > LIMIT_BYTES {
        return Err(too_large());
    }
    if json["msg_type"] != "interactive" {
        return Err(no(19_002, "params error, msg_type need"));
    }
    let card = &json["card"];
    let header = &card["header"];
    let title = header["title"]["content"].as_str();
    let elements = card["body"]["elements"].as_array();
    let [element] = elements.map_or(&[][..], Vec::as_slice) else {
        return Err(no(19_002, "params error"));
    };
    let template = header["template"].as_str().unwrap_or_default();
    let well = card["schema"] == "2.0"
        && header["title"]["tag"] == "plain_text"
        && element["tag"] == "markdown"
        && TEMPLATES.contains(&template);
    match (title, element["content"].as_str()) {
        (Some(title), Some(text)) if well && !title.is_empty() => {
            Ok((title.to_owned(), text.to_owned()))
        }
        _ => Err(no(19_002, "params error")),
    }
}
