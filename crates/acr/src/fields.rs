//! Fields of an envelope: in either camel case, and a number may be a text.

use serde_json::{Map, Value};

/// Success is true, or absent; anything else is taken for the worse.
pub(crate) fn is_failure(fields: &Map<String, Value>) -> bool {
    match get(fields, "IsSuccess") {
        None => false,
        Some(Value::Bool(success)) => !success,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("true"),
        Some(_) => true,
    }
}

pub(crate) fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    // Errors also come with lower camel case keys; the SDKs read both.
    let lower = || name[..1].to_ascii_lowercase() + &name[1..];
    let there = |value: &&Value| !value.is_null();
    let upper = fields.get(name).filter(there);
    upper.or_else(|| fields.get(&lower()).filter(there))
}

pub(crate) fn string(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match get(fields, name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn whole(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    match get(fields, name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A text that says something.
pub(crate) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    string(fields, name).filter(|text| !text.trim().is_empty())
}

/// A number from 0 on; one outside of every sense is none.
pub(crate) fn fraction(fields: &Map<String, Value>, name: &str) -> Option<f64> {
    let number = match get(fields, name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

/// A parameter that is a number.
pub(crate) fn numbers(number: Option<u32>) -> Option<String> {
    number.map(|number| number.to_string())
}
