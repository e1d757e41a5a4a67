//! A `DingTalk` custom group robot.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Asked, CHAT_TOKEN, ChatReply, hmac, in_query};

const LIMIT_BYTES: usize = 20_000;
const SKEW: SignedDuration = SignedDuration::from_hours(1);

fn no(code: i64, why: &str) -> ChatReply {
    ChatReply::json(200, &format!("{{\"errcode\":{code},\"errmsg\":\"{why}\"}}"))
}

pub(super) fn too_large() -> ChatReply {
    no(460_101, "message too long, exceed 20000 bytes")
}

pub(super) fn judge(asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
    if asked.method != "POST" {
        return Err(no(43_002, "require POST method"));
    }
    if !asked.content_type.starts_with("application/json") {
        return Err(no(43_004, "invalid Content-Type"));
    }
    if in_query(asked.uri, "access_token").as_deref() != Some(CHAT_TOKEN) {
        return Err(no(300_005, "token is not exist"));
    }
    if asked.over.is_some() {
        return Err(no(130_101, "send too fast, exceed 20 times per minute"));
    }
    if let Some(secret) = &asked.options.secret {
        signed(asked, secret)?;
    }
    let (title, text) = read(asked.body, &asked.json)?;
    if let Some(keyword) = &asked.options.keyword
        && !title.contains(keyword.as_str())
        && !text.contains(keyword.as_str())
    {
        return Err(no(310_000, "keywords not in content"));
    }
    Ok((title, text))
}

fn signed(asked: &Asked<'_>, secret: &str) -> Result<(), ChatReply> {
    let timestamp = in_query(asked.uri, "timestamp").unwrap_or_default();
    let at = timestamp.parse().ok();
    let at = at.and_then(|at: i64| jiff::Timestamp::from_millisecond(at).ok());
    if at.is_none_or(|at| asked.now.duration_since(at).abs() > SKEW) {
        return Err(no(310_000, "invalid timestamp"));
    }
    let expected = hmac(
        secret.as_bytes(),
        format!("{timestamp}\n{secret}").as_bytes(),
    );
    if in_query(asked.uri, "sign") != Some(expected) {
        return Err(no(310_000, "sign not match"));
    }
    Ok(())
}

pub(super) fn read(body: &[u8], json: &Value) -> Result<(String, String), ChatReply> {
    if body.len() > LIMIT_BYTES {
        return Err(too_large());
    }
    if json["msgtype"] != "markdown" {
        return Err(no(400_105, "unsupported msgtype"));
    }
    let text = |key: &str| {
        json["markdown"][key]
            .as_str()
            .filter(|text| !text.is_empty())
    };
    let (Some(title), Some(text)) = (text("title"), text("text")) else {
        return Err(no(40_035, "missing parameter"));
    };
    // Who is listed is mentioned only where the text names them.
    for mobile in json["at"]["atMobiles"].as_array().into_iter().flatten() {
        let named = mobile
            .as_str()
            .is_some_and(|one| text.contains(&format!("@{one}")));
        if !named {
            return Err(no(40_035, "a mobile is not in the text"));
        }
    }
    Ok((title.to_owned(), text.to_owned()))
}
