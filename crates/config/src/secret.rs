//! Secrets: `{env: NAME}`, `{file: PATH}`, or a literal with a warning. Never printed.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use url::Url;

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

/// A secret that may change while the program runs: one of a file is read again.
#[derive(Clone, PartialEq, Eq)]
pub struct LiveSecret {
    text: Secret<String>,
    file: Option<PathBuf>,
}

impl LiveSecret {
    /// One that stays as it is.
    pub fn fixed(text: impl Into<String>) -> Self {
        Self {
            text: Secret::new(text.into()),
            file: None,
        }
    }

    /// One that stands in a file; `text` is what stands there now.
    pub fn of_file(text: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            text: Secret::new(text.into()),
            file: Some(file.into()),
        }
    }

    /// As it was at the start.
    pub fn text(&self) -> &Secret<String> {
        &self.text
    }

    /// Where it stands, if it can change.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Debug for LiveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secret that stands in a file, without the end of its line. The error is for people and does not hold
/// it. Blocking.
pub fn read_secret(path: &Path) -> Result<Secret<String>, String> {
    let said = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let text = read_at_most(path, FILE_LIMIT_BYTES).map_err(said)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(Secret::new(text.to_owned()))
}

/// The signing key of a secret: of `whsec_…` the decoded base64 (Standard Webhooks 1.0), else the bytes. The
/// error says what was expected.
pub fn signing_key(text: &str) -> Result<Secret<Vec<u8>>, String> {
    let Some(encoded) = text.strip_prefix("whsec_") else {
        if text.len() < 16 {
            return Err("expected `whsec_` and base64, or at least 16 characters".to_owned());
        }
        return Ok(Secret::new(text.as_bytes().to_vec()));
    };
    match base64::engine::general_purpose::STANDARD.decode(encoded) {
        Ok(key) if (24..=64).contains(&key.len()) => Ok(Secret::new(key)),
        Ok(key) => Err(format!("expected 24 to 64 bytes, found {}", key.len())),
        Err(_) => Err("what follows `whsec_` is not base64".to_owned()),
    }
}

/// The http or https URL in `text`, by the one parser that everything uses: an odd spelling of an address is
/// read as that address. The error does not hold it.
pub fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text.trim()) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() => {
            Err("expected an http:// or https:// URL".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("a URL must not hold a user name or password".to_owned())
        }
        Ok(url) => Ok(url),
        Err(error) => Err(format!("expected an http:// or https:// URL: {error}")),
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
            Self::File(path) => read_secret(&folder.join(path)),
        }
    }

    /// The same, where it may change while the program runs.
    pub(crate) fn resolve_live(&self, folder: &Path, env: Env<'_>) -> Result<LiveSecret, String> {
        let text = self.resolve(folder, env)?;
        let file = match self {
            Self::File(path) => Some(folder.join(path)),
            Self::Literal(_) | Self::Env(_) => None,
        };
        Ok(LiveSecret { text, file })
    }
}

/// One secret, or a list of them.
#[derive(Debug)]
pub(crate) enum RawSecrets {
    One(RawSecret),
    List(Vec<Spanned<RawSecret>>),
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

impl JsonSchema for RawSecrets {
    fn schema_name() -> Cow<'static, str> {
        "Secrets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<RawSecret>();
        json_schema!({
            "description": "A secret or a list of them.",
            "anyOf": [secret, { "type": "array", "items": secret, "minItems": 1 }]
        })
    }
}

impl<'de> Deserialize<'de> for RawSecrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = RawSecrets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`{env: NAME}` or `{file: PATH}`, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSecrets, E> {
                let literal = RawSecret::Literal(Secret::new(text.to_owned()));
                Ok(RawSecrets::One(literal))
            }

            // Serde's own text for these would name the value.
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i128<E: de::Error>(self, _: i128) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u128<E: de::Error>(self, _: u128) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawSecrets, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawSecrets, A::Error> {
                let mut secrets = Vec::new();
                while let Some(secret) = list.next_element()? {
                    secrets.push(secret);
                }
                Ok(RawSecrets::List(secrets))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSecrets, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                RawSecret::deserialize(map).map(RawSecrets::One)
            }
        }

        deserializer.deserialize_any(Seen)
    }
}
