//! Secrets: `{env: NAME}`, `{file: PATH}`, or a literal with a warning. Never printed.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::Env;
use crate::mask::is_variable_name;

const EXPECTED: &str = "expected `{env: NAME}` or `{file: PATH}`";

const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// A value that is never printed: `Debug` says `[secret]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps it.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret stands, as written in the file.
pub(crate) enum RawSecret {
    Env(String),
    File(String),
    Literal(Secret<String>),
}

impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl RawSecret {
    /// The secret itself, or why it cannot be had (without it).
    pub(crate) fn resolve(&self, folder: &Path, env: Env<'_>) -> Result<Secret<String>, String> {
        match self {
            Self::Literal(secret) if secret.0.is_empty() => Err("is empty".to_owned()),
            Self::Literal(secret) => Ok(secret.clone()),
            Self::Env(name) => {
                // Somebody may have put the secret itself there.
                let named = if is_variable_name(name) {
                    name
                } else {
                    "named here"
                };
                match env(name) {
                    Some(value) if !value.is_empty() => Ok(Secret::new(value)),
                    Some(_) => Err(format!("the environment variable {named} is empty")),
                    None => Err(format!("the environment variable {named} is not set")),
                }
            }
            Self::File(path) => {
                let path = folder.join(path);
                let said =
                    |error: std::io::Error| format!("cannot read {}: {error}", path.display());
                let text = read_at_most(&path, FILE_LIMIT_BYTES).map_err(said)?;
                let text = text.trim_end_matches(['\n', '\r']);
                if text.is_empty() {
                    return Err(format!("{} is empty", path.display()));
                }
                Ok(Secret::new(text.to_owned()))
            }
        }
    }
}

/// The file's text. Bounded while it is read: a device has no length that could be asked before.
pub(crate) fn read_at_most(path: &Path, limit_bytes: u64) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(limit_bytes + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|size| size <= limit_bytes) {
        return Ok(text);
    }
    Err(std::io::Error::other(format!(
        "it is larger than {} KiB",
        limit_bytes / 1024
    )))
}

impl JsonSchema for RawSecret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`{env: NAME}` or `{file: PATH}`; a text works, with a warning. A path \
                            starts at this file's folder.",
            "oneOf": [
                {
                    "type": "object",
                    "properties": { "env": { "type": "string" } },
                    "required": ["env"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "file": { "type": "string" } },
                    "required": ["file"],
                    "additionalProperties": false
                },
                { "type": "string" }
            ]
        })
    }
}

const QUOTES: &str = "a secret of digits or a word such as `true` must stand in quotes";

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = RawSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`{env: NAME}` or `{file: PATH}`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSecret, E> {
                Ok(RawSecret::Literal(Secret::new(text.to_owned())))
            }

            // Serde's own text for these would name the value.
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i128<E: de::Error>(self, _: i128) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u128<E: de::Error>(self, _: u128) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSecret, A::Error> {
                let key = map.next_key::<String>()?;
                let secret = match key.as_deref() {
                    Some("env") => RawSecret::Env(map.next_value()?),
                    Some("file") => RawSecret::File(map.next_value()?),
                    // Not named: it may be the secret itself.
                    _ => return Err(de::Error::custom(EXPECTED)),
                };
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(de::Error::custom(EXPECTED)),
                }
            }
        }

        deserializer.deserialize_any(Seen)
    }
}
