//! Secrets: `{env: NAME}`, `{file: PATH}`, or a literal with a warning. Never printed.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::Env;

const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// A value that is never printed: `Debug` says `[secret]`.
#[derive(Clone, PartialEq, Eq)]
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
            Self::Literal(secret) => Ok(secret.clone()),
            Self::Env(name) => match env(name) {
                Some(value) if !value.is_empty() => Ok(Secret::new(value)),
                Some(_) => Err(format!("the environment variable {name} is empty")),
                None => Err(format!("the environment variable {name} is not set")),
            },
            Self::File(path) => {
                let path = folder.join(path);
                let said =
                    |error: std::io::Error| format!("cannot read {}: {error}", path.display());
                let size = std::fs::metadata(&path).map_err(said)?.len();
                if size > FILE_LIMIT_BYTES {
                    return Err(format!("{} is larger than 64 KiB", path.display()));
                }
                let text = std::fs::read_to_string(&path).map_err(said)?;
                let text = text.trim_end_matches(['\n', '\r']);
                if text.is_empty() {
                    return Err(format!("{} is empty", path.display()));
                }
                Ok(Secret::new(text.to_owned()))
            }
        }
    }
}

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

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSecret, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(de::Error::custom(
                        "expected `{env: NAME}` or `{file: PATH}`",
                    ));
                };
                let secret = match key.as_str() {
                    "env" => RawSecret::Env(map.next_value()?),
                    "file" => RawSecret::File(map.next_value()?),
                    other => return Err(de::Error::unknown_field(other, &["env", "file"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(de::Error::custom(
                        "expected one of `env` and `file`, not both",
                    )),
                }
            }
        }

        deserializer.deserialize_any(Seen)
    }
}
