//! A Slack incoming webhook.

use serde_json::Value;

use super::{Asked, CHAT_TOKEN, ChatReply};

const LIMIT_CHARS: usize = 40_000;

pub(super) fn too_large() -> ChatReply {
    ChatReply::text(400, "msg_too_long")
}

pub(super) fn judge(asked: &Asked<'_>) -> Result<(String, String), ChatReply> {
    if asked.method != "POST" {
        return Err(ChatReply::text(404, "no_service"));
    }
    if !asked.uri.path().ends_with(CHAT_TOKEN) {
        return Err(ChatReply::text(403, "invalid_token"));
    }
    if asked.over.is_some() {
        let body = r#"{"retry_after":1,"ok":false,"error":"rate_limited"}"#;
        return Err(ChatReply::json(429, body).with_header("retry-after", "1"));
    }
    if !asked.content_type.starts_with("application/json") {
        return Err(ChatReply::text(400, "invalid_payload"));
    }
    read(&asked.json)
}

pub(super) fn read(json: &Value) -> Result<(String, String), ChatReply> {
    if !json.is_object() {
        return Err(ChatReply::text(400, "invalid_payload"));
    }
    let title = json["text"].as_str().unwrap_or_default();
    if title.is_empty() {
        return Err(ChatReply::text(400, "no_text"));
    }
    let attachment = &json["attachments"][0];
    let text = attachment["text"].as_str().unwrap_or_default();
    let colour = attachment["color"].as_str().unwrap_or_default();
    let is_colour = colour.len() == 7 && colour.starts_with('#');
    if !is_colour {
        return Err(ChatReply::text(400, "invalid_attachments"));
    }
    if title.chars().count() + text.chars().count() > LIMIT_CHARS {
        return Err(too_large());
    }
    Ok((title.to_owned(), text.to_owned()))
}
