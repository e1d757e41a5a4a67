//! Ids that do not depend on who computes them, or when.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The vendor's `SyncTaskId`. Any text (the vendor's samples contain `****`).
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl TaskId {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TaskId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl From<String> for TaskId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of an event: 32 hex digits, see [`digest_id`].
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct EventId(pub String);

impl EventId {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 128 bits, as 32 lower-case hex digits, of SHA-256 over `parts`.
///
/// Each part is written as a presence byte, its length in 8 bytes big-endian and its bytes, so that
/// no two different lists give the same input ("ab","c" and "a","bc"; absent and empty).
pub fn digest_id<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        match part {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(
            digest_id([Some("ab"), Some("c")]),
            digest_id([Some("a"), Some("bc")])
        );
        assert_ne!(digest_id([Some("")]), digest_id([None]));
        assert_eq!(digest_id([Some("a")]).len(), 32);
    }

    #[test]
    fn the_digest_is_the_same_for_ever() {
        // Ids of events and deliveries live in stores and in receivers' memories: never change this.
        assert_eq!(
            digest_id([Some("change"), None, Some("é")]),
            "49f57dae40b2771564640595dae23d2f"
        );
    }
}
